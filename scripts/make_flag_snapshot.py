"""Ask the installed engines for their flags and write them as the snapshots that are shipped.

    python scripts/make_flag_snapshot.py [--check] [--python .venv-engine/bin/python]

Run it with the launcher's Python; the engine's is asked (some seconds). Writes flags.json of
engines/swift (``swift rollout``), learners/swift (``swift rlhf``, and beside it flags_sft.json and
flags_pt.json) and engines/vllm (``vllm serve``), where ms-swift or vLLM is installed.
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
from grpo_launch.engines.vllm.flags import FLAGS as SERVE
from grpo_launch.learners.swift.flags import FLAGS as RLHF
from grpo_launch.learners.swift.flags import PT, SFT
from grpo_launch.runtimes import installed

PRODUCTS = {"ms-swift": (ROLLOUT, RLHF, SFT, PT), "vLLM": (SERVE,)}
"""Programs by what people call the package that has them; one script asks for all of a package."""


def main() -> int:
    """Write or check the snapshots; 1 where one differs or nothing is installed."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--python", type=Path, default=Path(".venv-engine/bin/python"))
    parser.add_argument("--check", action="store_true", help="compare, write nothing")
    options = parser.parse_args()
    python = Path.cwd() / options.python
    roots = installed.roots(python, os.environ)
    status, found = 0, False
    for product, questions in PRODUCTS.items():
        first = questions[0]
        version = installed.version(roots, first.package, first.distribution)
        if version is None:
            continue
        found = True
        programs = ask(first.script, python, os.environ)
        for question in questions:
            told = programs[question.program]
            table = FlagTable.of(question.program, product, version, told.flags, told.defaults)
            digests = {name: digest(Path(file)) for name, file in told.files.items()}
            text, out = Snapshot(table, digests).to_json(), question.snapshot
            if not options.check:
                out.write_text(text, encoding="utf-8")
            elif not out.is_file() or out.read_text(encoding="utf-8") != text:
                print(f"error: {out}: is not what {product} {version} has", file=sys.stderr)
                status = 1
            print(f"{out}: {len(table.flags)} flags of {question.program} of {product} {version}")
    if not found:
        names = " or ".join(PRODUCTS)
        print(f"error: {python}: no {names} is installed for it", file=sys.stderr)
    return status if found else 1


if __name__ == "__main__":
    sys.exit(main())
