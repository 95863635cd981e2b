"""The rules of episodes that look at files: plugins of ms-swift, and the rows that are played.

Source: ms-swift 4.6.0. What they know of the files is gathered before (``checks/gather.py``).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from grpo_launch.config import kinds
from grpo_launch.config.arguments import find
from grpo_launch.config.launch_config import LaunchConfig
from grpo_launch.config.problem import Problem, Severity
from grpo_launch.config.rule import Context, Finding, Rule, Unknown
from grpo_launch.learners.swift import episodes
from grpo_launch.learners.swift.dataset_rows import Rows
from grpo_launch.learners.swift.episodes import Episodes, GymFacts, episode_rule
from grpo_launch.learners.swift.plugin_source import ENVIRONMENTS, SCHEDULERS
from grpo_launch.learners.swift.registries import Registries

_DATASET = "dataset"
_NOUNS = {ENVIRONMENTS: "an environment", SCHEDULERS: "a scheduler"}
_NO_PLUGINS = Unknown("the plugins were not looked at")
_NO_ROWS = Unknown("the data set was not looked at")


@episode_rule
def plugins_exist(context: Context) -> Iterator[Finding]:
    """Each plugin of the half that plays is a file, and is Python.

    Source: ``BaseArguments._import_external_plugins`` imports them as the program starts.
    """
    config, played, facts = _parts(context)
    where = config.where(played.key(config, "external_plugins"))
    if facts.plugins is None:
        yield _NO_PLUGINS
    for plugin in facts.plugins or ():
        if plugin.missing:
            what = f"{plugin.name} does not exist"
            fix = "correct the path (it is relative to the working directory)"
            yield Problem(where, what, fix)
        elif plugin.fault:
            what = f"{plugin.name} is not Python ({plugin.fault})"
            yield Problem(where, what, "correct it", Severity.WARNING)


@episode_rule
def scheduler_is_known(context: Context) -> Iterator[Finding]:
    """The scheduler is one of ms-swift's or of the plugins.

    Source: ``get_rollout_engine_type`` in ``swift/pipelines/infer/rollout.py`` ("not found in
    multi_turns"), for the learner an assertion in ``_prepare_scheduler``.
    """
    config, played, _ = _parts(context)
    if unknown := _unread(SCHEDULERS, context):
        yield unknown
        return
    name, known = played.scheduler, _known(SCHEDULERS, context)
    if name is None or name in known:
        return
    where = config.where(played.key(config, "multi_turn_scheduler"))
    what = f"{kinds.said(name)} is {_not_known(SCHEDULERS, played)}"
    yield Problem(where, what, _choice(name, known))


@episode_rule
def environments_are_known(context: Context) -> Iterator[Finding]:
    """``gym_env``, and what ``env_config.name`` of each row says instead, is registered.

    Source: ``GYMScheduler._create_env`` ("Environment ... not found").
    """
    config, played, facts = _parts(context)
    if _makes_its_own(played, context):
        if played.scheduler is not None and played.scheduler not in episodes.SCHEDULERS:
            yield Unknown(f"{played.scheduler} may make its environments itself")
        return
    key = played.key(config, "gym_env")
    if played.environment is None:
        for rows in facts.rows or ():
            if rows.nameless is not None:
                what = f"env_config at {rows.name}:{rows.nameless} names no environment, "
                what += f"and {config.spelled(key)} is not set"
                yield Problem(_data(config), what, f"set {config.spelled(key)}")
    if unknown := _unread(ENVIRONMENTS, context):
        yield unknown
        return
    yield from _not_seen(facts)
    known = _known(ENVIRONMENTS, context)
    if played.environment is not None and played.environment not in known:
        what = f"{kinds.said(played.environment)} is {_not_known(ENVIRONMENTS, played)}"
        yield Problem(config.where(key), what, _choice(played.environment, known))
    for rows in facts.rows or ():
        for name, line in rows.names:
            if name not in known:
                what = f"env_config at {rows.name}:{line} names {kinds.said(name)}, "
                what += _not_known(ENVIRONMENTS, played)
                yield Problem(_data(config), what, _choice(name, known))


@episode_rule
def dataset_exists(context: Context) -> Iterator[Finding]:
    """There is a data set, and each local file of it exists.

    ms-swift takes a name that is no file for the id of a data set in a hub, and looks for it there.
    """
    config, _, facts = _parts(context)
    named = (find(config, name)[1] for name in (_DATASET, "cached_dataset"))
    if config.trains and all(value is None for value in named):
        yield Problem(_data(config), "is not set", "name the rows that are played")
    if facts.rows is None:
        yield _NO_ROWS
    for rows in facts.rows or ():
        if rows.missing:
            what = f"{rows.name} does not exist"
            yield Problem(_data(config, rows), what, "correct the path, or create it")
        elif "hub" in (rows.unseen or ""):
            yield Unknown(rows.unseen or "")


@episode_rule
def rows_have_env_config(context: Context) -> Iterator[Finding]:
    """Each row is a JSON object with a mapping ``env_config``.

    ms-swift resets the environment with an empty one where a row has none
    (``GYMScheduler.on_trajectory_start``). Its own ``math_env`` reads columns instead.
    """
    config, played, facts = _parts(context)
    if not played.needs_rows:
        return
    yield from _not_seen(facts)
    for rows in facts.rows or ():
        if rows.missing or rows.unseen:
            continue
        where = _data(config, rows)
        if rows.unreadable is not None:
            what = f"{rows.name}:{rows.unreadable} is not a JSON object"
            yield Problem(where, what, "write one object a line")
        elif not rows.lines:
            yield Problem(where, f"{rows.name} has no rows", "add some")
        if rows.without:
            part = "" if rows.whole else "the first "
            what = f"{rows.without} of {part}{rows.lines} rows of {rows.name} have no env_config "
            what += f"(a mapping), the first at line {rows.first_without}"
            yield Problem(where, what, "give each row one")


FILE_RULES: Sequence[Rule] = (
    plugins_exist,
    scheduler_is_known,
    environments_are_known,
    dataset_exists,
    rows_have_env_config,
)
"""All rules of this module, in the order in which their findings are reported."""


def _parts(context: Context) -> tuple[LaunchConfig, Episodes, GymFacts]:
    config = context.config
    return config, Episodes.of(config), context.get(GymFacts) or GymFacts()


def _makes_its_own(played: Episodes, context: Context) -> bool:
    """Whether the scheduler may not look environments up by name; a misspelled one is no other."""
    if played.scheduler == episodes.GYM_SCHEDULER:
        return False
    unread = _unread(SCHEDULERS, context) is not None
    return unread or played.scheduler is None or played.scheduler in _known(SCHEDULERS, context)


def _not_seen(facts: GymFacts) -> Iterator[Unknown]:
    """Why not all rows are known."""
    if facts.rows is None:
        yield _NO_ROWS
    for rows in facts.rows or ():
        if rows.unseen:
            yield Unknown(rows.unseen)
        elif not rows.whole:
            yield Unknown(f"only the first {rows.lines} rows of {rows.name} were looked at")


def _unread(registry: str, context: Context) -> Unknown | None:
    """Why not all that ms-swift and the plugins register in it is known."""
    facts = context.get(GymFacts) or GymFacts()
    if Registries.of(context, registry) is None:
        return Unknown(f"the source of ms-swift does not show what is in {registry}")
    if facts.plugins is None:
        return _NO_PLUGINS
    for plugin in facts.plugins:
        if plugin.missing or plugin.fault:
            return Unknown(f"{plugin.name} could not be read")
        if registry in plugin.unread:
            return Unknown(plugin.unread[registry])
    return None


def _known(registry: str, context: Context) -> list[str]:
    plugins = (context.get(GymFacts) or GymFacts()).plugins or ()
    registered = (plugin.registered.get(registry, ()) for plugin in plugins)
    built_in = Registries.of(context, registry) or ()
    return sorted({*built_in, *(name for names in registered for name in names)})


def _not_known(registry: str, played: Episodes) -> str:
    files = f" or of {', '.join(played.plugins)}" if played.plugins else ""
    return f"not {_NOUNS[registry]} of ms-swift{files}"


def _choice(name: str, known: Iterable[str]) -> str:
    names = list(known)
    meant = kinds.nearest(name, names)
    return f"did you mean {meant}?" if meant else f"use one of {', '.join(names)}"


def _data(config: LaunchConfig, rows: Rows | None = None) -> str:
    """Where the data set is said, of one entry where it is known."""
    entries = episodes.data_sets(config)
    keys = [key for key, entry in entries if rows is not None and entry.startswith(rows.name)]
    return config.where(keys[0] if keys else f"train.{find(config, _DATASET)[0]}")
