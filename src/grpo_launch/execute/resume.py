"""How a restart tells the learner to go on from a checkpoint.

Usually by a line of its arguments file, a flat block mapping that the planner wrote, one key a
line. Others are told by words of their command, or by a key of a file that the planner left a mark
for (``signs.Resuming``).
"""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

from grpo_launch.base import atomic
from grpo_launch.errors import PreflightError
from grpo_launch.execute.surroundings import Surroundings
from grpo_launch.plan import LaunchPlan, Resuming
from grpo_launch.runs import checkpoints
from grpo_launch.runs.outputs import Outputs
from grpo_launch.signs import ARGUMENT, DIRECTORY, NONE


def prepared(
    around: Surroundings, outputs: Outputs, number: int
) -> tuple[Surroundings, str | None]:
    """Let the learner go on from the newest complete checkpoint.

    Args:
        around: what the attempts share.
        outputs: what this run wrote.
        number: of the attempt that follows.

    Returns:
        The same with the plan of that attempt, and where it goes on, or None.

    Raises:
        PreflightError: the learner cannot be told; it would begin anew then, perhaps over its
            own checkpoints.
    """
    recovery, say = around.plan.recovery, around.console.say
    if recovery.resuming is not None and recovery.resuming.by == NONE:
        kept = _set_aside(around, number - 1)
        say(f"the learner cannot go on from a checkpoint, training starts anew{kept}")
        return around, None
    if recovery.resuming is not None:
        around, newest = _told(around, outputs, recovery.resuming)
    elif recovery.arguments_file is None:
        return around, None
    else:
        newest = _written(around, outputs, recovery.arguments_file, number)
    # Without a new one the learner goes on from where the run itself began.
    if (origin := newest or recovery.resumed_from) is None:
        say("no complete checkpoint yet, training starts anew")
    else:
        say(f"training goes on from {origin}")
    return around, origin


def _written(around: Surroundings, outputs: Outputs, file: str, number: int) -> str | None:
    """Tell it by lines of its arguments file; the checkpoint."""
    recovery, path = around.plan.recovery, around.cwd / file
    newest = outputs.newest() if recovery.checkpoint_key else None
    try:
        text = path.read_text(encoding="utf-8")
        if recovery.output_key and not recovery.versioned:
            directory = f"{around.plan.output_dir}/attempt_{number}"
            text = with_argument(text, recovery.output_key, directory)
        if newest is not None:
            text = with_argument(text, recovery.checkpoint_key, str(newest.path))
        atomic.write(path, text)
    except OSError as error:
        raise _unwritable(file, error) from None
    return str(newest.path) if newest else None


def _told(around: Surroundings, outputs: Outputs, how: Resuming) -> tuple[Surroundings, str | None]:
    """Tell it as ``how`` says; what is shared with the new plan, and the checkpoint."""
    plan, newest = around.plan, outputs.newest()
    if how.by == DIRECTORY:  # it also finds what an earlier run has left there
        every = checkpoints.every(around.cwd / plan.output_dir, plan.checkpoints)
        newest = next(reversed(every), None)
    if newest is None:
        return around, None
    checkpoint = str(newest.path)
    if how.by == ARGUMENT:
        around = replace(around, plan=with_words(plan, how, checkpoint))
    elif how.file:
        quoted = json.dumps(checkpoint) if how.file.endswith(".json") else _quoted(checkpoint)
        try:
            atomic.write(around.cwd / how.file, how.text.replace(how.mark, quoted))
        except OSError as error:
            raise _unwritable(how.file, error) from None
    return around, checkpoint


def with_words(plan: LaunchPlan, how: Resuming, checkpoint: str) -> LaunchPlan:
    """``plan`` with a job that is told by words to go on from ``checkpoint``."""
    words = tuple(word.replace(how.mark, checkpoint) for word in how.words)

    def told(argv: tuple[str, ...]) -> tuple[str, ...]:
        end = len(argv) - how.behind
        return (*argv[: end - how.present], *words, *argv[end:])

    team = plan.team
    processes = (replace(s, argv=told(s.argv)) if s in team else s for s in plan.processes)
    recovery = replace(plan.recovery, resuming=replace(how, present=len(words)))
    return replace(plan, processes=tuple(processes), recovery=recovery)


def _set_aside(around: Surroundings, attempt: int) -> str:
    """Keep what an attempt wrote, where the next one begins anew; where it is now, in words.

    Only below the run directory: elsewhere other runs may write as well.
    """
    plan = around.plan
    output = around.cwd / plan.output_dir
    if not Path(plan.output_dir).is_relative_to(plan.run_dir):
        return f", and writes into {plan.output_dir} again"
    try:
        output.rename(output.with_name(f"{output.name}.attempt_{attempt}"))
    except OSError:  # it wrote nothing
        return ""
    return f"; what it wrote is kept in {plan.output_dir}.attempt_{attempt}"


def _unwritable(file: str, error: OSError) -> PreflightError:
    what = f"cannot be rewritten for a restart ({error.strerror})"
    return PreflightError(file, what, "start again with resume=")


def with_argument(text: str, key: str, value: str) -> str:
    """The arguments ``text`` with ``value`` as its only ``key``."""
    kept = [line for line in text.split("\n") if line and not line.startswith(f"{key}:")]
    return "\n".join([*kept, f"{key}: {_quoted(value)}"]) + "\n"


def _quoted(value: str) -> str:
    """A double-quoted scalar of YAML 1.1, whatever is in ``value`` (a path may hold anything)."""
    plain = value.replace("\\", "\\\\").replace('"', '\\"')
    return '"' + "".join(c if c.isprintable() else f"\\U{ord(c):08x}" for c in plain) + '"'
