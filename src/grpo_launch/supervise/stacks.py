"""What every process of a stalled run is doing, as a file.

A program of its own (:func:`main`): it takes seconds, during which the supervisor
goes on supervising. Python processes are shown by py-spy (extra ``stacks``); where
it is not installed or not allowed to look, what the kernel tells must do.
"""

from __future__ import annotations

import contextlib
import shutil
import subprocess
import sys
from pathlib import Path

from grpo_launch.supervise import proc, tree

TIMEOUT_S = 20.0


def main() -> None:
    """Write the stacks below the guards ``sys.argv[2:]`` to the file ``sys.argv[1]``."""
    path, *guards = sys.argv[1:]
    py_spy = shutil.which("py-spy") or shutil.which("py-spy", path=str(Path(sys.executable).parent))
    with open(path, "w", encoding="utf-8") as file:
        if py_spy is None:
            file.write(
                "# without py-spy; pip install 'grpo_launch[stacks]' shows Python's stacks\n"
            )
        for guard in guards:
            for entry in tree.descendants(int(guard)):
                file.write(f"\n# pid {entry.pid}, state {entry.state}: {proc.command(entry.pid)}\n")
                file.write(_of(entry.pid, py_spy))
                file.flush()


def _of(pid: int, py_spy: str | None) -> str:
    if py_spy is not None:
        asked = [py_spy, "dump", "--nonblocking", "--pid", str(pid)]
        try:
            answer = subprocess.run(
                asked, capture_output=True, text=True, timeout=TIMEOUT_S, check=False
            )
        except (OSError, subprocess.SubprocessError) as error:
            return f"py-spy: {error}\n{_kernel(pid)}"
        if answer.returncode == 0:
            return answer.stdout
        said = " ".join(answer.stderr.split())
        return f"py-spy: {said}\n{_kernel(pid)}"
    return _kernel(pid)


def _kernel(pid: int) -> str:
    """Where each thread waits in the kernel (proc(5): ``comm``, ``wchan``, ``syscall``)."""
    lines: list[str] = []
    for task in sorted(Path(f"/proc/{pid}/task").glob("*")):
        told: list[str] = [task.name]
        for name in ("comm", "wchan", "syscall"):
            with contextlib.suppress(OSError):
                told.append(f"{name} {(task / name).read_text().strip()}")
        lines.append("  " + ", ".join(told))
    return "\n".join(lines) + "\n"
