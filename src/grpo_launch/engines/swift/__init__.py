"""ms-swift's rollout server."""
