"""What a collector says of its settings, its plugins and its tasks before a server starts."""

from __future__ import annotations

import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from grpo_launch.config.launch_config import LaunchConfig
from grpo_launch.config.problem import Problem
from grpo_launch.plan import COLLECT, COLLECT_EVAL, LaunchPlan, ProcessSpec
from grpo_launch.planning.marks import filled
from grpo_launch.supervise.process import environment

TIMEOUT_S = 120.0
"""For the import of plugins, some of which bring torch."""

_ERROR = "error: "


def problems(
    config: LaunchConfig, plan: LaunchPlan, environ: Mapping[str, str], cwd: Path
) -> Iterator[Problem]:
    """What each collection of a loop would be refused for; its files are there already.

    Args:
        config: the configuration of the plan, for messages.
        plan: what would be started.
        environ: of the launcher.
        cwd: what relative paths are relative to.
    """
    stages = plan.loop.stages if plan.loop else ()
    specs = [stage.plan.main for stage in stages if stage.name in (COLLECT, COLLECT_EVAL)]
    collectors = [filled(spec, 0, 0, "", sys.executable) for spec in specs if spec is not None]
    if not collectors:
        return
    # They differ in their split, and plugins take long to import.
    splits = [spec.argv[spec.argv.index("--split") + 1] for spec in collectors]
    texts = {file.path: file.text for file in plan.files}
    for line in _said(collectors[0], splits, texts, environ, cwd):
        yield _problem(config, line)


def _said(
    spec: ProcessSpec,
    splits: Sequence[str],
    texts: Mapping[str, str],
    environ: Mapping[str, str],
    cwd: Path,
) -> list[str]:
    """The errors of a collector that only looks at what it was given."""
    with tempfile.TemporaryDirectory(prefix="grpo_launch-") as directory:
        argv = [*spec.argv, "--check", *splits]
        for at, word in enumerate(argv):
            if word in texts:
                argv[at] = f"{directory}/settings.json"
                Path(argv[at]).write_text(texts[word], encoding="utf-8")
        surroundings = environment(replace(spec, argv=tuple(argv)), environ)
        try:
            done = subprocess.run(
                argv, cwd=cwd, env=surroundings, stdin=subprocess.DEVNULL,
                capture_output=True, text=True, errors="replace", timeout=TIMEOUT_S, check=False,
            )  # fmt: skip
        except subprocess.TimeoutExpired:
            what = f"were not loaded in {TIMEOUT_S:g} s"
            return [f"collector.plugins: {what}, correct what they do when they are imported"]
        except OSError as error:
            return [f"collector: {argv[0]} cannot be started ({error.strerror}), correct it"]
    if done.returncode == 0:
        return []
    lines = [line for line in done.stderr.splitlines() if line.strip()]
    errors = [line.removeprefix(_ERROR) for line in lines if line.startswith(_ERROR)]
    last = lines[-1] if lines else f"status {done.returncode}"
    return errors or [f"collector: cannot be started ({last}), correct it"]


def _problem(config: LaunchConfig, line: str) -> Problem:
    where, _, rest = line.partition(": ")
    what, _, fix = rest.rpartition(", ")
    return Problem(config.where(where) if where.startswith("collector.") else where, what, fix)
