"""Requests of a reload to a server, each with an end in time and in bytes."""

from __future__ import annotations

import math
import re
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, cast

from grpo_launch.base import files
from grpo_launch.errors import one_line
from grpo_launch.stages.journal import Probed
from grpo_launch.transfer import Probe, ReloadStep

if TYPE_CHECKING:
    import httpx

_LONGEST_ANSWER = 1 << 20
"""Bytes of an answer that are read."""

_SHOWN = 200
"""Characters of an answer in a message."""

_OK = 200
_ABSENT = (404, 405, 501)
_PLACEHOLDER = re.compile(r"\{(path|version|mode)\}")


class UnansweredError(Exception):
    """A server has not done what it was asked to do; ``str`` says how that showed.

    Attributes:
        is_absent: whether it has no such path.
        is_unreachable: whether nothing accepts connections there.
    """

    def __init__(self, what: str, *, is_absent: bool = False, is_unreachable: bool = False) -> None:
        super().__init__(one_line(what))
        self.is_absent = is_absent
        self.is_unreachable = is_unreachable


@dataclass(frozen=True)
class Asking:
    """A server that is asked.

    Attributes:
        client: neither follows redirects nor uses proxies.
        url: of the server, without a slash at the end.
        values: of the placeholders.
    """

    client: httpx.Client
    url: str
    values: Mapping[str, str]

    def do(self, step: ReloadStep) -> None:
        """Let the server do something.

        Raises:
            UnansweredError: it has not.
        """
        path = self._filled(step.path)
        answer = self._post(path, self._filled(step.body), step.timeout_s)
        for field, value in step.answer.items():
            found = answer.get(field) if isinstance(answer, dict) else None
            values = cast("list[Any]", found) if isinstance(found, list) else [found]
            wanted = cast("list[Any]", value)[0] if isinstance(value, list) else value
            is_same = isinstance(found, list) is isinstance(value, list)
            if not is_same or not values or any(each != wanted for each in values):
                raise UnansweredError(f"status 200, but no {field}: {str(answer)[:_SHOWN]}")

    def probe(self, probe: Probe) -> Probed:
        """The answer to a greedy prompt.

        Raises:
            UnansweredError: none came, or not as many finite numbers as tokens.
        """
        answer = self._post(probe.path, probe.body, probe.timeout_s)
        tokens, logprobs = _at(answer, probe.tokens), _at(answer, probe.logprobs)
        if not (isinstance(tokens, list) and isinstance(logprobs, list)):
            raise UnansweredError("status 200, but without tokens and log-probabilities")
        named, numbers = cast("list[Any]", tokens), cast("list[Any]", logprobs)
        if not numbers or len(named) != len(numbers) or not all(map(_is_finite, numbers)):
            raise UnansweredError("log-probabilities that are no numbers")
        return Probed(tuple(map(str, named)), tuple(map(float, numbers)))

    def _post(self, path: str, body: Any, timeout_s: float) -> Any:
        import httpx

        deadline = time.monotonic() + timeout_s
        content = bytearray()
        plain = {"Accept-Encoding": "identity"}  # what is packed could unfold without end
        url = f"{self.url}{path}"
        try:
            with self.client.stream(
                "POST", url, json=body, timeout=timeout_s, headers=plain
            ) as answer:
                for chunk in answer.iter_raw():
                    content += chunk
                    if len(content) > _LONGEST_ANSWER or time.monotonic() > deadline:
                        raise UnansweredError("an answer that does not end")
        except (httpx.ConnectError, httpx.ConnectTimeout):
            raise UnansweredError("nothing listens there", is_unreachable=True) from None
        except httpx.TimeoutException:
            raise UnansweredError(f"no answer within {timeout_s:g} s") from None
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            raise UnansweredError(str(error) or type(error).__name__) from None
        text = bytes(content[:_SHOWN]).decode("utf-8", "replace") or "nothing"
        if answer.status_code != _OK:
            is_absent = answer.status_code in _ABSENT
            raise UnansweredError(f"status {answer.status_code}: {text}", is_absent=is_absent)
        try:
            return files.loads(bytes(content))
        except ValueError:
            raise UnansweredError(f"status 200, but not JSON: {text}") from None

    def _filled(self, value: Any) -> Any:
        """``value`` with the values of the placeholders in its texts."""
        if isinstance(value, str):
            return _PLACEHOLDER.sub(lambda found: self.values[found[1]], value)
        if isinstance(value, Mapping):
            body = cast("Mapping[str, Any]", value)
            return {key: self._filled(item) for key, item in body.items()}
        if isinstance(value, list | tuple):
            return [self._filled(item) for item in cast("list[Any]", value)]
        return value


def _at(found: Any, path: str) -> Any:
    """What stands at a path of keys and indices; None where nothing does."""
    for key in path.split("."):
        if isinstance(found, dict):
            found = cast("dict[str, Any]", found).get(key)
        elif isinstance(found, list) and key.isdecimal():
            found = next(iter(cast("list[Any]", found)[int(key) :]), None)
        else:
            return None
    return found


def _is_finite(value: Any) -> bool:
    return type(value) in (int, float) and math.isfinite(value)
