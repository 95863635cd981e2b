"""Each run gets ports of its own, also when two launchers race for them."""

from __future__ import annotations

import json
import os
import signal
import socket
from collections.abc import Mapping
from pathlib import Path

import pytest
import yaml

from grpo_launch.config.compose import compose
from grpo_launch.config.endpoint import endpoints
from grpo_launch.config.launch_config import LaunchConfig
from grpo_launch.errors import ConfigError, PreflightError
from grpo_launch.plan import LEARNER, SERVER
from grpo_launch.settle import ports
from grpo_launch.supervise import free_ports, locks
from tests.conftest import Project, free_port
from tests.launch.helpers import argument, in_state, nothing_left, plan_of, run_of
from tests.launch.helpers import supervisor as pid_of

pytestmark = pytest.mark.slow

BOTH = (SERVER, LEARNER)


@pytest.fixture(autouse=True)
def private_locks(
    tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> Path:
    """Locks of the test's own; whole runs have those of the machine."""
    directory = tmp_path_factory.mktemp("locks")
    monkeypatch.setattr(locks, "BASE", directory)
    return directory


def config_with(policy: str = "auto", **values: object) -> LaunchConfig:
    said = [f"{key.replace('__', '.')}={value}" for key, value in values.items()]
    return compose("summary_1024", ["role=both", f"ports={policy}", *said])


def numbers(config: LaunchConfig) -> tuple[int, int, int | None]:
    (address,) = endpoints(config)
    return address.port, address.group_port, config.learner.master_port


def at_once(
    config: LaunchConfig,
    name: str,
    parts: tuple[str, ...] = BOTH,
    environ: Mapping[str, str] | None = None,
):
    """The ports of a run that keeps them."""
    return ports.chosen(config, parts, environ or {}, name, hold=True)


def test_two_launchers_never_get_the_same() -> None:
    config = config_with()
    with ports.chosen(config, BOTH, {}, "a", hold=True) as one:
        with ports.chosen(config, BOTH, {}, "b", hold=True) as two:
            assert len({*numbers(one.config), *numbers(two.config)}) == 6
        with ports.chosen(config, BOTH, {}, "c", hold=True) as three:
            assert numbers(three.config) == numbers(two.config)


def test_the_search_begins_where_the_experiment_says() -> None:
    start = free_port()
    config = config_with(
        train__rlhf__vllm_server_port=f"[{start}]", learner__master_port=free_port()
    )
    with ports.chosen(config, BOTH, {}, "a", hold=False) as got:
        assert endpoints(got.config)[0].port == start
        assert got.config.learner.master_port == config.learner.master_port


def test_a_strangers_port_is_passed_over() -> None:
    with socket.socket() as stranger:
        stranger.bind(("127.0.0.1", 0))
        stranger.listen()
        start = stranger.getsockname()[1]
        config = config_with(train__rlhf__vllm_server_port=f"[{start}]")
        with ports.chosen(config, BOTH, {}, "a", hold=True) as got:
            assert endpoints(got.config)[0].port > start


def test_the_three_are_distinct_even_from_one_start() -> None:
    start = free_port()
    config = config_with(
        train__rlhf__vllm_server_port=f"[{start}]",
        train__rlhf__vllm_server_group_port=f"[{start}]",
        learner__master_port=start,
    )
    for hold in (True, False):
        with ports.chosen(config, BOTH, {}, "a", hold=hold) as got:
            assert len(set(numbers(got.config))) == 3


def test_a_server_alone_has_no_port_of_torchrun() -> None:
    with at_once(config_with(), "a", (SERVER,)) as got:
        assert got.config.learner.master_port is None


@pytest.mark.parametrize(
    ("policy", "parts", "moves"),
    [("fixed", BOTH, False), ("auto", BOTH, True), ("auto", (SERVER,), True)],
)
def test_of_several_machines_only_the_ports_of_this_one_are_chosen(
    policy: str, parts: tuple[str, ...], moves: bool
) -> None:
    start = free_port()
    config = config_with(
        policy,
        train__rlhf__vllm_server_host="[node1,127.0.0.1,node1]",
        train__rlhf__vllm_server_port=f"[{start},{start},8000]",
        train__rlhf__vllm_server_group_port="null",
        rollout_server__vllm_data_parallel_size=1,
        gpus__server="null",
    )
    with socket.socket() as stranger:
        stranger.bind(("127.0.0.1", start))
        stranger.listen()
        with at_once(config, "a", parts) as got:
            found = endpoints(got.config)
            assert [(at.port, at.group_port) for at in (found[0], found[2])] == [
                (start, 51216),
                (8000, 51218),
            ]
            assert (found[1].port > start) is moves
            assert 28500 <= found[1].group_port < 29500
            assert got.said().startswith(f"HTTP {found[1].port}, weight sync {found[1].group_port}")
            assert len(got.own) == 1


# What the experiment does not say

UNSAID = {"train__rlhf__vllm_server_port": "null", "train__rlhf__vllm_server_group_port": "null"}


def test_two_runs_of_an_experiment_that_says_no_port_do_not_meet() -> None:
    one_engine = {"rollout_server__vllm_data_parallel_size": 1, "gpus__server": "[0]"}
    config = config_with("fixed", **UNSAID, **one_engine)
    with at_once(config, "a") as one, at_once(config, "b") as two:
        mine, theirs = numbers(one.config), numbers(two.config)
        assert len({*mine, *theirs}) == 6
        assert len(one.held) == len(two.held) == 4
        ((own,), (other,)) = one.own, two.own
        assert abs(own - other) >= 20


def test_what_it_says_is_kept_and_what_it_does_not_say_is_another() -> None:
    config = config_with("fixed", train__rlhf__vllm_server_port="[29500]")
    with at_once(config, "a") as got:
        http, group, master = numbers(got.config)
        assert http == 29500
        assert master is not None
        assert len({http, group, master}) == 3
        assert not locks.holder(http)  # locked, and refused, by whoever judges what was said


@pytest.mark.parametrize("parts", [(SERVER,), (LEARNER,)])
def test_a_half_alone_has_the_usual_ones(parts: tuple[str, ...]) -> None:
    with at_once(config_with("fixed", **UNSAID), "a", parts) as got:
        assert numbers(got.config) == (8000, 51216, None)
        assert (got.picks, got.held) == ((), ())


@pytest.mark.parametrize("name", ["MASTER_PORT", "NNODES"])
def test_a_rendezvous_of_the_environment_is_kept(name: str) -> None:
    with at_once(config_with("fixed"), "a", environ={name: "2"}) as got:
        assert got.config.learner.master_port is None
    with at_once(config_with("fixed", **{f"+env.set.{name}": "'2'"}), "a") as got:
        assert got.config.learner.master_port is None


@pytest.mark.parametrize(
    ("ranks", "said", "environ", "count"),
    [
        (1, {}, {}, 1),
        (1, {}, {"VLLM_PORT": "7000"}, 0),
        (2, {}, {}, 0),  # each rank would take the same
        (2, {"+rollout_server__vllm_use_async_engine": "true"}, {}, 1),
    ],
)
def test_the_engine_s_own_ports(
    ranks: int, said: dict[str, str], environ: dict[str, str], count: int
) -> None:
    sizes = {"rollout_server__vllm_data_parallel_size": ranks, "gpus__server": "null"}
    with at_once(config_with("fixed", **sizes, **said), "a", environ=environ) as got:
        assert len(got.own) == count


def test_a_dry_run_shows_the_same_whatever_this_machine_does() -> None:
    config = config_with("fixed", train__rlhf__vllm_server_port="null")
    with at_once(config, "a"):
        shown = ports.chosen(config, BOTH, {}, "b", hold=False, look=False)
        with shown as got:
            assert numbers(got.config) == (8000, 28500, 29500)


def test_only_looking_leaves_no_lock(private_locks: Path) -> None:
    with ports.chosen(config_with(), BOTH, {}, "a", hold=False) as got:
        assert got.held == ()
    assert list(private_locks.rglob("port-*")) == []


def test_looking_respects_locks() -> None:
    config = config_with(train__rlhf__vllm_server_port=f"[{free_port()}]")
    with ports.chosen(config, BOTH, {}, "a", hold=True) as one:
        assert locks.holder(endpoints(one.config)[0].port)
        with ports.chosen(config, BOTH, {}, "b", hold=False) as two:
            assert endpoints(two.config)[0].port != endpoints(one.config)[0].port


def test_locks_end_with_the_block() -> None:
    with ports.chosen(config_with(), BOTH, {}, "a", hold=True) as got:
        assert len(got.held) == 3
    assert not locks.holder(endpoints(got.config)[0].port)


def test_a_wrong_port_is_left_to_validation() -> None:
    for wrong in ("[soon]", "[0]"):
        config = config_with(train__rlhf__vllm_server_port=wrong)
        with ports.chosen(config, BOTH, {}, "a", hold=True) as got:
            assert got.config is config


def test_no_free_port_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(free_ports, "TRIES", 1)
    config = config_with(
        train__rlhf__vllm_server_port=f"[{free_port()}]",
        train__rlhf__vllm_server_group_port=f"[{free_port()}]",
    )
    second = ports.chosen(config, BOTH, {}, "b", hold=True)
    taken = ports.chosen(config, BOTH, {}, "a", hold=True)
    with taken, pytest.raises(PreflightError, match=r"no port from .* is free"):
        second.__enter__()


def test_a_learner_alone_is_refused() -> None:
    refused = ports.chosen(config_with(), (LEARNER,), {}, "a", hold=False)
    with pytest.raises(ConfigError, match="say ports=fixed") as caught:
        refused.__enter__()
    assert caught.value.where == "command line: ports"


def test_the_plan_shows_the_numbers(project: Project) -> None:
    said = ("role=both", "config=exp", "ports=auto", "gpus.learner=[1,2]", "dry_run=json")
    done = project.launch(*said)
    assert done.status == 0, done.stderr
    plan = json.loads(done.stdout)
    server, learner = plan["processes"]
    arguments = yaml.safe_load(plan["files"][0]["text"])
    http = int(argument(server["argv"], "--port"))
    assert arguments["vllm_server_port"] == [http]
    assert plan["gates"][0]["url"] == f"http://127.0.0.1:{http}"
    master = int(learner["env"]["MASTER_PORT"])
    assert plan["ports"] == [http, arguments["vllm_server_group_port"][0], master]
    assert project.files() == set()


def test_runs_started_at_once_work_side_by_side(project: Project) -> None:
    start = ("role=both", "config=exp", "launch=detached", "ports=auto")
    launchers = [project.start(*start, FAKE_LEARNER="hang") for _ in range(3)]
    said = [launcher.communicate(timeout=55) for launcher in launchers]
    assert [launcher.returncode for launcher in launchers] == [0, 0, 0], said
    runs = [run_of(project, stdout.strip()) for stdout, _ in said]
    for run in runs:
        in_state(run, "training")
    plans = [plan_of(run) for run in runs]
    assert len({port for plan in plans for port in plan["ports"]}) == 9
    for run, plan in zip(runs, plans, strict=True):
        arguments = yaml.safe_load((run / "learner_arguments.yaml").read_text())
        ports_of_learner = arguments["vllm_server_port"] + arguments["vllm_server_group_port"]
        master = int(plan["processes"][1]["env"]["MASTER_PORT"])
        assert [*ports_of_learner, master] == plan["ports"]
        os.kill(pid_of(run), signal.SIGTERM)
    nothing_left(project)


def test_a_server_alone_says_what_its_learner_needs(project: Project) -> None:
    done = project.launch("role=server", "config=exp", "launch=detached", "ports=auto")
    assert done.status == 0, done.stderr
    run = run_of(project, done.stdout.strip())
    (line,) = [line for line in done.stderr.splitlines() if line.startswith("its learner: ")]
    in_state(run, "serving")
    words = [word.strip("'") for word in line.removeprefix("its learner: ").split()]
    learner = project.launch(*words)
    assert learner.status == 0, learner.stderr
    os.kill(pid_of(run), signal.SIGTERM)
    nothing_left(project)


def test_a_sweep_in_the_foreground_goes_on(project: Project) -> None:
    done = project.launch(
        "--multirun", "role=both", "config=exp", "ports=auto", "train.rlhf.beta=0.1,0.2"
    )
    assert done.status == 0, done.stderr
    assert done.stderr.count(": done, reward 0.25 -> 0.75") == 2
    assert project.left_over() == []
