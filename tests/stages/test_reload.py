"""The reload of a server that works, that fails at each step, and that was left in between."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from grpo_launch.base import codec
from grpo_launch.engines.vllm.reload import RELOAD
from grpo_launch.errors import PreflightError
from grpo_launch.stages import journal
from grpo_launch.stages.journal import FAILED, REFUSED, RELOADED, RESTART, Result
from grpo_launch.stages.reload import Server, reload
from grpo_launch.transfer import Reload, ReloadStep
from tests.stages.made import NO_HEAD, Fake, save, serving

pytestmark = pytest.mark.timeout(60)

ORDER = ["probe", "pause", "load", "reset", "version", "resume", "probe"]
DEADLINE_S = 0.5
"""Of each request, where a fault takes that long."""


def hurried(name: str) -> Reload:
    """The data of vLLM with a deadline for one step, all others have time."""

    def step(one: ReloadStep) -> ReloadStep:
        is_it = one.name.startswith(name)
        return dataclasses.replace(one, timeout_s=DEADLINE_S) if is_it else one

    probe = dataclasses.replace(RELOAD.probe, timeout_s=DEADLINE_S)
    return dataclasses.replace(
        RELOAD,
        pause=step(RELOAD.pause),
        steps=tuple(map(step, RELOAD.steps)),
        resume=step(RELOAD.resume),
        probe=probe if name == "probe" else RELOAD.probe,
    )


@dataclasses.dataclass(frozen=True)
class Rig:
    """A fake server, and two models for it."""

    fake: Fake
    old: Path
    new: Path
    record: Path

    def server(self, how: Reload = RELOAD, **changes: Any) -> Server:
        served = Server("server", self.fake.url, self.old, how)
        return dataclasses.replace(served, **changes)

    def reload(self, directory: Path | None = None, how: Reload = RELOAD, **more: Any) -> Result:
        return reload(self.server(how), directory or self.new, self.record, **more)

    def lines(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.record.read_text().splitlines()]


Start = Callable[..., Rig]


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    old, new = save(tmp_path / "old"), save(tmp_path / "new", fill=2)
    with contextlib.ExitStack() as stack:

        def started(*faults: str) -> Rig:
            fake = stack.enter_context(serving(old, *faults))
            return Rig(fake, old, new, tmp_path / journal.NAME)

        yield started


def test_new_weights(start: Start) -> None:
    rig = start()
    result = rig.reload()
    state = rig.fake.state()
    assert (result.outcome, result.problems, result.warnings) == (RELOADED, (), ())
    assert state["asked"] == ORDER
    assert (state["directory"], state["version"]) == (str(rig.new.resolve()), "new")
    assert (state["mode"], state["paused"]) == ("wait", False)
    assert result.before is not None
    assert result.after is not None
    assert result.before.logprobs != result.after.logprobs
    begun, ended = rig.lines()
    assert begun["outcome"] == "begun"
    assert codec.decode(Result, ended, []) == result
    assert result.digest
    assert result.seconds is not None
    assert 0 < result.seconds < 10


def test_back_and_forth(start: Start) -> None:
    rig = start()
    there, back = rig.reload(), rig.reload(rig.old)
    assert there.after == back.before
    assert there.before == back.after


def test_the_same_weights_are_a_warning(start: Start) -> None:
    rig = start()
    result = rig.reload(rig.old)
    assert result.outcome == RELOADED
    assert "the same weights" in result.warnings[0]


def test_a_server_that_only_says_so_is_seen(start: Start) -> None:
    assert start("load=silent").reload().warnings != ()


def test_version_mode_and_headers(start: Start) -> None:
    rig = start()
    name = "it{path} 3/é"
    server = rig.server(headers={"Authorization": "Bearer x"})
    reload(server, rig.new, rig.record, version=name, mode="keep")
    state = rig.fake.state()
    assert (state["version"], state["mode"]) == (name, "keep")
    assert state["headers"]["Authorization"] == "Bearer x"


def test_what_does_not_fit_is_not_asked_for(start: Start, tmp_path: Path) -> None:
    rig = start()
    for directory in (save(tmp_path / "part", NO_HEAD), tmp_path / "nowhere"):
        result = rig.reload(directory)
        assert (result.outcome, len(result.problems)) == (REFUSED, 1)
    assert rig.fake.state()["asked"] == []
    assert [line["outcome"] for line in rig.lines()] == [REFUSED, REFUSED]


def test_what_may_not_be_asked(start: Start) -> None:
    rig = start()
    assert "sleep is nothing that" in rig.reload(mode="sleep").problems[0]
    port = rig.fake.url.rpartition(":")[2]
    for url in (f"http://10.0.0.1:{port}", f"http://0.0.0.0:{port}", "http://[::", "nonsense"):
        result = reload(rig.server(url=url), rig.new, rig.record)
        assert result.outcome == REFUSED
        assert "no address of this machine alone" in result.problems[0]
    odd = rig.new.with_name("\udcff")
    odd.symlink_to(rig.new)
    assert "is not UTF-8" in rig.reload(version="\udcff").problems[0]
    assert rig.reload(odd, version="v", mode="sleep").outcome == REFUSED
    gone = reload(rig.server(model=rig.old / "gone"), rig.new, rig.record)
    assert "the model that is served cannot be compared" in gone.problems[0]
    assert rig.fake.state()["asked"] == []
    for host in ("localhost", "127.0.0.1"):
        assert reload(rig.server(url=f"http://{host}:{port}/"), rig.new, rig.record).after


@pytest.mark.costly
@pytest.mark.parametrize(
    ("fault", "outcome", "why"),
    [
        ("pause=404", FAILED, "vLLM takes new weights in development mode only (status 404"),
        ("pause=500", FAILED, 'pause failed (status 500: {"error": {"message": "not today"}})'),
        ("pause=hang", FAILED, "pause failed (no answer within 0.5 s)"),
        ("pause=html", FAILED, "pause failed (status 200, but not JSON: <html>It works!</html>)"),
        ("pause=error", FAILED, "pause failed (status 200, but no status: {'error'"),
        ("pause=redirect", FAILED, "pause failed (status 307: nothing)"),
        ("probe=500", FAILED, "answers no prompt (status 500"),
        ("probe=hang", FAILED, "answers no prompt (no answer within 0.5 s)"),
        ("probe=nan", FAILED, "answers no prompt (log-probabilities that are no numbers)"),
        ("probe=list", FAILED, "without tokens and log-probabilities"),
        ("load=500", RESTART, "load failed (status 500"),
        ("load=hang", RESTART, "load failed (no answer within 0.5 s)"),
        ("load=drip", RESTART, "load failed (an answer that does not end)"),
        ("load=huge", RESTART, "load failed (an answer that does not end)"),
        ("load=html", RESTART, "load failed (status 200, but not JSON"),
        ("load=error", RESTART, "load failed (status 200, but no results: {'error'"),
        ("load=list", RESTART, "load failed (status 200, but no results: [1])"),
        ("load=empty", RESTART, "load failed (status 200, but not JSON: nothing)"),
        ("load=reset", RESTART, "load failed (Server disconnected"),
        ("load=garbage", RESTART, "load failed ("),
        ("reset=500", RESTART, "reset of the prefix cache failed (status 500"),
        ("resume=500", RESTART, "resume failed (status 500"),
        ("resume=hang", RESTART, "resume failed (no answer within 0.5 s)"),
        ("probe=500+1", RESTART, "answers no prompt with the weights of "),
        ("probe=nan+1", RESTART, "log-probabilities that are no numbers"),
    ],
)  # fmt: skip
def test_a_server_that_fails(start: Start, fault: str, outcome: str, why: str) -> None:
    rig = start(fault)
    slow = fault.endswith(("=hang", "=drip"))
    result = rig.reload(how=hurried(fault.partition("=")[0]) if slow else RELOAD)
    assert result.outcome == outcome, result.problems
    assert why in result.problems[0]
    assert len(result.problems) == 1
    state = rig.fake.state()
    assert state["paused"] is fault.startswith("resume")
    begun = "pause" in state["asked"]
    assert ("resume" in state["asked"]) is (begun and fault != "pause=404")
    assert [line["outcome"] for line in rig.lines()] == [*(["begun"] * begun), outcome]


def test_the_name_is_only_a_name(start: Start) -> None:
    result = start("version=500").reload()
    assert result.outcome == RELOADED
    assert "version failed (status 500" in result.warnings[0]


@pytest.mark.costly
@pytest.mark.parametrize("step", ["probe", "pause", "load", "reset", "resume", "probe+1"])
def test_a_server_that_dies(start: Start, step: str) -> None:
    name, _, after = step.partition("+")
    result = start(f"{name}=die+{after or 0}").reload()
    assert result.outcome == (FAILED if step == "probe" else RESTART), result.problems


def test_nobody_listens(start: Start) -> None:
    rig = start()
    rig.fake.process.kill()
    rig.fake.process.wait()
    result = rig.reload()
    assert result.outcome == FAILED
    assert "answers no prompt (nothing listens there), look at its log" in result.problems[0]


def test_a_paused_server_is_resumed_where_the_pause_takes_too_long(start: Start) -> None:
    """Requests in flight may take longer than the pause: the old weights go on."""
    rig = start("pause=hang*1")
    assert rig.reload(how=hurried("pause")).outcome == FAILED
    assert rig.reload().outcome == RELOADED


PROGRAM = """
import sys
from pathlib import Path
from grpo_launch.engines.vllm.reload import RELOAD
from grpo_launch.stages.reload import Server, reload
url, old, new, record = sys.argv[1:]
print(reload(Server("server", url, Path(old), RELOAD), Path(new), Path(record)).outcome)
"""


def until(rig: Rig, step: str) -> None:
    deadline = time.monotonic() + 20
    while step not in rig.fake.state()["asked"]:
        assert time.monotonic() < deadline
        time.sleep(0.02)


def begun(rig: Rig) -> subprocess.Popen[str]:
    words = [rig.fake.url, str(rig.old), str(rig.new), str(rig.record)]
    command = [sys.executable, "-c", PROGRAM, *words]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


@pytest.mark.slow(every_row=True)
@pytest.mark.parametrize("step", ["pause", "load", "reset"])
def test_a_killed_reload_is_made_good_by_the_next(start: Start, step: str) -> None:
    """Nothing is generated meanwhile: with half of the weights the engine would die."""
    rig = start(f"{step}=hang*1")
    with begun(rig) as process:
        until(rig, step)
        process.kill()
    result = rig.reload()
    assert result.outcome == RELOADED, result.problems
    assert result.before is None
    state = rig.fake.state()
    assert (state["paused"], state["directory"]) == (False, str(rig.new.resolve()))
    assert state["asked"].count("probe") == 2


@pytest.mark.slow
def test_a_killed_reload_after_another_is_held_against_that(start: Start) -> None:
    rig = start("load=hang+1*1")
    first = rig.reload()
    with begun(rig) as process:
        until(rig, "version")
        deadline = time.monotonic() + 20
        while rig.fake.state()["asked"].count("load") < 2:
            assert time.monotonic() < deadline
            time.sleep(0.02)
        process.kill()
    assert rig.reload(rig.old).before == first.after


@pytest.mark.slow
def test_ctrl_c_resumes(start: Start) -> None:
    rig = start("load=hang")
    with begun(rig) as process:
        until(rig, "load")
        process.send_signal(signal.SIGINT)
        process.wait(20)
    assert rig.fake.state()["paused"] is False


def test_a_broken_server_is_asked_for_nothing_before_the_weights(start: Start) -> None:
    """A good reload may help it, a generation kills it; what fails again is no new failure."""
    rig = start("load=500*1", "pause=500+2*1")
    assert rig.reload().outcome == RESTART
    asked = len(rig.fake.state()["asked"])
    assert rig.reload().outcome == RELOADED
    assert rig.fake.state()["asked"][asked] == "pause"
    assert rig.reload().outcome == FAILED


def test_reloads_of_an_earlier_server_do_not_count(start: Start) -> None:
    rig = start("load=500*1")
    assert rig.reload().outcome == RESTART
    fresh = rig.server(since=time.time())
    assert reload(fresh, rig.new, rig.record).before is not None


@pytest.mark.slow
def test_two_at_once(start: Start) -> None:
    rig = start("load=hang*1")
    with begun(rig) as process:
        until(rig, "load")
        with pytest.raises(PreflightError, match="another reload of this run is under way"):
            rig.reload()
        process.kill()


def test_requests_that_come_meanwhile_get_the_new_weights(start: Start) -> None:
    rig = start("load=slow")
    answers: list[Any] = []

    def ask() -> None:
        url = f"{rig.fake.url}{RELOAD.probe.path}"
        answers.append(httpx.post(url, json={"prompt": "x"}, timeout=30).json())

    thread = threading.Thread(target=lambda: rig.reload())
    thread.start()
    until(rig, "load")
    ask()
    thread.join()
    state = rig.fake.state()
    assert state["asked"].index("resume") > state["asked"].index("reset")
    (answer,) = answers
    first = answer["choices"][0]["logprobs"]["token_logprobs"][0]
    after = rig.lines()[-1]["after"]["logprobs"][0]
    assert first == after


def test_a_journal_that_was_cut_off(start: Start) -> None:
    rig = start()
    rig.reload()
    with rig.record.open("ab") as file:
        file.write(b'{"server": "ser')
    assert rig.reload(rig.old).before is not None
    last = rig.record.read_bytes().splitlines()[-1]
    assert json.loads(last)["outcome"] == RELOADED


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_a_journal_that_cannot_be_written(start: Start, tmp_path: Path) -> None:
    rig = start()
    (tmp_path / "closed").mkdir(mode=0o500)
    with pytest.raises(OSError, match="denied"):
        reload(rig.server(), rig.new, tmp_path / "closed" / journal.NAME)
    assert rig.fake.state()["asked"] == []


def test_the_data_of_the_plan_survives_json() -> None:
    body = json.loads(json.dumps(dataclasses.asdict(RELOAD)))
    notes: list[str] = []
    again = codec.decode(Reload, body, notes)
    assert json.dumps(dataclasses.asdict(again)) == json.dumps(body)
    assert notes == []


@pytest.mark.parametrize(
    "change", [{"steps": ()}, {"modes": {"never": "x"}}, {"unloaded": ("(",)}], ids=str
)
def test_what_is_no_reload(change: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=next(iter(change))):
        dataclasses.replace(RELOAD, **change)
