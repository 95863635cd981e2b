"""Stages of a run: what is done to servers and checkpoints between two trainings."""
