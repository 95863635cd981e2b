"""Every shipped backend passes the conformance suite."""

from __future__ import annotations

import os

import pytest

from grpo_launch.testing.backends import BackendSuite
from tests.launch.test_tmux import Tmux
from tests.launch.test_tmux import tmux as tmux

pytestmark = pytest.mark.slow


class TestForeground(BackendSuite):
    backend = "foreground"


class TestDetached(BackendSuite):
    backend = "detached"


class TestNohup(BackendSuite):
    backend = "nohup"


class TestTmux(BackendSuite):
    backend = "tmux"

    @pytest.fixture
    def environ(self, tmux: Tmux) -> dict[str, str]:
        """A tmux server of the test's own."""
        own = {key: value for key, value in os.environ.items() if key != "TMUX"}
        return {**own, "TMUX_TMPDIR": tmux.directory}
