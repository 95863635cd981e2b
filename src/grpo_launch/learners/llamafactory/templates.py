"""What LLaMA-Factory's template puts into prompts, held against the model's own chat template.

A server renders the model's own: where the two make different prompts, answers are trained to
prompts that nobody will send. Rendering either takes its program, which the rehearsal does exactly;
here their texts are compared.
"""

from __future__ import annotations

import contextlib
import functools
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, cast

from grpo_launch.base import files
from grpo_launch.config.launch_config import LaunchConfig
from grpo_launch.config.problem import Problem, Severity
from grpo_launch.config.rule import Context, Finding, Unknown, rule
from grpo_launch.engines.flag_facts import LearnerFlags
from grpo_launch.learners.llamafactory import arguments

_SNAPSHOT = Path(__file__).with_name("templates.json")
_SHOWN = 40
"""Characters of a system message that are shown."""


@dataclass(frozen=True)
class ChatTemplate:
    """The chat template of the model, a text in Jinja."""

    MISSING: ClassVar[str] = "the model's chat template is not on this machine"

    text: str


def read(config: LaunchConfig, cwd: Path) -> ChatTemplate | None:
    """The chat template in the model's directory; None where there is none, or several."""
    model = config.get("model_name_or_path")
    if not isinstance(model, str) or "\0" in model:
        return None
    with contextlib.suppress(OSError, ValueError):
        return ChatTemplate(files.text(cwd / model / "chat_template.jinja"))
    with contextlib.suppress(OSError, ValueError, AttributeError):
        settings = files.loads(files.read(cwd / model / "tokenizer_config.json"))
        text = settings.get("chat_template")
        return ChatTemplate(text) if isinstance(text, str) else None
    return None


@rule(needs=(LearnerFlags, ChatTemplate))
def template_is_that_of_the_model(context: Context) -> Iterator[Finding]:
    """A warning where LLaMA-Factory's ``template`` cannot make the prompts that a server makes.

    None of its markers stands in the model's chat template, or its own system message does not.
    Source: ``register_template`` in ``llamafactory/data/template.py``.
    """
    config = context.config
    name = config.get("template")
    shipped = _shipped()
    known = cast("Mapping[str, Any]", shipped["templates"])
    if arguments.stage(config) == "pt" or name not in known:
        return
    if not context[LearnerFlags].product.endswith(f" {shipped['version']}"):
        yield Unknown(f"the templates of {context[LearnerFlags].product} are not known")
        return
    text, where = context[ChatTemplate].text, config.where("train.template")
    markers, system = known[name]["markers"], known[name]["system"]
    fix = "choose the template of this model; rehearse=true shows where they differ"
    if markers and not any(marker in text for marker in markers):
        what = f"{name} makes prompts with {' '.join(markers)}, the model's own chat template not"
        yield Problem(where, what, fix, Severity.WARNING)
    elif system and config.get("default_system") is None and not _says(text, system):
        begin = " ".join(system.split())[:_SHOWN]
        what = f"{name} begins with {begin!r}, which the model's own chat template does not say"
        yield Problem(where, what, fix, Severity.WARNING)


def _says(template: str, system: str) -> bool:
    """Whether a template holds a message, in whatever way it writes its lines and quotes."""
    plain = template.replace("\\n", "\n").replace("\\'", "'").replace('\\"', '"')
    return " ".join(system.split()) in " ".join(plain.split())


@functools.cache
def _shipped() -> dict[str, Any]:
    return json.loads(_SNAPSHOT.read_text(encoding="utf-8"))
