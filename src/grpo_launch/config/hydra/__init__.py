"""What Hydra is told, and what it says, in this program's words."""
