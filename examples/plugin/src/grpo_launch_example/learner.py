"""The learner ``counter``: it asks the server for rollouts, and counts its steps."""

import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from grpo_launch.base.host import Host
from grpo_launch.config.launch_config import LaunchConfig
from grpo_launch.config.rule import Context
from grpo_launch.engines.base import RELOAD
from grpo_launch.learners.base import Resume, TrainRequest
from grpo_launch.learners.batches import Sizes
from grpo_launch.plan import CheckpointLayout, Metrics, PlannedFile, Signs

PROGRAM = "grpo_launch_example.train"
METRICS = Metrics(
    files=("steps.jsonl",), step="step", max_steps="of", reward="reward", step_time=("seconds",)
)
CHECKPOINTS = CheckpointLayout(
    directories=("checkpoint-*",),
    prefix="checkpoint-",
    state="state.json",
    step="step",
    weights=("weights.bin",),
)


class CountingLearner:
    """See ``grpo_launch.learners.base`` for what each name means."""

    product = "counter"
    entry = cpu_entry = ("python", "-m", PROGRAM)
    environment = ""
    cpu_overlay: Mapping[str, Any] = {}
    sections = ("model", "training", "rlhf")
    own_keys = ()
    model_key = "model.model"
    output_key = "training.output_dir"
    stages = ()
    transfers = frozenset({RELOAD})
    packages = ("grpo-launch-example",)
    rules = ()
    flags = None

    def needs_servers(self, config: LaunchConfig) -> bool:
        return True

    def demands(self, config: LaunchConfig) -> Mapping[str, Any]:
        return {}

    def flags_of(self, config: LaunchConfig) -> None:
        return None

    def metrics(self, config: LaunchConfig) -> Metrics:
        return METRICS

    def checkpoints(self, config: LaunchConfig) -> CheckpointLayout:
        return CHECKPOINTS

    def signs(self, config: LaunchConfig) -> Signs:
        return Signs()

    def resume(self, config: LaunchConfig) -> Resume:
        return Resume(checkpoint_key="resume_from_checkpoint", output_key="output_dir")

    def facts(self, config: LaunchConfig, host: Host) -> Iterable[object]:
        return ()

    def batches(self, arguments: Mapping[str, Any], world_size: int) -> Sizes | None:
        return None

    def summary(self, context: Context) -> Mapping[str, Mapping[str, Any]]:
        return {"training": {"steps": context.config.get("training.max_steps", 3)}}

    def output_dir(self, config: LaunchConfig, default: str) -> str:
        return str(config.get("training.output_dir", default))

    def is_versioned(self, config: LaunchConfig) -> bool:
        return False

    def arguments(self, request: TrainRequest) -> dict[str, Any]:
        config = request.config
        said = config.get("training") or {}
        server = {"port": config.get("rlhf.vllm_server_port")}
        return {"max_steps": 3, **said, **server, "output_dir": request.output_dir}

    def files(self, request: TrainRequest) -> tuple[PlannedFile, ...]:
        # One key a line, each value JSON: YAML that a restart can change line by line.
        lines = [f"{key}: {json.dumps(value)}" for key, value in self.arguments(request).items()]
        return (PlannedFile(f"{request.run_dir}/arguments.yaml", "\n".join([*lines, ""])),)

    def argv(self, request: TrainRequest) -> list[str]:
        return [*request.config.learner.entry, f"{request.run_dir}/arguments.yaml"]

    def env(self, request: TrainRequest) -> Mapping[str, str]:
        return {}

    def rehearsal(self, request: TrainRequest, max_model_len: int | None) -> list[str]:
        return []  # nothing to try: it takes any arguments

    def command(self, entry: Sequence[str], arguments: Mapping[str, Any]) -> list[str]:
        return [*entry, *(f"{key}={json.dumps(value)}" for key, value in arguments.items())]

    def section(self, argument: str) -> str:
        """Which of its few arguments it is does not matter."""
        del argument
        return "training"

    def from_argv(self, argv: Sequence[str]) -> dict[str, Any]:
        if PROGRAM not in argv:
            raise ValueError(f"no {PROGRAM} in {' '.join(argv)!r}")
        at = list(argv).index(PROGRAM) + 1
        pairs = (word.partition("=") for word in argv[at:])
        said = {key: json.loads(value) for key, _, value in pairs}
        keys = {"learner.entry": [*argv[:at]], "train.rlhf.vllm_server_port": said.pop("port")}
        return {**keys, **{f"train.training.{key}": value for key, value in said.items()}}


LEARNER = CountingLearner()
