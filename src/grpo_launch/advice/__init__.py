"""``role=advise``: what a run's own seconds say about its split of devices (docs/advise.md)."""
