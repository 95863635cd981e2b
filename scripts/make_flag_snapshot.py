"""Write the flags of the installed ms-swift as the snapshot that the launcher ships.

    .venv-engine/bin/python scripts/make_flag_snapshot.py OUT
    .venv-engine/bin/python scripts/make_flag_snapshot.py --check OUT

OUT is src/grpo_launch/engines/flags/data/ms_swift-VERSION.json. Run by the engine's own
Python, it reads the site-packages of that Python; nothing of the engine is imported.
"""

from __future__ import annotations

import argparse
import sys
import sysconfig
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "src"))

from grpo_launch.engines.flags.introspect import introspect


def main() -> int:
    """Write or check the snapshot; 1 where it differs or there is no ms-swift."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("out", type=Path, metavar="OUT", help="the snapshot, a JSON file")
    parser.add_argument("--check", action="store_true", help="compare with OUT, write nothing")
    options = parser.parse_args()
    site_packages = Path(sysconfig.get_paths()["purelib"])
    try:
        flags = introspect(site_packages)
    except LookupError as error:
        print(f"error: {site_packages}: {error}", file=sys.stderr)
        return 1
    text, out = flags.to_json(), Path(options.out)
    if not options.check:
        out.parent.mkdir(parents=True, exist_ok=True)
        out.write_text(text, encoding="utf-8")
    elif not out.is_file() or out.read_text(encoding="utf-8") != text:
        print(f"error: {out}: is not what {flags.engine} {flags.version} has", file=sys.stderr)
        return 1
    known = f"{len(flags.rollout)} rollout and {len(flags.rlhf)} rlhf flags"
    print(f"{out}: {known} of {flags.engine} {flags.version}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
