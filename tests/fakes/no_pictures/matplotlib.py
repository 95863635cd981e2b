"""As if the extra ``plot`` was not installed."""

raise ImportError
