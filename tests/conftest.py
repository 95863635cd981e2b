"""Fixtures that start the launcher as a user does: as a process, in a directory of its own."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import uuid
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from tests import effort, own
from tests.warm import Finished, Limits, Warm

effort.load()

ROOT = Path(__file__).resolve().parents[1]
FAKES = ROOT / "tests" / "fakes" / "bin"
NO_PICTURES = ROOT / "tests" / "fakes" / "no_pictures"
"""Modules in the way of those that draw: a picture takes as long as all else of a small run."""

MARK = "GRPO_LAUNCH_TEST"
WARM = Warm()
IN_THE_CLONE = pytest.StashKey[set[str]]()
ELSEWHERE = pytest.StashKey[list[str]]()

EXPERIMENT = """\
model:
  model: some/model
training:
  per_device_train_batch_size: 8
rlhf:
  use_vllm: true
  vllm_mode: server
  vllm_server_host: [127.0.0.1]
  vllm_server_port: [{port}]
  vllm_server_group_port: [{group_port}]
  reward_funcs: [format]
  max_completion_length: 64
custom:
  extra:
    rollout_server:
      vllm_tensor_parallel_size: 1
      vllm_data_parallel_size: 1
      vllm_max_model_len: 512
    launch:
      runtime: current
      gpus: {{server: [0], learner: [1]}}
      shutdown: {{term_s: 5, kill_s: 5}}
      rehearse: false
data: {{dataset: [train.jsonl]}}
"""


@dataclass
class Project:
    """A user's directory with one experiment, ``exp``, and the fake engine on PATH.

    Attributes:
        program: what the interpreter is given to be the launcher.
        pictures: whether what is started finds matplotlib, and so draws a run that has ended.
    """

    directory: Path
    port: int
    program: tuple[str, ...] = ("-m", "grpo_launch")
    pictures: bool = True
    mark: str = field(default_factory=lambda: uuid.uuid4().hex)
    _started: list[subprocess.Popen[str]] = field(default_factory=list)

    def environment(self, **extra: str) -> dict[str, str]:
        path = os.pathsep.join([str(FAKES), str(Path(sys.executable).parent), "/usr/bin", "/bin"])
        home = str(self.directory)
        return {**own.environment(), "PATH": path, "HOME": home, MARK: self.mark, **extra}

    def start(self, *arguments: str, **environ: str) -> subprocess.Popen[str]:
        if not self.pictures:
            known = [environ["PYTHONPATH"]] if "PYTHONPATH" in environ else []
            environ["PYTHONPATH"] = os.pathsep.join([*known, str(NO_PICTURES)])
        process = subprocess.Popen(
            [sys.executable, *self.program, *arguments],
            cwd=self.directory,
            env=self.environment(**environ),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        self._started.append(process)
        return process

    def launch(self, *arguments: str, **environ: str) -> Finished:
        process = self.start(*arguments, **environ)
        stdout, stderr = process.communicate(timeout=240)
        return Finished(process.returncode, stdout, stderr)

    def run(
        self,
        *arguments: str,
        limits: Limits | None = None,
        module: str = "grpo_launch",
        **environ: str,
    ) -> Finished:
        """What :meth:`launch` gives, without the time that an interpreter takes to start.

        For commands that start nothing which outlives them.
        """
        surroundings = self.environment(**environ)
        return WARM.run(module, arguments, self.directory, surroundings, limits)

    def left_over(self) -> list[int]:
        """Processes that descend from this project's launchers, however well they hide."""
        return sorted(_marked(self.mark))

    def files(self) -> set[str]:
        found = (p.relative_to(self.directory) for p in self.directory.rglob("*"))
        return {str(path) for path in found if path.parts[0] not in ("configs", "train.jsonl")}

    def end_everything(self) -> None:
        for pid in _marked(self.mark):
            os.kill(pid, signal.SIGKILL)
        for process in self._started:
            process.communicate()


def _marked(mark: str) -> Iterator[int]:
    needle = f"{MARK}={mark}".encode()
    for name in os.listdir("/proc"):
        if not name.isdigit():
            continue
        try:
            environ = Path(f"/proc/{name}/environ").read_bytes()
            state = Path(f"/proc/{name}/stat").read_bytes().rpartition(b")")[2].split()[0]
        except OSError:
            continue
        if needle in environ.split(b"\0") and state != b"Z":
            yield int(name)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--update-golden", action="store_true", help="rewrite the golden files, then review them"
    )
    parser.addoption(
        "--one-of-each",
        nargs="?",
        choices=("all", "costly", "slow"),
        const="all",
        help="only the first example of a parametrized test: of any one, of one that is costly,"
        " of one that is slow",
    )


@pytest.hookimpl(trylast=True)  # after -m and -k
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    if which := config.getoption("one_of_each"):
        first = {item.nodeid.partition("[")[0]: item for item in reversed(items)}
        kept = {*first.values(), *(item for item in items if not _is_one_enough(item, which))}
        config.hook.pytest_deselected(items=[item for item in items if item not in kept])
        items[:] = [item for item in items if item in kept]


def _is_one_enough(item: pytest.Item, which: str) -> bool:
    """Whether the first example of a parametrized test stands for this one."""
    if which == "costly":
        # Also what starts the launcher: nobody has to say so of each.
        fixtures = item.fixturenames if isinstance(item, pytest.Function) else ()
        return "project" in fixtures or item.get_closest_marker("costly") is not None
    if which == "slow":
        slow = item.get_closest_marker("slow")
        return slow is not None and not slow.kwargs.get("every_row", False)
    return True


def pytest_configure(config: pytest.Config) -> None:
    """Take back what ``nohup`` or a job in the background ignores: children would inherit it."""
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGHUP, signal.SIG_DFL)
    if not hasattr(config, "workerinput"):  # what xdist starts inherits the environment
        directory = own.enter()
        config.add_cleanup(lambda: own.leave(directory))
        config.stash[IN_THE_CLONE] = own.in_the_clone()
    own.environment()


def pytest_sessionfinish(session: pytest.Session) -> None:
    WARM.close()
    if (before := session.config.stash.get(IN_THE_CLONE, None)) is None:
        return
    tmp_path_factory: pytest.TempPathFactory = session.config._tmp_path_factory
    new = sorted(own.in_the_clone() - before)
    locks = own.locks_of(tmp_path_factory.getbasetemp())
    session.config.stash[ELSEWHERE] = [*new, *locks]
    # Where somebody works meanwhile, a new file may be theirs.
    if locks or (new and os.environ.get("GRPO_LAUNCH_OWN_CLONE")):
        session.exitstatus = session.exitstatus or pytest.ExitCode.TESTS_FAILED


def pytest_terminal_summary(
    terminalreporter: pytest.TerminalReporter, config: pytest.Config
) -> None:
    if found := config.stash.get(ELSEWHERE, []):
        terminalreporter.section("written outside of temporary directories meanwhile")
        terminalreporter.write_line("\n".join(found))


@pytest.fixture
def project(tmp_path: Path) -> Iterator[Project]:
    made = Project(tmp_path, free_port(), pictures=False)
    (tmp_path / "configs").mkdir()
    (tmp_path / "configs" / "exp.yaml").write_text(
        EXPERIMENT.format(port=made.port, group_port=free_port())
    )
    (tmp_path / "train.jsonl").write_text('{"query": "1 + 1?"}\n')
    yield made
    made.end_everything()
