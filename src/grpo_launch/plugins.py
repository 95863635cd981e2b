"""Engines, learners and backends by name: those that ship, and those of other packages.

A plug-in is an object that a module holds. It is imported when somebody asks for its name, so
one that is not chosen costs nothing. Another package offers its own by an entry point::

    [project.entry-points."grpo_launch.engines"]
    mine = "my_package.engine:ENGINE"
"""

from __future__ import annotations

import functools
import importlib
import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Generic, TypeVar, cast

from grpo_launch.errors import ConfigError

T = TypeVar("T")


@dataclass(frozen=True)
class Registry(Generic[T]):
    """The plug-ins of one kind.

    Attributes:
        kind: what they are, in messages: ``engine``.
        group: of the entry points.
        shipped: ``module:attribute`` by name; a module alone is a plug-in itself.
        needs: the attributes that each must have; checked when it is loaded.
    """

    kind: str
    group: str
    shipped: Mapping[str, str]
    needs: tuple[str, ...]

    def get(self, name: str, where: str | Callable[[], str] = "") -> T:
        """The plug-in called ``name``.

        Args:
            name: of a shipped one or of an entry point; a shipped one wins.
            where: what named it, for messages; a function is asked only then.

        Raises:
            ConfigError: there is none of that name, or it cannot be used.
        """

        def refused(what: str, fix: str) -> ConfigError:
            place = where() if callable(where) else where
            return ConfigError(place or f"{self.kind}.name", what, fix)

        if name in self.shipped:
            return cast("T", _loaded(self.shipped[name]))  # the suites check what ships
        target = self._installed().get(name)
        if target is None:
            what = f"there is no {self.kind} {name}"
            raise refused(what, f"choose one of {', '.join(self.names())}")
        try:
            plugin = _load(target)
        except Exception as error:  # whatever somebody else's package does when it is imported
            what = f"the {self.kind} {name} cannot be loaded ({type(error).__name__}: {error})"
            raise refused(what, f"correct {target}, or choose another one") from error
        # Statically: a property may import what nobody has asked for yet.
        missing = [n for n in self.needs if inspect.getattr_static(plugin, n, self) is self]
        if missing:
            what = f"the {self.kind} {name} has no {', '.join(missing)}"
            raise refused(what, f"add it to {target}, or choose another one")
        return cast("T", plugin)

    def __contains__(self, name: object) -> bool:
        """Whether there is one of this name."""
        return name in self.shipped or name in self._installed()

    def names(self) -> list[str]:
        """The names of all of them."""
        return sorted({*self.shipped, *self._installed()})

    def _installed(self) -> dict[str, str]:
        """The entry points of other packages: looking for them reads all that are installed."""
        from importlib.metadata import entry_points

        return {point.name: point.value for point in entry_points(group=self.group)}


def _load(target: str) -> Any:
    module, _, attribute = target.partition(":")
    plugin = importlib.import_module(module)
    return getattr(plugin, attribute) if attribute else plugin


@functools.cache
def _loaded(target: str) -> Any:
    """A plug-in that ships; it is asked for a thousand times in one start."""
    return _load(target)


ENGINES: Registry[Any] = Registry(
    kind="engine",
    group="grpo_launch.engines",
    shipped={
        "command": "grpo_launch.engines.command.engine:ENGINE",
        "external": "grpo_launch.engines.external.engine:ENGINE",
        "none": "grpo_launch.engines.absent:ENGINE",
        "swift": "grpo_launch.engines.swift.engine:ENGINE",
        "vllm": "grpo_launch.engines.vllm.engine:ENGINE",
    },
    needs=(
        *("product", "entry", "cpu_entry", "environment", "cpu_overlay", "managed", "settings"),
        *("size_keys", "max_num_seqs", "signs"),
        *("transfers", "health_path", "packages", "rules", "flags", "sizes", "summary", "argv"),
        *("env", "checks", "generation", "from_argv"),
    ),
)
"""Programs that serve rollouts; what each has is said in ``engines/base.py``."""

LEARNERS: Registry[Any] = Registry(
    kind="learner",
    group="grpo_launch.learners",
    shipped={
        "command": "grpo_launch.learners.command.learner:LEARNER",
        "llamafactory": "grpo_launch.learners.llamafactory.learner:LEARNER",
        "none": "grpo_launch.learners.absent:LEARNER",
        "swift": "grpo_launch.learners.swift.learner:LEARNER",
    },
    needs=(
        *("product", "entry", "cpu_entry", "environment", "cpu_overlay", "sections", "own_keys"),
        *("model_key", "output_key", "stages", "needs_servers", "demands", "flags_of"),
        *("metrics", "checkpoints", "signs", "resume"),
        *("transfers", "packages", "rules", "flags", "facts", "batches", "summary"),
        *("output_dir", "is_versioned", "arguments", "files", "argv", "env", "command"),
        *("section", "from_argv", "rehearsal"),
    ),
)
"""Programs that train; what each has is said in ``learners/base.py``."""

BACKENDS: Registry[Any] = Registry(
    kind="backend",
    group="grpo_launch.backends",
    shipped={
        name: f"grpo_launch.backends.{name}.backend"
        for name in ("foreground", "detached", "nohup", "tmux")
    },
    needs=("CAPABILITIES", "check", "render", "start", "describe", "cancel"),
)
"""Who executes a run, and where; what each has is said in ``backends/base.py``."""
