"""What a process, a file or a name says acts on nobody's terminal."""

from __future__ import annotations

import io
import json
import subprocess

import pytest
from hypothesis import given
from hypothesis import strategies as st

from grpo_launch.base import terminal
from grpo_launch.config.schema import ConsoleMode
from grpo_launch.execute.console import Console
from grpo_launch.planning import shell
from tests.conftest import Project

ATTACKS = (
    "\x1b[2J",
    "\x1b]0;title\x07",
    "\x1b]8;;http://x\x1b\\",
    "\x9b31m",
    "\x1bc",
    "\x7f",
    "\u202e",
)
_texts = st.lists(st.sampled_from(ATTACKS) | st.text(max_size=6), max_size=8).map("".join)


def acts(text: str) -> bool:
    return any(character in text for character in "\x1b\x9b\x7f\x07\x08\u202e")


@given(_texts, st.lists(st.integers(0, 40), max_size=5))
def test_no_sequence_comes_through_however_it_is_cut(text: str, cuts: list[int]) -> None:
    filtered = terminal.Filter()
    shown, start = "", 0
    for end in [*sorted(cuts), len(text)]:
        shown += filtered.take(text[start:end])
        start = max(start, end)
    shown += filtered.rest()
    assert not acts(shown)


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("step 1\rstep 2\r\n\tdone\n", "step 1\rstep 2\r\n\tdone\n"),
        ("\x1b[31mred\x1b[0m", "red"),
        ("a\x1b]0;title\x07b", "ab"),
        ("grün \u00a0 日本", "grün \u00a0 日本"),
        ("a\x08b", "a\\u0008b"),
        ("\x1b[" + "1" * 500, "\\u001b[" + "1" * 500),
    ],
)
def test_what_a_log_shows(text: str, shown: str) -> None:
    filtered = terminal.Filter()
    assert "".join(map(filtered.take, text)) + filtered.rest() == shown


def test_the_console_shows_a_log_without_them() -> None:
    stream = io.StringIO()
    console = Console(ConsoleMode.log, stream, hidden=["secret-1"])
    for part in ("one\x1b[3", "1m two sec", "r\x1b[0met-1\x1b]0;", "title\x07 three\n", "end\x1b["):
        console.log(part)
    console.close()
    assert stream.getvalue() == "one two ******** three\nend\\u001b["


@given(_texts.filter(lambda text: "\0" not in text).map(lambda text: text.rstrip("\n")))
def test_a_shell_reads_back_what_was_quoted(text: str) -> None:
    word = shell.quoted(text)
    assert not acts(word)
    done = subprocess.run(["sh", "-c", f"printf %s {word}"], capture_output=True, check=True)
    assert done.stdout.decode("utf-8", "surrogatepass") == text


@pytest.mark.parametrize("output", ["text", "json"])
def test_a_value_that_is_shown(project: Project, output: str) -> None:
    value = "a\x1b]0;title\x07b\x9bc"
    override = f"+env.set.X='{value}'"
    for words in (
        ("role=explain", "key=env.set.X", f"output={output}"),
        ("role=both", f"dry_run={'true' if output == 'text' else 'json'}"),
        ("role=check", f"output={output}"),
    ):
        done = project.run("config=exp", *words, override)
        assert not acts(done.stdout + done.stderr)
        if output == "json":
            json.loads(done.stdout)
            if "role=check" not in words:
                assert repr(value)[1:-1] in str(json.loads(done.stdout))


@pytest.mark.parametrize("name", ["...yaml", "..yaml", "a\x1b[31mb.yaml", "a\nb.yaml"])
def test_an_experiment_is_not_called_so(project: Project, name: str) -> None:
    (project.directory / "configs" / name).write_text("extends: exp.yaml\n")
    done = project.run("role=both", "dry_run=true", f"config='\"configs/{name}\"'")
    assert done.status == 2
    assert not acts(done.stderr)
    assert project.files() == set()


@pytest.mark.parametrize("override", ["run.dir", "launch.tag"])
def test_nor_is_a_run(project: Project, override: str) -> None:
    done = project.run("config=exp", "role=both", "dry_run=true", f"{override}='a\x1b[2Jb'")
    assert done.status == 2
    assert "control characters" in done.stderr
    assert not acts(done.stderr)


EVIL = "a\x1b]0;title\x07b\x1b[2J\x9b31m\x7f\u202ec"
KEYS = (
    "+train.nothing", "train.model.model", "+train.model.model_type", "train.data.dataset",
    "+train.rlhf.external_plugins", "+train.rlhf.reward_funcs", "train.rlhf.vllm_server_host",
    "train.training.output_dir", "env.file", "resume", "runtime.path", "runtime", "engine",
    "learner", "engine.entry", "health.path", "checks.warn", "tracking.wandb.name", "tracking",
    "launch", "+rollout_server.nothing", "role", "accelerator", "sweep.on_error", "compat", "key",
    "output", "config", "train.rlhf.num_generations", f"'+train.{EVIL}'", f"+train.model.{EVIL}",
)  # fmt: skip


@pytest.mark.parametrize("words", [["role=check"], ["role=both", "dry_run=true"], ["role=explain"]])
@pytest.mark.parametrize("key", KEYS, ids=repr)
def test_no_message_repeats_it(project: Project, key: str, words: list[str]) -> None:
    done = project.run("config=exp", *words, f"{key}='{EVIL}'")
    assert not acts(done.stdout)
    assert not acts(done.stderr)
    assert "Traceback" not in done.stderr
