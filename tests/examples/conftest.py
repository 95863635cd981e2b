"""The packages of examples are found as ms-swift finds them: their directories on ``sys.path``."""

from __future__ import annotations

import sys
from pathlib import Path

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"
sys.path[:0] = [str(EXAMPLES / "hanabi"), str(EXAMPLES / "webagent")]
