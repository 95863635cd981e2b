"""Upload a checkpoint to Weights & Biases as an artifact of type ``model``.

    python upload_checkpoint.py MANIFEST --name NAME [--alias ALIAS ...]

Runs in the learner's environment: it needs Python and wandb, and nothing of grpo_launch. Project,
group, mode and the API key come from the environment (``WANDB_*``), so they are not on the
command line. ``MANIFEST`` is JSON that the launcher wrote when the training had ended::

    {"files": {NAME_IN_THE_ARTIFACT: PATH, ...}, "metadata": {...}, "result": null}

A path may be a directory. How it went is written to ``result``: ``{"state": "uploaded" |
"queued" | "disabled", "artifact": NAME, "run": URL or DIRECTORY}``. Exit status: 0, or 1 with the
reason on standard error; then the same command can be given again.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

__all__ = ["main", "upload"]


def main(argv: Sequence[str] | None = None) -> int:
    """Upload what the manifest says; returns the exit status."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("manifest", type=Path)
    parser.add_argument("--name", required=True, help="of the artifact")
    parser.add_argument("--alias", action="append", default=[], help="of the artifact; repeatable")
    said = parser.parse_args(argv)
    try:
        manifest: dict[str, Any] = json.loads(said.manifest.read_text(encoding="utf-8"))
        manifest["result"] = upload(manifest, said.name, said.alias)
        _replace(said.manifest, manifest)
    except Exception as error:  # whatever the client raises: network, key, quota, disk
        print(f"error: {said.manifest}: {type(error).__name__}: {error}", file=sys.stderr)
        return 1
    print(json.dumps(manifest["result"]))
    return 0


def upload(manifest: dict[str, Any], name: str, aliases: Sequence[str]) -> dict[str, Any]:
    """Log the artifact in a W&B run of its own.

    The files are copied neither before nor after (policy ``immutable``, no cache): a checkpoint
    does not change after the training has ended, and may be as large as the disk has room for.

    Args:
        manifest: files and metadata.
        name: of the artifact.
        aliases: of the artifact.

    Returns:
        The result, see the module.

    Raises:
        Exception: what the client raises; OSError where a file is gone.
    """
    try:
        import wandb
    except ImportError:
        fix = "install it in this environment: pip install wandb"
        raise RuntimeError(f"wandb is missing, {fix}") from None

    missing = [path for path in manifest["files"].values() if not Path(path).exists()]
    if missing:
        raise FileNotFoundError(f"{', '.join(missing)} is gone")
    artifact = wandb.Artifact(name, type="model", metadata=manifest["metadata"])
    for inside, path in manifest["files"].items():
        if Path(path).is_dir():
            artifact.add_dir(path, name=inside, policy="immutable", skip_cache=True)
        else:
            artifact.add_file(path, name=inside, policy="immutable", skip_cache=True)
    run = wandb.init(config=manifest["metadata"])
    if run.disabled:
        run.finish()
        return {"state": "disabled", "artifact": name, "run": None}
    logged = run.log_artifact(artifact, aliases=list(aliases))
    if run.offline:
        result = {"state": "queued", "artifact": name, "run": str(Path(run.dir).parent)}
    else:
        logged.wait()
        result = {"state": "uploaded", "artifact": logged.qualified_name, "run": run.url}
    run.finish()
    return result


def _replace(path: Path, body: dict[str, Any]) -> None:
    fresh = path.with_name(f".{path.name}")
    fresh.write_text(json.dumps(body, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
    fresh.replace(path)


if __name__ == "__main__":
    sys.exit(main())
