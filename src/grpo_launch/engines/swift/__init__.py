"""ms-swift's rollout."""

"""ms-swift's server."""
