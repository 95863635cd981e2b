"""The rules that LLaMA-Factory brings (``llamafactory/hparams/parser.py`` of version 0.9.5)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, cast

from grpo_launch.config import kinds, loops
from grpo_launch.config.arguments import is_true
from grpo_launch.config.facts import WorldSize
from grpo_launch.config.problem import Problem, Severity
from grpo_launch.config.rule import Context, Rule, rule
from grpo_launch.learners.llamafactory import arguments, datasets
from grpo_launch.learners.llamafactory.flag_rules import FLAG_RULES
from grpo_launch.learners.llamafactory.gather import Data, Output, Paths
from grpo_launch.learners.llamafactory.templates import template_is_that_of_the_model


@rule
def model_is_set(context: Context) -> Iterator[Problem]:
    """``model_name_or_path`` is a non-empty string."""
    config = context.config
    model = config.get("model_name_or_path")
    if config.trains and (model is None or (isinstance(model, str) and not model.strip())):
        what = f"is {'null' if model is None else kinds.said(model)}"
        where = config.where("train.model_name_or_path")
        yield Problem(where, what, "set it to a model's name or directory")


@rule
def stages_agree(context: Context) -> Iterator[Problem]:
    """``learner.stage`` and ``stage`` of the file are the same, where both are said."""
    config = context.config
    chosen = config.learner.stage
    if chosen in arguments.STAGES and not arguments.stages_agree(config):
        what = f"is {kinds.said(config.get('stage'))}, but learner.stage is {chosen}"
        what += f" ({config.where('learner.stage')})"
        yield Problem(config.where("train.stage"), what, "keep one of them")


@rule
def data_is_set(context: Context) -> Iterator[Problem]:
    """A training has a ``dataset``, or ``data``; ``get_train_args`` refuses one without."""
    config = context.config
    if not config.trains or any(config.get(key) for key in ("dataset", datasets.DATA)):
        return
    if loops.is_loop(config):  # it collects them
        return
    if is_true(config.get("do_train", True)):
        fix = "set it to a file, [data.jsonl], or to names of dataset_dir/dataset_info.json"
        yield Problem(config.where("train.dataset"), "is not set", fix)


@rule
def data_entries_are_files(context: Context) -> Iterator[Problem]:
    """``data`` maps names to files, or to mappings with ``file`` and members of the list.

    Source: ``DatasetAttr.join`` in ``llamafactory/data/parser.py``.
    """
    config = context.config
    data = config.get(datasets.DATA)
    if data is None:
        return
    if not isinstance(data, dict):
        what = f"{kinds.said(data)} is not a mapping of names to files"
        yield Problem(config.where("train.data"), what, "write {NAME: FILE}")
        return
    for name, said in cast("dict[Any, Any]", data).items():
        where = config.where(f"train.data.{name}")
        members: dict[Any, Any] = said if isinstance(said, dict) else {datasets.FILE: said}
        file = members.get(datasets.FILE)
        if not isinstance(file, str) or not file.strip():
            yield Problem(where, "names no file", "write {file: FILE, ...}")
        for member in members:
            if member not in datasets.MEMBERS:
                near = kinds.nearest(member, datasets.MEMBERS)
                fix = f"did you mean {near}?" if near else f"use {', '.join(datasets.MEMBERS)}"
                yield Problem(config.where(f"train.data.{name}.{member}"), "unknown key", fix)


@rule
def files_and_lists_of_data_stay_apart(context: Context) -> Iterator[Problem]:
    """Where files are named all data are files: there is one list, which the launcher writes."""
    config = context.config
    if not datasets.files(config.train):
        return
    known = {name for name, *_ in datasets.of_data(config.train)}
    for key in datasets.KEYS:
        for name in datasets.names(config.get(key)):
            if not datasets.is_file(name) and name not in known:
                what = f"{name} is no file and not in data"
                fix = "name its file as well, or describe all of them in dataset_info.json"
                yield Problem(config.where(f"train.{key}"), what, fix)
    if config.get("dataset_dir") is not None:
        what = "is not read where files are named, the launcher writes their list"
        yield Problem(config.where("train.dataset_dir"), what, "remove it")


@rule(needs=(Data,))
def data_has_the_form_of_its_stage(context: Context) -> Iterator[Problem]:
    """The first row of each file has the columns that its entry of the list names."""
    config = context.config
    for key, file, missing, columns in context[Data].lacking:
        what = f"{file} has no column {missing}, its columns are {', '.join(columns)}"
        fix = "describe it: data: {NAME: {file: ..., formatting: alpaca or sharegpt, columns: ...}}"
        yield Problem(config.where(f"train.{key}"), what, fix)


@rule(needs=(Data,))
def data_sets_are_listed(context: Context) -> Iterator[Problem]:
    """Each name of ``dataset`` is in the experiment's own list (``get_dataset_list``)."""
    config = context.config
    for key, name, listed, known in context[Data].undefined:
        where = config.where(f"train.{key}")
        if not known:
            what = f"{name} is no file, and there is no {listed}"
            yield Problem(where, what, "name a file, data.jsonl, or set dataset_dir")
            continue
        near = kinds.nearest(name, known)
        fix = f"did you mean {near}?" if near else "add it there, or name a file"
        yield Problem(where, f"{name} is not in {listed}", fix)


@rule(needs=(WorldSize, Paths))
def torchrun_is_given_no_spaces(context: Context) -> Iterator[Problem]:
    """Paths without spaces where several processes train.

    ``launcher.py`` makes one text of torchrun's command and splits it at spaces.
    """
    config, paths = context.config, context[Paths]
    if not arguments.is_distributed(config, context[WorldSize].processes):
        return
    for key, path, what in paths.of_torchrun:
        if any(letter.isspace() for letter in path):
            why = f"{what} {path} has a space, at which LLaMA-Factory splits torchrun's command"
            yield Problem(config.where(key), why, "choose a directory without one")


@rule(needs=(Output,))
def output_directory_holds_no_other_training(context: Context) -> Iterator[Problem]:
    """A warning where LLaMA-Factory goes on from a checkpoint that the experiment does not name.

    Source: the end of ``get_train_args``: the last checkpoint of ``output_dir``, unless
    ``resume_from_checkpoint`` or ``overwrite_output_dir`` is set; weights without a checkpoint are
    refused.
    """
    config, output = context.config, context[Output]
    if config.get("resume_from_checkpoint") is not None or config.resume is not None:
        return
    if is_true(config.get("overwrite_output_dir")):
        return
    where = config.where("train.output_dir")
    fix = "set another one, or overwrite_output_dir: true"
    if output.checkpoint:
        what = f"{output.path} has {output.checkpoint}, from which LLaMA-Factory goes on"
        yield Problem(where, what, f"{fix}, to begin anew", Severity.WARNING)
    elif output.has_weights:
        what = f"{output.path} holds the model of another training, which LLaMA-Factory refuses"
        yield Problem(where, what, fix)


@rule
def template_is_named(context: Context) -> Iterator[Problem]:
    """A warning for a training on conversations without ``template``: it is guessed."""
    config = context.config
    if config.trains and config.get("template") is None and arguments.stage(config) != "pt":
        what = "is not set, LLaMA-Factory guesses it from the model's chat template"
        yield Problem(config.where("train.template"), what, "name it", Severity.WARNING)


RULES: Sequence[Rule] = (
    *FLAG_RULES,
    model_is_set,
    stages_agree,
    data_is_set,
    data_entries_are_files,
    files_and_lists_of_data_stay_apart,
    data_has_the_form_of_its_stage,
    data_sets_are_listed,
    torchrun_is_given_no_spaces,
    output_directory_holds_no_other_training,
    template_is_named,
    template_is_that_of_the_model,
)
