"""Files, text and processes: knows nothing of training."""
