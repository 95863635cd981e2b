"""Trials: loops of which something is killed again and again, and what must be true after them.

GRPO_LAUNCH_TRIAL=17 repeats the one with that seed.
"""

from __future__ import annotations

import contextlib
import json
import os
import random
import signal
import subprocess
import threading
import time
from collections.abc import Generator
from dataclasses import dataclass, replace
from pathlib import Path

from grpo_launch.runs import loop_state, reading, record
from grpo_launch.supervise import guard, proc
from tests.fakes import llamafactory
from tests.loop.rig import SAMPLES, TASKS, Loop
from tests.supervise.rig import wait_for

KILLS = 5
"""In each trial."""

ITERATIONS = 3
"""And one more whenever a loop was done before enough was killed."""
EVAL_EVERY = 2
DEADLINE_S = 90.0
"""For a machine that others use as well; an attempt takes a few seconds."""

LONGEST_S = 10.0
"""How long an attempt that has begun is left alone at most, before something is killed."""

KNOWN = {
    "launcher": (),
    "guard": (),
    "server": ("vllm_server.py",),
    "engine": ("VLLM::EngineCore",),
    "collector": ("grpo_launch.rollout",),
    "learner": ("llamafactory.py",),
    "select": ("grpo_launch.stages.select",),
    "publish": ("grpo_launch.stages.publish",),
    "swap": ("grpo_launch.stages.swap",),
}
"""The words by which processes are known."""

_USUAL = ("launcher", "launcher", "server", "engine", "collector", "learner", "guard", "guard")
SURVIVES_S = 5.0
"""What still goes on so long after something was killed goes on by itself."""

VICTIMS = {
    "restart": (*_USUAL, "select", "publish"),
    "reload": (*_USUAL, "publish", "swap"),
}

HEAD = "seed  swap     killed                 at               status  ended after"


@dataclass(frozen=True)
class Kill:
    """A row of the table.

    Attributes:
        trial: its seed.
        swap: how the loop's servers get new models.
        victim: what was killed.
        of: what it guarded, if it was a guard.
        pid: its number; 0: the loop was done before there was such a process.
        iteration, stage: that was under way.
        status: of the launcher; None: it went on by itself.
        ended_s: seconds until the launcher had ended.
    """

    trial: int
    swap: str
    victim: str
    of: str = ""
    pid: int = 0
    iteration: int = 0
    stage: str = ""
    status: int | None = 0
    ended_s: float = 0.0

    def line(self) -> str:
        """For people."""
        what = f"{self.victim} of {self.of}" if self.of else self.victim
        where = f"{self.iteration} {self.stage}" if self.pid else "it was done"
        told = "went on" if self.status is None else f"{self.status:6d} {self.ended_s:8.1f} s"
        return f"{self.trial:4d}  {self.swap:8s} {what:22s} {where:16s} {told}"


class Trial:
    """One loop, killed :data:`KILLS` times.

    Args:
        seed: says what is killed, when.
        directory: does not exist.
    """

    def __init__(self, seed: int, directory: Path) -> None:
        self._seed = seed
        self._chance = random.Random(seed)
        self.swap = ("restart", "reload")[seed % 2]
        self.loop = Loop(directory, self.swap)
        self.kills: list[Kill] = []
        self.iterations = ITERATIONS
        self._process: subprocess.Popen[str] | None = None
        self._has_begun = False
        self._faults: list[str] = []

    def run(self) -> None:
        """Kill and go on until the loop is done; raises what is wrong with it then."""
        try:
            with self._watched():
                while len([kill for kill in self.kills if kill.pid]) < KILLS:
                    self._kill_one()
                while self._process is not None or self.loop.state.iteration < self.iterations - 1:
                    self._go_on()
                    self._end()
                status = self.loop.run(*self._words(), timeout_s=DEADLINE_S)
                assert status == 0, f"the last attempt ended with {status}"
                self._nothing_is_left()
            assert not self._faults, self._faults[0]
            look(self.loop, self.iterations)
        finally:
            self.loop.close()

    def _go_on(self) -> subprocess.Popen[str]:
        """The attempt that is under way, or the next one."""
        if self._process is None:
            self._process = self.loop.start(*self._words())
            self._has_begun = False
        return self._process

    def _words(self) -> tuple[str, ...]:
        bound = (f"loop.iterations={self.iterations}", f"loop.eval_interval={EVAL_EVERY}")
        return (*bound, *self._resumption())

    def _end(self) -> int | None:
        """The status of an attempt that ends now; None where it survives what was killed."""
        assert self._process is not None
        try:
            status = self._process.wait(SURVIVES_S)
        except subprocess.TimeoutExpired:
            return None
        self._process = None
        return status

    def _resumption(self) -> tuple[str, ...]:
        """Nothing where the launcher was killed before it recorded a run."""
        runs = (self.loop.directory / "runs" / "exp").glob(f"*/{record.NAME}")
        return ("resume=latest",) if any(runs) else ()

    def _kill_one(self) -> None:
        """Kill something of an attempt, at its start or in its course."""
        victim = self._chance.choice(VICTIMS[self.swap])
        spared_s, delay_s = self._chance.uniform(0.0, LONGEST_S), self._chance.uniform(0.0, 0.4)
        is_early, already = self._chance.random() < 0.15, len(self.loop.said)
        process = self._go_on()
        kill = Kill(self._seed, self.swap, victim)
        begun = time.monotonic()
        until = begun
        while process.poll() is None and time.monotonic() - begun < DEADLINE_S:
            time.sleep(0.01)
            self._has_begun |= is_early or "\niteration " in self.loop.said[already:]
            if not self._has_begun:
                until = time.monotonic() + spared_s
            own = victim == "launcher"
            if time.monotonic() < until:
                continue
            found = [process.pid] if own else [e.pid for e in self.loop.alive() if is_a(victim, e)]
            if found:
                time.sleep(delay_s)
                pid = self._chance.choice(sorted(found))
                iteration, stage, of = *self._where(), guarded(pid)
                try:
                    os.kill(pid, signal.SIGKILL)
                except ProcessLookupError:  # it was done
                    continue
                kill = replace(kill, of=of, pid=pid, iteration=iteration, stage=stage)
                break
        killed = time.monotonic()
        self.kills.append(kill)
        status = self._end()
        if status is not None and self._chance.random() < 0.5:
            self._nothing_is_left()  # else the next attempt meets what is still ending
        if status == 0:
            self.iterations += 1
        ended_s = time.monotonic() - killed
        self.kills[-1] = replace(kill, status=status, ended_s=ended_s if kill.pid else 0.0)

    def _where(self) -> tuple[int, str]:
        """The iteration under way, and what the launcher has said of it last."""
        with contextlib.suppress(OSError, ValueError, FileNotFoundError):
            said = self.loop.said.rpartition("\niteration ")[2].partition("\n")[0]
            stage = said.partition(": ")[2].partition(" ")[0]
            between = stage in ("reward", "eval", "update")  # what an iteration came to
            return self.loop.state.iteration, "(between)" if between else stage
        return 0, ""

    def _nothing_is_left(self) -> None:
        """Guards of a killed launcher end everything, and themselves."""
        left = wait_for(self.loop.alive, lambda alive: not alive, 30)
        assert not left, [proc.command(entry.pid) for entry in left]

    @contextlib.contextmanager
    def _watched(self) -> Generator[None]:
        """Read the state all the time: it is whole, and never goes back."""
        done = threading.Event()

        def watch() -> None:
            last = (0, 0, 0)
            while not done.is_set():
                for path in (self.loop.directory / "runs" / "exp").glob("*/loop.json"):
                    try:
                        state = loop_state.read(path.parent)
                        now = (state.iteration, len(state.done), state.version)
                        if now < last:
                            raise ValueError(f"the state went back from {last} to {now}")
                        if (path.parent / record.NAME).exists():
                            reading.read(path.parent)
                    except (OSError, ValueError) as error:
                        self._faults.append(f"{type(error).__name__}: {error}")
                        return
                    last = now
                done.wait(0.02)

        watcher = threading.Thread(target=watch)
        watcher.start()
        try:
            yield
        finally:
            done.set()
            watcher.join()


def is_a(victim: str, entry: proc.Entry) -> bool:
    """Whether a process of a loop is what a trial kills."""
    if guarded(entry.pid):
        return victim == "guard"
    words = proc.words(entry.pid)
    return any(word.endswith(known) or word == known for word in words for known in KNOWN[victim])


def guarded(pid: int) -> str:
    """What a guard guards; empty: it is none."""
    mark = f"{guard.GUARD_MARK}=".encode()
    found = (v for v in proc.environ(pid) if v.startswith(mark))
    return next(found, b"").decode().rpartition(":")[2]


def look(loop: Loop, iterations: int) -> None:
    """What is true of a loop that was done, however often it was killed."""
    rows = loop.rows()
    assert [row["step"] for row in rows] == [*range(1, iterations + 1)], rows
    assert [row["version"] for row in rows] == [*range(iterations)], rows
    assert {row["update"] for row in rows} == {"done"}, rows
    assert loop.state.version == iterations
    assert loop.marks() == "", loop.marks()
    for iteration in range(iterations):
        pairs = [(f"t{task}", sample) for task in range(TASKS) for sample in range(SAMPLES)]
        answered(loop, iteration, "train", pairs)
        if iteration % EVAL_EVERY == 0:
            answered(loop, iteration, "eval", [("t0", 0), ("t1", 0)])
            assert rows[iteration]["eval_reward"] is not None
        assert not (loop.loop / f"iterations/{iteration:04d}/eval").exists() or (
            iteration % EVAL_EVERY == 0
        )
        assert rows[iteration]["kept"] == (TASKS - 1) * SAMPLES
    learned(loop, iterations)
    published(loop, iterations)


def answered(loop: Loop, iteration: int, split: str, pairs: list[tuple[str, int]]) -> None:
    """Each episode is there once, and the iteration's version has answered it."""
    episodes = loop.episodes(iteration, split)
    assert sorted((e["task"], e["sample"]) for e in episodes) == sorted(pairs), (iteration, split)
    step = llamafactory.STEPS if iteration else 0
    for episode in episodes:
        said = {m["content"] for m in episode["messages"] if m["role"] == "assistant"}
        assert said == {f"version {iteration} step {step}"}, (iteration, split, episode)
        assert episode["version"] == str(iteration), episode


def learned(loop: Loop, iterations: int) -> None:
    """Each iteration was trained on its own episodes, to its end, and never again."""
    ended = set[int]()
    reached: dict[int, int] = {}
    for line in loop.ledger():
        base = line["base"]
        assert f"/iterations/{base:04d}/" in line["output"], line
        if "step" in line:
            assert base not in ended, f"trained again: {line}"
            assert reached.get(base, 0) <= line["step"], f"began anew: {line}"
            reached[base] = line["step"]
            step = llamafactory.STEPS if base else 0
            assert line["answers"] == [f"version {base} step {step}"], line
        else:
            ended.add(base)
    assert ended == set(range(iterations)), ended


def published(loop: Loop, iterations: int) -> None:
    """The newest models are there whole, and nothing else."""
    models = loop.loop / "models"
    newest = [f"iter_{n}" for n in range(iterations - 1, iterations + 1)]
    there = sorted(path.name for path in models.iterdir())
    # What is served when the last one is published stays as well.
    assert there == [".lock", "current", *newest], there
    assert os.readlink(models / "current") == newest[-1]
    for name in newest:
        counter = int(name.removeprefix("iter_"))
        assert llamafactory.values_of(models / name) == (counter, llamafactory.STEPS)
        tokenizer = json.loads((models / name / "tokenizer.json").read_text())
        assert tokenizer == {"of": "the base"}
