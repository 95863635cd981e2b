"""A command line of ``swift rlhf``, ``sft`` or ``pt`` read back into keys of a configuration."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any, cast

from grpo_launch.config.arguments import SIZES
from grpo_launch.engines.flags import Flag, alone
from grpo_launch.engines.swift.importing import taken_apart
from grpo_launch.engines.swift.serve import render
from grpo_launch.learners.swift import stages
from grpo_launch.learners.swift.flags import FLAGS

PROGRAM = "rlhf"

_OTHERS = ("sft", "pt")
"""Programs that train by other arguments; each is a stage."""

_MODULE = "swift.cli."
"""``python -m swift.cli.sft`` is ``swift sft``, which starts it (``swift/cli/main.py``)."""

_MAIN = f"{_MODULE}main"

_USUAL_TYPE = "dpo"
"""``rlhf_type`` where nothing says it (``RLHFArguments``)."""

_SECTIONS = {
    "model": ("model", "model_type", "model_revision", "torch_dtype", "use_hf"),
    "template": ("template", "max_length", "truncation_strategy", "system"),
    "data": ("dataset", "val_dataset", "split_dataset_ratio", "external_plugins", "columns"),
    "tuner": ("tuner_type", "train_type", "lora_rank", "lora_alpha", "target_modules"),
    "deepspeed": ("deepspeed",),
    "rlhf": (
        *("rlhf_type", "ref_model", "reward_funcs", "reward_weights", "beta", "epsilon"),
        *("temperature", "top_p", "top_k"),
        *("max_completion_length", "loss_type", "log_completions", "async_generate", "gym_env"),
        *("use_gym_env", "multi_turn_scheduler", "max_turns", "use_vllm"),
    ),
}


def command(entry: Sequence[str], arguments: Mapping[str, Any]) -> list[str]:
    """The command line that gives each argument as a flag; a list is several words."""
    words = [*entry, PROGRAM]
    for name, value in arguments.items():
        items = cast("list[Any]", value) if isinstance(value, list) else [value]
        words += [f"--{name}", *map(render, items)]
    return words


def keys_of(argv: Sequence[str]) -> dict[str, Any]:
    """The keys that a command line says; its arguments are ``arguments.flatten`` of them again.

    Args:
        argv: the whole command line; what stands before ``rlhf``, ``sft`` or ``pt`` is
            ``learner.entry``.

    Raises:
        ValueError: it is no command line of these programs; names the word that is wrong.
    """
    words = _by_main(argv)
    program = next((word for word in words if word in (PROGRAM, *_OTHERS)), PROGRAM)
    entry, flags = taken_apart(words, program)
    keys: dict[str, Any] = {"learner.entry": entry}
    if program != PROGRAM:
        keys["learner.stage"] = program
    else:
        flags.setdefault("rlhf_type", [_USUAL_TYPE])
        _refuse_without_server(flags)
    known = FLAGS.shipped().table.flags
    for name, words in flags.items():
        if (name, words) != ("rlhf_type", ["grpo"]):  # which is what nothing else says
            flag = known.get(name)
            values = [_value(flag, word) for word in words] or [alone(name, flag)]
            keys[f"train.{section(name)}.{name}"] = values[0] if len(values) == 1 else values
    return keys


def _refuse_without_server(flags: Mapping[str, Sequence[str]]) -> None:
    """Generations by the learner itself are not planned: there is no server to wait for.

    ``vllm_mode`` is ``server`` where a server is named (``RLHFArguments._init_rollout``).

    Raises:
        ValueError: the arguments ask for them.
    """
    (kind, *_) = flags["rlhf_type"] or [""]
    if kind not in stages.NAMES:
        raise ValueError(f"--rlhf_type {kind} is not known")
    if kind not in stages.GENERATE:
        return
    uses = [*map(str.lower, flags.get("use_vllm", ["false"]))] or ["true"]
    named = {"vllm_server_host", "vllm_server_base_url"} & {*flags}
    mode = [*flags.get("vllm_mode", ["server"] if named else ["colocate"])]
    if uses != ["true"]:
        raise ValueError(f"{kind} without --use_vllm true has no rollout server")
    if mode != ["server"]:
        raise ValueError(f"--vllm_mode {' '.join(mode)} has no rollout server")


def _by_main(argv: Sequence[str]) -> list[str]:
    """A command line that runs the module of a program as one that names the program."""
    words: list[str] = []
    for word in argv:
        is_program = word.startswith(_MODULE) and word != _MAIN
        words += [_MAIN, word.removeprefix(_MODULE)] if is_program else [word]
    return words


def _value(flag: Flag | None, word: str) -> Any:
    """A word as the value that is rendered as that word, or as one that means the same."""
    try:
        value = None if flag is not None and flag.kind == "str" else json.loads(word)
    except ValueError:
        return word
    is_number = flag is not None and flag.kind in ("int", "float") and type(value) in (int, float)
    # A boolean of the arguments file is given as ``True``, which only a boolean flag takes as well.
    is_text = isinstance(value, bool) and (flag is None or flag.kind not in ("bool", "switch"))
    is_same = value is not None and not is_text and render(value) == word
    return value if is_number or is_same or isinstance(value, dict | list) else word


def section(name: str) -> str:
    """The section that people keep an argument in; any other argument is ``training``'s."""
    homes = {item: section for section, names in _SECTIONS.items() for item in names}
    usual = (
        "rlhf"
        if name.startswith(("rlhf_type", "vllm_", "num_generations", "reward_"))
        else "training"
    )
    return SIZES.get(name) or homes.get(name, usual)
