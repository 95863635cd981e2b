"""Whole collections, in this process, from a server that is there."""

from __future__ import annotations

import asyncio
import json
import time
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from grpo_launch.errors import ConfigError, LaunchError, ServerDiedError
from grpo_launch.rollout import Client, Collector, Environments, Settings, Summary, Task
from tests.rollout.server import Body, Reply, Server, completion, http, said


def tasks(count: int, **columns: Any) -> list[Task]:
    return [
        Task(f"t{i}", {"messages": [{"role": "user", "content": f"t{i}"}], **columns})
        for i in range(count)
    ]


def collect(
    url: str,
    output: Path,
    todo: list[Task],
    played_in: Environments | None = None,
    report: Any = None,
    note: Any = None,
    **settings: Any,
) -> Summary:
    made = Settings((url,), **{"server_size": 4, "completion_threshold": 1.0, **settings})
    collector = Collector(
        Client.of(made), played_in or Environments(), todo, made,
        output=output, version="3", report=report, note=note, interval_s=0.02,
    )  # fmt: skip
    return asyncio.run(collector.run())


def rows(output: Path) -> list[dict[str, Any]]:
    text = (output / "episodes.jsonl").read_bytes()
    return [json.loads(line) for line in text.split(b"\n") if line]


def pairs(output: Path) -> Counter[tuple[str, int]]:
    return Counter((row["task"], row["sample"]) for row in rows(output))


class Count:
    """Done after three turns; tells how many there are at once."""

    now = most = 0

    def __init__(self, env_config: dict[str, Any]) -> None:
        self.turn = 0
        Count.now += 1
        Count.most = max(Count.most, Count.now)

    async def reset(self, request: Any) -> tuple[Any, ...]:
        return "turn 0", {}, "count"

    async def step(self, messages: list[Any]) -> tuple[Any, ...]:
        self.turn += 1
        await asyncio.sleep(0.001)
        return f"turn {self.turn}", 0.5, self.turn == 3, {"success": self.turn == 3}

    async def close(self) -> None:
        Count.now -= 1


COUNT = Environments({"count": Count}, name="count")


def test_single_turns(tmp_path: Path) -> None:
    reply = completion("4", "length", token_ids=[9, 8], logprobs={"content": [{"logprob": -1}] * 2})
    with Server(lambda *_: reply) as server:
        summary = collect(server.url, tmp_path, tasks(3), train_tasks_rollout_size=2)
    assert (summary.step, summary.max_steps, summary.ended) == (6, 6, "all")
    assert (summary.reward, summary.finish_reasons) == (None, {"length": 6})
    assert (summary.completion_length, summary.tokens_spent) == (2.0, 72)
    assert pairs(tmp_path) == {(f"t{i}", k): 1 for i in range(3) for k in range(2)}
    row = next(row for row in rows(tmp_path) if row["id"] == "t1/0")
    seconds = row.pop("seconds")
    assert 0 < seconds < 10
    user, assistant = {"role": "user", "content": "t1"}, {"role": "assistant", "content": "4"}
    assert row == {
        "id": "t1/0",
        "task": "t1",
        "sample": 0,
        "messages": [user, assistant],
        "images": [],
        "reward": None,
        "rewards": [],
        "turns": 1,
        "token_ids": [[9, 8]],
        "prompt_token_ids": [],
        "logprobs": [[-1.0, -1.0]],
        "reasoning": [""],
        "prompt_tokens": 10,
        "completion_tokens": 2,
        "finish_reason": "length",
        "version": "3",
        "split": "train",
        "error": "",
        "success": None,
        "info": "{}",
    }
    assert json.loads((tmp_path / "summary.json").read_text()) == summary.as_dict()
    assert not any("seed" in body for body in server.bodies)


def test_several_turns(tmp_path: Path) -> None:
    with Server() as server:
        summary = collect(server.url, tmp_path, tasks(5), COUNT)
    assert (summary.reward, summary.turns, summary.finish_reasons) == (1.5, 15, {"stop": 5})
    row = rows(tmp_path)[0]
    said = [message["content"] for message in row["messages"]]
    assert said == ["count", "turn 0", "42", "turn 1", "42", "turn 2", "42"]
    assert (row["rewards"], row["turns"], row["success"]) == ([0.5] * 3, 3, True)
    assert json.loads(row["info"]) == {"success": True}
    assert Count.now == 0


def test_turns_may_be_limited(tmp_path: Path) -> None:
    with Server() as server:
        summary = collect(server.url, tmp_path, tasks(2), COUNT, max_turns=2)
    assert (summary.reward, summary.finish_reasons) == (1.0, {"max_turns": 2})


@pytest.mark.parametrize(("size", "environments", "most"), [(4, 2, 2), (2, 6, 6), (3, None, 3)])
def test_environments_are_pooled_apart_from_requests(
    size: int, environments: int | None, most: int, tmp_path: Path
) -> None:
    Count.most = 0
    with Server(lambda *_: completion(after_s=0.002)) as server:
        collect(server.url, tmp_path, tasks(12), COUNT, server_size=size, environments=environments)
    assert Count.most == most
    assert server.most <= size


def test_one_row_has_the_keys_and_types_of_any_other(tmp_path: Path) -> None:
    def answer(body: Body, count: int) -> Reply:
        return http(400) if said(body) == "t1" else completion()

    with Server(answer) as server:
        collect(server.url, tmp_path, tasks(2), max_failed=1.0)
    failed = next(row for row in rows(tmp_path) if row["error"])
    whole = next(row for row in rows(tmp_path) if not row["error"])
    assert list(failed) == list(whole)
    assert failed["error"] == "status 400"
    assert (failed["finish_reason"], failed["turns"]) == ("error", 0)
    assert failed["messages"] == [{"role": "user", "content": "t1"}]


def test_what_is_finished_is_not_played_again(tmp_path: Path) -> None:
    """In another order, after a cut line, with failed ones: nothing is missing or there twice."""
    with Server(lambda body, _: http(400) if said(body) == "t3" else completion()) as server:
        collect(server.url, tmp_path, tasks(6), max_failed=1.0)
    (tmp_path / "summary.json").unlink()
    file = tmp_path / "episodes.jsonl"
    file.write_bytes(file.read_bytes()[:-20])
    left = [json.loads(line) for line in file.read_bytes().split(b"\n")[:-1]]
    finished = [row["task"] for row in left if not row["error"]]
    notes: list[str] = []
    with Server() as server:
        summary = collect(
            server.url, tmp_path, tasks(6)[::-1], note=notes.append,
            seed=9, train_tasks_rollout_size=2,
        )  # fmt: skip
    assert pairs(tmp_path) == {(f"t{i}", k): 1 for i in range(6) for k in range(2)}
    assert summary.resumed == len(finished) >= 4
    assert (summary.step, summary.failed) == (12, 0)
    assert len(server.bodies) == 12 - len(finished)
    assert "1 damaged line(s) dropped" in notes[0]


def test_what_is_complete_is_not_begun_again(tmp_path: Path) -> None:
    with Server() as server:
        first = collect(server.url, tmp_path, tasks(3))
    notes: list[str] = []
    assert collect(server.url, tmp_path, tasks(3), note=notes.append) == first
    assert notes == [f"{tmp_path}: is complete"]
    with pytest.raises(ServerDiedError):  # more are wanted, and nobody is there
        collect(server.url, tmp_path, tasks(4))


def test_other_tasks_are_not_complete_because_as_many_were(tmp_path: Path) -> None:
    notes: list[str] = []
    with Server() as server:
        collect(server.url, tmp_path, tasks(4))
        others = [Task(f"u{i}", task.row) for i, task in enumerate(tasks(4))]
        summary = collect(server.url, tmp_path, others, note=notes.append)
    assert (summary.step, summary.max_steps, summary.abandoned) == (4, 4, 0)
    assert {task for task, _ in pairs(tmp_path)} == {
        f"{name}{i}" for name in "tu" for i in range(4)
    }
    assert notes == [f"{tmp_path / 'episodes.jsonl'}: 4 episode(s) of other tasks stay, uncounted"]


def test_episodes_of_other_weights_are_not_mixed_with_these(tmp_path: Path) -> None:
    with Server() as server:
        collect(server.url, tmp_path, tasks(2))
        before = (tmp_path / "episodes.jsonl").read_bytes()
        other = Settings((server.url,), completion_threshold=1.0)
        collector = Collector(
            Client.of(other), Environments(), tasks(2), other, output=tmp_path, version="4"
        )
        with pytest.raises(
            ConfigError, match="episodes of version 3, these are of 4, name another"
        ):
            asyncio.run(collector.run())
    assert (tmp_path / "episodes.jsonl").read_bytes() == before


def test_it_ends_early_once_enough_have_ended(tmp_path: Path) -> None:
    def answer(body: Body, count: int) -> Reply:
        return completion(after_s=60 if said(body) == "t3" else 0)

    with Server(answer) as server:
        begun = time.monotonic()
        summary = collect(server.url, tmp_path, tasks(10), completion_threshold=0.9, grace_s=0.3)
    assert 0.3 <= time.monotonic() - begun < 10
    assert (summary.step, summary.abandoned, summary.failed) == (9, 1, 0)
    assert summary.ended == "completion_threshold"
    assert "t3" not in {row["task"] for row in rows(tmp_path)}
    assert collect("http://127.0.0.1:9", tmp_path, tasks(10), completion_threshold=0.9) == summary


def test_what_ends_in_the_grace_is_kept(tmp_path: Path) -> None:
    def answer(body: Body, count: int) -> Reply:
        return completion(after_s=0.3 if said(body) == "t3" else 0)

    with Server(answer) as server:
        summary = collect(server.url, tmp_path, tasks(10), completion_threshold=0.9, grace_s=60)
    assert (summary.step, summary.ended) == (10, "all")


def test_an_attempt_that_begins_above_the_threshold_gives_the_grace(tmp_path: Path) -> None:
    with Server() as server:
        collect(server.url, tmp_path, tasks(9))
    with Server(lambda *_: completion(after_s=60)) as server:
        summary = collect(server.url, tmp_path, tasks(10), completion_threshold=0.8, grace_s=0.1)
    assert (summary.step, summary.abandoned) == (9, 1)


def test_too_many_failures_end_it_with_the_most_frequent_reasons(tmp_path: Path) -> None:
    def answer(body: Body, count: int) -> Reply:
        number = int(said(body)[1:])
        return http(400, {"error": f"reason {min(number % 8, 3)}"})

    with Server(answer) as server, pytest.raises(LaunchError) as error:
        collect(server.url, tmp_path, tasks(100), server_size=1, max_failed=0.3, token_ids=False)
    assert error.value.status == 1
    assert error.value.what.startswith("31 of 100 episodes failed (")
    assert error.value.what.count(" x status 400 (reason ") == 3
    assert len(rows(tmp_path)) == 31
    assert not (tmp_path / "summary.json").exists()


def test_few_failures_are_counted_by_reason(tmp_path: Path) -> None:
    def answer(body: Body, count: int) -> Reply:
        return {"t1": http(200, b"x"), "t2": http(400)}.get(said(body), completion())

    with Server(answer) as server:
        summary = collect(server.url, tmp_path, tasks(10), max_failed=0.2)
    assert (summary.step, summary.failed) == (8, 2)
    assert summary.errors == {"the answer is no chat completion": 1, "status 400": 1}


def test_an_episode_has_an_end(tmp_path: Path) -> None:
    with Server(lambda *_: completion(after_s=60)) as server:
        summary = collect(
            server.url, tmp_path, tasks(2), COUNT, episode_timeout_s=0.2, max_failed=1.0,
            environments=1,
        )  # fmt: skip
    assert len(server.bodies) == 2  # waiting for the other's environment is no part of it
    assert summary.errors == {"not done within 0.2 s": 2}


def test_an_environment_that_hangs_or_is_cancelled_fails_its_episode(tmp_path: Path) -> None:
    class Hangs(Count):
        async def step(self, messages: list[Any]) -> tuple[Any, ...]:
            if messages[0]["content"] == "count" and len(messages) > 3:
                raise asyncio.CancelledError
            return await super().step(messages)

    with Server() as server:
        environments = Environments({"h": Hangs}, name="h")
        summary = collect(server.url, tmp_path, tasks(2), environments, max_failed=1.0)
    assert summary.errors == {"environment: it was cancelled": 2}
    assert Count.now == 0


@pytest.mark.costly
@pytest.mark.parametrize("later", range(8))
def test_a_dead_server_ends_it_at_once(tmp_path: Path, later: int) -> None:
    """Also where other episodes end in the same moment."""
    with Server() as server:
        server.answer = lambda *_: http(500) if len(server.bodies) == 20 + later else completion()
        with pytest.raises(ServerDiedError):
            collect(server.url, tmp_path, tasks(3000), server_size=64)
        assert 20 + later <= len(server.bodies) < 600  # what is on its way then is answered
    assert all(not row["error"] for row in rows(tmp_path))


def test_a_cap_on_tokens_ends_it_well(tmp_path: Path) -> None:
    with Server() as server:  # 12 tokens a request
        capped: dict[str, Any] = {"max_tokens_spent": 120, "server_size": 2}
        summary = collect(server.url, tmp_path, tasks(20), COUNT, **capped)
        assert summary.ended == "max_tokens_spent"
        assert 120 <= summary.tokens_spent <= 132
        assert summary.failed == 0
        assert summary.abandoned == 20 - summary.step
        assert collect(server.url, tmp_path, tasks(20), COUNT, **capped) == summary
        more = collect(server.url, tmp_path, tasks(20), COUNT, max_tokens_spent=100_000)
    assert (more.step, more.ended) == (20, "all")
    assert more.tokens_spent == 12 * len(server.bodies)
    assert pairs(tmp_path) == {(f"t{i}", 0): 1 for i in range(20)}


def test_a_task_that_names_what_is_not_there_ends_it_before_it_begins(tmp_path: Path) -> None:
    todo = [*tasks(5), Task("odd", {"env_config": {"name": "chess"}})]
    with Server() as server, pytest.raises(ConfigError, match="task odd: no environment"):
        collect(server.url, tmp_path, todo)
    assert server.bodies == []


def test_progress_is_written_and_reported(tmp_path: Path) -> None:
    reported: list[dict[str, Any]] = []
    with Server(lambda *_: completion(after_s=0.3)) as server:
        summary = collect(server.url, tmp_path, tasks(8), report=reported.append)
    lines = [json.loads(x) for x in (tmp_path / "progress.jsonl").read_text().splitlines()]
    assert lines == reported
    assert len(lines) > 2
    steps = [line["step"] for line in lines]
    assert steps == sorted(steps)
    assert steps[-1] == lines[-1]["max_steps"] == 8
    assert max(line["waiting_for_model"] for line in lines) == 4
    assert summary.limit == lines[-1]["limit"] == "model"
    assert 0 < summary.episodes_per_s < 1000


def test_a_slow_environment_is_the_limit(tmp_path: Path) -> None:
    class Slow(Count):
        async def step(self, messages: list[Any]) -> tuple[Any, ...]:
            await asyncio.sleep(0.7)
            return "", 1, True, {}

    with Server() as server:
        summary = collect(server.url, tmp_path, tasks(4), Environments({"s": Slow}, name="s"))
    assert summary.limit == "environment"


def test_servers_share_by_weight(tmp_path: Path) -> None:
    slow = lambda *_: completion(after_s=0.1)  # noqa: E731
    with Server(slow) as big, Server(slow) as small:
        made = Settings(
            (big.url, small.url), server_size=2, weights=(3.0, 1.0), completion_threshold=1.0
        )
        collector = Collector(
            Client.of(made), Environments(), tasks(40), made, output=tmp_path, split="train"
        )
        asyncio.run(collector.run())
    assert (big.most, small.most) == (6, 2)
    assert 20 <= len(big.bodies) <= 38
