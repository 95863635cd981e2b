"""The Hanabi example's package is found as ms-swift finds it: its directory is on ``sys.path``."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "examples" / "hanabi"))
