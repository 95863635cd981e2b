"""What LLaMA-Factory writes: metrics and checkpoints.

``<output_dir>/trainer_log.jsonl`` has one JSON object a logged step (``LogCallback`` in
``train/callbacks.py``). ``transformers`` writes ``checkpoint-<step>/`` in place: the weights first,
then the optimizer, last ``trainer_state.json``. A restart writes into a directory below.
"""

from __future__ import annotations

from grpo_launch.plan import CheckpointLayout, Metrics, Signs

LOG = "trainer_log.jsonl"

METRICS = Metrics(
    files=(LOG, f"*/{LOG}"),
    step="current_steps",
    max_steps="total_steps",
    reward="reward",  # of stage ppo alone
    loss="loss",
    elapsed="elapsed_time",
    # A row of an evaluation has ``eval_loss``, the last one neither.
    trained=("loss",),
)

SIGNS = Signs(
    # torch.distributed, ``_distributed_excepthook``.
    prefix=r"(\[rank\d+\]):\s?",
    # torchrun tells of the process that failed, and the command of torchrun.
    wrappers=("ChildFailedError", "SignalException", "CalledProcessError"),
)

CHECKPOINTS = CheckpointLayout(
    directories=("checkpoint-*", "*/checkpoint-*"),
    prefix="checkpoint-",
    state="trainer_state.json",
    step="global_step",
    weights=("*.safetensors", "*.bin", "*.pt", "global_step*", "pytorch_model_fsdp*"),
    no_weights=("optimizer.bin", "optimizer.pt", "scheduler.pt", "training_args.bin"),
    beside=(LOG,),
)
