"""``launch=foreground``: the run is executed in this terminal."""
