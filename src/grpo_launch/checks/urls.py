"""The rule on ``vllm_server_base_url``, which wins over host and port in the learner."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from urllib.parse import SplitResult, urlsplit

from grpo_launch.config import endpoint, kinds
from grpo_launch.config.launch_config import LaunchConfig
from grpo_launch.config.problem import Problem, Severity
from grpo_launch.config.rule import Context, Rule, rule


def _has_urls(config: LaunchConfig) -> bool:
    """Whether the learner's arguments say them; an engine with URLs of its own judges those."""
    return bool(endpoint.urls(config)) and endpoint.keys(config).url.startswith("train.")


@rule(when=_has_urls)
def vllm_server_base_url_is_valid(context: Context) -> Iterator[Problem]:
    """``rlhf.vllm_server_base_url`` is a URL for each server, and no other address is said.

    Source: ``VLLMInferClient.__init__``: scheme, address and path of each are taken, host and port
    are not looked at, and ``/health`` is appended.
    """
    config = context.config
    where = config.where(endpoint.keys(config).url)
    said = endpoint.urls(config)
    starts = config.role != "learner"
    for url in said:
        if endpoint.address(url) is None:
            what = f"{kinds.said_at(endpoint.keys(config).url, url)} is not a URL of a server"
            yield Problem(where, what, "write http://HOST:PORT")
            continue
        parts = urlsplit(str(url))
        if parts.path.endswith("/"):
            what = f"{url} ends with a slash, the learner would ask for //health"
            yield Problem(where, what, "leave it out")
        elif starts and endpoint.is_here(config, parts.hostname) and not _is_plain(parts):
            what = f"{url} is not what a server started here has, plain http without a path"
            yield Problem(where, what, "write http://HOST:PORT, or start them with role=learner")
    if all(map(endpoint.address, said)):
        yield from _of_others(config, where)


URL_RULES: Sequence[Rule] = (vllm_server_base_url_is_valid,)


def _is_plain(parts: SplitResult) -> bool:
    return parts.scheme == "http" and not parts.path


def _of_others(config: LaunchConfig, where: str) -> Iterator[Problem]:
    """What is said beside the URLs and is another address."""
    keys = endpoint.keys(config)
    for key, used in ((keys.host, endpoint.hosts), (keys.port, endpoint.ports)):
        value = endpoint.said(config, key)
        values = value if isinstance(value, list) else [value]
        if value is None or [*map(str, values)] == [*map(str, used(config))]:
            continue
        other = config.where(key)
        what = f"says {kinds.said(used(config))}, which wins over {kinds.said(value)} ({other})"
        severity = Severity.WARNING if config.role == "learner" else Severity.ERROR
        yield Problem(where, what, "keep one of them", severity)
