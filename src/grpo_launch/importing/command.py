"""``grpo-launch import``: scripts in, an experiment and a verdict out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path, PurePath
from typing import TYPE_CHECKING

from grpo_launch.errors import ConfigError, one_line
from grpo_launch.importing.findings import Finding, Sort
from grpo_launch.importing.options import STDIN, USAGE, Options, parse

if TYPE_CHECKING:
    from grpo_launch.importing.draft import Draft
    from grpo_launch.importing.files import Source
    from grpo_launch.importing.proof import Proof


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
    from grpo_launch.importing import files, reporting

    sources = files.read(options)
    if options.lines:
        sources = [source.of_lines(options.lines) for source in sources]
    draft, text, verdict = _proven(sources, _name(options), _head(options))
    if options.trace:
        from grpo_launch.importing import trace

        for source in sources:
            name, own, given = source.script.name, source.made.launches, options.arguments or []
            verdict = trace.compared(name, own, given, options.settings, verdict)
    if output is None:
        print(text, end="")
    else:
        output.parent.mkdir(parents=True, exist_ok=True)
        output.write_text(text, encoding="utf-8")
    reporting.show(draft, verdict)
    return 0 if verdict.equal else 1


def _proven(sources: Sequence[Source], name: str, head: Sequence[str]) -> tuple[Draft, str, Proof]:
    """The draft, its text and the verdict.

    Where the plan of a plug-in's keys is another one than the script's (a flag that this version
    does not have), its words become a command as they are.
    """
    from grpo_launch.importing import experiment, remarks, writing
    from grpo_launch.importing import proof as proving

    scripts = [source.script for source in sources]
    launches = [source.made.launches for source in sources]
    findings = [one for each in sources for one in remarks.of_script(each.script, each.made)]

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
