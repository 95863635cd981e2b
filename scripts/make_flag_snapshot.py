"""Ask installed programs for their flags and write them as the snapshots that are shipped.

    python scripts/make_flag_snapshot.py [--check] [--product ms-swift] [--python PYTHON]

Run it with the launcher's Python; that of each product's environment is asked (some seconds), or
``--python`` for one product. Writes flags.json of engines/swift (``swift rollout``), learners/swift
(``swift rlhf``; ``flags_sft.json``, ``flags_pt.json``), engines/vllm (``vllm serve``) and
learners/llamafactory (``llamafactory-cli train``).
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
from grpo_launch.learners.llamafactory.flags import FLAGS as TRAIN
from grpo_launch.learners.swift.flags import FLAGS as RLHF
from grpo_launch.learners.swift.flags import PT, SFT
from grpo_launch.runtimes import installed

PRODUCTS = {
    "ms-swift": (".venv-engine", (ROLLOUT, RLHF, SFT, PT)),
    "vLLM": (".venv-engine", (SERVE,)),
    "LLaMA-Factory": (".venv-llamafactory", (TRAIN,)),
}
"""Their environments and programs; one script tells of all programs of a product."""


def main() -> int:
    """Write or check the snapshots; 1 where one differs or a product is not installed."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--product", choices=PRODUCTS, help="only this one")
    parser.add_argument("--python", type=Path, help="of its environment; needs --product")
    parser.add_argument("--check", action="store_true", help="compare, write nothing")
    options = parser.parse_args()
    if options.python and not options.product:
        parser.error("--python needs --product")
    chosen = [options.product] if options.product else [*PRODUCTS]
    return max(_of(name, options.python, check=options.check) for name in chosen)


def _of(product: str, python: Path | None, *, check: bool) -> int:
    environment, questions = PRODUCTS[product]
    python = Path.cwd() / (python or Path(environment, "bin", "python"))
    first, roots = questions[0], installed.roots(python, os.environ)
    version = installed.version(roots, first.package, first.distribution)
    if version is None:
        print(f"error: {python}: no {product} is installed for it", file=sys.stderr)
        return 1
    status = 0
    programs = ask(first.script, python, os.environ)
    for question in questions:
        told = programs[question.program]
        table = FlagTable.of(question.program, product, version, told.flags, told.defaults)
        digests = {name: digest(Path(file)) for name, file in told.files.items()}
        text, out = Snapshot(table, digests).to_json(), question.snapshot
        if not check:
            out.write_text(text, encoding="utf-8")
        elif not out.is_file() or out.read_text(encoding="utf-8") != text:
            print(f"error: {out}: is not what {product} {version} has", file=sys.stderr)
            status = 1
        print(f"{out}: {len(table.flags)} flags of {question.program} of {product} {version}")
    return status


if __name__ == "__main__":
    sys.exit(main())
