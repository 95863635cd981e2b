"""Ask the installed ms-swift for its flags and write them as the snapshots that are shipped.

    python scripts/make_flag_snapshot.py [--check] [--python .venv-engine/bin/python]

Run it with the launcher's Python; the engine's is asked (some seconds). Writes flags.json of
engines/swift (``swift rollout``) and of learners/swift (``swift rlhf``), and beside the latter
flags_sft.json and flags_pt.json.
"""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "src"))

from grpo_launch.engines.asking import ask
from grpo_launch.engines.flags import FlagTable
from grpo_launch.engines.snapshot import Snapshot, digest
from grpo_launch.engines.swift.flags import FLAGS as ROLLOUT
from grpo_launch.learners.swift.flags import FLAGS as RLHF
from grpo_launch.learners.swift.flags import PT, SFT
from grpo_launch.runtimes import installed

PRODUCT = "ms-swift"


def main() -> int:
    """Write or check the snapshots; 1 where one differs or there is no ms-swift."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--python", type=Path, default=Path(".venv-engine/bin/python"))
    parser.add_argument("--check", action="store_true", help="compare, write nothing")
    options = parser.parse_args()
    python = Path.cwd() / options.python
    version = installed.version(
        installed.roots(python, os.environ), ROLLOUT.package, ROLLOUT.distribution
    )
    if version is None:
        print(f"error: {python}: no {PRODUCT} is installed for it", file=sys.stderr)
        return 1
    status = 0
    programs = ask(ROLLOUT.script, python, os.environ)
    for question in (ROLLOUT, RLHF, SFT, PT):
        told = programs[question.program]
        table = FlagTable.of(question.program, PRODUCT, version, told.flags, told.defaults)
        digests = {name: digest(Path(file)) for name, file in told.files.items()}
        text, out = Snapshot(table, digests).to_json(), question.snapshot
        if not options.check:
            out.write_text(text, encoding="utf-8")
        elif not out.is_file() or out.read_text(encoding="utf-8") != text:
            print(f"error: {out}: is not what {PRODUCT} {version} has", file=sys.stderr)
            status = 1
        print(f"{out}: {len(table.flags)} flags of {question.program} of {PRODUCT} {version}")
    return status


if __name__ == "__main__":
    sys.exit(main())
