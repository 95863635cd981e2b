"""A question to a server, and the answer that it must give: data of the plan."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class HttpCheck:
    """One question to a server, and the answer that it must give.

    A status of 200 passes, and where ``field`` is given, JSON whose ``field`` is ``value``. No
    answer at all means that the server is not ready yet; what another answer means is said by
    ``otherwise``.

    Attributes:
        name: what is asked for, in messages: ``world size``.
        path: of the URL, with its slash.
        body: posted as JSON; None: a GET without a body.
        field: of the answer, a path of keys and indices as ``tokens`` has them; ``*`` stands for
            every item of a list, ``data.*.id``. None: the status is enough.
        value: that the field must have, or one of those that the path leads to.
        meaning: what ``value`` is, in messages: ``TP x DP``.
        otherwise: what a wrong answer says about the server, ``this is no rollout server of
            ...``; empty: it is not ready yet, and is asked again.
        generates: whether it makes the engine work, and so may take all the time that is left.
        tokens: of one that generates: where in the JSON of the answer the tokens are counted
            or stand, as paths of keys and indices (``0.response.usage.completion_tokens``). One
            of them must lead to a number above 0, or to a list that is not empty; not to a
            text, which has no characters for some tokens. Empty: the status is enough.
        absent: statuses that pass as well, without a look at the answer: 404 where the server
            may have no such path.
        bearer: the environment variable with the key that is sent to the server, where the
            variable is set; never the key itself. Empty: none is sent.
        fallback_path, fallback_body: asked of a generation instead where the server has no such
            path, or does not take the body (400, 404, 405); empty: nothing is.
    """

    name: str
    path: str
    body: Mapping[str, Any] | None = None
    field: str | None = None
    value: Any = None
    meaning: str = ""
    otherwise: str = ""
    generates: bool = False
    tokens: tuple[str, ...] = ()
    absent: tuple[int, ...] = ()
    bearer: str = ""
    fallback_path: str = ""
    fallback_body: Mapping[str, Any] | None = None
