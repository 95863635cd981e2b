"""The rules on an API that somebody else runs."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any
from urllib.parse import SplitResult, urlsplit

from grpo_launch.config import endpoint, key_names, kinds
from grpo_launch.config.arguments import listed
from grpo_launch.config.problem import Problem, Severity
from grpo_launch.config.rule import Context, Rule, rule

_URL = "rollout_server.url"
_KEY = "rollout_server.api_key_env"


@rule(when=endpoint.has_servers)
def external_server_has_urls(context: Context) -> Iterator[Problem]:
    """``rollout_server.url`` is the base URL of an API, or a list of them."""
    config = context.config
    where, urls = config.where(_URL), listed(config.rollout_server.get("url"))
    if not urls:
        fix = "set it to http://HOST:PORT, or as clients take it, https://HOST/v1"
        yield Problem(where, "is not set, and the launcher starts no server here", fix)
    for url in urls:
        parts = _parts(url)
        if parts is None:
            yield Problem(where, "is no HTTP URL with a host", "write http://HOST:PORT")
        elif parts.username is not None or parts.password is not None:
            fix = f"remove it, and name a variable with the key in {_KEY}"
            yield Problem(where, "holds a login, which would be recorded", fix)
        elif parts.query or parts.fragment:
            yield Problem(where, f"{kinds.said(url)} is no base URL", "end it before the ?")
        elif parts.path.rstrip("/").endswith(("/completions", "/models")):
            base = str(url).rstrip("/").removesuffix("/chat/completions")
            base = base.removesuffix("/completions").removesuffix("/models")
            what = f"{kinds.said(url)} is one path of an API"
            yield Problem(where, what, f"set it to its base, {base}")


@rule(when=endpoint.has_servers)
def external_server_has_a_model(context: Context) -> Iterator[Problem]:
    """Something names the model that is asked for."""
    config = context.config
    if not config.model:
        where = config.where("rollout_server.model")
        yield Problem(where, "is not set, and no learner names a model", "name what to ask for")


@rule
def api_key_comes_from_the_environment(context: Context) -> Iterator[Problem]:
    """``api_key_env`` names a variable that is masked, and no key goes out in the clear."""
    config = context.config
    name = config.rollout_server.get("api_key_env")
    if name is None:
        return
    wrong = list(key_names.problems(config.where(_KEY), name))
    yield from wrong
    if wrong:
        return
    for url in listed(config.rollout_server.get("url")):
        parts = _parts(url)
        if parts and parts.scheme == "http" and parts.hostname not in endpoint.LOCAL_HOSTS:
            what = f"the key goes to {parts.hostname} unencrypted"
            yield Problem(config.where(_URL), what, "use https", Severity.WARNING)


RULES: Sequence[Rule] = (
    external_server_has_urls,
    external_server_has_a_model,
    api_key_comes_from_the_environment,
)
"""In the order in which their findings are reported."""


def _parts(url: Any) -> SplitResult | None:
    """An HTTP URL with a host and a possible port, taken apart; None for anything else."""
    if not isinstance(url, str) or url != url.strip() or " " in url:
        return None
    try:
        parts = urlsplit(url)
        usable = parts.scheme in ("http", "https") and parts.hostname and parts.port != 0
    except ValueError:
        return None
    return parts if usable else None
