"""vLLM's own server."""
