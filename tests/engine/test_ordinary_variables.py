"""No variable of the real engine looks like a misspelled one of ``compat=env``."""

from __future__ import annotations

import re

import pytest

from grpo_launch.config.compat import reading, table
from tests.conftest import ROOT

pytestmark = pytest.mark.engine

PACKAGES = ("accelerate", "datasets", "huggingface_hub", "modelscope", "peft", "swift", "torch")
PACKAGES += ("transformers", "trl", "vllm", "wandb")
NAME = re.compile(r"""['"]([A-Z][A-Z0-9]*_[A-Z0-9_]+)['"]""")


def test_names_in_the_engine_s_sources_are_no_misspellings() -> None:
    (site,) = (ROOT / ".venv-engine").glob("lib/python*/site-packages")
    names: set[str] = set()
    for package in PACKAGES:
        for file in (site / package).rglob("*.py"):
            names.update(NAME.findall(file.read_text(errors="replace")))
    assert len(names) > 3000
    known = table.load()
    environ = dict.fromkeys(names - {*known.variables, *known.ignored}, "x")
    assert reading.read(["compat=env"], environ).unread == ()
