"""The file of trajectories: a line is written as its episode ends, and survives what follows."""

from __future__ import annotations

import base64
import binascii
import errno
import fcntl
import hashlib
import json
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, cast

from grpo_launch.base import atomic
from grpo_launch.errors import ConfigError, LaunchError

EPISODES, PROGRESS, SUMMARY, FILES = "episodes.jsonl", "progress.jsonl", "summary.json", "files"

Pair = tuple[str, int]

_LOCK = ".lock"
_JSON = json.JSONEncoder(ensure_ascii=False, separators=(",", ":"))
_KINDS = {"image/png": "png", "image/jpeg": "jpg", "image/webp": "webp", "image/gif": "gif"}
_NEEDED: Mapping[str, Any] = {
    **dict.fromkeys(("task", "finish_reason", "error"), str),
    **dict.fromkeys(("sample", "turns", "prompt_tokens", "completion_tokens"), int),
    "messages": list,
    "reward": (int, float, type(None)),
}
"""Keys of a line that are read again, and the types of their values."""


class Trajectories:
    """The output directory of a collector; one process writes it at a time.

    Args:
        directory: made where it is not there.

    Raises:
        ConfigError: another collector writes it.
        LaunchError: it cannot be written.
    """

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self._path = directory / EPISODES
        self._episodes = self._progress = -1
        try:
            directory.mkdir(parents=True, exist_ok=True)
            self._lock = os.open(directory / _LOCK, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o644)
        except OSError as error:
            raise self._failed(error) from None
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            os.close(self._lock)
            what = "another collector is writing there"
            raise ConfigError(
                str(directory), what, "wait for it, or name another --output"
            ) from None

    def has_episodes(self) -> bool:
        """Whether attempts before have left any."""
        return self._path.exists()

    def resume(
        self,
        count: Callable[[dict[str, Any]], None],
        asked_for: Callable[[Pair], bool] = lambda _: True,
        of: Mapping[str, str] | None = None,
    ) -> tuple[set[Pair], list[str]]:
        """Take up what attempts before have left; then the files are open for more.

        Lines that are damaged, failed or there twice are taken out.

        Args:
            count: gets each finished episode that is asked for.
            asked_for: whether a pair of task and sample is to be collected; others stay.
            of: keys that all lines have in common, and their values.

        Returns:
            The pairs of task and sample that are finished, and what to tell the user.

        Raises:
            ConfigError: there are episodes of something else.
            LaunchError: something cannot be read or written.
        """
        finished: set[Pair] = set()
        damaged = failed = others = 0
        try:
            if self._path.exists():
                aside = self.directory / f".{EPISODES}"
                with self._path.open("rb") as old, aside.open("wb") as kept:
                    for line in old:
                        row = _row(line)
                        if row is None:
                            damaged += 1
                            continue
                        self._refuse_others(row, of or {})
                        if row["error"]:
                            failed += 1
                        elif (pair := (row["task"], row["sample"])) not in finished:
                            finished.add(pair)
                            kept.write(line.rstrip(b"\n") + b"\n")
                            if asked_for(pair):
                                count(row)
                            else:
                                others += 1
                    kept.flush()
                    os.fsync(kept.fileno())
                aside.replace(self._path)
            self._episodes = self._open(EPISODES)
            self._progress = self._open(PROGRESS)
            if os.lseek(self._progress, 0, os.SEEK_END):
                self._write(self._progress, b"\n")  # a line that was cut off ends here
        except OSError as error:
            raise self._failed(error) from None
        notes = [f"{self._path}: {damaged} damaged line(s) dropped"] if damaged else []
        if failed:
            notes.append(f"{self._path}: {failed} failed episode(s) are played again")
        if others:
            notes.append(f"{self._path}: {others} episode(s) of other tasks stay, uncounted")
        return finished, notes

    def _refuse_others(self, row: Mapping[str, Any], of: Mapping[str, str]) -> None:
        for key, value in of.items():
            if row.get(key, value) != value:
                what = f"holds episodes of {key} {row[key]}, these are of {value}"
                raise ConfigError(str(self.directory), what, "name another --output")

    def append(self, row: Mapping[str, Any]) -> None:
        """Write an episode; it survives the end of this process, at once."""
        # Half of a surrogate pair is possible in JSON and not in a file.
        line = _JSON.encode(row) + "\n"
        self._write(self._episodes, line.encode("utf-8", "replace"))

    def progress(self, figures: Mapping[str, Any]) -> None:
        """Write a line of progress."""
        self._write(self._progress, json.dumps(figures).encode() + b"\n")

    def sync(self) -> None:
        """Wait until what is written would survive a power cut. May run in a thread."""
        try:
            os.fsync(self._episodes)
        except OSError as error:
            raise self._failed(error) from None

    def spent(self) -> int:
        """Tokens that attempts before have spent, as far as they told."""
        try:
            lines = (self.directory / PROGRESS).read_bytes().splitlines()
        except OSError:
            return 0
        for line in reversed(lines):
            try:
                spent: Any = json.loads(line)["tokens_spent"]
            except (ValueError, LookupError, TypeError):
                continue
            return spent if type(spent) is int else 0
        return 0

    def summary(self) -> dict[str, Any] | None:
        """The summary, where an attempt before has come to its end."""
        try:
            body: Any = json.loads((self.directory / SUMMARY).read_bytes())
        except (OSError, ValueError):
            return None
        return cast("dict[str, Any]", body) if isinstance(body, dict) else None

    def end(self, summary: Mapping[str, Any]) -> None:
        """Write the summary, once all else is safe."""
        self.sync()
        try:
            text = json.dumps(summary, indent=2) + "\n"
            atomic.write(self.directory / SUMMARY, text, durable=True)
        except OSError as error:
            raise self._failed(error) from None

    def save(self, content: Any) -> tuple[str, list[str]]:
        """The text of a message's content; its images become files.

        Args:
            content: a text, or a list of parts as OpenAI's API takes them.

        Returns:
            The text with ``<image>`` where one was, and their names from the directory (or URLs),
            as learners take them.
        """
        if isinstance(content, str):
            return content, []
        if not isinstance(content, list):
            return "" if content is None else json.dumps(content, default=str), []
        texts: list[str] = []
        names: list[str] = []
        for part in cast("list[Any]", content):
            url: Any = part.get("image_url") if isinstance(part, dict) else None
            url = url.get("url") if isinstance(url, dict) else url
            if isinstance(url, str):
                texts.append("<image>")
                names.append(self._image(url))
            else:
                texts.append(str(part.get("text", "") if isinstance(part, dict) else part))
        return "".join(texts), names

    def close(self) -> None:
        """Close the files; another may write now."""
        for descriptor in (self._episodes, self._progress, self._lock):
            if descriptor >= 0:
                os.close(descriptor)
        self._episodes = self._progress = self._lock = -1

    def _image(self, url: str) -> str:
        head, _, data = url.partition(",")
        kind = head.removeprefix("data:").removesuffix(";base64")
        if not head.startswith("data:") or not head.endswith(";base64"):
            return url
        try:
            content = base64.b64decode(data, validate=True)
        except (binascii.Error, ValueError):
            return url
        name = f"{FILES}/{hashlib.sha256(content).hexdigest()[:32]}.{_KINDS.get(kind, 'bin')}"
        path = self.directory / name
        try:
            if not path.exists():
                path.parent.mkdir(exist_ok=True)
                aside = path.with_name(f".{path.name}")
                aside.write_bytes(content)
                aside.replace(path)
        except OSError as error:
            raise self._failed(error) from None
        return name

    def _open(self, name: str) -> int:
        flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC
        return os.open(self.directory / name, flags, 0o644)

    def _write(self, descriptor: int, data: bytes) -> None:
        try:
            while data:
                data = data[os.write(descriptor, data) :]
        except OSError as error:
            raise self._failed(error) from None

    def _failed(self, error: OSError) -> LaunchError:
        full = error.errno in (errno.ENOSPC, errno.EDQUOT)
        fix = "make room and start it again: what is there is kept" if full else "make it writable"
        return LaunchError(str(self.directory), error.strerror or "cannot be written", fix)


def _row(line: bytes) -> dict[str, Any] | None:
    """The episode of a line; None where it is damaged."""
    try:
        row: Any = json.loads(line)
        if not all(name in row and isinstance(row[name], kind) for name, kind in _NEEDED.items()):
            return None
    except (ValueError, TypeError, RecursionError):
        return None
    return cast("dict[str, Any]", row)
