"""What every learner must keep: a suite for its author to run."""

from __future__ import annotations

import dataclasses
import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml

from grpo_launch.base.host import Host
from grpo_launch.config.amend import amended
from grpo_launch.config.arguments import SIZES
from grpo_launch.config.facts import Facts
from grpo_launch.config.launch_config import LaunchConfig
from grpo_launch.config.rule import Context
from grpo_launch.engines.base import GROUP, RELOAD, RESTART
from grpo_launch.learners.base import Learner, Particular, TrainRequest


class LearnerSuite:
    """Derive from it, name it ``Test...``, set :attr:`learner` and override :meth:`config`.

    Attributes:
        learner: the learner under test.
    """

    learner: Learner

    def config(self) -> LaunchConfig:
        """A valid configuration that the learner trains."""
        raise NotImplementedError("override config() with grpo_launch.compose(...)")

    def request(self, config: LaunchConfig | None = None) -> TrainRequest:
        """A training on two devices."""
        return TrainRequest(
            config=config or self.config(),
            devices=("0", "1"),
            cuda=True,
            run_dir="runs/some/run",
            output_dir="runs/some/run/output",
            cwd=Path("/somewhere"),
        )

    def test_argv_is_a_list_of_words(self) -> None:
        """Nothing is a shell string."""
        argv = self.learner.argv(self.request())
        assert argv
        assert all(isinstance(word, str) for word in argv), argv

    def test_env_is_text(self) -> None:
        """Variables of a process are text."""
        assert all(isinstance(value, str) for value in self.learner.env(self.request()).values())

    def test_the_same_request_gives_the_same_process(self) -> None:
        """Nothing but the request counts."""
        first, second = self.request(), self.request()
        assert self.learner.argv(first) == self.learner.argv(second)
        assert self.learner.files(first) == self.learner.files(second)

    def test_files_are_in_the_run_directory_and_reach_the_process(self) -> None:
        """The first one holds the arguments; its path stands in the command or a variable."""
        request = self.request()
        files = self.learner.files(request)
        assert all(file.path.startswith(request.run_dir) for file in files)
        if files:
            said = [*self.learner.argv(request), *self.learner.env(request).values()]
            assert any(files[0].path in word for word in said)

    def test_a_learner_that_resumes_has_one_key_a_line(self) -> None:
        """A restart writes the checkpoint and the directory into the arguments file."""
        resume = self.learner.resume(self.config())
        if resume is None or isinstance(self.learner, Particular):
            return
        text = self.learner.files(self.request())[0].text
        changed = [line for line in text.split("\n") if not line.startswith(resume.output_key)]
        said = yaml.safe_load("\n".join([*changed, f'{resume.output_key}: "x"', ""]))
        said |= {resume.checkpoint_key: None}
        assert said[resume.output_key] == "x"

    def test_arguments_are_read_back_into_their_keys(self) -> None:
        """``from_argv`` is the inverse of ``command``."""
        config = self.config()
        request = self.request(config)
        arguments = self.learner.arguments(request)
        command = self.learner.command(config.learner.entry, arguments)
        keys = self.learner.from_argv(command)
        read = self.request(with_keys(config, keys))
        again = self.learner.command(config.learner.entry, self.learner.arguments(read))
        assert sorted(again) == sorted(command)

    def test_every_argument_has_a_section(self) -> None:
        """Also one that there is not: it is reported there."""
        for name in (*self.learner.arguments(self.request()), "no_such_argument"):
            assert self.learner.section(name) in (self.learner.sections or ("",))

    def test_another_command_line_is_refused(self) -> None:
        """It never guesses."""
        with pytest.raises(ValueError, match=r"."):
            self.learner.from_argv(["true", "--whatever", "1"])

    def test_what_it_leaves_is_data(self) -> None:
        """Metrics, the layout of checkpoints and signs go through JSON, in the plan."""
        config = self.config()
        checkpoints, signs = self.learner.checkpoints(config), self.learner.signs(config)
        for left in (self.learner.metrics(config), checkpoints, signs):
            assert left is None or json.loads(json.dumps(dataclasses.asdict(left)))
        if checkpoints is not None:
            re.compile(checkpoints.named_by.encode())
        for expression in (signs.prefix, signs.access):
            re.compile(expression)

    def test_it_gives_weights_in_ways_that_there_are(self) -> None:
        """One that trains against servers has at least one."""
        assert self.learner.transfers <= {GROUP, RELOAD, RESTART}
        assert self.learner.transfers or not self.learner.needs_servers(self.config())

    def test_its_keys_are_where_its_arguments_are(self) -> None:
        """Below a section, where it has sections."""
        for key in (self.learner.model_key, self.learner.output_key):
            section, _, name = key.rpartition(".")
            assert not key or (name and section in (self.learner.sections or ("",)))

    def test_what_it_demands_of_servers_is_plain(self) -> None:
        """The settings are compared with those of the engine."""
        demands = dict(self.learner.demands(self.config()))
        assert json.loads(json.dumps(demands)) == demands

    def test_what_the_cpu_replaces_is_a_tree_of_the_configuration(self) -> None:
        """It is merged over the experiment."""
        assert json.loads(json.dumps(self.learner.cpu_overlay)) == self.learner.cpu_overlay

    def test_output_dir_is_the_default_unless_it_is_set(self) -> None:
        """The run directory holds what nobody puts elsewhere."""
        assert self.learner.output_dir(self.config(), "here")

    def test_batches_are_of_all_devices(self) -> None:
        """Sizes of arguments that say nothing are the defaults; text is no size."""
        sizes = self.learner.batches({}, 2)
        assert sizes is None or sizes.world_size == 2
        assert self.learner.batches(dict.fromkeys(SIZES, "many"), 2) is None

    def test_facts_have_types_of_their_own(self) -> None:
        """A rule looks a fact up by its type; files that are absent are no error."""
        host = Host(Path("/nowhere"), {}, 0.0, "0000")
        types = [type(fact) for fact in self.learner.facts(self.config(), host)]
        assert len(types) == len(set(types))

    def test_the_summary_is_plain_values_by_name(self) -> None:
        """``role=check`` prints it, also where no fact is known."""
        summary = self.learner.summary(Context(self.config(), Facts()))
        assert json.loads(json.dumps({k: dict(v) for k, v in summary.items()})) == summary

    def test_it_has_a_name_for_people(self) -> None:
        """Messages name it."""
        assert self.learner.product.strip()

    def test_rules_have_names_of_their_own(self) -> None:
        """``checks.warn`` names them."""
        names = [rule.name for rule in self.learner.rules]
        assert len(names) == len(set(names))
        assert all(name.isidentifier() for name in names)


def with_keys(config: LaunchConfig, keys: Mapping[str, Any]) -> LaunchConfig:
    """``config`` with an experiment of these keys alone."""
    below = "train."
    rest = {key: value for key, value in keys.items() if not key.startswith(below)}
    assert set(rest) <= {"learner.entry"}, f"no keys of a learner: {sorted(rest)}"
    bare = dataclasses.replace(config, train={}, overrides=(), loaded=None)
    return amended(bare, {key: value for key, value in keys.items() if key.startswith(below)})
