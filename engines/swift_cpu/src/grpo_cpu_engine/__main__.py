"""``python -m grpo_cpu_engine {rollout,rlhf,sft,pt} ...``: what ``swift`` is to its subcommands.

Reads the arguments as ``swift/cli/main.py`` of ms-swift does, with its own functions: a YAML or
JSON file, its ``ENV`` key, and the variables that ask for torchrun. Then it replaces itself with
the engine, so that variables of ``ENV`` are set before torch loads, as under ``swift``.
"""

from __future__ import annotations

import os
import sys
from collections.abc import MutableMapping, Sequence
from typing import NoReturn

from grpo_cpu_engine.errors import (
    ArgumentsFileError,
    CpuEngineError,
    EngineMismatchError,
    PluginFilterError,
)
from grpo_cpu_engine.vllm_plugin import NAME

__all__ = ["engine_argv", "main", "require_plugin"]

_USAGE = (
    "usage: python -m grpo_cpu_engine {rollout,rlhf,sft,pt} [FILE.yaml | FILE.json] "
    "[--NAME VALUE ...]"
)
_METHODS = ("rollout", "rlhf", "sft", "pt")
_TORCHRUN_METHODS = ("rlhf", "sft", "pt")
"""Those that ``swift/cli/main.py`` starts through torchrun."""


def main(argv: Sequence[str] | None = None) -> int:
    """Replace this process by the engine; returns an exit status only if it cannot.

    Args:
        argv: subcommand and arguments; ``sys.argv[1:]`` by default.
    """
    words = list(sys.argv[1:] if argv is None else argv)
    if not words or words[0] in ("-h", "--help"):
        print(_USAGE)
        return 0 if words else 2
    method, arguments = words[0].replace("_", "-"), words[1:]
    if method not in _METHODS:
        print(f"{NAME}: unknown subcommand {words[0]!r}; {_USAGE}", file=sys.stderr)
        return 2
    try:
        command = engine_argv(method, arguments)
        require_plugin(os.environ)
    except CpuEngineError as error:
        print(f"{NAME}: {error}", file=sys.stderr)
        return 1
    return _replace_process(command)


def engine_argv(method: str, arguments: Sequence[str]) -> list[str]:
    """Command line of the engine, its file of arguments expanded into flags.

    Sets ``SWIFT_CONFIG_FILE`` and the variables of the file's ``ENV`` key in ``os.environ``.

    Args:
        method: one of those above.
        arguments: what would follow ``swift <method>``.

    Raises:
        EngineMismatchError: ms-swift is absent, or its command line has other functions.
        ArgumentsFileError: the file of arguments cannot be used.
    """
    try:
        import yaml
        from swift.cli.main import get_torchrun_args, parse_yaml_args
    except ImportError as error:
        raise EngineMismatchError(
            "swift.cli.main", f"not importable ({error})", "unknown", "ms-swift 4.6.0"
        ) from error
    expanded = list(arguments)
    try:
        parse_yaml_args(expanded)
    except (OSError, ValueError, yaml.YAMLError, TypeError, AttributeError) as error:
        reason = " ".join(str(error).split())
        raise ArgumentsFileError(arguments[0], reason) from error
    launcher: list[str] = []
    if method in _TORCHRUN_METHODS:
        torchrun = get_torchrun_args()
        if torchrun is not None:
            launcher = ["-m", "torch.distributed.run", *torchrun]
    return [sys.executable, *launcher, "-m", f"{__package__}.worker", method, *expanded]


def require_plugin(environ: MutableMapping[str, str]) -> None:
    """Make vLLM's processes load this package's plugin.

    An unset ``VLLM_PLUGINS`` loads every plugin, ms-swift's own included, which needs torchvision.

    Args:
        environ: changed in place where the variable is unset.

    Raises:
        PluginFilterError: the variable leaves the plugin out.
    """
    value = environ.setdefault("VLLM_PLUGINS", NAME)
    if NAME not in [name.strip() for name in value.split(",")]:
        raise PluginFilterError(value, NAME)


def _replace_process(command: Sequence[str]) -> NoReturn:
    print(f"run sh: `{' '.join(command)}`", flush=True)
    os.execv(command[0], list(command))  # noqa: S606


if __name__ == "__main__":
    sys.exit(main())
