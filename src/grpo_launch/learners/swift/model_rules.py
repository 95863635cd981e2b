"""The rule of local models; what is missing altogether is found by preflight."""

from __future__ import annotations

from collections.abc import Iterator

from grpo_launch.config.problem import Problem, Severity
from grpo_launch.config.rule import Context, Finding, Unknown, rule
from grpo_launch.learners.swift.model_files import LocalModels


@rule(needs=(LocalModels,))
def local_models_are_complete(context: Context) -> Iterator[Finding]:
    """A model's directory has a configuration, weights and a tokenizer, an adapter's its own.

    Source: ``get_model_info`` (``swift/model/model_meta.py``) and ``from_pretrained`` of
    transformers, which fail once both halves have started.
    """
    for entry in context[LocalModels].entries:
        where = context.config.where(entry.key)
        if entry.missing:
            yield Unknown(f"{entry.name} does not exist")
        elif entry.fault is not None:
            fix = "complete the directory, or name another"
            yield Problem(where, f"{entry.name} {entry.fault}", fix)
        elif entry.beside is not None:
            yield asked_of_a_hub(where, entry.name, entry.beside)
        if entry.is_of_hub:
            yield Unknown(f"{entry.name} is a model of a hub")


def asked_of_a_hub(where: str, name: str, directory: str) -> Problem:
    """The warning for a name that may be meant as a path below a directory that is here."""
    here = f"is not in the directory {directory}" if directory != "." else "is no directory here"
    what = f"{name} {here}, so a hub is asked for it"
    return Problem(where, what, "correct the path if it is one", Severity.WARNING)
