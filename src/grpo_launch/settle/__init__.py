"""What is chosen just before a start."""
