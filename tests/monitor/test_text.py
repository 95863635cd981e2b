"""What ``list``, ``status`` and ``watch`` print, whole; rewrite with --update-golden."""

from __future__ import annotations

import io
import json
import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from grpo_launch.monitor import detail, listing, living, status, view, watch, words
from grpo_launch.monitor.context import Context
from grpo_launch.runs import find
from grpo_launch.supervise import proc
from tests.advice.made import steady
from tests.monitor.made import NOBODY, START, going_on, identity, lost, make_run, process

SERVER = NOBODY + 10  # a pid that no real process has, here of the machine below
GOLDEN = Path(__file__).with_name("golden")
PLAN = GOLDEN.parents[1] / "plan" / "golden" / "summary_1024-both.json"
"""A plan as it is today, with what the engine and the learner know of their logs."""


@pytest.fixture
def golden(request: pytest.FixtureRequest, context: Context) -> Callable[[str], None]:
    def compare(name: str) -> None:
        assert isinstance(context.stdout, io.StringIO)
        text = context.stdout.getvalue()
        text = text.replace(f"pid {os.getpid()}", "pid PID")
        path = GOLDEN / name
        if request.config.getoption("--update-golden"):
            path.parent.mkdir(exist_ok=True)
            path.write_text(text)
        assert text == path.read_text()

    return compare


@pytest.fixture(autouse=True)
def machine(monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine with a server, the engine below it, and nothing else."""
    server = proc.read(os.getpid())
    assert server is not None
    entries = [
        server._replace(pid=pid, ppid=ppid, start_time=0)
        for pid, ppid in ((SERVER, 1), (SERVER + 1, SERVER), (SERVER + 2, SERVER + 1))
    ]
    there = living.Machine(entries={entry.pid: entry for entry in entries})
    monkeypatch.setattr(living, "look", lambda: there)


def make_several(root: Path) -> None:
    make_run(root, "exp/20261120-140000-aaaa", steps=40, started=START - 86400 * 2)
    failed = {"state": "failed", "status": 7, "reason": "the learner ended with status 7"}
    make_run(root, "exp/20261121-135000-bbbb", **failed)
    make_run(root, "big/20261121-135500-cccc", **lost())
    make_run(root, "exp/20261121-135600-dddd", **lost(processes={"server": process(SERVER)}))
    other = {**identity(), "host": "node7"}
    make_run(root, "exp/20261121-135700-eeee", **going_on(supervisor=other))
    (make_run(root, "exp/20261121-135800-ffff") / "run.json").write_text('{"format": 1}')
    make_run(root, "exp/20261121-140000-0000", steps=12, **going_on())
    (root / "latest").symlink_to("exp/20261121-140000-0000")


def make_one(root: Path) -> Path:
    text = b"\x1b[32mstep 12\x1b[0m\n" + b"a line " * 40 + b"\n\x00binary\x07 [brackets]\n"
    gpus = {"server": "0,1", "learner": "2"}
    return make_run(
        root,
        steps=12,
        gpus=gpus,
        logs={"server": b"INFO: ready\n", "learner": text},
        **going_on(processes={"server": process(SERVER), "learner": process(code=7)}),
    )


def test_list(context: Context, golden: Callable[[str], None]) -> None:
    make_several(context.root)
    assert listing.run(context, as_json=False) == 0
    golden("list.txt")


WHY = "the learner ended with status 1: rewards/mine.py:5 TypeError: unsupported operand types"


@pytest.mark.parametrize("width", [40, 60, 100, 140, 200])
def test_nothing_is_broken_inside_of_a_word(context: Context, width: int) -> None:
    failed = make_run(context.root, state="failed", status=1, reason=WHY)
    run = view.view(find.one(str(failed), context.root, context.cwd), living.Machine({}))
    listed = listing.lines([run], START, width)
    shown = status.lines(detail.detail(run), START, str(context.cwd))
    for told in (listed, [part for line in shown for part in words.fit(line, width)]):
        whole = " ".join(" ".join(told).split())
        assert " ".join(WHY.split()) in whole
        longest = max(len(word) for word in whole.split())
        assert all(len(line) <= max(width, 4 + longest) for line in told)
    beside = any("http://" in line and "TypeError" in line for line in listed)
    assert beside is (width >= 200)
    assert listing.lines([run], START)[1].endswith(WHY)


def test_alarms_stand_below_their_run_each_once(
    context: Context, printed: Callable[[], str]
) -> None:
    message = "'failed': its rollouts are stale"
    alarm = {"process": "server", "attempt": 1, "message": message, "time": START}
    make_run(context.root, alarms=[alarm, {**alarm, "attempt": 2}])
    listing.run(context, as_json=False)
    status.run(context, "latest", as_json=False)
    assert printed().count(f"  alarm: server: {message}\n") == 2
    listing.run(replace(context, stdout=(stream := io.StringIO())), as_json=True)
    assert json.loads(stream.getvalue())["runs"][0]["alarms"][0] == alarm


def test_what_was_ended_is_stopped(context: Context) -> None:
    ended = {"server": {**process(code=143), "stopped": True}, "learner": process(code=143)}
    make_run(context.root, processes=ended)
    assert status.run(context, "exp", as_json=False) == 0
    assert isinstance(context.stdout, io.StringIO)
    lines = context.stdout.getvalue().splitlines()
    assert [line.split()[3:5] for line in lines if line.startswith("  server   pid")] == [
        ["stopped", "swift"]
    ]
    assert any("exit 143" in line for line in lines if line.startswith("  learner  pid"))


def test_watch_shows_the_figures_of_grpo_and_no_access_log(
    context: Context, printed: Callable[[], str]
) -> None:
    access = b'INFO:     127.0.0.1:36360 - "POST /infer/ HTTP/1.1" 200 OK\n'
    run = make_run(
        context.root,
        logs={"server": b"INFO: ready\n" + access * 200, "learner": b"x\n"},
        **going_on(processes={}),
    )
    places = {"run_dir": str(run), "output_dir": str(run / "output")}
    (run / "plan.json").write_text(json.dumps({**json.loads(PLAN.read_text()), **places}))
    generation = {"reward": 0.5, "reward_std": 0.125, "kl": 0.0021, "rewards/Fmt/mean": 0.75}
    rows = [generation, {"rewards/Len/mean": -0.5}, {}]
    rows = [
        {**row, "loss": 0.0, "global_step/max_steps": f"{n}/40"} for n, row in enumerate(rows, 1)
    ]
    (run / "output" / "v0").mkdir(parents=True)
    (run / "output" / "v0" / "logging.jsonl").write_text(
        "".join(json.dumps(r) + "\n" for r in rows)
    )
    assert watch.run(context, "exp", as_json=False) == 0
    shown = printed()
    assert "step    3/40" in shown
    assert "reward  0.50" in shown
    assert "std 0.125  Fmt 0.75  Len -0.5" in shown
    assert "kl      0.0021" in shown
    assert "INFO: ready" in shown
    assert "POST" not in shown


def make_without_rewards(root: Path) -> None:
    run = make_run(root, **going_on(processes={}, urls=[]))
    places = {"run_dir": str(run), "output_dir": str(run / "output"), "metrics": LOSSES}
    (run / "plan.json").write_text(json.dumps({**json.loads(PLAN.read_text()), **places}))
    rows = [
        {"n": n, "of": 20, "loss": 8.0 / n, "elapsed": f"0:00:{3 * n:02d}"} for n in range(1, 9)
    ]
    (run / "output").mkdir()
    (run / "output" / "log.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))


LOSSES = {
    "files": ["log.jsonl"],
    "step": "n",
    "max_steps": "of",
    "loss": "loss",
    "elapsed": "elapsed",
}


def test_a_training_without_rewards_is_told_by_its_loss(
    context: Context, printed: Callable[[], str]
) -> None:
    make_without_rewards(context.root)
    listing.run(context, as_json=False)
    status.run(context, "latest", as_json=False)
    watch.run(context, "latest", as_json=False)
    head, row, *shown = printed().splitlines()
    cells = dict(zip(head.split(), row.split(), strict=False))
    assert (cells["STEP"], cells["REWARD"], cells["LOSS"]) == ("8/20", "-", "1")
    assert any("step" in line and "8/20, loss 1, 3.0 s/step" in line for line in shown)
    curve = next(line for line in shown if line.startswith("loss"))
    assert curve.split()[1:] == ["1", "█▄▂▂▁▁▁▁", "1", "to", "8"]
    assert not any("generation" in line for line in shown)


def test_the_losses_as_json(context: Context, printed: Callable[[], str]) -> None:
    make_without_rewards(context.root)
    status.run(context, "latest", as_json=True)
    shown = json.loads(printed())
    assert (shown["loss"], shown["reward"]) == (1.0, None)
    watch.run(replace(context, stdout=(stream := io.StringIO())), "latest", as_json=True)
    shown = json.loads(stream.getvalue())
    assert shown["losses"][:2] == [[1, 8.0], [2, 4.0]]


def test_status(context: Context, golden: Callable[[str], None]) -> None:
    checkpoint = make_one(context.root) / "output" / "v0-now" / "checkpoint-10"
    checkpoint.mkdir()
    (checkpoint / "trainer_state.json").write_text('{"global_step": 10}')
    (checkpoint / "pytorch_model.bin").write_text("weights")
    os.utime(checkpoint / "trainer_state.json", (START + 60, START + 60))
    assert status.run(context, "latest", as_json=False) == 0
    golden("status.txt")


def test_watch_without_a_terminal(
    context: Context, golden: Callable[[str], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    make_one(context.root)
    monkeypatch.setitem(__import__("sys").modules, "pynvml", None)
    assert watch.run(context, "exp", as_json=False) == 0
    golden("watch.txt")


TIMING = steady(12, 0.6, 0.2, 1.1)


@pytest.mark.parametrize("name", ["status", "watch"])
def test_where_a_step_s_seconds_go(
    context: Context, golden: Callable[[str], None], name: str
) -> None:
    make_run(context.root, steps=12, timing=TIMING, **going_on(processes={}))
    command = {"status": status.run, "watch": watch.run}[name]
    assert command(context, "exp", as_json=False) == 0
    golden(f"{name}_timed.txt")


def test_the_split_of_a_step_as_json(context: Context, printed: Callable[[], str]) -> None:
    make_run(context.root, steps=12, timing=TIMING, **going_on(processes={}))
    assert status.run(context, "exp", as_json=True) == 0
    split = json.loads(printed())["split"]
    documented = (Path(__file__).resolve().parents[2] / "docs" / "runs.md").read_text()
    assert [name for name in split if f"`{name}`" not in documented] == []
    assert split["generations"] == 10
    assert split["generate_s"] == pytest.approx(0.6)
    assert split["server_idle"] == pytest.approx(0.6)
    assert split["learner_waits"] == pytest.approx(0.3)


class FakeNvml:
    """The functions of nvidia-ml-py that are used; GPU 1 does not exist."""

    class NVMLError(Exception):
        pass

    closed = False

    def nvmlInit(self) -> None:
        pass

    def nvmlShutdown(self) -> None:
        self.closed = True

    def nvmlDeviceGetHandleByIndex(self, index: int) -> int:
        if index == 1:
            raise self.NVMLError
        return index

    def nvmlDeviceGetMemoryInfo(self, handle: int) -> object:
        return type("Memory", (), {"used": (60 + handle) << 30, "total": 80 << 30})

    def nvmlDeviceGetUtilizationRates(self, handle: int) -> object:
        if handle == 2:
            raise self.NVMLError
        return type("Rates", (), {"gpu": 97})


def test_watch_with_nvml(
    context: Context, golden: Callable[[str], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    make_one(context.root)
    nvml = FakeNvml()
    monkeypatch.setitem(__import__("sys").modules, "pynvml", nvml)
    assert watch.run(context, "exp", as_json=False) == 0
    assert nvml.closed
    golden("watch_nvml.txt")


def test_json_has_the_documented_fields(context: Context, printed: Callable[[], str]) -> None:
    make_several(context.root)
    documented = (Path(__file__).resolve().parents[2] / "docs" / "runs.md").read_text()
    bodies: list[dict[str, object]] = []
    for command in (
        lambda c: listing.run(c, as_json=True),
        lambda c: status.run(c, "latest", as_json=True),
        lambda c: watch.run(c, "latest", as_json=True),
    ):
        stream = io.StringIO()
        assert command(replace(context, stdout=stream)) == 0
        bodies.append(json.loads(stream.getvalue()))
    runs = bodies[0]["runs"]
    assert isinstance(runs, list)
    assert {run["state"] for run in runs} == {"done", "failed", "lost", "training", "unreadable"}
    fields = {*bodies[0], *runs[0], *bodies[1], *bodies[2]}
    assert [name for name in sorted(fields) if f"`{name}`" not in documented] == []
    assert set(runs[0]) < set(bodies[1]) < set(bodies[2])


def test_no_runs_is_no_error(context: Context, printed: Callable[[], str]) -> None:
    assert listing.run(context, as_json=False) == 0
    assert printed() == ""
    assert listing.run(context, as_json=True) == 0
    assert json.loads(printed()) == {"format": 1, "runs": []}
