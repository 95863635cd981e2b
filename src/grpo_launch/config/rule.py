"""What a rule is: a pure function from a context to what is wrong, with a name.

    @rule(needs=(ModelShape,))
    def tensor_parallel_size_divides_attention_heads(context: Context) -> Iterator[Finding]:
        shape = context[ModelShape]
        ...
        yield Problem(context.config.where(KEY), "3 does not divide ...", "set it to 2 or 4")

The name of the function is the name of the rule: it says what holds in a valid configuration,
``role=check`` prints it in words, and ``checks.warn=[NAME]`` turns its errors into warnings.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import TypeVar, overload

from grpo_launch.config.facts import Facts
from grpo_launch.config.launch_config import LaunchConfig
from grpo_launch.config.problem import Problem
from grpo_launch.config.readable import readable

Fact = TypeVar("Fact")


@dataclass(frozen=True)
class Unknown:
    """Yielded by a rule beside its problems: why it could not judge all that it is about."""

    reason: str


Finding = Problem | Unknown


@dataclass(frozen=True)
class Context:
    """What a rule judges: ``context[ModelShape]`` is a fact that the rule needs."""

    config: LaunchConfig
    facts: Facts

    @staticmethod
    def of(config: LaunchConfig, facts: Facts) -> Context:
        """With the facts that follow from the configuration alone (``readable.py``)."""
        return Context(config, readable(config).updated(facts))

    def __getitem__(self, kind: type[Fact]) -> Fact:
        """The fact of this type, which the rule names in ``needs``.

        Raises:
            LookupError: it is not known.
        """
        fact = self.facts.get(kind)
        if fact is None:
            raise LookupError(f"{self.facts.why_missing(kind)}; is {kind.__name__} in needs?")
        return fact

    def get(self, kind: type[Fact]) -> Fact | None:
        """The fact of this type, or None: for a rule that judges something without it."""
        return self.facts.get(kind)

    def unknown(self, kind: type) -> Unknown:
        """That this fact is not known, and why."""
        return Unknown(self.facts.why_missing(kind))


@dataclass(frozen=True)
class Outcome:
    """What one rule made of a configuration.

    Attributes:
        rule: the rule's name.
        problems: what is wrong; empty where it passed or was skipped.
        skipped: why it could not judge everything that it is about, or None.
        downgraded: whether errors among the problems were made warnings (``checks.warn``).
    """

    rule: str
    problems: tuple[Problem, ...] = ()
    skipped: str | None = None
    downgraded: bool = False

    @property
    def title(self) -> str:
        """The rule's name in words."""
        return self.rule.replace("_", " ")


Function = Callable[[Context], Iterable[Finding]]


@dataclass(frozen=True)
class Rule:
    """A rule, made by the decorator :func:`rule`.

    Attributes:
        function: from a context to what is wrong.
        needs: types of the facts without which the rule is skipped.
        when: whether the rule is about a configuration; where it is not, it is not even listed.
        required: why ``checks.warn`` may not name it, a clause; empty: it may.
        settles: whether it judges keys and values by themselves, so that what other rules find
            wrong with those follows from what it finds, unless those may not be downgraded.
    """

    function: Function
    needs: tuple[type, ...]
    when: Callable[[LaunchConfig], bool]
    required: str
    settles: bool = False

    @property
    def name(self) -> str:
        """The name of the function."""
        return self.function.__name__

    @property
    def downgradable(self) -> bool:
        """Whether ``checks.warn`` may name it."""
        return not self.required

    def __call__(self, context: Context) -> list[Problem]:
        """What is wrong, as far as it can be known."""
        return [*self.check(context).problems]

    def check(self, context: Context) -> Outcome:
        """What is wrong, and what could not be judged; a fact that is missing skips the rule."""
        missing = [kind for kind in self.needs if context.get(kind) is None]
        if missing:
            return Outcome(self.name, skipped=context.facts.why_missing(missing[0]))
        findings = [*self.function(context)]
        problems = tuple(item for item in findings if isinstance(item, Problem))
        reasons = [item.reason for item in findings if isinstance(item, Unknown)]
        return Outcome(self.name, problems, reasons[0] if reasons else None)


def _always(config: LaunchConfig) -> bool:
    del config
    return True


@overload
def rule(function: Function, /) -> Rule: ...
@overload
def rule(
    *,
    needs: tuple[type, ...] = (),
    when: Callable[[LaunchConfig], bool] = _always,
    required: str = "",
    settles: bool = False,
) -> Callable[[Function], Rule]: ...
def rule(
    function: Function | None = None,
    /,
    *,
    needs: tuple[type, ...] = (),
    when: Callable[[LaunchConfig], bool] = _always,
    required: str = "",
    settles: bool = False,
) -> Rule | Callable[[Function], Rule]:
    """Make a rule of a function; the arguments are the attributes of :class:`Rule`."""

    def made(function: Function) -> Rule:
        return Rule(function, needs, when, required, settles)

    return made if function is None else made(function)
