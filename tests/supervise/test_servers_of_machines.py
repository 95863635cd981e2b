"""Whole runs with rollout servers on two machines, each with a launcher of its own.

Both machines are this one, under two of its loopback addresses; each takes only its own for its.
"""

from __future__ import annotations

import dataclasses
import signal
import subprocess
from typing import Any

import pytest

from tests.conftest import Project
from tests.launch.helpers import in_state, nothing_left
from tests.monitor.called import grpo_runs
from tests.supervise.rig import quiet_port
from tests.supervise.test_foreground import read_until

pytestmark = pytest.mark.slow

FIRST, SECOND = "127.0.0.2", "127.0.0.3"

ON_A_MACHINE = """
import sys
from grpo_launch.base.host import Host
from grpo_launch.cli import main
own = sys.argv.pop(1)
Host.owns = lambda self, host: host == own
sys.exit(main())
"""


@dataclasses.dataclass
class Machines:
    """A directory that two machines share, and how each starts a launcher in it."""

    project: Project
    overrides: tuple[str, ...]

    def start(self, own: str, role: str, *more: str, **environ: str) -> subprocess.Popen[str]:
        machine = dataclasses.replace(self.project, program=("-c", ON_A_MACHINE, own))
        run = f"run.dir=runs/exp/{role}"
        said = (f"role={role}", "config=exp", run, *self.overrides, *more)
        return machine.start(*said, **environ)

    def state(self, role: str, *states: str) -> dict[str, Any]:
        return in_state(self.project.directory / "runs" / "exp" / role, *states)


@pytest.fixture
def machines(project: Project) -> Machines:
    ports = [quiet_port(), quiet_port()]
    key = "train.rlhf.vllm_server"
    hosts = f"{key}_host=[{FIRST},{SECOND}]"
    said = (hosts, f"{key}_port={ports}".replace(" ", ""), f"{key}_group_port=null")
    return Machines(project, said)


def away(machines: Machines, name: str, host: str) -> str:
    number = int(name.removeprefix("server_"))
    port = machines.overrides[1].partition("=")[2].strip("[]").split(",")[number]
    return f"of other machines, not started here: {name} (http://{host}:{port})"


def test_a_learner_waits_for_the_servers_of_both_machines(machines: Machines) -> None:
    both = machines.start(FIRST, "both")
    seen = read_until(both, "server_0: ready after")
    assert away(machines, "server_1", SECOND) in seen
    assert [*machines.state("both", "waiting")["processes"]] == ["server_0"]
    server = machines.start(SECOND, "server", "gpus.server=[5]")
    seen = read_until(server, "server_1: ready after")
    assert away(machines, "server_0", FIRST) in seen
    assert "server_1: started on GPU 5" in seen
    assert "server_0: started" not in seen
    _, said = both.communicate(timeout=60)
    assert both.returncode == 0, said
    assert said.index("server_1: ready after") < said.index("learner: started on GPU 1")
    assert "stopping server_0\n" in said
    assert {name: p["exit"] for name, p in machines.state("both", "done")["processes"].items()} == {
        "server_0": 143,
        "learner": 0,
    }
    serving = machines.state("server", "serving")  # the end of the learner is not its end
    assert [*serving["processes"]] == ["server_1"]
    assert serving["urls"] == machines.state("both", "done")["urls"][1:]
    text = grpo_runs(machines.project, "status", "exp/server").stdout
    assert "server_1" in text
    assert "server_0" not in text
    server.send_signal(signal.SIGTERM)
    server.communicate(timeout=60)
    assert server.returncode == 143
    nothing_left(machines.project)


def test_the_end_of_a_server_elsewhere_ends_the_learner_and_the_server_here(
    machines: Machines,
) -> None:
    server = machines.start(SECOND, "server")
    read_until(server, "server_1: ready after")
    both = machines.start(FIRST, "both", "watchdog.health_s=0.1", FAKE_LEARNER="hang")
    read_until(both, "learner: started")
    server.send_signal(signal.SIGTERM)
    _, said = both.communicate(timeout=60)
    assert both.returncode == 5, said
    assert "server_1 is gone, nobody listens there any more" in said
    assert set(machines.state("both", "failed")["processes"]) == {"server_0", "learner"}
    server.communicate(timeout=60)
    nothing_left(machines.project)


def test_a_machine_without_a_server_starts_none(machines: Machines) -> None:
    server = machines.start("127.0.0.4", "server")
    _, said = server.communicate(timeout=60)
    assert server.returncode == 2
    (error,) = [line for line in said.splitlines() if line.startswith("error: ")]
    assert f"'{FIRST}', '{SECOND}' are not this machine, so there is no server to start" in error
