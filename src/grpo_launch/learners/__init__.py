"""Learners: from a configuration to the process that trains."""
