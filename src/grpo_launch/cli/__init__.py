"""The command line: Hydra composes, a role runs, errors become one line and a status."""

from __future__ import annotations

import contextlib
import gc
import os
import sys
from collections.abc import Callable, Generator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, cast

from grpo_launch.base import redaction, resources
from grpo_launch.base.host import Host
from grpo_launch.cli import words
from grpo_launch.cli.masking import masking
from grpo_launch.config import compose, schema
from grpo_launch.errors import ConfigError, LaunchError
from grpo_launch.execute import command
from grpo_launch.execute.console import complain

if TYPE_CHECKING:
    from omegaconf import DictConfig

    from grpo_launch.config.launch_config import LaunchConfig

_ADVISE = "role=advise"
"""The one role that reads a run and composes nothing."""


def main() -> int:
    """Run the command line of this process; returns the exit status.

    A user's mistake prints one line, ``error: <where>: <what>, <fix>``;
    ``HYDRA_FULL_ERROR=1`` brings the traceback back.
    """
    environ, typed = dict(os.environ), sys.argv[1:]
    if typed[:1] == [words.RUNS]:
        return _runs(typed[1:])
    if typed[:1] == [words.IMPORT]:
        return _import(typed[1:], environ)
    arguments = words.expanded(typed)

    def body() -> int:
        with masking((sys.stdout, sys.stderr), arguments, environ):
            return _dispatch(arguments, environ)

    return command.run(body, lambda error: _failed(error, arguments))


def _failed(error: LaunchError, arguments: Sequence[str]) -> int:
    """Show why nothing could be composed or started; a machine that asked gets JSON."""
    if "output=json" in arguments and {"role=check", _ADVISE} & set(arguments):
        from grpo_launch.checks import report

        hidden = redaction.secrets({**os.environ, **redaction.of_arguments(arguments)})
        print(redaction.masked(report.of_failure(error), hidden))
        return error.status
    return complain(error, redaction.secrets({**os.environ, **redaction.of_arguments(arguments)}))


def _runs(typed: Sequence[str]) -> int:
    """``grpo-runs``, by the launcher's name."""
    from grpo_launch.monitor import cli

    return command.run(lambda: cli.run(typed), complain)


def _import(typed: Sequence[str], environ: dict[str, str]) -> int:
    """Scripts become experiments."""

    def body() -> int:
        from grpo_launch.importing import command as importing

        with masking((sys.stdout, sys.stderr), typed, environ):
            return importing.run(typed)

    return command.run(body, lambda error: _failed(error, typed))


def script() -> None:
    """The console script ``grpo-launch``."""
    sys.exit(main())


def _dispatch(arguments: Sequence[str], environ: dict[str, str]) -> int:
    if not arguments or arguments[0] == words.HELP or {"-h", "--help"} & set(arguments):
        from grpo_launch.cli import usage

        print(usage.text())
        return 0 if arguments else 2
    if "--version" in arguments:
        from grpo_launch.cli import usage

        print(usage.version())
        return 0
    if any(argument.startswith("-") for argument in arguments):
        from grpo_launch.cli import completion

        if completion.is_asked(arguments):
            return _complete(arguments, environ)
    if not all(map(_is_override, arguments)):
        from grpo_launch.cli import answers

        answers.check(arguments)
    if _ADVISE in arguments:
        from grpo_launch.roles import advise

        return advise.main(arguments, Path.cwd())
    if any(_is_for_hydra(argument) for argument in arguments):
        return _hydra_main(arguments, environ)
    with _collecting_later():
        config = compose.compose_arguments(arguments, environ)
    return _run_role(config, Host.current(environ))


@contextlib.contextmanager
def _collecting_later() -> Generator[None]:
    """Import and compose without looking for garbage, which costs a sixth of a check.

    What is made then stays until the process ends, so it is not looked at again either,
    not even by the interpreter when it ends (docs/adr/0010).
    """
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        gc.enable()


def _is_for_hydra(argument: str) -> bool:
    """Whether an argument needs Hydra's own entry point: a flag, or a setting of Hydra.

    Everything else is composed once; ``hydra.main`` composes twice, which costs
    more than all of this package (docs/adr/0003).
    """
    return argument.startswith("-") or argument.lstrip("+~").startswith(("hydra.", "hydra/"))


def _complete(arguments: Sequence[str], environ: dict[str, str]) -> int:
    from grpo_launch.cli import completion

    if text := completion.module_script(arguments, sys.argv[0]):
        print(text)
        return 0
    if completion.is_query(arguments):
        for word in completion.short_words(environ):
            print(word)
        if completion.is_of_runs(environ):
            return 0
    completion.rewrite_line(os.environ)
    try:
        return _hydra_main(arguments, environ)
    except Exception:
        # The line is not finished, so anything may be wrong with it; there is nothing
        # to offer, and a message would land in the middle of it.
        if completion.is_query(arguments) and environ.get(command.FULL_ERROR) != "1":
            return 0
        raise


def _hydra_main(arguments: Sequence[str], environ: dict[str, str]) -> int:
    """Run under ``hydra.main``: ``--cfg``, ``--info``, ``--multirun``, ``hydra.*=``."""
    from grpo_launch.config.hydra import named

    with named.choosing(arguments):
        return _under_hydra(arguments, environ)


def _under_hydra(arguments: Sequence[str], environ: dict[str, str]) -> int:
    import hydra
    from hydra.errors import HydraException
    from omegaconf import OmegaConf
    from omegaconf.errors import OmegaConfBaseException

    from grpo_launch.cli import sweep
    from grpo_launch.config.compat import reading
    from grpo_launch.config.formats import experiment
    from grpo_launch.config.from_hydra import from_hydra
    from grpo_launch.config.hydra import hints

    statuses: list[int] = []
    results = sweep.Results()

    def for_each(do: Callable[[str, LaunchConfig], None]) -> None:
        """Let Hydra compose the run, or each member of the sweep."""

        @hydra.main(
            config_path=str(resources.path("conf")),
            config_name=schema.PRIMARY,
            version_base=compose.VERSION_BASE,
        )
        def task(cfg: DictConfig) -> None:
            from hydra.core.hydra_config import HydraConfig

            chosen = HydraConfig.get()
            number = OmegaConf.select(cast("DictConfig", chosen), "job.num", default=0)
            typed = said.typed_of(chosen.overrides.task)
            own = [item.lstrip("+") for item in typed if hints.key_of(item) not in shared]
            point = " ".join([f"#{number}", *own])
            do(point, compose.with_environment(from_hydra(cfg, tuple(typed)), said))

        task()

    def start(point: str, config: LaunchConfig) -> None:
        host = Host.current(environ, sweeping=True)

        def run() -> int:
            return _run_role(config, host)

        if sweep.is_one(arguments):
            statuses.append(results.run(sweep.Member(point, config, host), run))
        else:
            statuses.append(run())

    compose.register()
    overrides = [item for item in arguments if _is_override(item)]
    hints.check_overrides(overrides)
    said = reading.read(overrides, environ)
    if said.wrong:
        raise experiment.as_one([wrong.error for wrong in said.wrong])
    given = [*said.overrides, *overrides]
    shared = {hints.key_of(item) for item in given if not sweep.is_swept(item)}
    # Otherwise Hydra prints its own error and exits before it can be said better.
    os.environ[command.FULL_ERROR] = "1"
    try:
        with _hydra_arguments(arguments, given):
            if sweep.is_one(arguments) and sweep.is_known_before(arguments):
                check = sweep.Check()
                host = Host.current(environ, sweeping=True)
                with sweep.quietly():
                    for_each(lambda point, config: check.member(point, config, host))
                check.finish()
            with results:
                for_each(start)
    except sweep.Ended as ended:
        return ended.status
    except (HydraException, OmegaConfBaseException, ValueError, OverflowError) as error:
        raise compose.explain(error, given) from error
    except RecursionError:
        raise ConfigError("command line", "is nested too deeply", "flatten it") from None
    finally:
        os.environ.pop(command.FULL_ERROR, None)
        if command.FULL_ERROR in environ:
            os.environ[command.FULL_ERROR] = environ[command.FULL_ERROR]
    return max(statuses, default=0)


def _is_override(argument: str) -> bool:
    return not argument.startswith("-") and ("=" in argument or argument.startswith("~"))


@contextlib.contextmanager
def _hydra_arguments(arguments: Sequence[str], overrides: Sequence[str]) -> Generator[None]:
    """Give Hydra's parser the arguments in an order that it takes: overrides, then flags.

    A sweep keeps its notes in a directory that goes away: every run has a record
    of its own, and a dry run must leave nothing behind.
    """
    import tempfile

    from grpo_launch.config.hydra import hints

    flags = [item for item in arguments if not _is_override(item)]
    before = sys.argv
    with contextlib.ExitStack() as stack:
        notes: list[str] = []
        if not any(item.startswith("hydra.sweep.dir=") for item in overrides):
            directory = tempfile.TemporaryDirectory(prefix="grpo_launch-")
            notes = [f"hydra.sweep.dir={stack.enter_context(directory)}"]
        sys.argv = [before[0], *hints.for_hydra(overrides), *notes, *flags]
        try:
            yield
        finally:
            sys.argv = before


def _run_role(config: LaunchConfig, host: Host) -> int:
    from hydra.utils import get_method

    return get_method(config.callback)(config, host)
