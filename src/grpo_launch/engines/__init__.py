"""Rollout engines: from a configuration to the process that serves."""
