"""What a command that serves must say to be started, gated and followed."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, cast

from grpo_launch.config import kinds, placeholders, schema
from grpo_launch.config.launch_config import LaunchConfig
from grpo_launch.config.problem import Problem
from grpo_launch.config.rule import Context, Finding, Rule, rule
from grpo_launch.engines.base import GROUP, RELOAD, RESTART
from grpo_launch.engines.command.serve import PLACES
from grpo_launch.plugins import LEARNERS

NODE = "rollout_server"
_CHECK = {"path", "name", "body", "field", "value"}
_GENERATION = {"path", "body", "tokens"}
_TRANSFERS = (GROUP, RELOAD, RESTART)


def _starts(config: LaunchConfig) -> bool:
    """Whether the server is to be started: one of somebody else needs no command."""
    return config.engine.managed


@rule(when=_starts, required="without it nothing can be started")
def a_server_has_a_command(context: Context) -> Iterator[Problem]:
    """``rollout_server.argv`` is a list of words, with placeholders that there are."""
    config = context.config
    argv, where = config.rollout_server.get("argv"), config.where(f"{NODE}.argv")
    if argv is None:
        what = "is not set, and the engine command has no command of its own"
        yield Problem(where, what, "set it to a list: [python, serve.py, --port, '{port}']")
    elif not isinstance(argv, list) or not argv:
        what = f"{kinds.said(argv)} is not a list of words"
        yield Problem(where, what, "write [python, serve.py, ...]; there is no shell")
    else:
        yield from _words(config, f"{NODE}.argv", cast("list[Any]", argv))


@rule
def variables_of_the_server_are_text(context: Context) -> Iterator[Problem]:
    """``rollout_server.env`` is a mapping of names to plain values."""
    config = context.config
    env = config.rollout_server.get("env")
    if env is None:
        return
    if not isinstance(env, dict):
        what = f"{kinds.said(env)} is not a mapping"
        yield Problem(config.where(f"{NODE}.env"), what, "write 'NAME: VALUE' lines below")
        return
    for name, value in cast("dict[Any, Any]", env).items():
        yield from _text(config, f"{NODE}.env.{name}", value)


@rule(when=_starts)
def a_chosen_port_reaches_the_server(context: Context) -> Iterator[Problem]:
    """With ``ports=auto`` the command must be told the port."""
    config = context.config
    if config.ports is not schema.PortPolicy.auto:
        return
    settings = config.rollout_server
    if not any(
        "port" in _names(text) for text in _texts([settings.get(n) for n in ("argv", "env")])
    ):
        what = "has no {port}, so the server would not learn the port that ports=auto chooses"
        yield Problem(config.where(f"{NODE}.argv"), what, "add {port} to it, or use ports=fixed")


@rule
def checks_of_the_server_can_be_asked(context: Context) -> Iterator[Problem]:
    """Each of ``rollout_server.checks`` and ``generation`` has a path, and keys that there are."""
    config = context.config
    checks = config.rollout_server.get("checks")
    if checks is not None and not isinstance(checks, list):
        what = f"{kinds.said(checks)} is not a list"
        yield Problem(config.where(f"{NODE}.checks"), what, "write a list of {path: /...}")
        checks = None
    for number, check in enumerate(cast("list[Any]", checks or [])):
        yield from _request(config, f"{NODE}.checks", f"check {number}: ", check, _CHECK)
    if (generation := config.rollout_server.get("generation")) is not None:
        yield from _request(config, f"{NODE}.generation", "", generation, _GENERATION)
        tokens = _get(generation, "tokens")
        if not (tokens is None or isinstance(tokens, str) or _are_texts(tokens)):
            what = f"tokens is {kinds.said(tokens)}, not a path or a list of paths"
            fix = "write the place of the count in the answer: usage.completion_tokens"
            yield Problem(config.where(f"{NODE}.generation"), what, fix)


@rule
def signs_of_the_server_are_text(context: Context) -> Iterator[Problem]:
    """``served``, ``vital``, ``alarms`` and ``moves`` are of their types."""
    config = context.config
    served, vital, moves = (config.rollout_server.get(n) for n in ("served", "vital", "moves"))
    alarms = config.rollout_server.get("alarms")
    judged = (
        ("served", served, isinstance(served, str) and served != "", "a text"),
        ("vital", vital, isinstance(vital, str) or _are_texts(vital), "a text or a list of texts"),
        ("alarms", alarms, _is_mapping_of_texts(alarms), "a mapping of texts to what they mean"),
        ("moves", moves, isinstance(moves, bool), "true or false"),
    )
    for name, value, fits, words in judged:
        if value is not None and not fits:
            what = f"{kinds.said(value)} is not {words}"
            yield Problem(config.where(f"{NODE}.{name}"), what, f"write {words}")


@rule
def sizes_of_the_server_are_positive(context: Context) -> Iterator[Problem]:
    """Parallel sizes and limits are at least 1."""
    config = context.config
    names = ("tensor_parallel_size", "data_parallel_size", "max_model_len", "max_num_seqs")
    for name in names:
        value = config.rollout_server.get(name)
        if isinstance(value, int) and value < 1:
            where = config.where(f"{NODE}.{name}")
            yield Problem(where, f"{value} is below 1", "use a positive integer")


@rule
def transfers_of_the_server_are_known(context: Context) -> Iterator[Finding]:
    """``rollout_server.transfers`` names ways that there are, one of them the learner's."""
    config = context.config
    said = config.rollout_server.get("transfers")
    if said is None:
        return
    where = config.where(f"{NODE}.transfers")
    ways = [said] if isinstance(said, str) else said
    if not isinstance(ways, list) or not ways or any(way not in _TRANSFERS for way in ways):
        what = f"{kinds.said(said)} is not a list of {', '.join(_TRANSFERS)}"
        yield Problem(where, what, "name at least one, or leave it unset for any")
        return
    given = LEARNERS.get(config.learner.name).transfers
    if config.trains and given and given.isdisjoint(cast("list[str]", ways)):
        what = (
            f"{config.learner.name} gives new weights by {' or '.join(sorted(given))}, "
            f"but the server takes them by {' or '.join(ways)}"
        )
        yield Problem(where, what, "choose another learner, or correct transfers")


def _request(
    config: LaunchConfig, key: str, which: str, said: Any, known: set[str]
) -> Iterator[Problem]:
    where = config.where(key)
    if not isinstance(said, dict):
        yield Problem(where, f"{which}{kinds.said(said)} is not a mapping", "write {path: /...}")
        return
    body = cast("dict[Any, Any]", said)
    for name in body:
        if name not in known:
            fix = f"use {', '.join(sorted(known))}"
            yield Problem(where, f"{which}unknown key {name}", fix)
    path = body.get("path")
    if not isinstance(path, str) or not path.startswith("/"):
        yield Problem(
            where, f"{which}its path is {kinds.said(path)}", "write one that begins with /"
        )
    if not isinstance(body.get("body"), dict | None):
        yield Problem(where, f"{which}its body is no mapping", "write what is posted as JSON")
    if "value" in body and body.get("field") is None:
        yield Problem(where, f"{which}has a value but no field", "say which field must have it")
    for text in _texts([body.get("body"), body.get("value")]):
        if found := placeholders.fault(text, PLACES, {}):
            yield Problem(where, f"{which}{found[0]}", found[1])


def _words(config: LaunchConfig, key: str, words: list[Any]) -> Iterator[Problem]:
    for number, word in enumerate(words):
        yield from _text(config, key, word, f"word {number}: ")


def _text(config: LaunchConfig, key: str, value: Any, which: str = "") -> Iterator[Problem]:
    where = config.where(key)
    if isinstance(value, dict | list | None):
        yield Problem(where, f"{which}{kinds.said_at(key, value)} is no text", "write a text there")
    elif found := placeholders.fault(str(value), PLACES, {}):
        yield Problem(where, f"{which}{found[0]}", found[1])


def _names(text: str) -> list[str]:
    try:
        return placeholders.names(text)
    except ValueError:
        return []


def _texts(node: Any) -> Iterator[str]:
    if isinstance(node, str):
        yield node
    elif isinstance(node, dict | list):
        container = cast("dict[Any, Any] | list[Any]", node)
        for item in container.values() if isinstance(container, dict) else container:
            yield from _texts(item)


def _are_texts(value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(v, str) for v in cast("list[Any]", value))


def _is_mapping_of_texts(value: Any) -> bool:
    items = cast("dict[Any, Any]", value) if isinstance(value, dict) else None
    return items is not None and all(
        isinstance(k, str) and k and isinstance(v, str) for k, v in items.items()
    )


def _get(said: Any, key: str) -> Any:
    return cast("Mapping[str, Any]", said).get(key) if isinstance(said, Mapping) else None


RULES: tuple[Rule, ...] = (
    a_server_has_a_command,
    variables_of_the_server_are_text,
    a_chosen_port_reaches_the_server,
    checks_of_the_server_can_be_asked,
    signs_of_the_server_are_text,
    sizes_of_the_server_are_positive,
    transfers_of_the_server_are_known,
)
