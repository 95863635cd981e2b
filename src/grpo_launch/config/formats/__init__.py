"""The files of experiments."""
