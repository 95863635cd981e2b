"""Any program that trains: its command, its progress and its checkpoints are in the experiment."""
