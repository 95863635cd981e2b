"""The configuration: from files and a command line to plain data."""
