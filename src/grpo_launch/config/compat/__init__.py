"""``compat=env``: the environment variables of the scripts that this replaces."""
