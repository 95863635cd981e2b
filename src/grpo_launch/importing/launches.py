"""Which of a script's calls are launches, and what the others are for."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import PurePath

from grpo_launch import bash
from grpo_launch.bash.script import Call, Script, Value, joined
from grpo_launch.errors import ConfigError
from grpo_launch.importing.environments import Entered, Environment
from grpo_launch.importing.reading import COMMAND, ENGINE, LEARNER, identified, plugin_programs
from grpo_launch.importing.shells import SHELLS, behind_c, placed
from grpo_launch.importing.wrappers import Unwrapped, base

_PROGRAMS = frozenset(
    (
        *("trl", "accelerate", "torchrun", "deepspeed", "megatron", "ray", "sglang", "lmdeploy"),
        *("tune", "axolotl", "litgpt", "openrlhf", "text-generation-launcher", "xtuner"),
    )
)
"""Programs that train or serve, whatever else the script calls."""

_MODULES = re.compile(r"(torch\.distributed\.(run|launch)|sglang|verl|openrlhf|trl|lmdeploy)\b")

_CONTAINERS = {
    "docker": ("run", "exec"),
    "podman": ("run", "exec"),
    "singularity": ("exec", "run"),
    "apptainer": ("exec", "run"),
    "enroot": ("start",),
}
"""Programs that run others in a container."""

_SERVING_IMAGE = re.compile(r"(^|[/_-])(vllm|sglang|lmdeploy|text-generation-inference|tgi)\b")
_MODEL = re.compile(r"--model(-path|-id)?(=|$)")

_SERVES = re.compile(r"(^|[._/-])(serve|server|vllm-serve|rollout|deploy|api_server|launch_server)")
_PREPARES = re.compile(
    r"(^|[_-])(prepare|convert|collect|compute|eval|test|plot|wait|check|stop|bench|install|setup)"
)
_TRAINS = re.compile(
    r"(^|[._-])(train(er|ing)?|grpo|ppo|dpo|sft|rl|rlhf|finetune|fine_tune)(?![a-z])", re.IGNORECASE
)
"""Names of somebody's own scripts that say what they do."""

_NO_LAUNCH = {
    "accelerate": ("config", "env", "test", "estimate-memory", "merge-weights"),
    "ray": ("start", "stop", "status", "up", "down", "memory"),
    "trl": ("env",),
}
"""What programs that train or serve do besides."""

_ELSEWHERE = frozenset(
    (
        *("srun", "sbatch", "salloc", "bsub", "qsub", "ssh", "pdsh", "mpirun", "mpiexec"),
        *("kubectl", "parallel", "xargs", "sky", "modal"),
    )
)
"""Programs that start others on other machines, or several times."""

_WAITS = frozenset(("sleep", "wait", "curl", "wget", "nc", "until", "while"))

_QUIET = frozenset(
    (
        *("echo", "printf", "true", "false", ":", "test", "[", "[[", "sleep", "wait", "kill"),
        *("pkill", "killall", "curl", "wget", "nc", "nvidia-smi", "date", "cat", "tail", "head"),
        *("grep", "awk", "sed", "tee", "ls", "pwd", "cd", "set", "trap", "exit", "return", "ps"),
        *("which", "hostname", "clear", "jobs", "disown", "read", "seq", "sort", "wc"),
        *("free", "df", "du", "uname", "whoami", "id", "env", "printenv", "lsof", "fuser", "top"),
        *("stty", "break", "continue", "shift", "eval", "local", "declare", "export", "unset"),
        *("scontrol", "sinfo", "squeue", "nproc", "basename", "dirname", "realpath", "readlink"),
        *("logger", "say", "notify-send", "type", "man", "column", "ts", "tr", "cut"),
        *("tput", "figlet", "history", "times", "alias", "shopt", "let", "getopts"),
    )
)
"""Calls that start and prepare nothing."""

_OF_LAUNCHER = frozenset(
    ("CUDA_VISIBLE_DEVICES", "NPROC_PER_NODE", "NNODES", "NODE_RANK", "MASTER_ADDR", "MASTER_PORT")
)
"""Variables that the launcher says itself, whatever the caller's are."""


@dataclass(frozen=True)
class Launch:
    """A call that serves or trains.

    Attributes:
        script: the script that it stands in.
        call: the call.
        bare: it without wrappers.
        kind: of the plug-in that reads it: ``engine`` or ``learner``.
        name: the plug-in's name.
        environment: that is active.
        at: its number among the calls of the script, that of the shell where a shell is given it.
    """

    script: str
    call: Call
    bare: Unwrapped
    kind: str
    name: str
    environment: Environment = field(default_factory=Environment)
    at: int = 0

    @property
    def words(self) -> tuple[Value, ...]:
        """The command, with the wrappers that stay."""
        return (*self.bare.before, *self.bare.words)

    @property
    def program(self) -> str:
        """What people call it: its first words."""
        known = [word.known or "?" for word in self.bare.words[:2]]
        return " ".join([PurePath(known[0]).name, *known[1:]]) if known else ""


@dataclass(frozen=True)
class Step:
    """A call that is no launch.

    Attributes:
        at: its number among the calls of the script.
        call: the call.
        bare: it without wrappers.
    """

    at: int
    call: Call
    bare: Unwrapped


@dataclass(frozen=True)
class Sorted:
    """The calls of a script.

    Attributes:
        launches: in their order.
        others: calls that prepare something, or that nobody understands.
        waits: calls that wait for something.
    """

    launches: tuple[Launch, ...]
    others: tuple[Step, ...] = ()
    waits: tuple[Step, ...] = ()


def sorted_calls(script: Script) -> Sorted:
    """Tell the launches of a script from its other calls."""
    launches: list[Launch] = []
    others: list[Step] = []
    waits: list[Step] = []
    scripts: list[tuple[int, Launch]] = []
    entered = Entered()
    for one in placed(script.calls, script.name):
        bare = one.bare
        if not bare.words or entered.takes(one):
            continue
        step = Step(one.at, one.call, bare)
        name = base(bare.words[0])
        if name in _QUIET or _asks(bare.words):  # also ``echo vllm serve ...``
            waits += [step] if name in _WAITS else []
            continue
        if name in SHELLS and _only_waits(bare.words):  # timeout 600 bash -c 'until curl ...'
            waits.append(step)
            continue
        read = _identified(bare)
        is_script = read is None and _is_script(bare.words)
        if is_script:
            read = ENGINE if serves(bare.words) else LEARNER, COMMAND
        if read is None:
            others.append(step)
            continue
        bare = _without_unset(one.call, bare)
        launch = Launch(script.name, one.call, bare, *read, entered.at(one), one.at)
        if is_script:
            scripts.append((len(others), launch))
            others.append(step)
        else:
            launches.append(launch)
    own = _own(launches, scripts)
    launches = sorted([*launches, *(launch for _, launch in own)], key=lambda each: each.at)
    taken = {number for number, _ in own}
    kept = (step for number, step in enumerate(others) if number not in taken)
    return Sorted(tuple(launches), tuple(kept), tuple(waits))


def _own(
    launches: Sequence[Launch], scripts: Sequence[tuple[int, Launch]]
) -> Sequence[tuple[int, Launch]]:
    """Those of somebody's own scripts that are launches.

    Where nothing else trains, all whose names say that they do; where nothing is launched at all
    and no name says so, the last one.
    """
    if any(launch.kind == LEARNER for launch in launches):
        return ()
    training = [each for each in scripts if _trains(each[1].bare.words)]
    return training or ([] if launches else scripts[-1:])


def _asks(words: Sequence[Value]) -> bool:
    """Whether a program is only asked what it is."""
    return any(word.known in ("--help", "--version") for word in words) or _text(words, 1) == "-h"


def _without_unset(call: Call, bare: Unwrapped) -> Unwrapped:
    """A command that takes from its program what the script takes from it, of the caller's."""
    gone = [name for name in (*call.unset, *sorted(bare.unset)) if name not in _OF_LAUNCHER]
    gone = [name for name in dict.fromkeys(gone) if name not in bare.environ]
    if not gone:
        return bare
    words = ["env", *(word for name in gone for word in ("-u", name))]
    return replace(bare, before=(*map(joined, words), *bare.before))


def _identified(bare: Unwrapped) -> tuple[str, str] | None:
    """The kind of a launch and the plug-in that reads it."""
    words = bare.words
    if (read := identified((*bare.before, *words), len(bare.before))) is not None:
        return read
    name, second = base(words[0]), _text(words, 1)
    if second in _NO_LAUNCH.get(name, ()):
        return None
    module = _module(words)
    is_server = serves(words)
    if name in _PROGRAMS or (module and _MODULES.match(module)):
        return (ENGINE if is_server else LEARNER), COMMAND
    if is_server and name in plugin_programs():  # what no plug-in reads of their programs
        return ENGINE, COMMAND
    if name in SHELLS and bare.before and (kind := _kind_inside(words)) is not None:
        return kind, COMMAND
    if _is_container(words):
        inside = [at for at in range(2, len(words)) if base(words[at]) in _all_programs()]
        if inside:
            kind = identified(words[inside[0] :])
            return (kind[0] if kind else LEARNER), COMMAND
        images = [at for at in range(2, len(words)) if _SERVING_IMAGE.search(str(words[at]))]
        if images and any(_MODEL.match(str(word)) for word in words[images[0] :]):
            return ENGINE, COMMAND
    return None


def elsewhere(words: Sequence[Value]) -> str:
    """What a call starts on other machines that serves or trains, or its script; empty: nothing."""
    if base(words[0]) not in _ELSEWHERE:
        return ""
    texts = (text for word in words[1:] for text in re.split(r"[\s='\"]+", str(word)))
    names = (PurePath(text).name for text in texts)
    scripts = (".sh", ".py", ".sbatch", ".slurm")
    return next((n for n in names if n in _all_programs() or n.endswith(scripts)), "")


def is_training_script(made: Sorted, step: Step) -> bool:
    """Whether a call starts a shell script that was not read, and that probably trains.

    By its name, or as it comes last behind a server that nothing else asks.
    """
    words = step.bare.words
    script = words[1:2] if base(words[0]) in SHELLS else words[:1]
    name = PurePath(_text(script, 0)).name
    if not name.endswith(".sh"):
        return False
    is_last = all(launch.at < step.at for launch in made.launches) and not step.call.background
    is_asked = any(launch.kind == LEARNER for launch in made.launches)
    is_named = _TRAINS.search(name.removesuffix(".sh")) is not None
    return not _PREPARES.search(name) and (is_named or (is_last and not is_asked))


def _only_waits(words: Sequence[Value]) -> bool:
    """Whether the text that a shell is given only waits for something."""
    inner = _inside(words)
    return inner is not None and inner.waits != () and not inner.launches and not inner.others


def _is_container(words: Sequence[Value]) -> bool:
    return _text(words, 1) in _CONTAINERS.get(base(words[0]), ())


def _kind_inside(words: Sequence[Value]) -> str | None:
    """What the text serves or trains that a shell is given; None: nothing."""
    inner = _inside(words)
    return inner.launches[-1].kind if inner is not None and inner.launches else None


def _inside(words: Sequence[Value]) -> Sorted | None:
    """The calls of the text that a shell is given; None: there is none that can be read."""
    text = behind_c(words)
    if text is None:
        return None
    try:
        return sorted_calls(bash.read(str(text).encode(), "text"))
    except ConfigError:
        return None


def _all_programs() -> frozenset[str]:
    return _PROGRAMS | plugin_programs()


def _module(words: Sequence[Value]) -> str:
    """The module that an interpreter runs; empty: none."""
    if not base(words[0]).startswith("python"):
        return ""
    for at, word in enumerate(words[1:], 1):
        if word.known == "-m":
            return _text(words, at + 1)
        if not (word.known or "").startswith("-"):
            return ""
    return ""


def _is_script(words: Sequence[Value]) -> bool:
    """Whether an interpreter runs a script or a module of somebody's own, no text."""
    if _is_container(words):
        inside = (at for at in range(2, len(words)) if base(words[at]).startswith("python"))
        return (at := next(inside, None)) is not None and _is_script(words[at:])
    if not base(words[0]).startswith("python"):
        return False
    return len(words) > 1 and _text(words, 1) not in ("-c", "-", "-V", "--version")


def serves(words: Sequence[Value]) -> bool:
    """Whether the first words of a command say that it serves."""
    head = [PurePath(word.known or "").name for word in words[:6]]
    script = next((at for at, name in enumerate(head) if name.endswith(".py")), None)
    if script is not None:  # what is behind it is given to it
        head = [name for name in head[: script + 1] if not _PREPARES.search(name)]
    return any(_SERVES.search(name) for name in head if not name.startswith("--"))


def _trains(words: Sequence[Value]) -> bool:
    """Whether the name of somebody's own script or module says that it trains."""
    at = next((n for n in range(1, len(words)) if _text(words, n).endswith(".py")), None)
    name = PurePath(_text(words, at)).stem if at is not None else _module(words)
    return bool(_TRAINS.search(name)) and not _PREPARES.search(name)


def _text(words: Sequence[Value], at: int) -> str:
    return (words[at].known or "") if at < len(words) else ""
