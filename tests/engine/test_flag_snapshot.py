"""The shipped flags are those of the installed ms-swift, and judge values as its parser does."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from grpo_launch.base import resources
from grpo_launch.config import compose
from grpo_launch.engines.flags import Flag, FlagTable, accepts
from grpo_launch.engines.snapshot import FlagQuestion, Snapshot, digest
from grpo_launch.engines.swift import flags as rollout
from grpo_launch.learners.swift import flags as rlhf
from grpo_launch.plan import LEARNER, SERVER, LaunchPlan
from grpo_launch.planning.devices import Devices
from grpo_launch.planning.planner import build
from tests.conftest import ROOT
from tests.engine.real import NIGHTLY, Swift

pytestmark = [pytest.mark.engine, pytest.mark.timeout(900)]

HELPER = Path(__file__).with_name("engine_parser.py")
EXPERIMENTS = sorted(path.stem for path in resources.path("configs/train/grpo").glob("*.yaml"))
ACCELERATORS = ("cuda", "cpu")
QUESTIONS = (rollout.FLAGS, rlhf.FLAGS)
ROLLOUT, RLHF = (question.program for question in QUESTIONS)

SAMPLES: list[Any] = [
    5, 0, -3, 3.0, 2.5, -0.5, -1e-05, 1e-06, "1e-6", "1_000", " 7 ", "nan", "x", "", "None",
    "true", "Yes", "off", "-x", "- x", "--x", "--x y", "-h x", "-", "--", "-1", "-1.", True,
    False, ["a"], ["a", "b"], [1, 2], [0.5, 1], ["-x"], ["a", "-1"], {"a": 1}, "left", "steps",
]  # fmt: skip


def planned(experiment: str, accelerator: str, run: Path) -> LaunchPlan:
    config = compose.compose(experiment, [f"accelerator={accelerator}"])
    devices = Devices(server=("0",), learner=("1", "2"), cuda=accelerator == "cuda")
    return build(config, devices, (SERVER, LEARNER), str(run), ROOT)


def lines(plan: LaunchPlan) -> list[tuple[str, list[str]]]:
    """What the two programs get: flags, and the file of arguments, written as a launch would."""
    server = plan.process(SERVER)
    assert server is not None
    (file,) = plan.files
    Path(file.path).parent.mkdir(parents=True)
    Path(file.path).write_text(file.text)
    words = list(server.argv)
    return [(ROLLOUT, words[words.index("rollout") + 1 :]), (RLHF, [file.path])]


@pytest.fixture(scope="module")
def engine(swift: Swift, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    directory = tmp_path_factory.mktemp("parser")
    request, answer = directory / "request.json", directory / "answer.json"
    asked: list[tuple[str, list[str]]] = []
    for experiment in EXPERIMENTS:
        for accelerator in ACCELERATORS:
            asked += lines(planned(experiment, accelerator, directory / experiment / accelerator))
    asked.append((RLHF, ["--rlhf_type", "grpo", "--train_type", "full"]))
    asked.append((RLHF, ["--rlhf_type", "grpo", "--truncation_strategy", "raise"]))
    request.write_text(json.dumps({"samples": SAMPLES, "lines": asked, "each": NIGHTLY}))
    words = [HELPER, rollout.FLAGS.script, request, answer]
    done = swift.run([*map(str, words)], cwd=directory)
    assert done.returncode == 0, done.stderr
    return {**json.loads(answer.read_text()), "asked": asked, "told": json.loads(done.stdout)}


@pytest.mark.parametrize("question", QUESTIONS, ids=lambda q: q.program)
def test_the_snapshot_is_that_of_the_installed_engine(
    engine: dict[str, Any], question: FlagQuestion
) -> None:
    told, shipped = engine["told"][question.program], question.shipped()
    version = shipped.table.version
    table = FlagTable.of(question.program, "ms-swift", version, told["flags"], told["defaults"])
    digests = {name: digest(Path(file)) for name, file in told["files"].items()}
    assert Snapshot(table, digests) == shipped
    assert table.flags.keys() == set(engine["names"][question.program])


@pytest.mark.parametrize("question", QUESTIONS, ids=lambda q: q.program)
def test_a_value_is_judged_as_the_parser_judges_it(
    engine: dict[str, Any], question: FlagQuestion
) -> None:
    stricter: Callable[[Flag, Any], bool] = lambda flag, value: (  # noqa: E731
        (flag.kind == "json" and isinstance(value, int | float))
        or (flag.kind == "object" and value == "")
    )
    flags = question.shipped().table.flags
    wrong = [
        (name, value, verdict)
        for name, verdicts in engine["accepted"][question.program].items()
        for value, verdict in zip(SAMPLES, verdicts, strict=True)
        if (accepts(flags[name], value) is None) != verdict and not stricter(flags[name], value)
    ]
    assert wrong == []


def test_every_rendered_line_is_accepted(engine: dict[str, Any]) -> None:
    *rendered, _, _ = zip(engine["asked"], engine["parsed"], strict=True)
    assert len(rendered) == 2 * len(EXPERIMENTS) * len(ACCELERATORS)
    for (program, words), parsed in rendered:
        assert parsed.get("remaining") == [], (program, words, parsed)
        if program == RLHF:
            said = yaml.safe_load(Path(words[0]).read_text())
            assert said["rlhf_type"] == parsed["fields"]["rlhf_type"] == "grpo"
        else:
            said = dict(zip((w.removeprefix("--") for w in words[::2]), words[1::2], strict=True))
        for name, value in said.items():
            assert parsed["fields"][name] != "", name
            if isinstance(value, str) and value not in ("true", "false"):
                assert parsed["fields"][name] in (value, f"[{value!r}]", _number(value)), name


def test_the_parser_does_refuse(engine: dict[str, Any]) -> None:
    unknown, choice = engine["parsed"][-2:]
    assert unknown["remaining"] == ["--train_type", "full"]
    assert "argument --truncation_strategy/--truncation-strategy: invalid choice" in choice["error"]


def _number(text: str) -> str:
    try:
        return str(float(text))
    except ValueError:
        return text
