"""Plans of loops that ship, compared whole; ``pytest tests/plan --update-golden`` rewrites them."""

from __future__ import annotations

from pathlib import Path

import pytest

from grpo_launch.base import resources
from grpo_launch.checks.examine import require_valid
from grpo_launch.planning import devices, loop, shell
from grpo_launch.runs import plans
from tests.composed import shipped

GOLDEN = Path(__file__).parent / "golden_loops"
VISIBLE = [str(i) for i in range(8)]


@pytest.mark.parametrize(
    ("file", "experiment", "overrides"),
    [
        ("webagent-loop.sh", "webagent", ["role=loop", "loop.eval_interval=6"]),
        (
            "webagent_external-rollout.sh",
            "webagent_external",
            ["role=rollout", "loop.split=eval", "rollout_server.url=http://gpu-3:8999"],
        ),
    ],
)
def test_the_dry_run_of_a_loop_is_what_was_reviewed(
    request: pytest.FixtureRequest, file: str, experiment: str, overrides: list[str]
) -> None:
    config = shipped(experiment, overrides)
    require_valid(config)
    split = devices.assign(config, VISIBLE)
    planned = loop.build(config, split, f"runs/{experiment}/NEW", Path("/project"))
    text = shell.render(planned).replace(str(resources.root()), "/shipped")
    golden = GOLDEN / file
    if request.config.getoption("--update-golden", default=False):
        golden.write_text(text)
    assert text == golden.read_text()


def test_a_loop_goes_to_json_and_back_unchanged() -> None:
    config = shipped("webagent", ["role=loop", "loop.eval_interval=6"])
    split = devices.assign(config, VISIBLE)
    planned = loop.build(config, split, "runs/webagent/NEW", Path("/project"))
    assert planned.loop is not None
    assert planned.loop.free is not None
    assert plans.parse(planned.to_json()) == (planned, ())
