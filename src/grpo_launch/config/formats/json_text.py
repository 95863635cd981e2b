"""A file of JSON, read as such: YAML takes its ``1e-6`` for text, and allows it no tabs."""

from __future__ import annotations

import json
from typing import Any

from grpo_launch.errors import ConfigError


def parse(where: str, text: bytes) -> Any:
    """The data of a file.

    Args:
        where: the file, for messages.
        text: its bytes.

    Raises:
        ConfigError: it is no JSON, or gives a key twice.
    """

    def once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        data = dict(pairs)
        if len(data) < len(pairs):
            names = [name for name, _ in pairs]
            twice = next(name for name in names if names.count(name) > 1)
            what = f"{twice} is given twice in one object, the first would be lost"
            raise ConfigError(where, what, "make one of the two")
        return data

    try:
        return json.loads(text, object_pairs_hook=once)
    except json.JSONDecodeError as error:
        place = f"{where}:{error.lineno}:{error.colno}"
        raise ConfigError(place, f"malformed JSON: {error.msg}", "correct it") from None
    except RecursionError:
        raise ConfigError(where, "is nested too deeply", "flatten it") from None
    except ValueError as error:
        raise ConfigError(where, f"is not JSON ({error})", "correct it") from None
