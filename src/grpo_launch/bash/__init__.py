"""Shell scripts that are read, never run: what they would call, as far as that can be known."""
