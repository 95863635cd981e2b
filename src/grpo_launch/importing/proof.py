"""What was written is planned, and its commands are compared with those of the scripts."""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import Generator, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from grpo_launch.bash.script import Value, joined
from grpo_launch.config.kinds import counted
from grpo_launch.errors import LaunchError
from grpo_launch.importing import argument_files, callers, entries
from grpo_launch.importing.comparing import Compared, compared_flags, compared_variables
from grpo_launch.importing.draft import Draft
from grpo_launch.importing.findings import Finding, Sort
from grpo_launch.importing.parts import DEVICES, Part
from grpo_launch.importing.reading import LEARNER, plugin
from grpo_launch.importing.services import with_environment
from grpo_launch.importing.surroundings import runtime_of
from grpo_launch.plan import SERVER, SERVICE, LaunchPlan, ProcessSpec

if TYPE_CHECKING:
    from grpo_launch.config.launch_config import LaunchConfig

_PARTS = {"both": ("server", "learner"), "server": ("server",), "learner": ("learner",)}
_SPARE = tuple(str(number) for number in range(1024))
"""Devices that are there for a half whose devices nothing says."""


@dataclass(frozen=True)
class Proof:
    """Whether the plan has the commands of the scripts.

    Attributes:
        flags: how many flags were compared and are the same.
        variables: the same, of variables.
        differences: where the plan does something else.
        unknowns: what is known only when the scripts run.
        added: what the launcher says by itself, shortly.
        refused: why a launch would be refused, by the launcher's own rules.
    """

    flags: int = 0
    variables: int = 0
    differences: tuple[Finding, ...] = ()
    unknowns: tuple[Finding, ...] = ()
    added: tuple[str, ...] = ()
    refused: tuple[str, ...] = ()

    @property
    def equal(self) -> bool:
        """Whether nothing differs and nothing is unknown."""
        return not self.differences and not self.unknowns

    def with_differences(self, found: Iterable[Finding]) -> Proof:
        """It with what is known to be otherwise besides."""
        return replace(self, differences=(*self.differences, *found))

    def __str__(self) -> str:
        """The verdict, one line."""
        if self.equal:
            same = counted(self.flags, "flag"), counted(self.variables, "variable")
            return f"proven equal: {', '.join(same)}"
        found = (("difference", self.differences), ("unknown", self.unknowns))
        said = [counted(len(each), what) for what, each in found if each]
        return f"not proven: {', '.join(said)}"


def proof(draft: Draft, text: str, name: str, role: str) -> Proof:
    """Plan the text of an experiment, and compare.

    Nothing is started, and nothing of this machine is judged.

    Args:
        draft: what the text was made of.
        text: the experiment.
        name: its file's name, without ``.yaml``.
        role: what starts it.
    """
    said = draft.findings
    unknowns = [finding for finding in said if finding.sort is Sort.UNKNOWN]
    differences = [finding for finding in said if finding.sort is Sort.DIFFERENCE]
    values = [line.value for line in draft.lines]
    environ = callers.stand_ins(values)
    with _written(text, name) as path:
        try:
            with callers.exported(environ):
                config = _composed(path, role)
            config, plan = _planned(config, draft, role)
        except (LaunchError, ValueError, TypeError, KeyError) as error:
            lines = error.lines() if isinstance(error, LaunchError) else [f"{error!r}"]
            shown = [callers.shown(line.replace(str(path), f"{name}.yaml")) for line in lines]
            found = (
                Finding(f"{name}.yaml", 0, f"cannot be planned: {line}", Sort.DIFFERENCE)
                for line in shown
            )
            return Proof(0, 0, (*differences, *found), tuple(unknowns))
        refused = [*_refused(config)]
        if environ:
            refused = _whatever_it_holds(refused, path, role, callers.stand_ins(values, other=True))
        refused = [line.replace(str(path), f"{name}.yaml") for line in refused]
    results = [*_compared(draft, config, _as_said(plan, environ))]
    for part, result in results:
        said = map(callers.shown, result.differences)
        differences += [part.finding(what, Sort.DIFFERENCE) for what in said]
    return Proof(
        sum(result.flags for _, result in results),
        sum(result.variables for _, result in results),
        tuple(dict.fromkeys(differences)),
        tuple(dict.fromkeys(unknowns)),
        tuple(dict.fromkeys(callers.shown(t) for _, result in results for t in result.added)),
        tuple(refused),
    )


@contextlib.contextmanager
def _written(text: str, name: str) -> Generator[Path]:
    with tempfile.TemporaryDirectory(prefix="grpo_launch-") as directory:
        path = Path(directory) / f"{name}.yaml"
        path.write_text(text, encoding="utf-8")
        yield path


def _composed(path: Path, role: str) -> LaunchConfig:
    """The configuration of an experiment.

    Raises:
        LaunchError: it cannot be composed.
    """
    from grpo_launch.config import compose

    config = compose.compose(str(path), [f"role={role}"], {})
    for mistake in config.mistakes:
        raise mistake.error
    return config


def _planned(config: LaunchConfig, draft: Draft, role: str) -> tuple[LaunchConfig, LaunchPlan]:
    """The configuration and its plan, as on a machine that has all the devices and hosts.

    Raises:
        LaunchError: it cannot be planned.
    """
    from grpo_launch.config.endpoint import hosts
    from grpo_launch.planning import devices, planner
    from grpo_launch.settle import ports

    if draft.chosen.servers:  # wherever they run, they are started so
        config = replace(config, own_hosts=frozenset(map(str, hosts(config))))
    said = [*(config.gpus.server or ()), *(config.gpus.learner or ())]
    spare = [device for device in _SPARE if device not in said]
    if config.gpus.learner is None and draft.chosen.learner is not None:
        count = devices.needed(config) or 0
        spare = spare[: (0 if config.gpus.server else count) + _wanted(draft.chosen.learner)]
    split = devices.assign(config, [*said, *spare])
    parts, run = _PARTS[role], "runs/import"
    # A dry run looks for no free port either.
    with ports.chosen(config, parts, {}, run, hold=False, look=False) as choice:
        plan = planner.build(choice.config, split, parts, run, Path(), own_ports=choice.own)
    return choice.config, plan


def _wanted(part: Part) -> int:
    """Devices for a learner that the script gives none: the processes that it says, or one."""
    said = part.environ.get("NPROC_PER_NODE")
    text = str(said) if said is not None else "1"
    return max(1, int(text)) if text.isdecimal() else 1


def _refused(config: LaunchConfig) -> Iterator[str]:
    """The errors of the rules; what they need of this machine is not known to them."""
    from grpo_launch.checks.examine import validate
    from grpo_launch.config.problem import Severity

    for problem in validate(config):
        if problem.severity is Severity.ERROR:
            yield problem.line


def _whatever_it_holds(
    lines: Sequence[str], path: Path, role: str, environ: Mapping[str, str]
) -> list[str]:
    """The errors that do not come from what stands for the caller's variables."""
    try:
        with callers.exported(environ):
            again = {*_refused(_composed(path, role))}
    except LaunchError:
        return []
    return [line for line in lines if line in again]


def _as_said(plan: LaunchPlan, environ: Mapping[str, str]) -> LaunchPlan:
    """A plan with marks for the caller's variables, as the parts of the scripts have them."""
    back = callers.back(environ)

    def of(spec: ProcessSpec) -> ProcessSpec:
        env = {name: back(value) for name, value in spec.env.items()}
        usual = {name: back(value) for name, value in spec.env_defaults.items()}
        return replace(spec, argv=tuple(map(back, spec.argv)), env=env, env_defaults=usual)

    files = tuple(replace(file, text=back(file.text)) for file in plan.files)
    return replace(plan, processes=tuple(map(of, plan.processes)), files=files)


def _compared(
    draft: Draft, config: LaunchConfig, plan: LaunchPlan
) -> Iterator[tuple[Part, Compared]]:
    """Each part with what is the same and what is not."""
    servers = [spec for spec in plan.processes if spec.part == SERVER]
    beside = [spec for spec in plan.processes if spec.part == SERVICE]
    chosen = draft.chosen
    for part, spec in _paired(chosen.servers, servers):
        yield part, _of_process(part, spec, config, [*map(joined, _bare(config, SERVER, spec))])
    for part, spec in _paired(chosen.services, beside):
        yield part, _of_service(part, spec)
    if chosen.learner is not None:
        job = [spec for spec in plan.processes if spec.name == plan.job]
        for part, spec in _paired((chosen.learner,), job):
            words = _by_flags(part, config, plan, [*map(joined, _bare(config, LEARNER, spec))])
            yield part, _of_process(part, spec, config, words)


def _paired(
    parts: Sequence[Part], specs: Sequence[ProcessSpec]
) -> Iterator[tuple[Part, ProcessSpec | None]]:
    for number, part in enumerate(parts):
        yield part, specs[number] if number < len(specs) else None


def _bare(config: LaunchConfig, half: str, spec: ProcessSpec | None) -> list[str]:
    """The command of a process, without what enters its environment."""
    from grpo_launch import runtimes

    if spec is None:
        return []
    before = runtimes.of(config.runtime_of(half)).enter((), Path(spec.cwd)).argv
    words = [*spec.argv]
    return words[len(before) :] if words[: len(before)] == [*before] else words


def _by_flags(
    part: Part, config: LaunchConfig, plan: LaunchPlan, words: Sequence[Value]
) -> Sequence[Value]:
    """A learner's command with the arguments of its file as flags."""
    if part.is_command or not plan.files:
        return words
    one = plugin(LEARNER, part.reading.name)
    return argument_files.planned(one, config.learner.entry, plan.files[0].text)


def _of_process(
    part: Part, spec: ProcessSpec | None, config: LaunchConfig, words: Sequence[Value]
) -> Compared:
    if spec is None:
        return Compared(differences=("the plan does not start it",))
    result = compared_flags(part, words, _head_keys(part, config))
    said = runtime_of(part) or {"kind": "current"}
    entered = config.runtime_of(spec.part)
    planned = {key: str(getattr(entered, key)) for key in said if key != "kind"}
    planned["kind"] = entered.kind.value
    if planned != said:
        what = f"the plan enters {planned}, the script {said}"
        result = result.with_(Compared(differences=(what,)))
    environ = _environ(spec)
    if not part.is_command:
        environ = entries.environ(_bare(config, spec.part, spec), environ, Path(spec.cwd))
    return result.with_(compared_variables(part, environ, len(spec.devices)))


def _environ(spec: ProcessSpec) -> Mapping[str, str]:
    return {**spec.env_defaults, **spec.env}


def _head_keys(part: Part, config: LaunchConfig) -> Iterable[tuple[str, Any, Any]]:
    """The keys that the words before the flags say, as read and as composed."""
    for key, value in part.reading.of_head.items():
        first, _, rest = key.partition(".")
        if first == "train":
            yield key, value, config.get(rest)
        elif first == "rollout_server":
            yield key, value, config.rollout_server.get(rest)
        else:
            yield key, value, getattr(getattr(config, first), rest)


def _of_service(part: Part, spec: ProcessSpec | None) -> Compared:
    if spec is None:
        return Compared(differences=("the plan does not start it",))
    words = [word.known for word in with_environment(part)]
    if words != [*spec.argv]:
        return Compared(differences=(f"the plan starts {' '.join(spec.argv)}",))
    same = Compared(flags=len(part.reading.flags))
    environ = {k: v for k, v in _environ(spec).items() if k != DEVICES or v}
    return same.with_(compared_variables(part, environ, len(spec.devices)))
