"""Scripts and files of arguments, read with what they name."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path, PurePath

from grpo_launch import bash
from grpo_launch.bash.script import About, Call, Kind, Remark, Script
from grpo_launch.errors import ConfigError, one_line
from grpo_launch.importing import argument_files
from grpo_launch.importing.argument_files import ArgumentFile
from grpo_launch.importing.launches import Launch, Sorted, elsewhere, sorted_calls
from grpo_launch.importing.options import STDIN, Options

_ENTERS = ("activate", "conda.sh", "mamba.sh")
"""Files that enter an environment, which is a runtime: nothing is read of them."""

_NO_STARTS = ("chmod", "cp", "mv", "rm", "cat", "echo", "source", ".")
_START = "PWD"
"""The name of what is unknown where a path has to be told from where the script starts."""


@dataclass(frozen=True)
class Source:
    """A script that was read, or a file of arguments.

    Attributes:
        script: what it says; of a file of arguments, nothing.
        made: its calls, told apart.
    """

    script: Script
    made: Sorted

    def of_lines(self, lines: Sequence[int]) -> Source:
        """It with the launches of some lines alone; a file of arguments has no lines."""
        if argument_files.is_arguments(self.script.name):
            return self
        some = tuple(launch for launch in self.made.launches if launch.call.line in lines)
        return replace(self, made=replace(self.made, launches=some))


def read(options: Options) -> list[Source]:
    """What the command line names, in its order.

    Raises:
        ConfigError: a file cannot be read, or nothing in them is launched.
    """
    found = [_read(path, options) for path in options.scripts]
    wanted = [each.of_lines(options.lines) for each in found] if options.lines else found
    if not any(each.made.launches for each in wanted):
        raise _nothing(options, [each.script for each in found])
    return found


def _read(path: str, options: Options) -> Source:
    if argument_files.is_arguments(path):
        launch = argument_files.launch_of(path)
        return Source(Script(path, (), ()), Sorted((launch,)))
    script = _script(path, options)
    made = sorted_calls(script)
    directory = _directory(path)

    def find(call: Call, named: str) -> ArgumentFile | None:
        if (written := call.written_to(named)) is not None:
            text = written.known
            return None if text is None else ArgumentFile(Path(named), text.encode())
        where = call.cwd.known
        if where is None:
            return None
        places = [base / where / named for base in (directory, Path.cwd(), *directory.parents)]
        file = next((place for place in places if place.is_file()), None)
        return None if file is None else ArgumentFile.of(file)

    expanded = tuple(
        argument_files.expanded(launch, partial(find, launch.call)) for launch in made.launches
    )
    remarks = [
        remark
        for before, launch in zip(made.launches, expanded, strict=True)
        if before is launch  # else the file became flags
        for remark in _of_written(launch)
    ]
    script = replace(script, remarks=[*script.remarks, *remarks])
    return Source(script, replace(made, launches=expanded))


def _of_written(launch: Launch) -> Iterator[Remark]:
    """What is to be said of files that a launch needs and that the script writes itself."""
    for word in launch.words:
        path = (word.known or "").partition("=")[2] or word.known or ""
        if not PurePath(path).suffix or launch.call.written_to(path) is None:
            continue
        what = "needs a file that the script writes itself, make it before"
        yield Remark(launch.call.line, path, what, About.FILE, launch.call.file, launch.at)


def _nothing(options: Options, scripts: Sequence[Script]) -> ConfigError:
    """Why there is nothing to import."""
    where = " ".join(options.scripts)
    ends = [remark for script in scripts for remark in script.remarks if remark.about is About.END]
    if options.lines:
        what = f"has no launch that begins in line {', '.join(map(str, options.lines))}"
        return ConfigError(where, what, "leave --line out to see the lines")
    if ends:
        what = f"ends in line {ends[0].line} before it starts anything ({ends[0].text})"
        return ConfigError(where, what, "give what it needs behind -- and in --set NAME=VALUE")
    what = "starts nothing that serves or trains"
    traps = [r for script in scripts for r in script.remarks if r.about is About.TRAP]
    if traps:
        what += f"; line {traps[0].line}: {traps[0].what}"
    calls = [call for script in scripts for call in script.calls]
    unread = [call for call in calls if _starts_script(call) or elsewhere(call.words)]
    if unread:
        words = " ".join(map(str, unread[0].words))
        what += f"; what line {unread[0].line} starts is not read ({one_line(words)})"
    return ConfigError(where, what, "give the script that has the launch")


def _starts_script(call: Call) -> bool:
    """Whether a call starts a script that was not followed."""
    words = [word.known or "" for word in call.words]
    return words[0] not in _NO_STARTS and any(word.endswith(".sh") for word in words)


def _script(path: str, options: Options) -> Script:
    name = "stdin" if path == STDIN else path
    directory = _directory(path)

    def load(named: str) -> bytes | None:
        if PurePath(named).name in _ENTERS:
            return None
        for base in (directory, Path.cwd()):
            with contextlib.suppress(OSError, ValueError):
                return (base / named).read_bytes()
        return None

    try:
        text = sys.stdin.buffer.read() if path == STDIN else Path(path).read_bytes()
    except OSError as error:
        raise ConfigError(path, f"cannot be read ({error.strerror})", "give a file") from None

    def started(start: str) -> Script:
        given, settings = options.arguments, options.settings
        return bash.read(
            text,
            name,
            arguments=given,
            settings=settings,
            decides=True,
            ways=options.ways,
            sources=load,
            start=start,
        )

    script = started("")
    if any(_needs_start(call) for call in script.calls):
        script = started(str(directory.resolve()))
    return script


def _directory(path: str) -> Path:
    """Where the files lie that a script names."""
    return Path.cwd() if path == STDIN else Path(path).parent


def _needs_start(call: Call) -> bool:
    values = (*call.words, *call.environ.values(), call.cwd)
    unknowns = (each for value in values for each in value.unknowns)
    return any(each.kind is Kind.OTHER and each.name == _START for each in unknowns)
