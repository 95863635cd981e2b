"""The rules of the side processes: their names, commands, devices and checks."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from grpo_launch.base import redaction
from grpo_launch.config import endpoint, kinds, services
from grpo_launch.config.launch_config import LaunchConfig
from grpo_launch.config.problem import Problem
from grpo_launch.config.rule import Context, Rule, rule
from grpo_launch.plan import LEARNER, SERVER, UPLOAD

_TAKEN = re.compile(rf"({SERVER}|{LEARNER})(_\d+)?|{UPLOAD}|launcher|witness|rehearsal|latest")
"""Names of other processes of a run, and of what ``grpo-runs`` takes beside them."""

_NAME = re.compile(r"[A-Za-z_]\w*", re.ASCII)
_DEVICE = re.compile(r"\d+|[A-Za-z][\w/-]*", re.ASCII)
_VISIBLE = "CUDA_VISIBLE_DEVICES"


def _has_any(config: LaunchConfig) -> bool:
    return bool(config.services)


@rule(when=_has_any, required="they become names of files")
def services_have_plain_names(context: Context) -> Iterator[Problem]:
    """A service's name is an identifier, and that of nothing else in a run."""
    config = context.config
    for name in config.services:
        where = config.where(services.key(name))
        if not _NAME.fullmatch(name):
            yield Problem(where, f"{kinds.said(name)} is no name", "use letters, digits and _")
        elif _TAKEN.fullmatch(name):
            yield Problem(where, f"{name} is the name of another process", "choose another name")


@rule(when=_has_any, required="without one nothing can be started")
def services_have_a_command(context: Context) -> Iterator[Problem]:
    """``argv`` is a command, whose words hold no secret: the plan and the process list show it."""
    config = context.config
    for name, service in config.services.items():
        where = config.where(services.key(name, "argv"))
        if (not service.argv or not service.argv[0]) and not _has_mistakes(config, name):
            yield Problem(where, "is empty", "write the command as a list of words")
        if any("\0" in word for word in service.argv):
            yield Problem(where, "holds a zero byte", "remove it")
        for option in _secret_options(service.argv):
            what = f"{option} gives a secret, which would be recorded"
            yield Problem(where, what, "let the service read it from the environment")


@rule(when=_has_any)
def services_have_valid_checks(context: Context) -> Iterator[Problem]:
    """``check.url`` is an HTTP URL with a host, and ``check.timeout_s`` is above 0."""
    config = context.config
    for name, service in config.services.items():
        check = service.check
        if check.url is not None and services.address(service) is None:
            where = config.where(services.key(name, "check", "url"))
            fix = "write http://127.0.0.1:PORT/PATH"
            yield Problem(where, f"{kinds.said(check.url)} is no HTTP URL", fix)
        if not 0 < check.timeout_s < float("inf"):
            where = config.where(services.key(name, "check", "timeout_s"))
            yield Problem(where, f"{check.timeout_s:g} is no time", "use seconds above 0")


@rule(when=_has_any)
def services_have_valid_variables(context: Context) -> Iterator[Problem]:
    """What ``env`` sets has a name that every shell accepts; devices are said in ``devices``."""
    config = context.config
    for name, service in config.services.items():
        for variable, value in service.env.items():
            where = config.where(services.key(name, "env", variable))
            if not _NAME.fullmatch(variable):
                what = f"{kinds.said(variable)} is not a name of a variable"
                yield Problem(where, what, "use letters, digits and _")
            elif variable == _VISIBLE:
                fix = f"say {services.key(name, 'devices')}=[...]"
                yield Problem(where, "is set by the launcher", fix)
            if "\0" in value:
                yield Problem(where, "holds a zero byte", "remove it")


@rule(when=_has_any)
def services_have_their_own_devices(context: Context) -> Iterator[Problem]:
    """No service has a device twice, or one of a half; services may share one among them.

    Both halves plan with the whole memory of a device: vLLM takes its share of it at once, the
    learner grows into it.
    """
    config = context.config
    for name, service in config.services.items():
        where = config.where(services.key(name, "devices"))
        for device in service.devices:
            if not _DEVICE.fullmatch(device):
                yield Problem(
                    where, f"{kinds.said(device)} is no device", "list ids: [3], [GPU-...]"
                )
        repeated = sorted({d for d in service.devices if service.devices.count(d) > 1})
        if repeated:
            yield Problem(where, f"lists {', '.join(repeated)} more than once", "list each once")
        for half, devices in _halves(config):
            if shared := sorted({*service.devices} & {*devices}):
                what = f"shares device {', '.join(shared)} with gpus.{half}"
                yield Problem(where, what, "give each its own devices")


SERVICE_RULES: Sequence[Rule] = (
    services_have_plain_names,
    services_have_a_command,
    services_have_valid_checks,
    services_have_valid_variables,
    services_have_their_own_devices,
)
"""In the order in which their findings are reported."""


def _halves(config: LaunchConfig) -> Iterator[tuple[str, Sequence[str]]]:
    """The devices that are said for the halves on this machine; services run with the learner."""
    yield LEARNER, config.gpus.learner or ()
    if not endpoint.are_elsewhere(config):
        yield SERVER, config.gpus.server or ()


def _has_mistakes(config: LaunchConfig, name: str) -> bool:
    """Whether a key of a service was left out: it may have been meant for the command."""
    place = f"{config.where(services.key(name))}."
    return any(mistake.error.where.startswith(place) for mistake in config.mistakes)


def _secret_options(argv: Sequence[str]) -> Iterator[str]:
    """The options and variables in a command whose values are secrets."""
    for word, following in zip(argv, (*argv, "-")[1:], strict=True):
        option, equals, value = word.partition("=")
        name = option.lstrip("-").replace("-", "_")
        given = value if equals else "" if following.startswith("-") else following
        is_variable = bool(equals) and _NAME.fullmatch(option) is not None
        if (is_variable or option.startswith("--")) and given and redaction.is_secret_name(name):
            yield option
