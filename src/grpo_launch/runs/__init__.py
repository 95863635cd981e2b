"""What is kept of a run: its directory, its record, its metrics."""
