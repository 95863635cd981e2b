"""What every engine must keep: a suite for its author to run."""

from __future__ import annotations

import dataclasses
import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from grpo_launch.base import codec
from grpo_launch.config.encoding import ENCODING
from grpo_launch.engines.base import GROUP, RELOAD, RESTART, Engine, Reloading, ServeRequest
from grpo_launch.plan import HttpCheck, Reload


class EngineSuite:
    """Derive from it, name it ``Test...``, set :attr:`engine`; pytest does the rest.

    Attributes:
        engine: the engine under test.
        settings: its settings in the requests of the suite, each a mapping of some keys.
    """

    engine: Engine
    settings: Sequence[Mapping[str, Any]] = ({},)

    def requests(self) -> list[ServeRequest]:
        """The servers that the engine is asked for; override it for more of them."""
        return [
            ServeRequest(
                entry=self.engine.entry,
                model="some/model",
                host=host,
                port=8123,
                group_port=51300,
                settings=settings,
                encoding=encoding,
                cwd=Path("/somewhere"),
            )
            for settings in self.settings
            for host in ("127.0.0.1", "node-1")
            for encoding in ({}, {"torch_dtype": "float32"})
        ]

    def skip_unless_managed(self) -> None:
        """What is never started has no command line."""
        if not self.engine.managed:
            pytest.skip("somebody else starts it")

    def test_settings_are_a_structured_config(self) -> None:
        """OmegaConf takes the class of its settings, and every field is documented."""
        from omegaconf import OmegaConf

        node = OmegaConf.structured(self.engine.settings)
        assert {field.name for field in dataclasses.fields(self.engine.settings)} == set(node)

    def test_argv_is_a_list_of_words_that_says_the_request(self) -> None:
        """Entry first; model, host and port stand in it; nothing is a shell string."""
        self.skip_unless_managed()
        for request in self.requests():
            argv = self.engine.argv(request)
            assert all(isinstance(word, str) for word in argv), argv
            assert argv[: len(request.entry)] == [*request.entry]
            for said in (request.host, str(request.port)):
                assert any(said in word for word in argv[len(request.entry) :]), said

    def test_the_same_request_gives_the_same_command(self) -> None:
        """Nothing but the request counts."""
        for request in self.requests():
            assert self.engine.argv(request) == self.engine.argv(request)
            assert dict(self.engine.env(request)) == dict(self.engine.env(request))

    def test_argv_is_read_back_into_its_keys(self) -> None:
        """``from_argv`` is the inverse of ``argv``."""
        self.skip_unless_managed()
        for request in self.requests():
            argv = self.engine.argv(request)
            read = request_of(self.engine.from_argv(argv), request)
            assert self.engine.argv(read) == argv

    def test_another_command_line_is_refused(self) -> None:
        """It never guesses."""
        with pytest.raises(ValueError, match=r"."):
            self.engine.from_argv(["true", "--whatever", "1"])

    def test_checks_are_data_and_health_is_the_first(self) -> None:
        """They go through JSON unchanged, in the plan."""
        for request in self.requests():
            first, *others = self.engine.checks(request, "/some/health")
            assert (first.path, first.body, first.field) == ("/some/health", None, None)
            generation = self.engine.generation(request)
            assert generation is None or (generation.generates and generation.tokens)
            for check in (first, *others, *([generation] if generation else [])):
                assert check.path.startswith("/")
                body = json.loads(json.dumps(dataclasses.asdict(check)))
                assert codec.decode(HttpCheck, body, []) == check

    def test_a_reload_is_data(self) -> None:
        """It goes through JSON unchanged, in the plan; who has one says so in ``transfers``."""
        for request in self.requests():
            if not isinstance(self.engine, Reloading) or not (how := self.engine.reload(request)):
                continue
            assert RELOAD in self.engine.transfers
            assert all(step.path.startswith("/") for step in (how.pause, *how.steps, how.resume))
            body = json.loads(json.dumps(dataclasses.asdict(how)))
            again = dataclasses.asdict(codec.decode(Reload, body, []))
            assert json.loads(json.dumps(again)) == body

    def test_health_path_is_a_path(self) -> None:
        """It is what ``health.path`` is unless somebody sets it."""
        assert self.engine.health_path.startswith("/")

    def test_signs_are_data(self) -> None:
        """They go through JSON, in the plan."""
        text = json.dumps(dataclasses.asdict(self.engine.signs))
        assert json.loads(text)["served"] == self.engine.signs.served
        for expression in (self.engine.signs.prefix, self.engine.signs.access):
            re.compile(expression)

    def test_it_can_take_new_weights(self) -> None:
        """In one of the ways that there are."""
        assert self.engine.transfers
        assert self.engine.transfers <= {GROUP, RELOAD, RESTART}

    def test_sizes_of_no_settings_are_unknown_or_positive(self) -> None:
        """A size that nobody gives is None, never a guess of 0."""
        for settings in ({}, *self.settings):
            sizes = self.engine.sizes(settings)
            assert all(size is None or size > 0 for size in dataclasses.astuple(sizes))

    def test_size_keys_are_settings(self) -> None:
        """What is told to be set can be set."""
        names = {field.name for field in dataclasses.fields(self.engine.settings)}
        keys = dataclasses.astuple(self.engine.size_keys)
        assert {key for key in keys if key is not None} <= names

    def test_it_has_a_name_for_people(self) -> None:
        """Messages name it."""
        assert self.engine.product.strip()

    def test_rules_have_names_of_their_own(self) -> None:
        """``checks.warn`` names them."""
        names = [rule.name for rule in self.engine.rules]
        assert len(names) == len(set(names))
        assert all(name.isidentifier() for name in names)


def request_of(keys: Mapping[str, Any], like: ServeRequest) -> ServeRequest:
    """The request that keys of a configuration make; what they do not say is as in ``like``."""
    rest = dict(keys)
    names = {f"train.{key}": key.rpartition(".")[2] for key in ENCODING}
    encoding = {names[key]: rest.pop(key) for key in list(rest) if key in names}
    below = "rollout_server."
    settings = {key[len(below) :]: rest.pop(key) for key in list(rest) if key.startswith(below)}
    said: dict[str, Any] = {"settings": settings, "encoding": encoding}
    # With an address of its own, the engine's settings say it.
    for name in ("model", "host", "port"):
        if name in settings:
            value = settings.pop(name)
            said[name] = value[0] if isinstance(value, list) else value
    for key, name in (
        ("engine.entry", "entry"),
        ("train.model.model", "model"),
        ("train.rlhf.vllm_server_host", "host"),
        ("train.rlhf.vllm_server_port", "port"),
        ("train.rlhf.vllm_server_group_port", "group_port"),
    ):
        if key in rest:
            value = rest.pop(key)
            several = isinstance(value, list) and name != "entry"
            said[name] = value[0] if several else tuple(value) if name == "entry" else value
    assert not rest, f"no keys of a server: {sorted(rest)}"
    return dataclasses.replace(like, **said)
