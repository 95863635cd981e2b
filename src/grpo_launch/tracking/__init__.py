"""Trackers: settings, variables, rules, preflight, the upload."""
