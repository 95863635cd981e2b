"""Whether an engine that serves one model can take the weights of another directory.

An engine that is asked to load what does not fit may lose the weights that it has, and where a
tensor is missing it silently keeps the old one. So all is compared before it is asked.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, cast

from grpo_launch.engines.model_shape import ModelShape
from grpo_launch.errors import ConfigError
from grpo_launch.stages.weights import CONFIG, Weights

_OUTPUT_LAYER = r"(.*\.)?lm_head\.weight"
"""A tied model has it as its embedding; files of it may hold a copy."""

_CONVERTIBLE = frozenset(("F64", "F32", "F16", "BF16"))
"""Types that an engine converts into its own when it loads them."""

_OF_SHAPE = (
    *("model_type", "num_hidden_layers", "hidden_size", "intermediate_size", "head_dim"),
    *("num_attention_heads", "num_key_value_heads", "num_experts", "tie_word_embeddings"),
    *("rope_factor", "quantized"),
)
_OF_CONFIG = ("hidden_act", "rms_norm_eps", "layer_norm_eps", "num_experts_per_tok")
"""What changes the results though all tensors have the same shapes; the engine keeps its own."""

_SAVED = "save a checkpoint of the model that is served"


def misfits(served: Weights, fresh: Weights, unloaded: Sequence[str] = ()) -> list[ConfigError]:
    """What keeps the engine from serving ``fresh`` instead of ``served``; empty: nothing.

    Args:
        served: the model that the server was started with.
        fresh: what it is to load. Floating-point types may differ, it converts them.
        unloaded: regular expressions of the tensors that the engine does not load anyway.

    Returns:
        An error for each kind of difference; it names the first tensor or setting.
    """
    return [*_other_model(served, fresh), *_other_tensors(served, fresh, unloaded)]


def _other_model(served: Weights, fresh: Weights) -> Iterator[ConfigError]:
    where = str(fresh.directory / CONFIG)
    old, new = served.config.get("architectures"), fresh.config.get("architectures")
    if old and new != old:
        what = f"architectures is {new}, the server has {old}"
        yield ConfigError(where, what, _SAVED)
        return
    before, after = _settings(served), _settings(fresh)
    differing = [
        f"{key} is {after[key]}, the server has {before[key]}"
        for key in before
        if key in after and after[key] != before[key]
    ]
    if differing:
        yield ConfigError(where, f"{differing[0]}{_more(differing)}", _SAVED)


def _settings(weights: Weights) -> dict[str, Any]:
    """What of a configuration decides how its weights are used; without what it leaves open."""
    config = weights.config
    shape = ModelShape.of(config)
    nested = config.get("text_config")
    text = cast("dict[str, Any]", nested) if isinstance(nested, dict) else config
    found: dict[str, Any] = {key: getattr(shape, key) for key in _OF_SHAPE}
    if found["tie_word_embeddings"] is None:
        found["tie_word_embeddings"] = not any(map(_is_output_layer, weights.tensors))
    found["rope_type"] = shape.rope_type or "default"
    found |= {key: text.get(key) for key in _OF_CONFIG}
    found["rope_theta"] = _rope_theta(text)
    return {key: value for key, value in found.items() if value is not None}


def _rope_theta(text: Mapping[str, Any]) -> Any:
    """Of ``rope_parameters`` (transformers 5), which wins over that of the root."""
    for key in ("rope_parameters", "rope_scaling"):
        rope = text.get(key)
        if isinstance(rope, dict) and "rope_theta" in rope:
            return cast("dict[str, Any]", rope)["rope_theta"]
    return text.get("rope_theta")


def _other_tensors(
    served: Weights, fresh: Weights, unloaded: Sequence[str]
) -> Iterator[ConfigError]:
    where = str(fresh.directory)
    tied = all(_settings(each)["tie_word_embeddings"] for each in (served, fresh))
    spared = [re.compile(pattern) for pattern in (*unloaded, *((_OUTPUT_LAYER,) if tied else ()))]

    def count(names: set[str]) -> list[str]:
        return sorted(n for n in names if not any(each.fullmatch(n) for each in spared))

    old, new = served.tensors, fresh.tensors
    if missing := count(set(old) - set(new)):
        what = f"{_are(missing)} missing, the server would silently keep what it has"
        yield ConfigError(where, what, _SAVED)
    if extra := count(set(new) - set(old)):
        what = f"{_are(extra)} unknown to the server's model"
        yield ConfigError(where, what, _SAVED)
    both = sorted(set(old) & set(new))
    if shapes := [name for name in both if old[name].shape != new[name].shape]:
        first = shapes[0]
        what = f"{first} is {list(new[first].shape)}, the server has {list(old[first].shape)}"
        yield ConfigError(where, f"{what}{_more(shapes)}", _SAVED)
    if types := [n for n in both if not _converts(old[n].dtype, new[n].dtype)]:
        first = types[0]
        what = f"{first} is {new[first].dtype}, the server has {old[first].dtype}"
        yield ConfigError(where, f"{what}{_more(types)}", _SAVED)


def _converts(old: str, new: str) -> bool:
    return old == new or {old, new} <= _CONVERTIBLE


def _is_output_layer(name: str) -> bool:
    return re.fullmatch(_OUTPUT_LAYER, name) is not None


def _are(names: Sequence[str]) -> str:
    return f"{names[0]} is" if len(names) == 1 else f"{names[0]} and {len(names) - 1} more are"


def _more(items: Sequence[str]) -> str:
    return f" (and {len(items) - 1} more)" if len(items) > 1 else ""
