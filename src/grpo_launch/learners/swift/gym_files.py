"""The rules of episodes that look at files: plugins of ms-swift, and the rows that are played.

Source: ms-swift 4.6.0. What they know of the files is gathered before (``facts.py``).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from grpo_launch.config import kinds
from grpo_launch.config.arguments import find
from grpo_launch.config.launch_config import LaunchConfig
from grpo_launch.config.problem import Problem, Severity
from grpo_launch.learners.swift import episodes
from grpo_launch.learners.swift.dataset_rows import Rows
from grpo_launch.learners.swift.episodes import Episodes, GymFacts, GymRule
from grpo_launch.learners.swift.plugin_source import ENVIRONMENTS, SCHEDULERS

_DATASET = "dataset"
_BUILT_IN = {ENVIRONMENTS: episodes.ENVIRONMENTS, SCHEDULERS: episodes.SCHEDULERS}
_NOUNS = {ENVIRONMENTS: "environment", SCHEDULERS: "scheduler"}


def plugins_are_there(config: LaunchConfig, played: Episodes, facts: GymFacts) -> list[Problem]:
    """Each plugin of the half that plays is a file, and is Python.

    Source: ``BaseArguments._import_external_plugins`` imports them as the program starts.
    """
    where = config.where(played.key(config, "external_plugins"))
    problems: list[Problem] = []
    for plugin in facts.plugins or ():
        if plugin.missing:
            what = f"{plugin.name} does not exist"
            fix = "correct the path (it is relative to the working directory)"
            problems.append(Problem(where, what, fix))
        elif plugin.fault:
            what = f"{plugin.name} is no Python ({plugin.fault})"
            problems.append(Problem(where, what, "correct it", Severity.WARNING))
    return problems


def scheduler_is_known(config: LaunchConfig, played: Episodes, facts: GymFacts) -> list[Problem]:
    """The scheduler is one of ms-swift's or of the plugins.

    Source: ``get_rollout_engine_type`` in ``swift/pipelines/infer/rollout.py`` ("not found in
    multi_turns"), for the learner an assertion in ``_prepare_scheduler``.
    """
    name = played.scheduler
    if name is None or facts.plugins is None or _unread(SCHEDULERS, facts):
        return []
    if name in (known := _known(SCHEDULERS, facts)):
        return []
    where = config.where(played.key(config, "multi_turn_scheduler"))
    what = f"{kinds.said(name)} is {_not_known(SCHEDULERS, played)}"
    return [Problem(where, what, _choice(name, known))]


def environments_are_known(
    config: LaunchConfig, played: Episodes, facts: GymFacts
) -> list[Problem]:
    """``gym_env``, and what ``env_config.name`` of each row says instead, is registered.

    Source: ``GYMScheduler._create_env`` ("Environment ... not found").
    """
    if _makes_its_own(played, facts):
        return []
    key = played.key(config, "gym_env")
    problems: list[Problem] = []
    if played.environment is None:
        for rows in facts.rows or ():
            if rows.nameless is not None:
                what = f"env_config at {rows.name}:{rows.nameless} names no environment, "
                what += f"and {config.spelled(key)} is not set"
                problems.append(Problem(_data(config), what, f"set {config.spelled(key)}"))
    if facts.plugins is None or _unread(ENVIRONMENTS, facts):
        return problems
    known = _known(ENVIRONMENTS, facts)
    if played.environment is not None and played.environment not in known:
        what = f"{kinds.said(played.environment)} is {_not_known(ENVIRONMENTS, played)}"
        problems.append(Problem(config.where(key), what, _choice(played.environment, known)))
    for rows in facts.rows or ():
        for name, line in rows.names:
            if name not in known:
                what = f"env_config at {rows.name}:{line} names {kinds.said(name)}, "
                what += _not_known(ENVIRONMENTS, played)
                problems.append(Problem(_data(config), what, _choice(name, known)))
    return problems


def dataset_is_there(config: LaunchConfig, played: Episodes, facts: GymFacts) -> list[Problem]:
    """There is a data set, and each local file of it exists.

    ms-swift takes a name that is no file for the id of a data set in a hub, and looks for it there.
    """
    del played
    if find(config, _DATASET)[1] is None and find(config, "cached_dataset")[1] is None:
        return [Problem(_data(config), "is not set", "name the rows that are played")]
    return [
        Problem(_data(config, rows), f"{rows.name} does not exist", "correct the path, or make it")
        for rows in facts.rows or ()
        if rows.missing
    ]


def rows_have_env_config(config: LaunchConfig, played: Episodes, facts: GymFacts) -> list[Problem]:
    """Each row is a JSON object with a mapping ``env_config``.

    ms-swift resets the environment with an empty one where a row has none
    (``GYMScheduler.on_trajectory_start``). Its own ``math_env`` reads columns instead.
    """
    if not played.needs_rows:
        return []
    problems: list[Problem] = []
    for rows in facts.rows or ():
        if rows.missing or rows.unseen:
            continue
        where = _data(config, rows)
        if rows.unreadable is not None:
            what = f"{rows.name}:{rows.unreadable} is no JSON object"
            problems.append(Problem(where, what, "write one object a line"))
        elif not rows.lines:
            problems.append(Problem(where, f"{rows.name} has no rows", "make them"))
        if rows.without:
            part = "" if rows.whole else "the first "
            what = f"{rows.without} of {part}{rows.lines} rows of {rows.name} have no env_config "
            what += f"(a mapping), the first at line {rows.first_without}"
            problems.append(Problem(where, what, "give each row one"))
    return problems


FILE_RULES: Sequence[GymRule] = (
    plugins_are_there,
    scheduler_is_known,
    environments_are_known,
    dataset_is_there,
    rows_have_env_config,
)
"""All rules of this module, in the order in which their findings are reported."""

_OF_PLUGINS: Mapping[GymRule, str] = {
    scheduler_is_known: SCHEDULERS,
    environments_are_known: ENVIRONMENTS,
}
_OF_ROWS = (dataset_is_there, rows_have_env_config, environments_are_known)


def lacks(rule: GymRule, played: Episodes, facts: GymFacts) -> str | None:
    """What ``rule`` would have to know and does not: in words, or None."""
    if rule is rows_have_env_config and not played.needs_rows:
        return None
    if rule is environments_are_known and _makes_its_own(played, facts):
        own = played.scheduler is None or played.scheduler in episodes.SCHEDULERS
        return None if own else f"{played.scheduler} may make its environments itself"
    if rule is plugins_are_there or rule in _OF_PLUGINS:
        if facts.plugins is None:
            return "the plugins were not looked at"
        if registry := _OF_PLUGINS.get(rule):
            return _unread(registry, facts) or _no_rows(rule, facts)
    return _no_rows(rule, facts)


def _makes_its_own(played: Episodes, facts: GymFacts) -> bool:
    """Whether the scheduler may not look environments up by name; a misspelled one is no other."""
    if played.scheduler == episodes.GYM_SCHEDULER:
        return False
    unread = facts.plugins is None or _unread(SCHEDULERS, facts)
    return bool(unread) or played.scheduler is None or played.scheduler in _known(SCHEDULERS, facts)


def _no_rows(rule: GymRule, facts: GymFacts) -> str | None:
    if rule not in _OF_ROWS:
        return None
    if facts.rows is None:
        return "the data set was not looked at"
    return next(filter(None, (_unseen(rows, rule) for rows in facts.rows)), None)


def _unseen(rows: Rows, rule: GymRule) -> str | None:
    if rows.unseen and (rule is not dataset_is_there or "hub" in rows.unseen):
        return rows.unseen
    if rule is dataset_is_there or rows.whole:
        return None
    return f"only the first {rows.lines} rows of {rows.name} were looked at"


def _unread(registry: str, facts: GymFacts) -> str | None:
    """Why not all that the plugins register in it is known."""
    for plugin in facts.plugins or ():
        if plugin.missing or plugin.fault:
            return f"{plugin.name} could not be read"
        if registry in plugin.unread:
            return plugin.unread[registry]
    return None


def _known(registry: str, facts: GymFacts) -> list[str]:
    registered = (plugin.registered.get(registry, ()) for plugin in facts.plugins or ())
    return sorted({*_BUILT_IN[registry], *(name for names in registered for name in names)})


def _not_known(registry: str, played: Episodes) -> str:
    files = f" or of {', '.join(played.plugins)}" if played.plugins else ""
    return f"no {_NOUNS[registry]} of ms-swift{files}"


def _choice(name: str, known: Iterable[str]) -> str:
    names = list(known)
    meant = kinds.nearest(name, names)
    return f"did you mean {meant}?" if meant else f"use one of {', '.join(names)}"


def _data(config: LaunchConfig, rows: Rows | None = None) -> str:
    """Where the data set is said, of one entry where it is known."""
    entries = episodes.data_sets(config)
    keys = [key for key, entry in entries if rows is not None and entry.startswith(rows.name)]
    return config.where(keys[0] if keys else f"train.{find(config, _DATASET)[0]}")
