"""What a script really calls: it is run with stand-ins for the programs that it launches.

The stand-ins are first on PATH, write down how they were called, and end at once with status 0.
Everything else in the script really runs, in an empty directory and with a bare environment.
"""

from __future__ import annotations

import contextlib
import json
import os
import select
import shlex
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePath

from grpo_launch.bash.script import Call, Script, Value
from grpo_launch.errors import ConfigError
from grpo_launch.importing.findings import Finding, Sort
from grpo_launch.importing.launches import Launch, sorted_calls
from grpo_launch.importing.reading import plugin_programs
from grpo_launch.importing.wrappers import unwrapped

LIMIT_S = 60.0
"""Seconds that a script may take."""

LINGERS_S = 10.0
"""Seconds that what a script has left in the background gets to call what it calls."""

_PYTHONS = ("python", "python3", *(f"python3.{minor}" for minor in range(8, 16)))

_RECORDED = (
    *("torchrun", *_PYTHONS, "conda", "mamba", "accelerate", "trl", "deepspeed"),
    *("uv", "ray", "megatron", "srun", "sbatch", "docker", "ssh", "tmux", "screen"),
)
"""Programs with a stand-in, besides those of the plug-ins."""

_AT_ONCE = (
    *("sleep", "curl", "wget", "nc", "nvidia-smi", "pip", "pip3", "kill", "pkill", "killall"),
    *("ss", "netstat", "lsof", "fuser"),
    *("git", "apt", "apt-get", "sudo", "huggingface-cli", "hf", "wandb", "modelscope"),
)
"""Programs whose stand-in only ends, so that nobody waits and nothing is fetched or ended."""

_OF_BASH = frozenset(
    ("PWD", "OLDPWD", "SHLVL", "_", "PATH", "HOME", "TMPDIR", "LC_CTYPE", "BASH_ENV")
)

_RECORDER = """\
#!{python} -IS
import json, os, sys, time
name = os.path.basename(sys.argv[0])
call = {{"words": [name, *sys.argv[1:]], "environ": dict(os.environ), "cwd": os.getcwd()}}
path = os.path.join({records!r}, f"{{time.monotonic_ns():020}}-{{os.getpid()}}.json")
with open(path, "w") as file:
    json.dump(call, file)
"""

_GUARD = """\
set -o functrace
trap 'case ${{PATH-}} in {bin}:*) ;; *) PATH={bin}:${{PATH-}} ;; esac' DEBUG
"""
"""Before each command: what the script does to PATH, or an environment that it enters, puts no
program before the stand-ins."""

_NOTHING = """\
#!/bin/sh
exit 0
"""


@dataclass(frozen=True)
class Trace:
    """What a run of a script showed.

    Attributes:
        calls: of the programs with a stand-in, in their order.
        status: of the script; None: it took too long and was ended.
    """

    calls: tuple[Call, ...]
    status: int | None


def announcement(script: str) -> str:
    """What is said before a script is run."""
    names = ", ".join(_names())
    return (
        f"trace: runs {script} for at most {LIMIT_S:.0f} s in an empty directory, with stand-ins "
        f"for {names}; all its other commands really run"
    )


def _names() -> list[str]:
    return sorted({*_RECORDED, *plugin_programs()})


def traced(
    script: Path,
    arguments: Sequence[str],
    settings: Mapping[str, str],
    limit_s: float = LIMIT_S,
    directories: Iterable[str] = (),
) -> Trace:
    """Run a script, and collect how the stand-ins were called.

    Args:
        script: the file; a copy is run.
        arguments: of the script.
        settings: variables of its environment.
        limit_s: seconds until it is ended with all that it started.
        directories: what is there, below the one that it runs in; others are left out.
    """
    with tempfile.TemporaryDirectory(prefix="grpo_launch-") as directory:
        root = Path(directory)
        bin_, records, work = (root / name for name in ("bin", "records", "work"))
        for made in (bin_, records, work):
            made.mkdir()
        for each in directories:
            if (made := Path(os.path.normpath(work / each))).is_relative_to(work):
                made.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(script, work / script.name)
        recorder = _RECORDER.format(python=sys.executable, records=str(records))
        for name in _names():
            _write(bin_ / name, recorder)
        for name in _AT_ONCE:
            _write(bin_ / name, _NOTHING)
        _write(root / "guard", _GUARD.format(bin=shlex.quote(str(bin_))))
        environ = {
            **settings,
            "BASH_ENV": str(root / "guard"),
            "PATH": f"{bin_}:/usr/local/bin:/usr/bin:/bin",
            "HOME": str(work),
            "TMPDIR": str(work),
        }
        status = _run(["bash", script.name, *arguments], work, environ, limit_s)
        files = sorted(records.iterdir())
        return Trace(tuple(map(_call, files)), status)


def _write(path: Path, text: str) -> None:
    path.write_text(text, encoding="utf-8")
    path.chmod(0o755)


def _run(argv: Sequence[str], cwd: Path, environ: Mapping[str, str], limit_s: float) -> int | None:
    """The status, or None where the limit was reached; its process group is ended in any case."""
    reading, writing = os.pipe()  # whatever it starts has the end that is written to
    process = subprocess.Popen(
        argv, cwd=cwd, env=dict(environ), stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL, start_new_session=True, pass_fds=(writing,),
    )  # fmt: skip
    os.close(writing)
    try:
        status = process.wait(limit_s)
        select.select([reading], [], [], LINGERS_S)
        return status
    except subprocess.TimeoutExpired:
        return None
    finally:
        # What it left in the background; the group has the number of its leader.
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        os.close(reading)


def _call(file: Path) -> Call:
    try:
        said = json.loads(file.read_text(encoding="utf-8"))
    except ValueError:  # it was ended while it wrote
        return Call(0, 0, ())
    own = {
        name: Value((value,)) if value else Value()
        for name, value in said["environ"].items()
        if name not in _OF_BASH
    }
    words = tuple(Value((word,)) if word else Value() for word in said["words"])
    return Call(0, 0, words, own)


def compared(
    script: str,
    launches: Sequence[Launch],
    arguments: Sequence[str],
    settings: Mapping[str, str],
) -> list[Finding]:
    """What a run of a script showed otherwise.

    Args:
        script: the file.
        launches: that were read from it.
        arguments: of the script.
        settings: variables of its environment.

    Raises:
        ConfigError: it would really start what it launches.
    """
    _refuse_real(script, launches)
    print(announcement(script), file=sys.stderr, flush=True)
    trace = traced(Path(script), arguments, settings, directories=_directories(launches))
    found = [
        Finding(script, line, what, Sort.DIFFERENCE) for line, what in different(launches, trace)
    ]
    said = f"trace: {len(launches)} launches read, {len(found)} differences to what was called"
    said += f"; the script ended with status {trace.status}" if trace.status else ""
    print(said, file=sys.stderr)
    return found


def _refuse_real(script: str, launches: Sequence[Launch]) -> None:
    for launch in launches:
        call, bare = launch.call, launch.bare
        program = bare.words[0].known or ""
        if PurePath(program).is_absolute() or "PATH" in (*call.prefixes, *bare.environ):
            what = f"would really start {program or launch.program}, before which no stand-in comes"
            raise ConfigError(f"{script}:{call.line}", what, "leave --trace out")


def _directories(launches: Iterable[Launch]) -> Iterator[str]:
    """Where launches run and their output goes, which a script may have made long ago."""
    for call in (launch.call for launch in launches):
        where = call.cwd.known
        if where is not None:
            yield where
            files = (*(redirect.target.known for redirect in call.redirects), *map(str, call.teed))
            yield from (str(Path(where, file).parent) for file in files if file)


def different(launches: Sequence[Launch], trace: Trace) -> list[tuple[int, str]]:
    """What was called otherwise than it was read: the line in the script, and what."""
    calls = [call for call in trace.calls if call.words]
    called = [*sorted_calls(Script("trace", calls, ())).launches]
    found: list[tuple[int, str]] = []
    for launch in launches:
        same = [other for other in called if _matches(launch, other)]
        if not same:
            found.append((launch.call.line, f"{launch.program} was not called as it was read"))
            continue
        # Of two that are called with the same words, the one with the same variables.
        other = min(same, key=lambda each: len(_variables(launch, each)))
        called.remove(other)
        found += [(launch.call.line, what) for what in _variables(launch, other)]
    found += [(0, f"{other.program} was called, which was not read") for other in called]
    if trace.status is None:
        found.append((0, f"the script did not end within {LIMIT_S:.0f} s"))
    return found


def _matches(launch: Launch, other: Launch) -> bool:
    bare = unwrapped(launch.call.words)  # as it was called: what the script unset is gone
    one, two = (*bare.before, *bare.words), other.words
    if len(one) != len(two) or launch.bare.conda != other.bare.conda:
        return False
    pairs = zip(one[1:], two[1:], strict=True)
    same = Path(str(one[0])).name == Path(str(two[0])).name or bool(one[0].unknowns)
    return same and all(word.known in (None, again.known) for word, again in pairs)


def _variables(launch: Launch, other: Launch) -> list[str]:
    """Variables that the call had otherwise than it was read."""
    read = {**launch.call.environ, **launch.bare.environ}
    had = {**other.call.environ, **other.bare.environ}
    found = [
        f"{name} was {str(had[name])!r} when it was called" if name in had
        else f"{name} was not set when it was called"
        for name, value in read.items()
        if value.known is not None and name not in _OF_BASH
        and (name not in had or had[name].known != value.known)
    ]  # fmt: skip
    return found + [f"{name} was set when it was called" for name in had if name not in read]
