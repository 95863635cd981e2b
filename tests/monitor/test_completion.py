"""Completion of ``grpo-runs`` in real shells."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from grpo_launch.errors import ConfigError
from grpo_launch.monitor import completion
from tests.monitor.made import make_run

OLD, NEW = "exp/20261120-140000-aaaa", "exp/20261121-140000-bbbb"
OTHER = "big/20261119-140000-cccc"


@pytest.fixture
def there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    for name in (OTHER, OLD, NEW):
        make_run(tmp_path / "runs", name)
    make_run(tmp_path / "runs", "$(touch x)/20251121-140000-dddd")
    (tmp_path / "runs" / "latest").symlink_to(NEW)
    make_run(tmp_path / "else", "far/20261121-140000-eeee")
    return tmp_path


LINES = {
    "": ["list", "status", "logs", "stop", "watch", "reload", "prune"],
    "st": ["status", "stop"],
    "--v": ["--version"],
    "nothing ": [],
    "status ": ["latest", "exp", "big", NEW, OLD, OTHER],
    "stop e": ["exp", NEW, OLD],
    "stop --kill exp/20261121": [NEW],
    "watch 2026112": ["20261121-140000-bbbb", "20261120-140000-aaaa"],
    "status --j": ["--json"],
    "stop --": ["--help", "--json", "--runs", "--all", "--sweep", "--kill"],
    "logs --": ["--help", "--json", "--runs", "--follow", "--lines", "--attempt"],
    "logs l": ["latest", "learner", "launcher"],
    "logs exp s": ["server"],
    "logs --lines ": [],
    "status --runs ": [],
    "status --runs else f": ["far", "far/20261121-140000-eeee"],
    "status --runs=else f": ["far", "far/20261121-140000-eeee"],
    "status --runs none ": [],
    "list e": [],
    "reload e": ["exp", NEW, OLD],
    "reload --version latest e": ["exp", NEW, OLD],
    "reload exp l": [],
    "reload exp --pause a": ["abort"],
    "prune --state f": ["failed"],
    "prune --state failed,l": ["failed,lost"],
}


@pytest.mark.parametrize(("line", "offered"), LINES.items())
def test_what_is_offered_for_a_line(there: Path, line: str, offered: list[str]) -> None:
    assert completion.candidates(line.split(" ")) == offered


def test_another_question_is_one_line() -> None:
    with pytest.raises(ConfigError, match="say install=bash"):
        completion.answer(["install=tcsh"])


BASH = """
eval "$(grpo-runs -sc install=bash)" || exit 1
[[ $(complete -p grpo-runs) =~ -F\\ ([^ ]+) ]] || exit 1
COMP_WORDS=($1)
[[ $1 == *' ' ]] && COMP_WORDS+=('')
COMP_CWORD=$((${#COMP_WORDS[@]} - 1))
"${BASH_REMATCH[1]}" grpo-runs
printf '%s\\n' "${COMPREPLY[@]}"
eval "$(grpo-runs -sc uninstall=bash)"
complete -p grpo-runs 2> /dev/null && exit 1
exit 0
"""

# zsh completes in its line editor alone: a second zsh, on a terminal of its own.
ZSH = """
zmodload zsh/zpty
zpty shell 'HISTFILE= PS1= zsh -f -i'
zpty -w shell 'eval "$(grpo-runs -sc install=zsh)"; PS1=; LISTMAX=9999; print READY$((40 + 2))'
zpty -m -r shell text '*READY42*' || exit 1
zpty -n -w shell "$1"$'\\t'
zpty -n -w shell $'\\C-aprint -r -- DONE$((40 + 2)) \\n'
zpty -m -r shell text '*DONE42*' || exit 1
print -r -- "$text"
"""


def shell(there: Path, *command: str) -> str:
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    done = subprocess.run(
        command,
        cwd=there,
        env={"PATH": path, "HOME": str(there), "TERM": "dumb", "LC_ALL": "C.UTF-8"},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout


@pytest.mark.slow(every_row=True)
@pytest.mark.parametrize("line", ["st", "stop e", "logs exp s", "logs --lines "])
def test_bash_completes(there: Path, line: str) -> None:
    shown = shell(there, "bash", "--norc", "-c", BASH, "bash", f"grpo-runs {line}").splitlines()
    assert shown == (LINES[line] or [""])


@pytest.mark.skipif(shutil.which("zsh") is None, reason="there is no zsh")
@pytest.mark.parametrize(
    ("line", "becomes"),
    [("wa", "watch"), ("logs exp s", "logs exp server"), ("stop b", "stop big")],
)
def test_zsh_completes(there: Path, line: str, becomes: str) -> None:
    shown = shell(there, "zsh", "-f", "-c", ZSH, "zsh", f"grpo-runs {line}")
    assert f"grpo-runs {becomes}" in shown
