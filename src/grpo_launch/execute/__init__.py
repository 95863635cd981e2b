"""Executing a plan: the supervisor and what it uses."""
