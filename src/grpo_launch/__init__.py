"""Launch server-mode GRPO: a rollout server and a learner, checked, gated and supervised."""

__version__ = "0.1.0"
