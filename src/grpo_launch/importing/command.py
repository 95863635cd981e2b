"""``grpo-launch import``: scripts in, an experiment and a verdict out."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path, PurePath
from typing import TYPE_CHECKING

from grpo_launch.errors import ConfigError, one_line
from grpo_launch.importing.findings import Finding, Sort
from grpo_launch.importing.options import STDIN, USAGE, Options, parse

if TYPE_CHECKING:
    from grpo_launch.importing.draft import Draft
    from grpo_launch.importing.files import Source
    from grpo_launch.importing.proof import Proof
    from grpo_launch.importing.several import Experiment


@dataclass(frozen=True)
class Made:
    """An experiment that was made.

    Attributes:
        draft: what it is made of.
        text: of its file.
        verdict: whether it starts what the scripts start.
    """

    draft: Draft
    text: str
    verdict: Proof


def run(words: Sequence[str]) -> int:
    """Run one command line; returns the exit status.

    Raises:
        ConfigError: what is wrong.
    """
    if not words or {"-h", "--help"} & {*words[: words.index("--") if "--" in words else None]}:
        print(USAGE, end="")
        return 0 if words else 2
    options = parse(words)
    output = options.output
    is_directory = output.endswith("/") or (output != "" and Path(output).is_dir())
    return _several(options) if is_directory else _one(options)


def _one(options: Options) -> int:
    """All that the scripts start as one experiment, in a file or on standard output."""
    output = Path(options.output) if options.output else None
    if output is not None:
        _free([output], options)
    from grpo_launch.importing import files, reporting

    sources = files.read(options)
    if options.lines:
        sources = [source.of_lines(options.lines) for source in sources]
    made = _proven(sources, _name(options), [_from(options.scripts)])
    verdict = made.verdict.with_differences(_traced(options, sources))
    if output is None:
        print(made.text, end="")
    else:
        _write(output, made.text)
    for line in reporting.lines(made.draft, verdict):
        print(line, file=sys.stderr)
    return 0 if verdict.equal else 1


def _several(options: Options) -> int:
    """Each training and each set of servers as an experiment, in a directory."""
    from grpo_launch.importing import files, reporting, several

    sources = files.read(options)
    experiments = several.experiments(sources)
    if options.lines:
        experiments = [one for one in experiments if not one.lines.isdisjoint(options.lines)]
    paths = [Path(options.output) / f"{one.name}.yaml" for one in experiments]
    _free(paths, options)
    made = [_proven(one.sources, one.name, _head_of(one), one.findings) for one in experiments]
    found = _traced(options, sources)
    made = [
        replace(each, verdict=each.verdict.with_differences(filter(one.concerns, found)))
        for one, each in zip(experiments, made, strict=True)
    ]
    for path, each in zip(paths, made, strict=True):
        _write(path, each.text)
    for path, each in zip(paths, made, strict=True):
        print(f"{path}:", file=sys.stderr)
        for line in reporting.lines(each.draft, each.verdict):
            print(f"  {line}", file=sys.stderr)
    unequal = [str(path) for path, each in zip(paths, made, strict=True) if not each.verdict.equal]
    order = "" if options.lines else several.order_of(experiments)
    print(reporting.total(len(made), unequal) + order, file=sys.stderr)
    return 1 if unequal else 0


def _free(paths: Sequence[Path], options: Options) -> None:
    """Look whether files may be written.

    Raises:
        ConfigError: there is one already.
    """
    for path in paths:
        parent = next((one for one in path.parents if one.exists()), path)
        if not parent.is_dir():
            raise ConfigError(str(parent), "is no directory", "choose another one")
        if path.is_dir() or (path.exists() and not options.force):
            raise ConfigError(str(path), "exists already", "choose another file, or say --force")


def _write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")


def _traced(options: Options, sources: Sequence[Source]) -> list[Finding]:
    """What a run of the scripts shows otherwise; nothing where none was asked for."""
    if not options.trace:
        return []
    from grpo_launch.importing import argument_files, trace

    return [
        finding
        for each in sources
        for finding in trace.compared(
            each.script.name,
            [*map(argument_files.as_said, each.made.launches)],
            options.arguments or [],
            options.settings,
        )
    ]


def _proven(
    sources: Sequence[Source], name: str, head: Sequence[str], besides: Sequence[Finding] = ()
) -> Made:
    """An experiment of scripts, proven.

    Where the plan of a plug-in's keys is another one than the script's (a flag that this version
    does not have), its words become a command as they are.
    """
    from grpo_launch.importing import experiment, remarks, writing
    from grpo_launch.importing import proof as proving

    scripts = [source.script for source in sources]
    launches = [source.made.launches for source in sources]
    findings = [one for each in sources for one in remarks.of_script(each.script, each.made)]
    findings += besides

    def made(commands: Mapping[tuple[str, int], str]) -> Made:
        draft = experiment.drafted(scripts, launches, commands)
        draft = replace(draft, findings=tuple(writing.unique([*draft.findings, *findings])))
        text = writing.text(draft, name, head)
        return Made(draft, text, proving.proof(draft, text, name, draft.role))

    first = made({})
    found = _of_plan(first)
    if not found:
        return first
    chosen = first.draft.chosen
    halves = [chosen.servers, tuple(filter(None, [chosen.learner]))]
    places = [{part.place for part in half} for half in (*halves, (*halves[0], *halves[1]))]
    said = {
        (finding.file, finding.line): one_line(finding.what) for finding in found if finding.line
    }
    why = one_line(found[0].what.removeprefix("cannot be planned: "))
    for some in [{*said}] if said else places:
        other = made({place: said.get(place, why) for place in some})
        if not _of_plan(other) and len(other.verdict.unknowns) <= len(first.verdict.unknowns):
            return other
    return first


def _of_plan(made: Made) -> list[Finding]:
    """The differences that only planning showed, at places where none was known."""
    known = {(one.file, one.line) for one in made.draft.findings if one.sort is Sort.DIFFERENCE}
    return [one for one in made.verdict.differences if (one.file, one.line) not in known]


def _name(options: Options) -> str:
    """What the experiment is called."""
    if options.output:
        return PurePath(options.output).stem
    path = options.scripts[-1]
    return "imported" if path == STDIN else PurePath(path).stem


def _head_of(one: Experiment) -> list[str]:
    """What is said above one of several experiments."""
    return [_from(one.scripts), *([one.place] if one.place else [])]


def _from(scripts: Sequence[str]) -> str:
    names = ["standard input" if path in (STDIN, "stdin") else path for path in scripts]
    return f"From {' and '.join(names)}, by grpo-launch import."
