"""What ms-swift's learner writes: metrics and checkpoints.

``<output_dir>/v<N>-<time>/logging.jsonl`` has one JSON object a logged step.
``transformers`` writes ``checkpoint-<step>/`` in place: the weights first, then the optimizer,
last ``trainer_state.json`` (``Trainer._save_checkpoint``, transformers 5).
"""

from __future__ import annotations

from grpo_launch.plan import CheckpointLayout, Metrics, Signs

METRICS = Metrics(
    files=("*/logging.jsonl", "logging.jsonl"),
    step="global_step/max_steps",
    reward="reward",
    completion_length="completions/mean_length",
    step_time=("step_time", "train_speed(s/it)"),
    # Rewards are of a generation, which may last for several steps; a row of an evaluation has
    # ``eval_loss``, the last one ``train_loss`` (transformers, ``Trainer.log``).
    trained=("loss", "reward"),
    loss="loss",  # all that there is of a training without rewards
    reward_std="reward_std",
    kl="kl",
    each_reward="rewards/*/mean",
)

SIGNS = Signs(
    # torch.distributed, ``_distributed_excepthook``.
    prefix=r"(\[rank\d+\]):\s?",
    # torchrun tells of the process that failed, and of the signal that it got itself.
    wrappers=("ChildFailedError", "SignalException"),
)

CHECKPOINTS = CheckpointLayout(
    directories=("checkpoint-*", "*/checkpoint-*"),
    prefix="checkpoint-",
    state="trainer_state.json",
    step="global_step",
    weights=("*.safetensors", "*.bin", "*.pt", "global_step*", "pytorch_model_fsdp*"),
    no_weights=("optimizer.bin", "optimizer.pt", "scheduler.pt", "training_args.bin"),
    beside=("args.json", "logging.jsonl"),
    # By this line ms-swift names the directory that it made (swift/pipelines/train/sft.py).
    named_by=r"The logging file will be saved in: (.+)/logging\.jsonl\s*$",
)
