"""Backends: each executes or renders the same plan."""
