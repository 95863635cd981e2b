"""Proxies, and what must be reached without them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

_PROXIES = ("http_proxy", "https_proxy", "all_proxy")

_SPELLINGS = (("no_proxy", "NO_PROXY"), ("NO_PROXY", "no_proxy"))
"""Clients look at one first, and at the other where that is not set."""

_ALL = "*"


def bypassing(environ: Mapping[str, str], hosts: Iterable[str]) -> dict[str, str]:
    """``no_proxy`` and ``NO_PROXY`` with ``hosts`` added to what they are.

    Args:
        environ: the environment of a process.
        hosts: names and addresses, IPv6 without brackets.

    Returns:
        The two variables; nothing where there is no proxy, or where they name all hosts already.
    """
    if not any(environ.get(name) or environ.get(name.upper()) for name in _PROXIES):
        return {}
    hosts = tuple(hosts)
    added: dict[str, str] = {}
    for name, other in _SPELLINGS:
        entries = (environ.get(name) or environ.get(other) or "").split(",")
        entries = [entry.strip() for entry in entries if entry.strip()]
        if _ALL not in entries:  # which counts only where it stands alone
            entries += [host for host in hosts if host not in entries]
        added[name] = ",".join(entries)
    return {} if all(environ.get(name) == value for name, value in added.items()) else added
