"""What one run's learner wrote, where several runs may write below one directory."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterator
from pathlib import Path, PurePath

from grpo_launch.plan import LaunchPlan
from grpo_launch.runs import checkpoints
from grpo_launch.runs.checkpoints import Checkpoint


class Outputs:
    """The checkpoints and files of one run; made before its learner starts.

    Args:
        plan: of the run.
        output_dir: the learner's output directory, absolute; it need not exist yet.
        logs: the run's directory of logs, one directory an attempt below it.
        alone: whether no other run writes there, so that what is there already is its own.
    """

    def __init__(
        self, plan: LaunchPlan, output_dir: Path, logs: Path, *, alone: bool = False
    ) -> None:
        self._layout = plan.checkpoints
        self._output_dir = output_dir
        self._logs = logs
        self._log = f"attempt_*/{plan.job}.log"
        there = [] if alone else checkpoints.every(output_dir, self._layout)
        self._before = {c.path for c in there}
        self._files_before = set[Path]() if alone else {*self._files()}

    def checkpoints(self) -> list[Checkpoint]:
        """The complete checkpoints of this run, fewest steps first.

        Those that were there before are another run's, and so is what is in a directory that
        this run's learner did not name, as far as it named one.
        """
        own, there = self._directories(), checkpoints.every(self._output_dir, self._layout)
        new = [c for c in there if c.path not in self._before]
        return [c for c in new if not own or c.path.parent.resolve() in own]

    def newest(self) -> Checkpoint | None:
        """The checkpoint with the most steps, or None."""
        return next(reversed(self.checkpoints()), None)

    def beside(self, checkpoint: Checkpoint) -> list[Path]:
        """The files beside a checkpoint of this run that this run made."""
        names = self._layout.beside if self._layout else ()
        paths = (checkpoint.path.parent / name for name in names)
        return [path for path in paths if path.is_file() and path not in self._files_before]

    def _files(self) -> Iterator[Path]:
        if self._layout is not None:
            for parent in (PurePath(pattern).parent for pattern in self._layout.directories):
                for name in self._layout.beside:
                    yield from self._output_dir.absolute().glob(str(parent / name))

    def _directories(self) -> set[Path]:
        """The directories that the learner named in its logs."""
        found: set[Path] = set()
        if self._layout is None or not self._layout.named_by:
            return found
        named = re.compile(self._layout.named_by.encode())
        for log in self._logs.glob(self._log):
            with contextlib.suppress(OSError), open(log, "rb") as lines:
                for line in lines:  # a log may be larger than the memory
                    if match := named.search(line):
                        found.add(Path(match[1].decode("utf-8", "replace")).resolve())
        return found
