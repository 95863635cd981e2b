"""Completion in real shells, installed as the documentation says."""

from __future__ import annotations

import os
import pty
import select
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest

from grpo_launch.cli import completion
from tests.conftest import Project

SECONDS = 30
MODULE = "python -m grpo_launch"
SCRIPT = "grpo-launch"

# What readline does before it calls the function of "complete -F".
DRIVER = """
eval "$($1 -sc install=bash)" || exit 1
[[ $(complete -p "${1%% *}") =~ -F\\ ([^ ]+) ]] || exit 1
COMP_LINE=$2 COMP_POINT=${#2} COMP_WORDS=($2)
[[ $2 == *' ' ]] && COMP_WORDS+=('')
COMP_CWORD=$((${#COMP_WORDS[@]} - 1))
"${BASH_REMATCH[1]}"
printf '%s\\n' "${COMPREPLY[@]}"
"""

SUMMARIES = ["summary_1024", "summary_1024_attr_key_recall"]
LOOPS = ["digits_loop", "hanabi_loop", "webagent", "webagent_cpu", "webagent_external"]
TRAININGS = ["digits_vllm", "hanabi", "sft_llamafactory", "sft_swift", "tiny_cpu"]
SHIPPED = [*LOOPS, *SUMMARIES, *TRAININGS]

LINES = {
    "role=both config=su": ["config=summary_1024", "config=summary_1024_attr_key_recall"],
    "config=": [f"config={name}" for name in sorted(["broken", "exp", *SHIPPED])],
    "conf": ["config="],
    "role=both config=summary_1024 rollout_server.vllm_max_n": [
        "rollout_server.vllm_max_num_seqs="
    ],
    "rollout_server.vllm_max_n": ["rollout_server.vllm_max_num_seqs="],
    "config=exp train.rlhf.use_": ["train.rlhf.use_vllm="],
    "config=exp train.training.per": ["train.training.per_device_train_batch_size="],
    "config=exp train.model.model=": ["train.model.model=some/model"],
    "runtime=c": ["runtime=conda", "runtime=current"],
    "role=b": ["role=both"],
    "--cfg job -p train role=b": ["role=both"],
    "role=both --cfg job health.ti": ["health.timeout_s="],
    "config=exp train.training.max_steps=3 shutdown.t": ["shutdown.term_s="],
    "config=broken train.rl": [],
    "config=nope train.rl": [],
    "config=exp train.[": [],
    "config=exp nothing.like.this": [],
    "ch": ["check", "checks."],
    "hel": ["help"],
    "ru": ["runs", "run.", "runtime.", "runtime="],
    "check su": SUMMARIES,
    "check b": ["broken"],
    "explain exp su": [],
    "--multirun check su": SUMMARIES,
    "check summary_1024 rollout_server.vllm_max_n": ["rollout_server.vllm_max_num_seqs="],
    "check summary_1024 su": [],
    "check config=exp su": [],
    "advise su": [],
    "chek su": [],
    "runs st": [],
}


def shell(project: Project, *command: str) -> list[str]:
    """What a shell prints; nothing may reach the terminal besides it."""
    done = subprocess.run(
        command,
        cwd=project.directory,
        env=project.environment(LC_ALL="C.UTF-8"),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=SECONDS,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout.splitlines()


def completed(project: Project, program: str, line: str) -> list[str]:
    return shell(project, "bash", "--norc", "-c", DRIVER, "bash", program, f"{program} {line}")


@pytest.fixture(autouse=True)
def _broken_experiment(project: Project) -> None:
    (project.directory / "configs" / "broken.yaml").write_text("a: [\n")


@pytest.mark.parametrize(("line", "offered"), LINES.items())
def test_what_is_offered_for_a_line(project: Project, line: str, offered: list[str]) -> None:
    whole = f"{SCRIPT} {line}"
    asked = {"COMP_LINE": whole, "COMP_POINT": str(len(whole))}
    done = project.run("-sc", "query=bash", **asked)
    assert (done.status, done.stderr) == (0, "")
    assert done.stdout.split() == offered


@pytest.mark.slow(every_row=True)
@pytest.mark.parametrize("program", [SCRIPT, MODULE])
@pytest.mark.parametrize(
    "line", ["role=both config=su", "config=broken train.rl", "ch", "check su"]
)
def test_bash_completes(project: Project, program: str, line: str) -> None:
    assert completed(project, program, line) == (LINES[line] or [""])


@pytest.mark.slow
def test_other_python_programs_are_left_alone(project: Project) -> None:
    driver = DRIVER.replace("$2", "$3").replace('"${1%% *}"', "python")
    line = "python other.py conf"
    assert shell(project, "bash", "--norc", "-c", driver, "bash", MODULE, "", line) == [""]


@pytest.mark.slow
def test_a_query_never_speaks_of_errors(project: Project) -> None:
    environ = project.environment(COMP_LINE=f"{SCRIPT} config=broken train.", COMP_POINT="99")
    done = subprocess.run(
        [SCRIPT, "-sc", "query=bash"],
        cwd=project.directory,
        env=environ,
        capture_output=True,
        text=True,
        timeout=SECONDS,
        check=False,
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


@pytest.mark.slow(every_row=True)
@pytest.mark.parametrize(
    ("program", "typed", "becomes"),
    [
        (SCRIPT, "role=both config=sum", "role=both config=summary_1024"),
        (MODULE, "config=ti", "config=tiny_cpu"),
        (SCRIPT, "check ti", "check tiny_cpu"),
        (MODULE, "check ti", "check tiny_cpu"),
    ],
)
def test_the_tab_key_completes(project: Project, program: str, typed: str, becomes: str) -> None:
    """A bash with a terminal: type, press tab, and let the shell echo its line."""
    ours, theirs = pty.openpty()
    command = ["bash", "--norc", "--noprofile", "-i"]
    environ = project.environment(TERM="dumb", LC_ALL="C.UTF-8", HISTFILE="")
    process = subprocess.Popen(
        command,
        cwd=project.directory,
        env=environ,
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
        start_new_session=True,
    )
    os.close(theirs)
    try:
        os.write(ours, f'eval "$({program} -sc install=bash)"; echo READY$((40 + 2))\n'.encode())
        read_until(ours, "READY42")
        os.write(ours, f"{program} {typed}\t\x01echo \x05; echo DONE$((40 + 2))\n".encode())
        lines = read_until(ours, "DONE42").replace("\r", "").split("\n")
        assert f"{program} {becomes}" in lines
    finally:
        process.kill()
        process.wait()
        os.close(ours)


def read_until(terminal: int, mark: str) -> str:
    text = b""
    deadline = time.monotonic() + SECONDS
    while mark.encode() not in text:
        ready, _, _ = select.select([terminal], [], [], max(0, deadline - time.monotonic()))
        assert ready, text.decode()
        text += os.read(terminal, 65536)
    return text.decode()


@pytest.mark.skipif(shutil.which("fish") is None, reason="there is no fish")
@pytest.mark.parametrize("program", [SCRIPT, MODULE])
def test_fish_completes(project: Project, program: str) -> None:
    install = f"{program} -sc install=fish | source"
    shown = shell(project, "fish", "-N", "-c", f"{install}; complete -C '{program} config=su'")
    assert shown == ["config=summary_1024", "config=summary_1024_attr_key_recall"]
    assert (
        shell(project, "fish", "-N", "-c", f"{install}; {program} -sc uninstall=fish | source")
        == []
    )


@pytest.mark.slow(every_row=True)
@pytest.mark.parametrize("program", [SCRIPT, MODULE])
def test_uninstalling_leaves_nothing(project: Project, program: str) -> None:
    command = (
        f'eval "$({program} -sc install=bash)"; eval "$({program} -sc uninstall=bash)";'
        "declare -F | grep -c grpo_launch_module; exit 0"
    )
    assert shell(project, "bash", "--norc", "-c", command) == ["0"]


@pytest.mark.slow
def test_an_unknown_shell_is_one_line(project: Project) -> None:
    done = project.launch("-sc", "install=tcsh")
    assert done.status == 2
    assert done.stderr.count("\n") == 1
    assert "No completion plugin for 'tcsh' found" in done.stderr


@pytest.mark.parametrize(
    ("line", "point", "wanted"),
    [
        ("grpo-launch ", "", "grpo-launch role=check ~config "),
        ("grpo-launch", "", "grpo-launch role=check ~config "),
        ("/opt/it's@here/grpo-launch x", "", "grpo-launch role=check ~config x"),
        ("python -m grpo_launch role=", "", "grpo-launch role=check ~config role="),
        (
            "/usr/bin/python3.11 -X dev -m grpo_launch config=a r",
            "",
            "grpo-launch role=check config=a r",
        ),
        ("grpo-launch -m role=both config=a --cfg job r", "", "grpo-launch role=both config=a r"),
        ("grpo-launch role=both config=a rest", "30", "grpo-launch ~config role=both config=a"),
        ("grpo-launch check a r", "", "grpo-launch role=check config=a r"),
        ("grpo-launch -p train check r", "", "grpo-launch ~config role=check r"),
        ("grpo-launch ~config +env.set.X=1 r", "", "grpo-launch role=check ~config +env.set.X=1 r"),
        ("grpo-launch config=é rest", "23", "grpo-launch role=check config=é r"),
    ],
)
def test_the_line_that_hydra_reads(line: str, point: str, wanted: str) -> None:
    assert completion.rewritten(line, point) == wanted


def test_the_console_script_is_hydra_s_own() -> None:
    assert completion.module_script(["-sc", "install=bash"], str(Path(sys.executable))) is None
