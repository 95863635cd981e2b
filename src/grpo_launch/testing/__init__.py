"""Suites for the authors of plug-ins: what every engine, learner and backend must keep.

Derive a class from a suite in a test module of your own and set what it asks for; pytest runs
the rest. The plug-ins that ship pass the same suites.
"""

from __future__ import annotations

from grpo_launch.testing.backends import BackendSuite
from grpo_launch.testing.engines import EngineSuite
from grpo_launch.testing.learners import LearnerSuite

__all__ = ["BackendSuite", "EngineSuite", "LearnerSuite"]
