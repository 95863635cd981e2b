"""The option that rewrites the golden files: ``pytest tests/plan --update-golden``."""

from __future__ import annotations

import pytest


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--update-golden", action="store_true", help="rewrite tests/plan/golden, then review it"
    )
