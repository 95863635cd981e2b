"""``launch=detached``: the run is executed in the background."""
