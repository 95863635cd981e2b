"""Our verdict on batch sizes and rewards against ms-swift's own, case by case.

The real ``RLHFArguments`` is built in the engine's environment, from the arguments that the
launcher would write, with two things replaced: the connection to the rollout server, and
the world size, which torch.distributed would give.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import yaml

from grpo_launch.checks.examine import Severity
from grpo_launch.config.compose import compose
from grpo_launch.config.facts import Facts, WorldSize
from grpo_launch.config.rule import Context
from grpo_launch.learners.batches import BatchArithmetic
from grpo_launch.learners.swift import arguments, batches
from grpo_launch.learners.swift.batch_rules import BATCH_RULES
from grpo_launch.learners.swift.reward_rules import REWARD_RULES
from tests.conftest import ROOT
from tests.engine.real import MODEL, Swift

pytestmark = [pytest.mark.engine, pytest.mark.timeout(900)]

DRIVER = '''
import json, sys

from swift.arguments import RLHFArguments
from swift.cli.main import parse_yaml_args
from swift.rlhf_trainers import GRPOTrainer
from swift.rlhf_trainers.arguments import GRPOConfig
from swift.utils import parse_args

RLHFArguments._init_external_vllm = lambda self: None


class NoAccelerator:
    device = "cpu"


class Rewarded(GRPOTrainer):
    """As much of the trainer as looks at rewards; a function stands for each name."""

    def __init__(self, args):
        self.args, self.accelerator = args, NoAccelerator()
        self.use_gym_env = bool(args.use_gym_env)
        self._prepare_rewards([lambda **_: [] for _ in args.reward_funcs])
        if not self.reward_funcs and not self.use_gym_env and not args.teacher_model:
            raise ValueError("You must specify reward_funcs or reward_model")


def verdict(file, world_size):
    GRPOConfig.world_size = property(lambda self: world_size)
    argv = [file]
    parse_yaml_args(argv)
    try:
        args, unknown = parse_args(RLHFArguments, argv)
        Rewarded(args)
    except Exception as error:
        return {"refused": f"{type(error).__name__}: {error}"}
    made = args.training_args
    names = ("gradient_accumulation_steps", "steps_per_generation", "generation_batch_size")
    return {"unknown": unknown, **{name: getattr(made, name) for name in names}}


json.dump([verdict(*case) for case in json.load(sys.stdin)], open(sys.argv[1], "w"))
'''


@dataclass(frozen=True)
class Case:
    """Sizes and what ms-swift says to them: a part of its message, or nothing."""

    training: dict[str, Any]
    rlhf: dict[str, Any] = field(default_factory=dict)
    data: dict[str, Any] = field(default_factory=dict)
    world_size: int = 2
    refused: str = ""


EVAL = {"split_dataset_ratio": 0.1}
EIGHT = {"per_device_train_batch_size": 8}
CASES: dict[str, Case] = {
    "all defaults, 8 devices": Case({}, world_size=8),
    "all defaults, 1 device": Case({}, world_size=1, refused="Valid values: []"),
    "three steps": Case({**EIGHT, "gradient_accumulation_steps": 3}),
    "effective batch": Case({**EIGHT, "effective_batch_size": 48}),
    "effective batch, rounded up": Case({**EIGHT, "effective_batch_size": 50}),
    "generation given": Case(EIGHT, {"generation_batch_size": 48}),
    "generation of no whole step": Case(
        EIGHT, {"generation_batch_size": 50}, refused="must be divisible by the global batch size"
    ),
    "steps given": Case(EIGHT, {"steps_per_generation": 3}),
    "both given, equal": Case(EIGHT, {"generation_batch_size": 48, "steps_per_generation": 3}),
    "both given, different": Case(
        EIGHT,
        {"generation_batch_size": 48, "steps_per_generation": 2},
        refused="must equal per_device_train_batch_size * world_size",
    ),
    "generation smaller than a step": Case(
        {**EIGHT, "gradient_accumulation_steps": 4}, {"generation_batch_size": 16}
    ),
    "groups of 6 in 16": Case(EIGHT, {"num_generations": 6}, refused="evenly divisible by"),
    "groups of 6 in 48": Case(EIGHT, {"num_generations": 6, "steps_per_generation": 3}),
    "a group over devices and steps": Case(
        {"per_device_train_batch_size": 1, "gradient_accumulation_steps": 4}
    ),
    "half a group in a step": Case(
        {"per_device_train_batch_size": 2}, {"steps_per_generation": 2}
    ),
    "one completion": Case(
        EIGHT, {"num_generations": 1}, refused="num_generations must be greater than 1"
    ),
    "three iterations": Case(EIGHT, {"num_iterations": 3}),
    "evaluation by default": Case(EIGHT, data=EVAL, refused="global eval batch size"),
    "evaluation of 4 a device": Case({**EIGHT, "per_device_eval_batch_size": 4}, data=EVAL),
    "evaluation of 3 a device": Case(
        {**EIGHT, "per_device_eval_batch_size": 3}, data=EVAL, refused="global eval batch size"
    ),
    "evaluation in groups of 2": Case(EIGHT, {"num_generations_eval": 2}, EVAL),
    "evaluation in groups of 0": Case(
        EIGHT, {"num_generations_eval": 0}, EVAL, refused="global eval batch size"
    ),
    "evaluation never": Case({**EIGHT, "eval_strategy": "no"}, data=EVAL),
    "evaluation as saving, never": Case({**EIGHT, "save_strategy": "no"}, data=EVAL),
    "evaluation on a file": Case(
        EIGHT, data={"val_dataset": ["v.jsonl"]}, refused="global eval batch size"
    ),
    "no step in a generation": Case(
        EIGHT, {"steps_per_generation": 0}, refused="steps_per_generation must be > 0"
    ),
    "no accumulation": Case(
        {**EIGHT, "gradient_accumulation_steps": 0}, refused="steps_per_generation must be > 0"
    ),
    "two weights": Case(EIGHT, {"reward_funcs": ["a", "b"], "reward_weights": [1, 0.5]}),
    "a weight too few": Case(
        EIGHT, {"reward_funcs": ["a", "b"], "reward_weights": [1]}, refused="reward weights (1)"
    ),
    "a weight for a gym": Case(EIGHT, {"use_gym_env": True, "reward_weights": [1, 1]}),
    "a gym alone": Case(EIGHT, {"use_gym_env": True, "reward_funcs": None}),
    "nothing rewarded": Case(EIGHT, {"reward_funcs": None}, refused="You must specify reward"),
}  # fmt: skip

BASE: dict[str, Any] = {
    "model": {
        "model": str(MODEL),
        "model_type": "qwen2",
        "torch_dtype": "float32",
        "check_model": False,
    },
    "template": {"template": "qwen2_5"},
    "data": {"dataset": [str(ROOT / "examples" / "digits" / "dataset.jsonl")]},
    "tuner": {"tuner_type": "full"},
    "training": {"bf16": False, "report_to": ["none"], "add_version": False},
    "rlhf": {
        "use_vllm": True,
        "vllm_mode": "server",
        "vllm_server_host": ["127.0.0.1"],
        "vllm_server_port": [8080],
        "reward_funcs": ["digits.share"],
    },
    "custom": {
        "extra": {
            "rollout_server": {
                "vllm_tensor_parallel_size": 1,
                "vllm_data_parallel_size": 1,
                "vllm_max_model_len": 64,
            },
        },
    },
}


def written(case: Case) -> dict[str, Any]:
    sections = {"training": case.training, "rlhf": case.rlhf, "data": case.data}
    return {**BASE, **{name: {**BASE[name], **more} for name, more in sections.items()}}


@pytest.fixture(scope="module")
def verdicts(swift: Swift, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What ms-swift makes of each case: the sizes that it settles on, or what it refuses."""
    directory = tmp_path_factory.mktemp("grpo")
    given: list[tuple[str, int]] = []
    for number, case in enumerate(CASES.values()):
        experiment = directory / f"{number}.yaml"
        experiment.write_text(yaml.safe_dump(written(case)))
        flat = arguments.flatten(compose(str(experiment)), case.world_size, str(directory / "out"))
        file = directory / f"{number}.arguments.yaml"
        file.write_text(yaml.safe_dump(flat))
        given.append((str(file), case.world_size))
    answers = directory / "answers.json"
    done = swift.run(["-c", DRIVER, str(answers)], json.dumps(given), directory)
    assert done.returncode == 0, done.stderr[-3000:]
    return dict(zip(CASES, json.loads(answers.read_text()), strict=True))


@pytest.mark.parametrize("name", CASES)
def test_the_rules_say_what_ms_swift_says(
    name: str, verdicts: dict[str, Any], tmp_path: Path
) -> None:
    case, verdict = CASES[name], verdicts[name]
    file = tmp_path / "x.yaml"
    file.write_text(yaml.safe_dump(written(case)))
    config = compose(str(file))
    context = Context.of(config, Facts.of(WorldSize(case.world_size)))
    found = [problem for rule in (*BATCH_RULES, *REWARD_RULES) for problem in rule(context)]
    errors = [str(problem) for problem in found if problem.severity is Severity.ERROR]
    assert case.refused in verdict.get("refused", "")
    assert bool(errors) == ("refused" in verdict) == bool(case.refused), (errors, verdict)
    if not errors:
        ours = BatchArithmetic.of(batches.read(config, case.world_size))
        assert ours is not None
        assert verdict == {
            "unknown": [],
            "gradient_accumulation_steps": ours.gradient_accumulation_steps,
            "steps_per_generation": ours.steps_per_generation,
            "generation_batch_size": ours.generation_batch_size,
        }
