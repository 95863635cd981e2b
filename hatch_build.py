"""What a wheel and an sdist hold: the files that git tracks, and nothing else.

Private files stand beside public ones, ``configs/secrets.env`` for example, and a rule that leaves
out what looks private would have to know them all.
"""

from __future__ import annotations

import os
import subprocess
import tempfile
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

LIST = "TRACKED"
"""A file of the sdist that names the others, one a line: there is no git where it is unpacked."""


class TrackedFiles(BuildHookInterface[Any]):
    """Includes the tracked files below each directory of the hook's table ``include``."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Name the files; an editable install copies none."""
        if version == "editable":
            return
        root = Path(self.root)
        names = tracked(root)
        included: dict[str, str] = build_data["force_include"]
        for source, target in self.config["include"].items():
            for name in names:
                if name == source or name.startswith(f"{source}/"):
                    included[str(root / name)] = target + name[len(source) :]
        if self.target_name == "sdist":
            included[self._list_of(included)] = LIST

    def finalize(self, version: str, build_data: dict[str, Any], artifact_path: str) -> None:
        """Remove the list, which is in the sdist by now."""
        for source, target in build_data["force_include"].items():
            if target == LIST:
                Path(source).unlink()

    def _list_of(self, included: dict[str, str]) -> str:
        descriptor, path = tempfile.mkstemp(prefix="grpo_launch-", suffix=".txt")
        with open(descriptor, "w") as file:
            file.writelines(f"{name}\n" for name in sorted(included.values()))
        return path


def tracked(root: Path) -> list[str]:
    """Names of the tracked files that are there, relative to ``root``.

    Raises:
        SystemExit: nobody can say which they are.
    """
    listed = root / LIST
    if (root / ".git").exists() or not listed.exists():
        names = _asked_of_git(root)
    else:
        names = listed.read_text().splitlines()
    return [name for name in names if (root / name).is_file()]


def _asked_of_git(root: Path) -> list[str]:
    # Of a hook or an alias that builds, GIT_DIR and GIT_INDEX_FILE would name another repository's
    # files. A checkout that another user owns is read all the same: its code runs already.
    environ = {name: value for name, value in os.environ.items() if not name.startswith("GIT_")}
    argv = ["git", "-c", "safe.directory=*", "-C", str(root), "ls-files", "-z"]
    try:
        done = subprocess.run(argv, env=environ, capture_output=True, text=True, check=False)
        names, why = done.stdout.split("\0")[:-1], done.stderr.strip()
    except OSError as failed:
        names, why = [], f"git: {failed.strerror}"
    if "pyproject.toml" not in names:  # also where a repository above knows nothing of this one
        why = why or "git tracks no files here"
        raise SystemExit(
            f"error: {root}: cannot tell its files from private ones ({why}), "
            "build in a git checkout with git installed, or from an sdist"
        )
    return names
