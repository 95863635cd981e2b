"""Secrets: known by name, masked where text is shown, scrubbed from files in place."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from grpo_launch.base import redaction

SECRETS = ("planted-secret-1", 'another/secret\\with"quotes', "ünïcode-geheim")
NAMED = {f"{letter}_TOKEN": secret for letter, secret in zip("ABC", SECRETS, strict=True)}


@pytest.mark.parametrize(
    "name",
    [
        *("WANDB_API_KEY", "HF_TOKEN", "hub_token", "MODELSCOPE_API_TOKEN", "token"),
        *("DB_PASSWORD", "PASSWORD", "AWS_SECRET_ACCESS_KEY", "CLIENT_SECRET", "OPENAI_APIKEY"),
        *(
            "HF_TOKEN_2",
            "HF_TOKEN2",
            "API_TOKENS",
            "GH_PAT",
            "OPENAI_KEY",
            "WANDB_KEYS",
            "api_keys",
        ),
    ],
)
def test_secret_names(name: str) -> None:
    assert redaction.is_secret_name(name)


@pytest.mark.parametrize(
    "name",
    [
        *("eos_token", "pad_token", "max_new_tokens", "TOKENIZERS_PARALLELISM", "HF_TOKEN_PATH"),
        *("MAX_NEW_TOKENS", "num_batched_tokens", "new_special_tokens", "sequence_token"),
        *("PUBLIC_KEY", "SORT_KEY", "reft_layer_key", "PATTERN", "COMPAT", "TOKENS_PER_STEP"),
        *("WANDB_PROJECT", "PATH", "KEYBOARD", "SSH_AUTH_SOCK", "WANDB_IDENTITY_TOKEN_FILE"),
    ],
)
def test_other_names(name: str) -> None:
    assert not redaction.is_secret_name(name)


def test_secrets_are_long_values_of_secret_names() -> None:
    environ = {"A_TOKEN": "12345678", "B_TOKEN": "1234567", "PATH": "/usr/bin:/bin", "C_TOKEN": ""}
    assert redaction.secrets(environ) == ("12345678",)


def test_what_a_url_says_to_log_in_is_secret_in_any_variable() -> None:
    environ = {"HTTP_PROXY": "http://me:pass%40word@proxy:3128/", "ORIGIN": "http://a:8000/@b"}
    assert redaction.secrets(environ) == ("me:pass%40word", "pass%40word")


def test_named_secrets_are_stars_in_data_and_in_yaml() -> None:
    data = {
        "hub_token": "abcdef",
        "eos_token": "<eos>",
        "env": {"set": {"OPENAI_KEY": "sk-1", "URL": "http://me:password@host/x", "N": 3}},
        "list": [{"password": "hunter2"}],
    }
    hidden = {
        "hub_token": "******",
        "eos_token": "<eos>",
        "env": {"set": {"OPENAI_KEY": "****", "URL": f"http://{'*' * 11}@host/x", "N": 3}},
        "list": [{"password": "*******"}],
    }
    assert redaction.without_named(data) == hidden
    shown = redaction.without_named_in_yaml(yaml.safe_dump(data))
    assert yaml.safe_dump(data).count("\n") == shown.count("\n")
    for secret in ("abcdef", "sk-1", "password@", "hunter2"):
        assert secret not in shown
    for other in ("hub_token: ******", "eos_token: <eos>", "N: 3", "@host/x"):
        assert other in shown


def test_what_is_below_a_secret_name_is_secret() -> None:
    data = {"GH_PAT": {"x": "hunter2", "y": ["hunter2"]}, "hub_token": ["hunter2"], "a": ["shown"]}
    for text in (yaml.safe_dump(redaction.without_named(data)), yaml.safe_dump(data)):
        shown = redaction.without_named_in_yaml(text)
        assert "hunter2" not in shown
        assert "shown" in shown
    assert redaction.is_secret_place("custom.extra.launch.env.set.GH_PAT.x")
    assert not redaction.is_secret_place("custom.extra.launch.env.set.PATH")


def test_a_short_password_in_a_url_is_hidden_there_alone() -> None:
    assert redaction.without_named_in_yaml("a: http://u:a@a/a") == "a: http://***@a/a"


@pytest.mark.parametrize("line", ["hub_token: null", "api_key: ''", "tokens: []", "token: ???"])
def test_nothing_is_no_secret_in_yaml(line: str) -> None:
    assert redaction.without_named_in_yaml(line) == line


def test_a_secret_of_several_lines_is_found_line_by_line() -> None:
    found = redaction.secrets({"SSH_PRIVATE_KEY": "first line\nsecond line\n"})
    assert {"first line", "second line", "first line\nsecond line"} <= {*found}


def test_a_secret_is_found_as_json_escapes_it() -> None:
    assert 'a\\"b\\\\cdefgh' in redaction.secrets({"A_TOKEN": 'a"b\\cdefgh'})


def test_the_longest_is_masked_first() -> None:
    hidden = redaction.secrets({"A_TOKEN": "12345678", "B_TOKEN": "1234567890"})
    assert redaction.masked("x1234567890x", hidden) == "x**********x"


_pieces = st.lists(st.sampled_from(SECRETS) | st.text(max_size=8), max_size=8).map("".join)


@given(_pieces, st.lists(st.integers(1, 12), min_size=1))
def test_a_secret_in_two_parts_of_a_text_is_masked(text: str, sizes: list[int]) -> None:
    hidden = redaction.secrets(
        {"A_TOKEN": SECRETS[0], "B_TOKEN": SECRETS[1], "C_TOKEN": SECRETS[2]}
    )
    mask, shown, rest = redaction.Mask(hidden), "", text
    for size in sizes:
        shown += mask.take(rest[:size])
        rest = rest[size:]
    shown += mask.take(rest) + mask.rest()
    assert len(shown) == len(text)
    assert not any(secret in shown for secret in hidden)
    assert all(a in (b, "*") for a, b in zip(shown, text, strict=True))


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.sampled_from([s.encode() for s in SECRETS]) | st.binary(max_size=40)))
def test_a_file_is_scrubbed_in_place(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, parts: list[bytes]
) -> None:
    monkeypatch.setattr(redaction, "_CHUNK", 16)  # so that secrets lie across the parts read
    hidden = redaction.secrets(
        {"A_TOKEN": SECRETS[0], "B_TOKEN": SECRETS[1], "C_TOKEN": SECRETS[2]}
    )
    path = tmp_path / "log"
    before = b"".join(parts)
    path.write_bytes(before)
    os.utime(path, ns=(1, 2))
    holds = any(secret.encode() in before for secret in hidden)
    assert redaction.scrub(path, hidden) == holds
    after = path.read_bytes()
    assert len(after) == len(before)
    assert not any(secret.encode() in after for secret in hidden)
    assert all(a in (b, ord("*")) for a, b in zip(after, before, strict=True))
    assert path.stat().st_mtime_ns == 2
    if not holds:
        assert after == before


def test_links_are_not_followed_and_failures_are_named(tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.write_text(SECRETS[0])
    below = tmp_path / "logs" / "deep"
    below.mkdir(parents=True)
    (below / "a.log").write_text(f"x {SECRETS[0]}")
    (below / "link").symlink_to(outside)
    os.mkfifo(below / "pipe")  # opening it would block
    assert redaction.scrub_below(str(tmp_path / "logs"), SECRETS) == []
    assert (below / "a.log").read_text() == "x " + "*" * len(SECRETS[0])
    assert outside.read_text() == SECRETS[0]


def test_values_that_a_command_line_gives_to_secret_names() -> None:
    given = [
        "+env.set.WANDB_API_KEY='abc'",
        "+env.set.A_TOKEN=abc,def",
        "config=x",
        "train.training.hub_token=hf_1",
        "-m",
    ]
    assert redaction.of_arguments(given) == {
        "WANDB_API_KEY": "abc",
        "A_TOKEN": "abc,def\nabc\ndef",
        "hub_token": "hf_1",
    }
