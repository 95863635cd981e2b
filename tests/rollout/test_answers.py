"""What statuses, headers and bodies of servers mean."""

from __future__ import annotations

import json
from typing import Any

import pytest

from grpo_launch.rollout import answers
from grpo_launch.rollout.answers import BUSY, CONFIGURATION, DEAD, EPISODE, OK, Answer, EpisodeError

NOW = 1_700_000_000.0
MESSAGE = {"role": "assistant", "content": "hi"}


@pytest.mark.parametrize(
    ("statuses", "meaning"),
    [
        ([200], OK),
        ([408, 429, 502, 503, 504], BUSY),
        ([400, 413, 422], EPISODE),
        ([301, 307, 401, 403, 404, 405], CONFIGURATION),
        ([500, 501], DEAD),
    ],
)
def test_what_a_status_means(statuses: list[int], meaning: str) -> None:
    assert {answers.meaning(status) for status in statuses} == {meaning}


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        (None, None),
        ("3", 3.0),
        ("0.5", 0.5),
        ("-1", 0.0),
        ("nan", None),
        ("soon", None),
        ("Tue, 14 Nov 2023 22:13:30 GMT", 10.0),
        ("Tue, 14 Nov 2023 22:13:10 GMT", 0.0),
    ],
)
def test_retry_after(value: str | None, seconds: float | None) -> None:
    assert answers.retry_after(value, NOW) == seconds


def test_an_answer_with_everything() -> None:
    choice = {
        "message": {**MESSAGE, "reasoning_content": "well"},
        "finish_reason": "length",
        "token_ids": [5, 6],
        "logprobs": {"content": [{"logprob": -1}, {"logprob": -0.5}]},
    }
    usage = {"prompt_tokens": 3, "completion_tokens": 2}
    whole = {"choices": [choice], "prompt_token_ids": [1, 2, 3], "usage": usage}
    expected = Answer("hi", "length", (5, 6), (1, 2, 3), (-1.0, -0.5), 3, 2, "well")
    assert answers.read(json.dumps(whole).encode()) == expected
    del whole["usage"]  # then the ids are counted
    assert answers.read(json.dumps(whole).encode()) == expected


@pytest.mark.parametrize("content", [None, ""])
def test_an_empty_answer_is_one(content: Any) -> None:
    body = {"choices": [{"message": {"content": content}, "finish_reason": None, "logprobs": None}]}
    assert answers.read(json.dumps(body).encode()) == Answer("")


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"not JSON",
        b"\xff\xfe",
        b"[]",
        b"null",
        b"[" * 100_000,
        {},
        {"choices": []},
        {"choices": {}},
        {"choices": [None]},
        {"choices": [{"message": "hi"}]},
        {"choices": [{"message": {"content": ["hi"]}}]},
        {"choices": [{"message": MESSAGE, "finish_reason": 1}]},
        {"choices": [{"message": MESSAGE, "finish_reason": "abort"}]},
        {"choices": [{"message": MESSAGE, "token_ids": ["a"]}]},
        {"choices": [{"message": MESSAGE, "token_ids": [True]}]},
        {"choices": [{"message": MESSAGE, "token_ids": {"a": 1}}]},
        {"choices": [{"message": MESSAGE, "logprobs": {"content": [{"logprob": "x"}]}}]},
        {"choices": [{"message": MESSAGE, "logprobs": {"content": [{"logprob": float("nan")}]}}]},
        {"choices": [{"message": MESSAGE, "logprobs": {"content": 3}}]},
        {"choices": [{"message": MESSAGE}], "usage": []},
    ],
)
def test_what_is_no_answer(body: Any) -> None:
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    if body == {"choices": [{"message": MESSAGE}], "usage": []}:
        assert answers.read(content).completion_tokens == 0  # as if it had none
        return
    with pytest.raises(EpisodeError):
        answers.read(content)


@pytest.mark.parametrize(
    ("body", "shown"),
    [
        (b'{"error": {"message": "too  long\\n"}}', "too long"),
        (b'{"error": "no"}', "no"),
        (b'{"message": "vLLM once said it so"}', "vLLM once said it so"),
        (b"<html>", "<html>"),
        (b"[1]", "[1]"),
        (b"", ""),
    ],
)
def test_what_a_server_complains_of(body: bytes, shown: str) -> None:
    assert answers.complaint(body) == shown
