"""The script that ms-swift's own interpreter runs, on a small ms-swift and transformers."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from grpo_launch.base.host import Host
from grpo_launch.checks import gather
from grpo_launch.config import compose
from grpo_launch.engines.asking import ask
from grpo_launch.engines.flag_facts import FlagNotes, LearnerFlags, ServerFlags
from grpo_launch.engines.flags import Flag, FlagTable
from grpo_launch.engines.swift.flags import FLAGS
from tests.conftest import ROOT
from tests.flags.environments import SITE, lay_out, plain, venv

TRANSFORMERS = {
    "transformers/__init__.py": "from .hf_argparser import HfArgumentParser\n",
    "transformers/hf_argparser.py": """
import argparse, dataclasses, enum, typing

def string_to_bool(word):
    return bool(word)

class HfArgumentParser(argparse.ArgumentParser):
    def __init__(self, classes):
        super().__init__()
        hints = typing.get_type_hints(classes[0])
        for field in dataclasses.fields(classes[0]):
            hint = hints[field.name]
            members = [m for m in typing.get_args(hint) if m is not type(None)]
            more = {"type": members[0] if members else hint}
            if typing.get_origin(hint) is list:
                more["nargs"] = "+"
            if typing.get_origin(hint) is typing.Literal:
                more = {"choices": members}
            if more.get("type") is bool:
                more = {"type": string_to_bool, "nargs": "?"}
                self.add_argument(f"--no_{field.name}", dest=field.name, action="store_false")
            self.add_argument(f"--{field.name}", f"--{field.name.replace('_', '-')}", **more)

    def parse_args_into_dataclasses(self, *args, **kwargs):
        raise SystemExit("parsed")
""",
}
SWIFT = {
    "swift/__init__.py": "",
    "swift/version.py": "__version__ = '4.9.1'\n",
    "swift/utils/__init__.py": """
from transformers import HfArgumentParser
print("imported")  # must not get into the answer

def parse_args(cls, argv=None):
    return HfArgumentParser([cls]).parse_args_into_dataclasses(argv)
""",
    "swift/kinds.py": "import enum\nclass Mode(enum.Enum):\n    A = 'a'\n    B = 'b'\n",
}
ARGUMENTS = {
    "__init__.py": """
from .deploy_args import RolloutArguments
from .rlhf_args import RLHFArguments
""",
    "deploy_args.py": """
from dataclasses import dataclass
from pathlib import Path
from typing import Callable, List, Literal, Optional, Union
from swift.kinds import Mode

@dataclass
class RolloutArguments:
    port: int = 1
    share: Optional[float] = None
    flag: bool = True
    where: Optional[Path] = None
    names: List[str] = None
    modes: List[Mode] = None
    level: Literal[1, "two"] = 1
    columns: Optional[Union[str, dict]] = None
    hook: Optional[dict] = None
""",
    "rlhf_args.py": """
from .deploy_args import RolloutArguments
from dataclasses import dataclass

@dataclass
class RLHFArguments(RolloutArguments):
    num_generations: int = 8
""",
}


@pytest.fixture(params=["swift/arguments", "swift/llm/argument"], ids=["4", "3"])
def python(tmp_path: Path, request: pytest.FixtureRequest) -> Path:
    python, site = venv(tmp_path / "env"), tmp_path / "env" / SITE
    lay_out(site, TRANSFORMERS | SWIFT | {f"{request.param}/{n}": t for n, t in ARGUMENTS.items()})
    if "llm" in request.param:
        (site / "swift/llm/__init__.py").touch()
    return python


ROLLOUT = {
    "port": Flag("int"),
    "share": Flag("float", optional=True),
    "flag": Flag("bool"),
    "where": Flag("str", optional=True),
    "names": Flag("str", is_list=True),
    "modes": Flag("str", is_list=True, choices=("a", "b")),
    "level": Flag("str", choices=("1", "two")),
    "columns": Flag("json", optional=True),
    "hook": Flag("object", optional=True),
}


def test_the_parser_tells_flags_and_files(python: Path, tmp_path: Path) -> None:
    told = ask(FLAGS.script, python, plain(tmp_path))
    tables = {name: FlagTable.of(name, "", "", body.flags).flags for name, body in told.items()}
    assert tables == {
        "swift rollout": ROLLOUT,
        "swift rlhf": {**ROLLOUT, "num_generations": Flag("int")},
    }
    files = told["swift rollout"].files
    assert {Path(name).name for name in files} == {"deploy_args.py", "kinds.py", "hf_argparser.py"}
    for name, path in files.items():
        assert path == tmp_path / "env" / SITE / name
    assert {Path(n).name for n in told["swift rlhf"].files} == {
        *("deploy_args.py", "rlhf_args.py", "kinds.py", "hf_argparser.py")
    }


@pytest.mark.slow(every_row=True)
def test_validation_is_told_of_the_installed_version(python: Path, tmp_path: Path) -> None:
    environment = ["runtime=venv", f"runtime.path={python.parent.parent}"]
    config = compose.compose("tiny_cpu", ["accelerator=cpu", *environment])
    lines: list[str] = []
    for _ in range(2):
        host = Host(tmp_path, plain(tmp_path), 0.0, "0000")
        facts = gather.gather(config, host, lines.append)
        server, learner = facts.known[ServerFlags], facts.known[LearnerFlags]
        assert (server.product, learner.product) == ("ms-swift 4.9.1", "ms-swift 4.9.1")
        assert server.flags == ROLLOUT
        assert "num_generations" in learner.flags
        assert facts.known[FlagNotes].problems == ()
    assert lines == [
        f"asking ms-swift 4.9.1 in {python.parent.parent} for its flags, once (some seconds)"
    ]


def test_a_failure_is_one_note_for_both_programs(python: Path, tmp_path: Path) -> None:
    (tmp_path / "env" / SITE / "swift/utils/__init__.py").write_text("import torch\n")
    environment = ["runtime=venv", f"runtime.path={python.parent.parent}"]
    config = compose.compose("tiny_cpu", ["accelerator=cpu", *environment])
    lines: list[str] = []
    facts = gather.gather(config, Host(tmp_path, plain(tmp_path), 0.0, "0000"), lines.append)
    (note,) = facts.known[FlagNotes].problems
    assert len(lines) == 1
    assert "No module named 'torch'" in str(note)
    assert facts.known[LearnerFlags].product == "ms-swift 4.6.0"


@pytest.mark.slow(every_row=True)
def test_the_snapshots_are_compared_with_what_is_installed(python: Path, tmp_path: Path) -> None:
    script = ROOT / "scripts/make_flag_snapshot.py"
    command = [sys.executable, script, "--check", "--product", "ms-swift", "--python"]
    done = subprocess.run([*command, python], capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert done.stderr.count("is not what ms-swift 4.9.1 has") == 2
    done = subprocess.run([*command, tmp_path], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (
        1,
        f"error: {tmp_path}: no ms-swift is installed for it\n",
    )
