"""From a valid configuration to a plan."""
