"""The rules of data sets; a file that does not exist is found by preflight.

Source: ms-swift 4.6.0, ``swift/dataset``. It reads the data once both halves have started.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, cast

from grpo_launch.config import loops
from grpo_launch.config.arguments import find, is_true, listed
from grpo_launch.config.launch_config import LaunchConfig
from grpo_launch.config.problem import Problem, Severity
from grpo_launch.config.readable import Sections
from grpo_launch.config.rule import Context, Finding, Rule, Unknown, rule
from grpo_launch.engines.model_shape import ModelShape
from grpo_launch.engines.swift.memory import completion_limit, model_len
from grpo_launch.learners.swift import stages
from grpo_launch.learners.swift.batches import generates, trains
from grpo_launch.learners.swift.dataset_columns import Preprocessed, preprocessed
from grpo_launch.learners.swift.dataset_files import DataFile, DataFiles
from grpo_launch.learners.swift.episodes import Episodes
from grpo_launch.learners.swift.model_rules import asked_of_a_hub
from grpo_launch.learners.swift.plugin_rules import Plugins
from grpo_launch.learners.swift.plugin_source import Plugin
from grpo_launch.learners.swift.reward_columns import ALWAYS, BUILT_IN

BYTES_A_TOKEN = 5
"""Tokenizers make more tokens than that of any usual text: English has about four bytes each."""

_FIXES = {"is not a JSON object": "write one object a line", "has no rows": "add some"}


@rule(needs=(Sections,), when=lambda c: c.trains and not Episodes.of(c).played)
def dataset_is_set(context: Context) -> Iterator[Problem]:
    """There is a data set (``SftArguments.__post_init__`` in ``swift/arguments/sft_args.py``)."""
    config = context.config
    if loops.is_loop(config):  # it collects it
        return
    names = ("dataset", "cached_dataset")
    said = [item for name in names for item in listed(find(config, name)[1])]
    if any(not isinstance(item, str) or item.strip() for item in said):
        return
    if not is_true(find(config, "load_data_args")[1]):  # that of a checkpoint
        where = config.where(f"train.{find(config, 'dataset')[0]}")
        yield Problem(where, "is not set", "name the rows to train on")


@rule(needs=(DataFiles,), when=trains)
def dataset_can_be_read(context: Context) -> Iterator[Finding]:
    """Each local file of the data sets has rows, in a format that ms-swift reads."""
    plugins = (context.get(Plugins) or Plugins()).all
    registered = any(plugin.has_datasets or plugin.rewards_unread for _, plugin in plugins)
    registered = registered or bool(listed(find(context.config, "custom_dataset_info")[1]))
    for file in context[DataFiles].entries:
        where = context.config.where(file.key)
        if file.missing:
            yield Unknown(f"{file.name} does not exist")
        elif file.fault is not None:
            fixes = (fix for end, fix in _FIXES.items() if file.fault.endswith(end))
            yield Problem(where, file.fault, next(fixes, "correct the file, or name another"))
        elif file.beside is not None and not (file.beside == "." and registered):
            yield asked_of_a_hub(where, file.name, file.beside)
        if file.fault is None and file.unseen:
            yield Unknown(file.unseen)
        elif not file.whole and file.shapes:
            yield _part(file)


@rule(needs=(DataFiles,), when=trains)
def messages_can_be_read(context: Context) -> Iterator[Problem]:
    """The messages of each row are a list of {role, content}; ms-swift drops other rows."""
    for file in _seen(context):
        number, line = file.dropped
        if not number:
            continue
        whole = number == file.rows
        what = f"the messages of {'all' if whole else number} of {file.rows} rows of {file.name} "
        what += f"cannot be read, the first at line {line}, and ms-swift drops such rows"
        fix = "write lists of {role: user, content: TEXT}, with roles that ms-swift has"
        severity = Severity.ERROR if whole and file.whole else Severity.WARNING
        yield Problem(context.config.where(file.key), what, fix, severity)


@rule(needs=(Sections, DataFiles), when=lambda c: trains(c) and stages.of(c).name != "pt")
def rows_have_a_prompt(context: Context) -> Iterator[Finding]:
    """A column of each file is taken for the prompt; ms-swift drops rows without messages."""
    mapping = _mapping(context)
    if isinstance(mapping, Unknown):
        yield mapping
        return
    for file in _seen(context):
        made = _preprocessed(context.config, file, mapping)
        if made.has_prompt or file.dropped[0]:
            continue
        there = ", ".join(_columns(file)) or "none"
        what = f"no column of {file.name} is taken for the prompt ({there})"
        fix = "name it messages, query or prompt, or say which it is with columns: {NAME: query}"
        may_come = made.has_messages and Episodes.of(context.config).played
        severity = Severity.WARNING if may_come else Severity.ERROR
        yield Problem(context.config.where(file.key), what, fix, severity)


@rule(needs=(Sections, DataFiles), when=generates)
def rows_have_the_columns_of_rewards(context: Context) -> Iterator[Finding]:
    """Each reward function gets the columns that it reads.

    Source: ``compute_rewards_per_func`` (``swift/rl_core/grpo_algorithm.py``), where the call
    misses an argument otherwise, after the first generation.
    """
    config, mapping = context.config, _mapping(context)
    if isinstance(mapping, Unknown):
        yield mapping
        return
    for _, plugin in (context.get(Plugins) or Plugins()).all:
        if plugin.rewards_unread:  # it may replace one of ms-swift's
            yield Unknown(plugin.rewards_unread)
            return
    readers = _readers(context)
    if not readers:
        return
    entries = [f for f in context[DataFiles].entries if f.fault is None]
    for file in entries:
        if not file.shapes:
            yield Unknown(file.unseen or f"{file.name} does not exist")
    made = {file: _preprocessed(config, file, mapping) for file in entries if file.shapes}
    # Where nothing is taken for the prompt, the columns are other ones than was meant.
    seen = [file for file in made if made[file].has_prompt]
    for column, reward in readers.items():
        having = [file for file in seen if column in made[file].columns]
        for file in seen if having else ():
            yield from _partly(config, file, column, reward, has=file in having)
        if having or not seen or len(seen) < len(entries):
            continue
        taken = [file for file in seen if column in _columns(file)]
        file = (taken or seen)[0]
        what = f"no row of {file.name} has {column}, which the reward {reward} reads"
        fix = f"add it, or say which column it is with columns: {{NAME: {column}}}"
        if taken:
            what = f"ms-swift makes {column} of {file.name} part of the messages, "
            what += f"and the reward {reward} does not get it"
            fix = "give the reward a copy of it with another name"
        yield Problem(config.where(file.key), what, fix)


@rule(needs=(Sections, DataFiles), when=generates)
def prompts_fit_max_model_len(context: Context) -> Iterator[Finding]:
    """The longest prompt leaves room for a completion; its tokens are estimated, not counted."""
    config = context.config
    key, completion = completion_limit(config)
    limit = model_len(config, context.get(ModelShape))
    if limit is None or completion is None:
        yield Unknown("the limits of prompt and completion are not known")
        return
    if completion >= limit:
        return  # no prompt has room: reported with the lengths
    cut = [find(config, "max_length")[1], config.get("global_max_length")]
    if any(isinstance(n, int) and n <= limit - completion for n in cut):
        return
    for file in _seen(context):
        length, line = file.longest
        tokens = length // BYTES_A_TOKEN
        if tokens + completion > limit:
            what = f"the prompt at {file.name}:{line} has about {tokens} tokens or more "
            what += f"(an estimate); with {key} {completion} that is above vllm_max_model_len "
            what += f"{limit}"
            fix = "shorten it, or raise the limit"
            yield Problem(config.where(file.key), what, fix, Severity.WARNING)


DATA_RULES: Sequence[Rule] = (
    dataset_is_set,
    dataset_can_be_read,
    messages_can_be_read,
    rows_have_a_prompt,
    rows_have_the_columns_of_rewards,
    prompts_fit_max_model_len,
)
"""In the order in which their findings are reported."""


def _part(file: DataFile) -> Unknown:
    return Unknown(f"only the first {file.rows} rows of {file.name} were looked at")


def _seen(context: Context) -> list[DataFile]:
    return [f for f in context[DataFiles].entries if f.shapes and f.fault is None]


def _columns(file: DataFile) -> list[str]:
    return list(dict.fromkeys(column for shape in file.shapes for column in shape.columns))


def _mapping(context: Context) -> Mapping[str, str] | Unknown:
    """The argument ``columns``, or why the columns of rows cannot be told."""
    config, plugins = context.config, context.get(Plugins)
    for _, plugin in plugins.all if plugins else ():
        if plugin.has_datasets or plugin.missing or plugin.fault:
            return Unknown(f"{plugin.name} may say what becomes of the columns")
    if listed(find(config, "custom_dataset_info")[1]):
        return Unknown("custom_dataset_info may say what becomes of the columns")
    said = find(config, "columns")[1]
    if isinstance(said, str):
        try:
            said = json.loads(said)
        except (ValueError, RecursionError):
            return Unknown("columns is no JSON")
    items = cast("dict[Any, Any]", said or {}) if isinstance(said, dict | None) else {"": None}
    if any(not isinstance(item, str) for pair in items.items() for item in pair):
        return Unknown("columns is no mapping of names")
    return cast("dict[str, str]", items)


def _preprocessed(config: LaunchConfig, file: DataFile, mapping: Mapping[str, str]) -> Preprocessed:
    automatic = not is_true(find(config, "disable_auto_column_mapping")[1])
    return preprocessed(_columns(file), mapping, automatic=automatic)


def _readers(context: Context) -> dict[str, str]:
    """The columns that rewards read, each with the first reward that does."""
    readers: dict[str, str] = {}
    plugins = (context.get(Plugins) or Plugins()).all
    own = {name for _, plugin in plugins for name in plugin.rewards}
    # A scheduler may add columns.
    told = {} if Episodes.of(context.config).played else _told(plugins)
    for name in map(str, listed(find(context.config, "reward_funcs")[1])):
        # A plugin may have one of its own under that name.
        reward = BUILT_IN.get(name) if name not in own else None
        for column in reward.columns if reward else told.get(name, ()):
            readers.setdefault(column, name)
    return {column: name for column, name in readers.items() if column not in ALWAYS}


def _told(plugins: Sequence[tuple[str, Plugin]]) -> dict[Any, tuple[str, ...]]:
    """The columns that rewards of the plugins take, as far as their signatures tell."""
    return {k: v.columns for _, plugin in plugins for k, v in plugin.signatures.items()}


def _partly(
    config: LaunchConfig, file: DataFile, column: str, reward: str, *, has: bool
) -> Iterator[Problem]:
    """A warning for rows without a column that others have, in this file or in another."""
    if has and column not in _columns(file):  # it has another name there
        return
    without = [shape for shape in file.shapes if column not in shape.columns]
    if without:
        number = sum(shape.rows for shape in without)
        part = "" if file.whole else "the first "
        what = f"{number} of {part}{file.rows} rows of {file.name} have no {column}, which the "
        what += f"reward {reward} reads, the first at line {min(shape.line for shape in without)}"
        yield Problem(config.where(file.key), what, "give each row one", Severity.WARNING)
