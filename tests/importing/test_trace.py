"""A script is run with stand-ins, and what it calls is compared with what was read."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

from grpo_launch import bash
from grpo_launch.errors import ConfigError
from grpo_launch.importing.launches import sorted_calls
from grpo_launch.importing.trace import different, traced
from tests.importing.imports import imported

pytestmark = pytest.mark.skipif(shutil.which("bash") is None, reason="there is no bash")

SCRIPT = """\
export A=1
ARGS=(--dataset a 'b c' --beta 0.1)
for i in 0 1; do
  CUDA_VISIBLE_DEVICES=$i nohup swift rollout --model m --port $((8000 + i)) > s$i.log 2>&1 &
done
sleep 600
until curl -s localhost:8000/health/; do sleep 600; done
conda run -n rl swift rlhf --model m "${ARGS[@]}" --run_name "r$1"
wait
"""


@pytest.mark.slow
def test_a_run_calls_what_was_read(tmp_path: Path) -> None:
    result = imported(tmp_path, {"script.sh": SCRIPT}, ["--trace", "--line", "8", "--", "5"])
    (announced, *_) = result.said
    assert announced.startswith("trace: runs script.sh for at most 60 s in an empty directory")
    assert [file.name for file in tmp_path.iterdir()] == ["script.sh"]


def test_what_is_called_is_seen_whole(tmp_path: Path) -> None:
    script = tmp_path / "script.sh"
    script.write_text(SCRIPT)
    given = {"GIVEN": "x"}
    trace = traced(script, ["5"], given)
    text = bash.read(SCRIPT.encode(), "script.sh", arguments=["5"], settings=given)
    read = sorted_calls(text).launches
    assert (trace.status, different(read, trace)) == (0, [])
    assert len(trace.calls) == 3


def test_what_is_left_in_the_background_is_seen(tmp_path: Path) -> None:
    """Also where its output goes to a directory that the script expects to be there."""
    script = "cd sub\nA=$X nohup vllm serve m --port 8000 > logs/server.log 2>&1 &\n"
    options = ["--trace", "--set", "X=1"]
    result = imported(tmp_path, {"script.sh": script}, options)
    assert result.says("trace: 1 launches read, 0 differences to what was called")


@pytest.mark.slow
def test_nothing_comes_before_the_stand_ins(tmp_path: Path) -> None:
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "swift").write_text(f"#!/bin/sh\n: > {tmp_path}/ran\n")
    (tmp_path / "bin" / "swift").chmod(0o755)
    (tmp_path / "bin" / "activate").write_text(f"PATH={tmp_path}/bin:$PATH\n")
    start = "swift sft --model m --dataset a"
    for line in (f"export PATH={tmp_path}/bin:$PATH", f"source {tmp_path}/bin/activate"):
        script = f"f() {{ (nohup {start}); }}\n{line}\nf &\nwait\n"
        result = imported(tmp_path, {"script.sh": script}, ["--trace", "--set", "PATH=/usr/bin"])
        assert result.says("trace: 1 launches read, 0 differences"), result.said
    for line in (f"PATH={tmp_path}/bin:$PATH {start}", f"nohup {tmp_path}/bin/{start}"):
        with pytest.raises(ConfigError, match=r"script.sh:1: would really start"):
            imported(tmp_path, {"script.sh": f"{line}\n"}, ["--trace", "--set", "PATH=/usr/bin"])
    assert not (tmp_path / "ran").exists()


def test_a_call_that_was_read_otherwise_is_named(tmp_path: Path) -> None:
    script = tmp_path / "script.sh"
    script.write_text("A=1 B=2 swift sft --model m\nswift sft --model n\n")
    other = b"A=0 C=3 swift sft --model m\nswift sft --model o\n"
    read = sorted_calls(bash.read(other, "script.sh")).launches
    assert different(read, traced(script, [], {})) == [
        (1, "A was '1' when it was called"),
        (1, "C was not set when it was called"),
        (1, "B was set when it was called"),
        (2, "swift sft was not called as it was read"),
        (0, "swift sft was called, which was not read"),
    ]


@pytest.mark.slow
def test_a_script_that_does_not_end_is_ended(tmp_path: Path) -> None:
    script = tmp_path / "script.sh"
    script.write_text(
        'swift sft --model m\necho $$ > "$OUT"\nwhile :; do read -t 60 < <(:); done\n'
    )
    trace = traced(script, [], {"OUT": str(tmp_path / "pid")}, limit_s=1.0)
    assert trace.status is None
    assert len(trace.calls) == 1
    with pytest.raises(ProcessLookupError):
        os.kill(int((tmp_path / "pid").read_text()), 0)
