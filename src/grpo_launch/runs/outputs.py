"""What one run's learner wrote, where several runs may write below one directory."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterator
from pathlib import Path

from grpo_launch.runs import checkpoints
from grpo_launch.runs.checkpoints import Checkpoint

_BESIDE = ("args.json", "logging.jsonl")
"""Files of ms-swift beside the checkpoints: its arguments, and the metrics of each step."""

_SAID = re.compile(rb"The logging file will be saved in: (.+)/logging\.jsonl\s*$")
"""By this line ms-swift names the directory that it made (swift/pipelines/train/sft.py)."""


class Outputs:
    """The checkpoints and files of one run; made before its learner starts.

    Args:
        output_dir: the learner's output directory, absolute; it need not exist yet.
        logs: the run's directory of logs, one directory an attempt below it.
    """

    def __init__(self, output_dir: Path, logs: Path) -> None:
        self._output_dir = output_dir
        self._logs = logs
        self._before = {c.path for c in checkpoints.every(output_dir)}
        self._files_before = {*self._files()}

    def checkpoints(self) -> list[Checkpoint]:
        """The complete checkpoints of this run, fewest steps first.

        Those that were there before are another run's, and so is what is in a directory that
        this run's learner did not name, as far as it named one.
        """
        own = self._directories()
        new = [c for c in checkpoints.every(self._output_dir) if c.path not in self._before]
        return [c for c in new if not own or c.path.parent.resolve() in own]

    def newest(self) -> Checkpoint | None:
        """The checkpoint with the most steps, or None."""
        return next(reversed(self.checkpoints()), None)

    def beside(self, checkpoint: Checkpoint) -> list[Path]:
        """The files beside a checkpoint of this run that this run made."""
        paths = (checkpoint.path.parent / name for name in _BESIDE)
        return [path for path in paths if path.is_file() and path not in self._files_before]

    def _files(self) -> Iterator[Path]:
        for name in _BESIDE:
            for pattern in (name, f"*/{name}"):
                yield from self._output_dir.absolute().glob(pattern)

    def _directories(self) -> set[Path]:
        """The directories that the learner named in its logs."""
        found: set[Path] = set()
        for log in self._logs.glob("attempt_*/learner.log"):
            with contextlib.suppress(OSError), open(log, "rb") as lines:
                for line in lines:  # a log may be larger than the memory
                    if said := _SAID.search(line):
                        found.add(Path(said[1].decode("utf-8", "replace")).resolve())
        return found
