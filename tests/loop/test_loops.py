"""Whole loops with a fake engine and a fake learner at the process boundary."""

from __future__ import annotations

import json
import os
import shutil
import signal
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from grpo_launch.runs import record
from tests.fakes import llamafactory
from tests.loop.rig import Loop
from tests.loop.trials import look
from tests.supervise.rig import wait_for

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]

ITERATIONS = 4
PLAIN = "loop.eval_interval=null"


@pytest.fixture
def make(tmp_path: Path) -> Iterator[Callable[..., Loop]]:
    made: list[Loop] = []

    def loop(swap: str = "restart", **environ: str) -> Loop:
        made.append(Loop(tmp_path / "user", swap, environ))
        return made[-1]

    yield loop
    for each in made:
        each.close()


@pytest.mark.parametrize("swap", ["restart", "reload"])
def test_a_bounded_loop_goes_on_with_a_higher_bound(make: Callable[..., Loop], swap: str) -> None:
    loop = make(swap)
    assert loop.run("loop.iterations=1", "loop.eval_interval=2") == 0, loop.said
    assert loop.state.version == 1
    # With `keep=1` the model that the servers were started with is soon not there any more.
    words = ("resume=latest", f"loop.iterations={ITERATIONS}", "publish.keep=1")
    assert loop.run(*words) == 0, loop.said
    look(loop, ITERATIONS)
    assert loop.alive() == []
    served = loop.said.count("server: started")
    assert served == (2 if swap == "reload" else ITERATIONS), loop.said
    assert "are restarted" not in loop.said
    assert "training starts anew" not in loop.said
    assert record.read(loop.loop)["state"] == record.DONE
    assert loop.run(*words) == 0, loop.said
    look(loop, ITERATIONS)


def test_roles_share_a_loop(make: Callable[..., Loop]) -> None:
    loop = make()
    assert loop.run("role=rollout", "loop.iterations=1") == 0, loop.said
    first = loop.loop
    assert [row["update"] for row in loop.rows()] == [""]
    assert loop.run("role=update") == 0, loop.said
    assert (loop.state.version, loop.loop) == (1, first)
    assert loop.run("role=update") != 0
    assert "the episodes of iteration 0 have had their update" in loop.said
    assert loop.run("role=rollout", "resume=latest", "loop.iterations=2") == 0, loop.said
    assert loop.run("role=rollout", "resume=latest", "loop.split=eval", "loop.iterations=1") == 0, (
        loop.said
    )
    assert loop.run("role=update") == 0, loop.said
    rows = loop.rows()
    assert [(r["step"], r["version"], r["update"]) for r in rows] == [
        (1, 0, "done"),
        (2, 1, ""),
        (3, 1, "done"),
    ]
    assert rows[2]["eval_reward"] == 0.5
    assert loop.state.version == 2
    for iteration, version in enumerate((0, 1, 1)):
        assert {e["version"] for e in loop.episodes(iteration)} == {str(version)}
    assert loop.alive() == []


def test_a_failed_update_is_survived_as_often_as_is_said(make: Callable[..., Loop]) -> None:
    loop = make(FAKE_LEARNER="fails_once")
    assert loop.run("loop.iterations=2", "loop.max_failures=1", PLAIN) == 0, loop.said
    rows = loop.rows()
    assert [(r["version"], r["update"]) for r in rows] == [(0, "failed"), (0, "done")]
    assert "status 7" in rows[0]["reason"]
    assert "warning: iteration 0: update failed: the learner ended with status 7" in loop.said
    assert (loop.state.version, loop.state.failures) == (1, 1)


def test_a_failed_update_is_gone_on_with_from_its_checkpoint(make: Callable[..., Loop]) -> None:
    loop = make(FAKE_LEARNER="fails_once")
    assert loop.run("loop.iterations=1", PLAIN) == 7, loop.said
    assert loop.run("loop.iterations=1", PLAIN, "resume=latest") == 0, loop.said
    assert [row["update"] for row in loop.rows()] == ["done"]
    trained = [(line.get("step"), Path(line["output"]).name) for line in loop.ledger()]
    anew = "attempt_2"
    assert trained == [(1, "output"), (2, "output"), (3, anew), (None, anew)]
    model = loop.loop / "models" / "iter_1"
    assert llamafactory.values_of(model) == (1, llamafactory.STEPS)


def test_an_update_that_takes_too_long_has_failed(make: Callable[..., Loop]) -> None:
    loop = make(FAKE_LEARNER="hangs_once")
    words = ("loop.iterations=2", "loop.max_failures=1", "learner.timeout_s=6", PLAIN)
    assert loop.run(*words) == 0, loop.said
    assert [row["update"] for row in loop.rows()] == ["failed", "done"]
    assert "was not done after 6 s" in loop.rows()[0]["reason"]
    assert loop.alive() == []


def test_without_good_episodes_there_is_no_update(make: Callable[..., Loop]) -> None:
    loop = make("reload")
    loop.write_tasks("train", 0.0, 0.0)
    assert loop.run("loop.iterations=2", PLAIN) == 0, loop.said
    rows = loop.rows()
    assert [(r["version"], r["kept"], r["update"]) for r in rows] == [(0, 0, "skipped")] * 2
    assert "warning: iteration 0: update skipped: no episode was good enough" in loop.said
    assert not (loop.loop / "models").exists()
    assert loop.ledger() == []
    assert loop.said.count("server: started") == 1


def test_a_dead_engine_ends_the_attempt_and_nothing_is_lost(make: Callable[..., Loop]) -> None:
    loop = make(FAKE_SERVER="dies_once")
    assert loop.run("loop.iterations=1", PLAIN) == 5, loop.said
    kept = {e["id"]: e["seconds"] for e in loop.episodes(0) if not e["error"]}
    assert kept
    assert loop.run("loop.iterations=1", PLAIN, "resume=latest") == 0, loop.said
    again = {episode["id"]: episode["seconds"] for episode in loop.episodes(0)}
    assert kept.items() <= again.items()
    assert len(loop.episodes(0)) == len(again) == 8


def test_a_restart_does_it_in_the_same_run(make: Callable[..., Loop]) -> None:
    loop = make(FAKE_SERVER="dies_once")
    # The port that it has had is not free for a minute; the collector learns of the other one.
    ports = ("ports=auto", "rollout_server.port=null")
    words = ("on_failure=restart", "restart.backoff_s=0.1", "loop.iterations=2", PLAIN, *ports)
    assert loop.run(*words) == 0, loop.said
    assert [row["step"] for row in loop.rows()] == [1, 2]
    assert len(record.read(loop.loop)["attempts"]) == 2


def test_servers_that_refuse_a_model_are_restarted(make: Callable[..., Loop]) -> None:
    loop = make("reload", FAKE_SERVER="no_reload")
    assert loop.run("loop.iterations=2", PLAIN) == 0, loop.said
    assert "the servers are restarted" in loop.said
    assert loop.said.count("server: started") == 2
    said = {m["content"] for e in loop.episodes(1) for m in e["messages"]}
    assert "version 1 step 3" in said


@pytest.mark.parametrize("signum", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_it_and_it_goes_on(make: Callable[..., Loop], signum: signal.Signals) -> None:
    loop = make(FAKE_SERVER_S="0.5")
    process = loop.start("loop.iterations=1", PLAIN)
    loop.wait_until_said("collect: started")
    process.send_signal(signum)
    assert process.wait(60) == 128 + signum, loop.said
    assert loop.alive() == []
    assert record.read(loop.loop)["state"] == record.INTERRUPTED
    loop.environ.clear()
    assert loop.run("loop.iterations=1", PLAIN, "resume=latest") == 0, loop.said
    assert len(loop.episodes(0)) == 8


def test_a_learner_that_obeys_a_signal_is_not_done(make: Callable[..., Loop]) -> None:
    loop = make(FAKE_LEARNER="obeys", FAKE_LEARNER_S="2")
    process = loop.start("loop.iterations=1", PLAIN)
    ledger = loop.directory / "ledger"
    assert wait_for(ledger.exists, bool, 60), loop.said
    process.terminate()
    assert process.wait(60) == 143, loop.said
    assert not (loop.loop / "iterations/0000/learner.done").exists()
    loop.environ["FAKE_LEARNER_S"] = "0.1"
    assert loop.run("loop.iterations=1", PLAIN, "resume=latest") == 0, loop.said
    assert [line.get("step") for line in loop.ledger()] == [1, 2, 3, None]


def test_one_launcher_at_a_time(make: Callable[..., Loop]) -> None:
    loop = make(FAKE_SERVER_S="20", FAKE_SERVER="stubborn")
    process = loop.start("loop.iterations=1", PLAIN, "shutdown.term_s=100")
    loop.wait_until_said("collect: started")
    assert loop.run("loop.iterations=1", PLAIN, "resume=latest") == 3
    assert "is still going on" in loop.said
    assert process.poll() is None
    process.kill()
    process.wait()
    server = json.loads((loop.loop / "run.json").read_text())["processes"]["server"]["pid"]
    loop.environ.clear()
    # Its guards are at work yet: they would call the next attempt lost, and end it.
    process = loop.start("loop.iterations=1", PLAIN, "resume=latest")
    loop.wait_until_said("waiting for the end of what the last attempt")
    os.kill(server, signal.SIGKILL)
    assert process.wait(60) == 0, loop.said
    assert record.read(loop.loop)["state"] == record.DONE
    assert len(loop.episodes(0)) == 8


def test_a_model_that_was_removed_is_not_replaced_by_the_first(make: Callable[..., Loop]) -> None:
    loop = make()
    assert loop.run("loop.iterations=1", PLAIN) == 0, loop.said
    shutil.rmtree(loop.loop / "models" / "iter_1")
    assert loop.run("loop.iterations=2", PLAIN, "resume=latest") == 3
    assert "models/current: leads nowhere" in loop.said


def test_what_only_looks_leaves_nothing(make: Callable[..., Loop]) -> None:
    loop = make()
    assert loop.run("dry_run=true") == 0, loop.said
    for stage in ("collect", "collect_eval", "select", "learner", "publish"):
        assert f"# stage {stage}" in loop.said
    assert loop.run("role=check") == 0, loop.said
    assert not (loop.directory / "runs").exists()


def test_a_loop_lives_where_it_is_told_to(make: Callable[..., Loop]) -> None:
    loop = make()
    words = ("loop.dir=here", PLAIN)
    assert loop.run("loop.iterations=1", *words) == 0, loop.said
    os.remove(loop.directory / "here" / record.NAME)  # as if it was killed at its very start
    assert loop.run("loop.iterations=2", *words) == 0, loop.said
    assert [row["step"] for row in loop.rows()] == [1, 2]
