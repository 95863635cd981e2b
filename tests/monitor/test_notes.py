"""What this version does not understand of a run is said, not dropped."""

from __future__ import annotations

import json
from collections.abc import Callable

from grpo_launch.monitor import status
from grpo_launch.monitor.context import Context
from tests.monitor.made import make_run


def test_status_says_what_it_does_not_understand(
    context: Context, printed: Callable[[], str]
) -> None:
    run = make_run(context.root, queue="long")
    body = json.loads((run / "plan.json").read_text())
    (run / "plan.json").write_text(json.dumps({**body, "weather": "fine"}))
    assert status.run(context, "latest", as_json=False) == 0
    assert printed().splitlines()[1] == "  run.json: queue: not understood, and 1 more"
    before = len(printed())
    assert status.run(context, "latest", as_json=True) == 0
    assert json.loads(printed()[before:])["notes"] == [
        "run.json: queue: not understood",
        "plan.json: weather: not understood",
    ]


def test_a_plan_that_cannot_be_read_is_said(context: Context, printed: Callable[[], str]) -> None:
    (make_run(context.root) / "plan.json").write_text("{")
    assert status.run(context, "latest", as_json=False) == 0
    assert "  plan.json: not JSON (" in printed()
