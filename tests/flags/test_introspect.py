"""Flags read from the source of an installed engine, and remembered."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from grpo_launch.engines.flags import Flag, introspect
from grpo_launch.engines.flags.static import annotations
from grpo_launch.engines.flags.static.classes import Sources

SWIFT = {
    "swift/__init__.py": "",
    "swift/version.py": "__version__ = '4.9.1'\n",
    "swift/mixins/__init__.py": """
from typing import TYPE_CHECKING
if TYPE_CHECKING:
    from .first import Mixin, Undecorated
else:
    import sys
    sys.modules[__name__] = None
""",
    "swift/mixins/first.py": """
from dataclasses import dataclass, field
import typing as t
from enum import Enum
from pathlib import Path
from . import levels

class Mode(str, Enum):
    FAST = "fast"
    SLOW = "slow"
    QUICK = "fast"

Alias = t.Optional[t.List[int]]

class Undecorated:
    hidden: int = 1
    beta: str = "typed by an undecorated class"

@dataclass
class Mixin:
    beta: float = 0.1
    mode: "Mode | str" = "fast"
    modes: t.List[Mode] = field(default_factory=list)
    where: t.Optional[t.Union[Path, str]] = None
    either: t.Union[str, dict, None] = None
    only: dict[str, int] | None = None
    numbers: Alias = None
    flag: t.Optional[bool] = None
    shape: t.Literal[1, 'two', None] = 1
    level: str = field(default="a", metadata={"help": "x", "choices": trained.keys()})
    listed: str = field(default="a", metadata={"choices": ["a", "b"]})
    internal: int = field(init=False, default=0)
    shared: t.ClassVar[int] = 1
    constant = 5
    foreign: Unheard = None
    known: Mode2 = None

trained = dict(**levels.levels().copy(), passive=-1)

class Mode2:
    pass
""",
    "swift/mixins/levels.py": """
DEBUG = 10
table = {"debug": DEBUG, "info": 20}
def levels():
    return table
""",
    "swift/arguments/__init__.py": """
from .deploy_args import RolloutArguments
from .rlhf_args import RLHFArguments
""",
    "swift/arguments/deploy_args.py": """
import swift.mixins.first as first
from dataclasses import dataclass

@dataclass
class RolloutArguments(first.Mixin):
    port: int = 8000
""",
    "swift/arguments/rlhf_args.py": """
import dataclasses
from swift.mixins import Mixin as Renamed, Undecorated
from transformers import TrainingArguments

@dataclasses.dataclass(kw_only=True)
class RLHFArguments(Undecorated, Renamed, TrainingArguments):
    max_steps: int = -1
""",
    "transformers/__init__.py": """
__version__ = "5.0.0"
try:
    from .training_args import TrainingArguments
except ImportError:
    TrainingArguments = None
""",
    "transformers/training_args.py": """
from dataclasses import dataclass
@dataclass
class TrainingArguments:
    max_steps: float = 1.0
    beta: int = 1
    seed: int = 42
""",
}  # fmt: skip


@pytest.fixture
def site_packages(tmp_path: Path) -> Path:
    site = tmp_path / "env" / "lib" / "python3.11" / "site-packages"
    _lay_out(site)
    return site


def _lay_out(directory: Path) -> None:
    for name, text in SWIFT.items():
        path = directory / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)


def test_source_is_read_as_python_would(site_packages: Path) -> None:
    found = introspect.introspect(site_packages)
    assert found.version == "4.9.1"
    assert dict(found.rollout) == {
        "beta": Flag("float"),
        "mode": Flag("str", choices=("fast", "slow")),
        "modes": Flag("str", is_list=True, choices=("fast", "slow")),
        "where": Flag("str", optional=True),
        "either": Flag("json", optional=True),
        "only": Flag("object", optional=True),
        "numbers": Flag("int", is_list=True, optional=True),
        "flag": Flag("bool", optional=True),
        "shape": Flag("str", choices=("1", "two", "None")),
        "level": Flag("str", choices=("debug", "info", "passive")),
        "listed": Flag("str", choices=("a", "b")),
        "foreign": Flag("any"),
        "known": Flag("object"),
        "port": Flag("int"),
    }
    assert found.rlhf.keys() == {*found.rollout, "max_steps", "seed"} - {"port"}
    assert found.rlhf["max_steps"] == Flag("int")
    assert found.rlhf["beta"] == Flag("str")


def test_the_older_layout_is_read_too(site_packages: Path) -> None:
    new = introspect.introspect(site_packages)
    (site_packages / "swift" / "llm").mkdir()
    (site_packages / "swift" / "llm" / "__init__.py").touch()
    (site_packages / "swift" / "arguments").rename(site_packages / "swift" / "llm" / "argument")
    assert introspect.introspect(site_packages) == new


def test_a_field_without_a_base_is_not_guessed(site_packages: Path) -> None:
    (site_packages / "transformers" / "training_args.py").unlink()
    with pytest.raises(LookupError, match="base TrainingArguments of RLHFArguments"):
        introspect.introspect(site_packages)


@pytest.mark.parametrize(
    ("missing", "message"),
    [
        ("swift/__init__.py", "no package swift is installed"),
        ("transformers/__init__.py", "base TrainingArguments"),
        ("swift/version.py", "does not say its version"),
        ("swift/arguments/deploy_args.py", "has no class RolloutArguments"),
    ],
)
def test_what_is_no_ms_swift_is_told_apart(site_packages: Path, missing: str, message: str) -> None:
    (site_packages / missing).unlink()
    with pytest.raises(LookupError, match=message):
        introspect.introspect(site_packages)


@pytest.mark.parametrize("text", ["def broken(:\n", "\0", "class RolloutArguments(X): pass\n"])
def test_source_that_cannot_be_read_is_a_lookup_error(site_packages: Path, text: str) -> None:
    (site_packages / "swift/arguments/deploy_args.py").write_text(text)
    with pytest.raises(LookupError):
        introspect.introspect(site_packages)


def test_imports_in_a_circle_end(tmp_path: Path) -> None:
    (tmp_path / "a.py").write_text("from b import X\nfrom b import Y\n")
    (tmp_path / "b.py").write_text("from a import X\nfrom a import Y\n")
    assert Sources([tmp_path]).class_of("a", "X") is None
    assert Sources([tmp_path]).value_of("a", "Y") is None


def test_an_inconsistent_hierarchy_is_a_lookup_error(tmp_path: Path) -> None:
    (tmp_path / "a.py").write_text("class O: pass\nclass A(O): pass\nclass B(O, A): pass\n")
    with pytest.raises(LookupError, match="linearise"):
        Sources([tmp_path]).fields("a", "B")


@pytest.mark.parametrize(
    ("annotation", "flag"),
    [
        ("int", Flag("int")),
        ("Optional[float]", Flag("float", optional=True)),
        ("None | str | list[str]", Flag("str", optional=True)),
        ("str | bool", Flag("bool")),
        ("bool | str | None", Flag("object", optional=True)),
        ("Optional[Union[dict, str]]", Flag("json", optional=True)),
        ("dict | None", Flag("object", optional=True)),
        ("Literal['a', Literal['b']]", Flag("str", choices=("a", "b"))),
        ("list[float]", Flag("float", is_list=True)),
        ("List", Flag("any", is_list=True)),
        ("int | float", Flag("any")),
        ("Any", Flag("object")),
        ("'Optional[int]'", Flag("int", optional=True)),
    ],
)
def test_annotations(tmp_path: Path, annotation: str, flag: Flag) -> None:
    (tmp_path / "m.py").write_text(f"@dataclass\nclass C:\n    f: {annotation} = None\n")
    sources = Sources([tmp_path])
    assert annotations.flag(sources, sources.fields("m", "C")["f"]) == flag


def test_the_environment_of_a_launcher_is_found(site_packages: Path, tmp_path: Path) -> None:
    assert introspect.find(tmp_path / "env") == site_packages
    assert introspect.find(tmp_path) is None


@pytest.mark.parametrize("kind", ["pth", "finder"])
def test_an_editable_installation_is_followed(tmp_path: Path, kind: str) -> None:
    clone, site = tmp_path / "clone", tmp_path / "env/lib/python3.10/site-packages"
    _lay_out(clone)
    site.mkdir(parents=True)
    if kind == "pth":
        (site / "swift.pth").write_text(f"import os\n{clone}\n/nowhere\n")
    else:
        mapping = {"swift": f"{clone}/swift", "transformers": f"{clone}/transformers"}
        text = f"from x import y\nMAPPING: dict[str, str] = {mapping!r}\nNAMESPACES = {{}}\n"
        (site / "__editable___ms_swift_4_9_1_finder.py").write_text(text)
    assert introspect.find(tmp_path / "env") == site
    assert introspect.introspect(site).version == "4.9.1"


def test_the_cache_is_used_until_a_file_changes(
    site_packages: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cache = tmp_path / "cache"
    first = introspect.cached(site_packages, cache)
    assert [path.name for path in cache.iterdir()] == ["ms_swift-4.9.1+transformers-5.0.0.json"]
    with monkeypatch.context() as patched:
        patched.setattr(introspect, "_read", lambda _: pytest.fail("read again"))
        assert introspect.cached(site_packages, cache) == first
    file = site_packages / "swift/arguments/deploy_args.py"
    file.write_text(file.read_text() + "    extra: int = 0\n")
    assert "extra" in introspect.cached(site_packages, cache).rollout


def test_two_environments_do_not_share_an_answer(site_packages: Path, tmp_path: Path) -> None:
    other = tmp_path / "other"
    _lay_out(other)
    file = other / "swift/arguments/deploy_args.py"
    file.write_text(file.read_text() + "    extra: int = 0\n")
    for _ in range(2):
        assert "extra" not in introspect.cached(site_packages, tmp_path / "cache").rollout
        assert "extra" in introspect.cached(other, tmp_path / "cache").rollout


@pytest.mark.parametrize("junk", ["", "{", "[]", '{"files": {}}', '{"files": 5}', "\udcff"])
def test_a_corrupt_cache_is_replaced(site_packages: Path, tmp_path: Path, junk: str) -> None:
    cache = tmp_path / "cache"
    whole = introspect.cached(site_packages, cache)
    (file,) = cache.iterdir()
    file.write_bytes(junk.encode(errors="surrogateescape"))
    assert introspect.cached(site_packages, cache) == whole
    assert json.loads(file.read_text())["flags"]


def test_a_cache_with_broken_flags_is_replaced(site_packages: Path, tmp_path: Path) -> None:
    cache = tmp_path / "cache"
    whole = introspect.cached(site_packages, cache)
    (file,) = cache.iterdir()
    body = json.loads(file.read_text())
    for broken in ({**body, "flags": "{"}, {**body, "flags": None}):
        file.write_text(json.dumps(broken))
        assert introspect.cached(site_packages, cache) == whole


def test_a_cache_that_cannot_be_written_costs_nothing_else(
    site_packages: Path, tmp_path: Path
) -> None:
    (tmp_path / "cache").write_text("a file, no directory")
    assert introspect.cached(site_packages, tmp_path / "cache").version == "4.9.1"
