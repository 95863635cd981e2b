"""``launch=tmux``: the run is executed in a terminal of its own."""
