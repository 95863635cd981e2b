"""New weights for a server that goes on: compared, loaded, tried, and recorded.

What does not fit is refused before the server hears of it, since an engine may die of it or keep
a part of its old weights. Then requests are paused, the weights are loaded, the prefix cache is
reset, and, whatever came of that, requests go on; a greedy prompt before and after tells
whether other weights are served.
"""

from __future__ import annotations

import ipaddress
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from urllib.parse import urlsplit

from grpo_launch.errors import ConfigError, LaunchError, NotReadyError, PreflightError
from grpo_launch.plan import Gate, LaunchPlan
from grpo_launch.stages import fit, journal, weights
from grpo_launch.stages.asking import Asking, UnansweredError
from grpo_launch.stages.journal import FAILED, REFUSED, RELOADED, RESTART, Result
from grpo_launch.supervise.questions import authorization
from grpo_launch.transfer import WAIT, Reload, ReloadStep

_RESTART = "restart the server"


@dataclass(frozen=True)
class Server:
    """A server that may get new weights.

    Attributes:
        name: as in the plan.
        url: its base URL.
        model: the directory of the model that it was started with.
        reload: how its engine takes new weights.
        since: when it was started, seconds since the epoch.
        headers: of each request.
    """

    name: str
    url: str
    model: Path
    reload: Reload
    since: float = 0.0
    headers: Mapping[str, str] = field(default_factory=dict)

    @staticmethod
    def planned(
        plan: LaunchPlan, gate: Gate, since: float, environ: Mapping[str, str]
    ) -> Server | None:
        """A server of a plan; None where it takes no new weights while it runs.

        Args:
            plan: of the run.
            gate: the server's.
            since: when it was started, seconds since the epoch.
            environ: of the caller; has the API key, if there is one.

        Raises:
            NotReadyError: no header can hold the key.
        """
        if gate.reload is None:
            return None
        spec = plan.process(gate.server) or next(iter(plan.processes), None)
        own = (spec.env_defaults, environ, spec.env) if spec else (environ,)
        engine = {name: value for each in own for name, value in each.items()}
        cwd = Path(spec.cwd if spec else "")
        model = weights.located(gate.model, cwd, engine)
        headers = authorization(gate.reload.bearer, environ)
        return Server(gate.server, gate.url, model, gate.reload, since, headers)


def reload(
    server: Server,
    directory: Path,
    record: Path,
    *,
    version: str = "",
    mode: str = WAIT,
    now: Callable[[], float] = time.time,
) -> Result:
    """Let a server serve the weights in a directory.

    Args:
        server: that goes on.
        directory: with the weights; nothing may write there meanwhile.
        record: the journal, see ``journal.NAME``.
        version: what the server calls them; empty: the name of the directory.
        mode: what becomes of requests in flight, of ``transfer.MODES``.
        now: seconds since the epoch.

    Returns:
        What became of it. Of ``RESTART`` the caller restarts the server; after ``REFUSED`` and
        ``FAILED`` it has the weights that it had.

    Raises:
        PreflightError: another reload of the run is under way.
        OSError: the journal cannot be written; the server was asked for nothing.
    """
    path = Path(directory).absolute()
    begun = Result(server.name, str(path), version or path.name, mode, now())
    with journal.held(record):
        try:
            fresh = _fitting(server, path, mode)
            begun = replace(begun, path=str(fresh.directory), digest=fresh.digest)
            _check_text(f"{begun.path} as {begun.version}")
            ended = _loaded(server, begun, record)
        except _RefusedError as refused:
            ended = _ended(begun, REFUSED, *refused.errors)
        journal.append(record, ended)
    return ended


class _RefusedError(Exception):
    def __init__(self, *errors: LaunchError) -> None:
        super().__init__(*map(str, errors))
        self.errors = errors


def _check_text(text: str) -> None:
    """See whether JSON can say it.

    Raises:
        _RefusedError: it cannot.
    """
    try:
        text.encode()
    except UnicodeEncodeError:
        error = ConfigError(ascii(text), "is not UTF-8", "choose other names")
        raise _RefusedError(error) from None


def _fitting(server: Server, directory: Path, mode: str) -> weights.Weights:
    """The weights, where the server can take them.

    Raises:
        _RefusedError: it cannot, or may not be asked.
    """
    known = server.reload
    if mode not in known.modes:
        fix = f"choose {', '.join(known.modes)}"
        raise _RefusedError(ConfigError("pause", f"{mode} is nothing that the server can", fix))
    if known.only_here and not _is_loopback(server.url):
        fix = "let it listen on 127.0.0.1"
        raise _RefusedError(ConfigError(server.url, "is no address of this machine alone", fix))
    try:
        fresh = weights.read(directory)
    except ConfigError as error:
        raise _RefusedError(error) from None
    try:
        served = weights.read(server.model)
    except ConfigError as error:
        what = f"the model that is served cannot be compared: {error.reason}"
        raise _RefusedError(ConfigError(server.name, what, _RESTART)) from None
    if errors := fit.misfits(served, fresh, known.unloaded):
        raise _RefusedError(*errors)
    return fresh


def _loaded(server: Server, begun: Result, record: Path) -> Result:
    """What became of weights that fit."""
    import httpx

    values = {"path": begun.path, "version": begun.version, "mode": server.reload.modes[begun.mode]}
    state = journal.state(record, server.name, server.since)
    secure = server.url.startswith("https:")  # reading the certificates takes 0.15 s
    with httpx.Client(trust_env=False, verify=secure, headers=dict(server.headers)) as client:
        asking = Asking(client, server.url.rstrip("/"), values)
        return _asked(server, asking, begun, state, record)


def _asked(
    server: Server, asking: Asking, begun: Result, state: journal.State, record: Path
) -> Result:
    known = server.reload
    if state.is_known:
        try:
            begun = replace(begun, before=asking.probe(known.probe))
        except UnansweredError as error:
            return _ended(begun, FAILED, _unfit(server, f"answers no prompt ({error})"))
    elif state.last is not None:
        # A generation with what an interrupted load left may kill the engine.
        begun = replace(begun, before=state.last.after)
    journal.append(record, begun)
    ended = _paused(server, asking, begun, is_known=state.is_known)
    if ended.outcome != RELOADED:
        return ended
    try:
        after = asking.probe(known.probe)
    except UnansweredError as error:
        dead = _broken(server, f"answers no prompt with the weights of {begun.path} ({error})")
        return replace(ended, outcome=RESTART, problems=(*ended.problems, str(dead)))
    if after == begun.before:
        same = f"{begun.path}: the probe's log-probabilities are what they were: the same weights"
        ended = replace(ended, warnings=(*ended.warnings, same))
    return replace(ended, after=after)


def _paused(server: Server, asking: Asking, begun: Result, *, is_known: bool) -> Result:
    """Pause, do what is to be done, and resume, also where something of it fails."""
    known = server.reload
    started = time.monotonic()
    warnings: list[str] = []
    errors: list[LaunchError] = []
    must_resume, spoiled = True, not is_known
    try:
        try:
            asking.do(known.pause)
        except UnansweredError as error:
            must_resume = not (error.is_absent or error.is_unreachable)
            errors.append(_not_paused(server, error))
        else:
            for step in known.steps:
                if failure := _failure(asking, step):
                    spoiled |= step.spoils
                    if step.spoils:
                        errors.append(_broken(server, f"{step.name} failed ({failure})"))
                        break
                    warnings.append(f"{server.url}: {step.name} failed ({failure})")
    finally:
        failure = _failure(asking, known.resume) if must_resume else None
    if failure is not None:
        spoiled = True
        errors.append(_broken(server, f"{known.resume.name} failed ({failure})"))
    seconds = time.monotonic() - started
    begun = replace(begun, seconds=seconds, warnings=tuple(warnings))
    return _ended(begun, RELOADED if not errors else RESTART if spoiled else FAILED, *errors)


def _failure(asking: Asking, step: ReloadStep) -> str | None:
    try:
        asking.do(step)
    except UnansweredError as error:
        return str(error)
    return None


def _not_paused(server: Server, error: UnansweredError) -> LaunchError:
    known = server.reload
    if error.is_absent and known.absent:
        return PreflightError(server.url, f"{known.absent} ({error})", known.enable)
    return _unfit(server, f"{known.pause.name} failed ({error})")


def _unfit(server: Server, what: str) -> LaunchError:
    return PreflightError(server.url, what, "look at its log, or restart it")


def _broken(server: Server, what: str) -> LaunchError:
    return NotReadyError(server.url, what, _RESTART)


def _ended(begun: Result, outcome: str, *errors: LaunchError) -> Result:
    return replace(begun, outcome=outcome, problems=tuple(map(str, errors)))


def _is_loopback(url: str) -> bool:
    try:
        host = urlsplit(url).hostname or ""
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
