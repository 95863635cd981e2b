"""The command line of ``grpo-launch import``."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from grpo_launch.errors import ConfigError

USAGE = """\
usage: grpo-launch import SERVER.sh [LEARNER.sh ...] [OPTIONS] [-- ARGUMENTS]

Writes the experiment that launches what the scripts launch, and compares the
commands of its plan with theirs. Scripts are read, never run.

  SCRIPT        a bash script; one may start both; FILE.yaml: flags of a learner;
                -: a command line or a script from standard input
  -o FILE       write the experiment there, not to standard output
  -o DIRECTORY/ write one for each training with its servers, and for each set of
                servers that belongs to none
  --force       write over files that exist
  --line N      import only the launch that begins in line N; in a directory, the
                experiments that have it
  --set X=VALUE the variable X as if it were exported when the script starts, and
                where the script computes it: from a date, another program
  --true N      a condition in line N that nobody knows before the script runs holds:
                [ -d ckpt ], command -v uv
  --false N     it does not
  --trace       also run the scripts, with stand-ins for the programs that they
                launch, and compare with what was called; asks for nothing, but
                everything else in the scripts really runs
  -- ARGUMENTS  of the scripts: $1, $2, ...; -- alone: there are none

Status 0: the plan has the commands of the scripts, flag by flag and variable by
variable; 1: differences or unknowns are listed; 2: a mistake of yours.

documentation: docs/import.md
"""

STDIN = "-"

_TAKES = {
    **dict.fromkeys(("-o", "--output"), "output"),
    **{f"--{name}": name for name in ("set", "line", "true", "false")},
}
_SWITCHES = {"--trace": "trace", "--force": "force"}


@dataclass
class Options:
    """The command line."""

    scripts: list[str] = field(default_factory=list[str])
    output: str = ""
    settings: dict[str, str] = field(default_factory=dict[str, str])
    arguments: list[str] | None = None
    lines: list[int] = field(default_factory=list[int])
    ways: dict[int, bool] = field(default_factory=dict[int, bool])
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
    if name in ("--line", "--true", "--false"):
        if not text.isdecimal():
            raise ConfigError(name, f"{text!r} is no line", "write the number of a line")
        if name == "--line":
            options.lines.append(int(text))
        else:
            options.ways[int(text)] = name == "--true"
        return
    variable, equals, value = text.partition("=")
    if not equals or not variable.isidentifier():
        raise ConfigError("--set", f"{text!r} sets no variable", "write --set NAME=VALUE")
    options.settings[variable] = value
