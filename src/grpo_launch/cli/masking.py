"""What the command line prints shows no secret and acts on no terminal, whoever prints it."""

from __future__ import annotations

import contextlib
from collections.abc import Generator, Mapping, Sequence
from typing import Any, TextIO, cast

from grpo_launch.base import redaction, terminal
from grpo_launch.execute.console import silence


class _Masked:
    """A text stream that shows secrets as stars; everything else is that of the stream.

    To standard output nothing of ours writes control sequences but ``terminal.Painted``; a
    value may hold some.

    What Hydra shows of a configuration (``--cfg``, ``--info``, the points of a sweep) is
    printed by Hydra, a whole text or line at a time.
    """

    def __init__(
        self, stream: TextIO, hidden: Sequence[str], *, shows_yaml: bool, is_plain: bool
    ) -> None:
        self._stream = stream
        self._hidden = hidden
        self._shows_yaml = shows_yaml
        self._is_plain = is_plain

    def write(self, text: str) -> int:
        if self._shows_yaml:
            text = redaction.without_named_in_yaml(text)
        is_plain = self._is_plain and not isinstance(text, terminal.Painted)
        text = redaction.masked(text, self._hidden)
        if self._is_plain:
            return self._stream.write(terminal.escaped(text) if is_plain else text)
        try:
            return self._stream.write(text)
        except OSError:  # a remark that cannot be written is no reason to start nothing
            silence(self._stream)
            return len(text)

    def writelines(self, lines: Sequence[str]) -> None:
        for line in lines:
            self.write(line)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


@contextlib.contextmanager
def masking(
    streams: tuple[TextIO, TextIO], arguments: Sequence[str], environ: Mapping[str, str]
) -> Generator[None]:
    """Mask what is printed; standard output is escaped as well.

    Args:
        streams: standard output and error as they are.
        arguments: the command line; secrets in it are refused, and not shown either.
        environ: the environment.
    """
    hidden = redaction.secrets({**environ, **redaction.of_arguments(arguments)})
    yaml = any(argument.startswith(("--cfg", "-c", "--info", "-i")) for argument in arguments)
    out, err = (
        cast("TextIO", _Masked(stream, hidden, shows_yaml=yaml, is_plain=stream is streams[0]))
        for stream in streams
    )
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        yield
