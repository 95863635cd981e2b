"""Secrets stay out of what the command line prints, whoever prints it."""

from __future__ import annotations

import contextlib
from collections.abc import Generator, Mapping, Sequence
from typing import Any, TextIO, cast

from grpo_launch.base import redaction


class _Masked:
    """A text stream that shows secrets as stars; everything else is that of the stream.

    What Hydra shows of a configuration (``--cfg``, ``--info``, the points of a sweep) is
    printed by Hydra, a whole text or line at a time.
    """

    def __init__(self, stream: TextIO, hidden: Sequence[str], *, shows_yaml: bool) -> None:
        self._stream = stream
        self._hidden = hidden
        self._shows_yaml = shows_yaml

    def write(self, text: str) -> int:
        if self._shows_yaml:
            text = redaction.without_named_in_yaml(text)
        return self._stream.write(redaction.masked(text, self._hidden))

    def writelines(self, lines: Sequence[str]) -> None:
        for line in lines:
            self.write(line)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


@contextlib.contextmanager
def masking(
    streams: tuple[TextIO, TextIO], arguments: Sequence[str], environ: Mapping[str, str]
) -> Generator[None]:
    """Mask what is printed to standard output and error.

    Args:
        streams: the two as they are.
        arguments: the command line; secrets in it are refused, and not shown either.
        environ: the environment.
    """
    hidden = redaction.secrets({**environ, **redaction.of_arguments(arguments)})
    yaml = any(argument.startswith(("--cfg", "-c", "--info", "-i")) for argument in arguments)
    if not hidden and not yaml:
        yield
        return
    out, err = (cast("TextIO", _Masked(stream, hidden, shows_yaml=yaml)) for stream in streams)
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        yield
