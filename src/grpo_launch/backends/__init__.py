"""Where a run is executed: each backend executes or renders the same plan."""
