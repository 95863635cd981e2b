"""ms-swift's rollout server and GRPO learner on a machine without a GPU.

``python -m grpo_cpu_engine {rollout,rlhf} ...`` takes the arguments of ``swift {rollout,rlhf}``.
"""

__all__ = ["__version__"]

__version__ = "0.1.0"
