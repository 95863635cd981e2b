"""``grpo-launch import``: scripts in, an experiment and a verdict out."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path, PurePath
from typing import TYPE_CHECKING, Any, cast

from grpo_launch.errors import ConfigError, one_line
from grpo_launch.importing.findings import Finding, Sort

if TYPE_CHECKING:
    from grpo_launch.bash.script import Call, Script
    from grpo_launch.importing.draft import Draft
    from grpo_launch.importing.launches import Launch
    from grpo_launch.importing.proof import Proof

USAGE = """\
usage: grpo-launch import SERVER.sh [LEARNER.sh ...] [OPTIONS] [-- ARGUMENTS]

Writes the experiment that launches what the scripts launch, and compares the
commands of its plan with theirs. Scripts are read, never run.

  SCRIPT        a bash script; one may start both; FILE.yaml: flags of a learner;
                -: a command line or a script from standard input
  -o FILE       write the experiment there, not to standard output
  --force       write over FILE
  --line N      import only the launch that begins in line N
  --set X=VALUE the variable X as if it were exported when the script starts, and
                where the script computes it: from a date, another program
  --trace       also run the scripts, with stand-ins for the programs that they
                launch, and compare with what was called; asks for nothing, but
                everything else in the scripts really runs
  -- ARGUMENTS  of the scripts: $1, $2, ...; -- alone: there are none

Status 0: the plan has the commands of the scripts, flag by flag and variable by
variable; 1: differences or unknowns are listed; 2: a mistake of yours.

documentation: docs/import.md
"""

STDIN = "-"

_START = "PWD"
"""The name of what is unknown where a path has to be told from where the script starts."""

_TAKES = {"-o": "output", "--output": "output", "--set": "set", "--line": "line"}
_SWITCHES = {"--trace": "trace", "--force": "force"}


@dataclass
class Options:
    """The command line."""

    scripts: list[str] = field(default_factory=list[str])
    output: str = ""
    settings: dict[str, str] = field(default_factory=dict[str, str])
    arguments: list[str] | None = None
    lines: list[int] = field(default_factory=list[int])
    trace: bool = False
    force: bool = False


def parse(words: Sequence[str]) -> Options:
    """The options of a command line.

    Raises:
        ConfigError: it has an unknown option, or no script.
    """
    options, rest = Options(), [*words]
    while rest:
        word = rest.pop(0)
        name, equals, value = word.partition("=")
        if word == "--":
            options.arguments = rest
            break
        if word in _SWITCHES:
            setattr(options, _SWITCHES[word], True)
        elif word in _TAKES or (equals and name in _TAKES and name.startswith("--")):
            if word in _TAKES and not rest:
                raise ConfigError(word, "needs a value", "see grpo-launch import --help")
            text = rest.pop(0) if word in _TAKES else value
            _take(options, name if word not in _TAKES else word, text)
        elif word.startswith("-") and word != STDIN:
            fix = "see grpo-launch import --help; arguments of the script stand behind --"
            raise ConfigError(word, "is no option of import", fix)
        else:
            options.scripts.append(word)
    if not options.scripts:
        raise ConfigError("import", "needs a script", "say grpo-launch import SERVER.sh LEARNER.sh")
    return options


def _take(options: Options, name: str, text: str) -> None:
    if _TAKES[name] == "output":
        options.output = text
        return
    if _TAKES[name] == "line":
        if not text.isdecimal():
            raise ConfigError("--line", f"{text!r} is no line", "write the number of a line")
        options.lines.append(int(text))
        return
    variable, equals, value = text.partition("=")
    if not equals or not variable.isidentifier():
        raise ConfigError("--set", f"{text!r} sets no variable", "write --set NAME=VALUE")
    options.settings[variable] = value


def run(words: Sequence[str]) -> int:
    """Run one command line; returns the exit status.

    Raises:
        ConfigError: what is wrong.
    """
    if not words or {"-h", "--help"} & {*words[: words.index("--") if "--" in words else None]}:
        print(USAGE, end="")
        return 0 if words else 2
    options = parse(words)
    output = Path(options.output) if options.output else None
    if output is not None and output.exists() and not options.force:
        raise ConfigError(str(output), "exists already", "choose another file, or say --force")
    scripts, launches, findings = _read(options)
    name = _name(options)
    from grpo_launch.importing import reporting

    draft, text, verdict = _proven(scripts, launches, findings, name, _head(options))
    if options.trace:
        from grpo_launch.importing import trace

        for script, own in zip(scripts, launches, strict=True):
            given = options.arguments or []
            verdict = trace.compared(script.name, own, given, options.settings, verdict)
    if output is None:
        print(text, end="")
    else:
        output.parent.mkdir(parents=True, exist_ok=True)
        output.write_text(text, encoding="utf-8")
    reporting.show(draft, verdict)
    return 0 if verdict.equal else 1


def _read(
    options: Options,
) -> tuple[list[Script], list[list[Launch]], list[Finding]]:
    """Each script, its launches, and what was found besides."""
    from grpo_launch.bash.script import Script
    from grpo_launch.importing import argument_files, launches, remarks

    scripts: list[Script] = []
    found: list[list[Launch]] = []
    findings: list[Finding] = []
    for path in options.scripts:
        if argument_files.is_arguments(path):
            scripts.append(Script(path, (), ()))
            found.append([argument_files.launch_of(path, _mapping(Path(path)))])
            continue
        script = _script(path, options)
        made = launches.sorted_calls(script)
        directory = _directory(path)

        def find(named: str, directory: Path = directory) -> Mapping[str, Any] | None:
            places = [base / named for base in (directory, Path.cwd(), *directory.parents)]
            file = next((place for place in places if place.is_file()), None)
            return _mapping(file) if file is not None else None

        scripts.append(script)
        own = [one for one in made.launches if not options.lines or one.call.line in options.lines]
        found.append([argument_files.expanded(launch, find) for launch in own])
        findings += remarks.of_script(script, made)
    if not any(found):
        raise _nothing(options, scripts)
    return scripts, found, findings


def _nothing(options: Options, scripts: Sequence[Script]) -> ConfigError:
    """Why there is nothing to import."""
    from grpo_launch.bash.script import About

    where = " ".join(options.scripts)
    ends = [remark for script in scripts for remark in script.remarks if remark.about is About.END]
    if options.lines:
        what = f"has no launch that begins in line {', '.join(map(str, options.lines))}"
        return ConfigError(where, what, "leave --line out to see the lines")
    if ends:
        what = f"ends in line {ends[0].line} before it starts anything ({ends[0].text})"
        return ConfigError(where, what, "give what it needs behind -- and in --set NAME=VALUE")
    what = "starts nothing that serves or trains"
    return ConfigError(where, what, "give the script that has the launch")


def _script(path: str, options: Options) -> Script:
    from grpo_launch import bash

    name = "stdin" if path == STDIN else path
    directory = _directory(path)

    def load(named: str) -> bytes | None:
        try:
            return (directory / named).read_bytes()
        except (OSError, ValueError):
            return None

    try:
        text = sys.stdin.buffer.read() if path == STDIN else Path(path).read_bytes()
    except OSError as error:
        raise ConfigError(path, f"cannot be read ({error.strerror})", "give a file") from None

    def read(start: str) -> Script:
        given, settings = options.arguments, options.settings
        return bash.read(
            text, name, arguments=given, settings=settings, decides=True, sources=load, start=start
        )

    script = read("")
    if any(_needs_start(call) for call in script.calls):
        script = read(str(directory.resolve()))
    return script


def _directory(path: str) -> Path:
    """Where the files lie that a script names."""
    return Path.cwd() if path == STDIN else Path(path).parent


def _needs_start(call: Call) -> bool:
    from grpo_launch.bash.script import Kind

    values = (*call.words, *call.environ.values(), call.cwd)
    unknowns = (each for value in values for each in value.unknowns)
    return any(each.kind is Kind.OTHER and each.name == _START for each in unknowns)


def _mapping(path: Path) -> Mapping[str, Any]:
    """What a file of arguments holds.

    Raises:
        ConfigError: it is no mapping.
    """
    import yaml

    try:
        said = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        line = str(error).splitlines()[0]
        raise ConfigError(str(path), f"cannot be read ({line})", "give a YAML file") from None
    if not isinstance(said, dict):
        raise ConfigError(str(path), "is no mapping", "give a file of a learner's flags")
    return {str(key): value for key, value in cast("dict[Any, Any]", said).items()}


def _proven(
    scripts: Sequence[Script],
    launches: Sequence[Sequence[Launch]],
    findings: Sequence[Finding],
    name: str,
    head: Sequence[str],
) -> tuple[Draft, str, Proof]:
    """The draft, its text and the verdict.

    Where the plan of a plug-in's keys is another one than the script's (a flag that this version
    does not have), its words become a command as they are.
    """
    from grpo_launch.importing import experiment, writing
    from grpo_launch.importing import proof as proving

    def made(commands: Mapping[tuple[str, int], str]) -> tuple[Draft, str, Proof]:
        draft = experiment.drafted(scripts, launches, commands)
        draft = replace(draft, findings=tuple(writing.unique([*draft.findings, *findings])))
        text = writing.text(draft, name, head)
        return draft, text, proving.proof(draft, text, name, draft.role)

    first = made({})
    found = _of_plan(first)
    if not found:
        return first
    halves = [first[0].chosen.servers, tuple(filter(None, [first[0].chosen.learner]))]
    places = [{part.place for part in half} for half in (*halves, (*halves[0], *halves[1]))]
    said = {
        (finding.file, finding.line): one_line(finding.what) for finding in found if finding.line
    }
    why = one_line(found[0].what.removeprefix("cannot be planned: "))
    for some in [{*said}] if said else places:
        other = made({place: said.get(place, why) for place in some})
        if not _of_plan(other) and len(other[2].unknowns) <= len(first[2].unknowns):
            return other
    return first


def _of_plan(made: tuple[Draft, str, Proof]) -> list[Finding]:
    """The differences that only planning showed, at places where none was known."""
    draft, _, verdict = made
    known = {(one.file, one.line) for one in draft.findings if one.sort is Sort.DIFFERENCE}
    return [one for one in verdict.differences if (one.file, one.line) not in known]


def _name(options: Options) -> str:
    """What the experiment is called."""
    if options.output:
        return PurePath(options.output).stem
    path = options.scripts[-1]
    return "imported" if path == STDIN else PurePath(path).stem


def _head(options: Options) -> list[str]:
    names = ["standard input" if path == STDIN else path for path in options.scripts]
    return [f"From {' and '.join(names)}, by grpo-launch import."]
