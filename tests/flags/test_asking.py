"""The flags of what is installed: shipped, remembered, or asked for once."""

from __future__ import annotations

import stat
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from grpo_launch.engines import asking
from grpo_launch.engines.asking import FlagAnswer, flags_of
from grpo_launch.engines.flags import Flag, FlagTable
from grpo_launch.engines.snapshot import FlagQuestion, Snapshot, digest
from tests.flags.environments import SCRIPT, SITE, conda, lay_out, package, plain, venv

SHIPPED = FlagTable("eng serve", "Engine", "2.0", {"port": Flag("int")})


@dataclass
class Asker:
    """A question about the package ``eng``, of which version 2.0 is shipped."""

    directory: Path
    question: FlagQuestion
    lines: list[str] = field(default_factory=list)

    def __call__(self, python: Path | None, **variables: str) -> FlagAnswer:
        self.lines.clear()
        environ = plain(self.directory / "home") | variables
        return flags_of(self.question, python, environ, self.directory / "cache", self.lines.append)


@pytest.fixture
def asker(tmp_path: Path) -> Asker:
    lay_out(tmp_path, {"script/ask.py": SCRIPT})
    lay_out(tmp_path / "shipped", package("2.0"))
    digests = {"eng/arguments.py": digest(tmp_path / "shipped/eng/arguments.py")}
    (tmp_path / "flags.json").write_text(Snapshot(SHIPPED, digests).to_json())
    script, snapshot = tmp_path / "script/ask.py", tmp_path / "flags.json"
    return Asker(tmp_path, FlagQuestion("eng serve", "eng_ine", "eng", (), script, snapshot))


def installed(tmp_path: Path, version: str, flags: str = "{'port': 'int'}") -> tuple[Path, Path]:
    """An interpreter, and the file that defines the flags of its engine."""
    python = venv(tmp_path / "env")
    lay_out(tmp_path / "env" / SITE, package(version, flags))
    return python, tmp_path / "env" / SITE / "eng/arguments.py"


def test_the_shipped_version_is_not_asked(
    asker: Asker, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    python, _ = installed(tmp_path, "2.0")
    assert asker(python) == FlagAnswer(SHIPPED)
    monkeypatch.setattr(asking, "digest", lambda _: pytest.fail("read again"))
    assert asker(python) == FlagAnswer(SHIPPED)
    assert asker.lines == []


@pytest.mark.parametrize("version", ["2.0", "2.1"])
def test_a_fork_or_another_version_is_asked_until_it_changes(
    asker: Asker, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, version: str
) -> None:
    monkeypatch.chdir(tmp_path)
    python, file = installed(tmp_path, version, "{'port': 'int', 'extra': 'str[]?'}")
    flags = {"port": Flag("int"), "extra": Flag("str", is_list=True, optional=True)}
    expected = FlagAnswer(FlagTable("eng serve", "Engine", version, flags))
    assert asker(python) == expected
    assert asker.lines == [f"asking Engine {version} in env for its flags, once (some seconds)"]
    assert asker(python) == expected
    assert asker.lines == []
    file.write_text("FLAGS = {'mode': ['str', 'a', 'b']}\n")
    assert asker(python).table.flags == {"mode": Flag("str", choices=("a", "b"))}
    assert len(asker.lines) == 1


def test_an_edit_of_the_shipped_version_that_is_taken_back_is_noticed_twice(
    asker: Asker, tmp_path: Path
) -> None:
    python, file = installed(tmp_path, "2.0")
    original = file.read_text()
    assert asker(python).table == SHIPPED
    file.write_text("FLAGS = {}  # none\n")
    assert asker(python).table.flags == {}
    file.write_text(original)
    assert asker(python).table is asker.question.shipped().table


def test_one_question_answers_for_every_program_of_a_script(asker: Asker, tmp_path: Path) -> None:
    python, _ = installed(tmp_path, "2.1")
    assert asker(python).note is None
    other = Snapshot(FlagTable("eng train", "Engine", "2.0", {}), {})
    (tmp_path / "other.json").write_text(other.to_json())
    q = asker.question
    asker.question = FlagQuestion(
        "eng train", q.distribution, q.package, q.others, q.script, tmp_path / "other.json"
    )
    assert asker(python).table == FlagTable("eng train", "Engine", "2.1", SHIPPED.flags)
    assert asker.lines == []


def test_another_version_of_a_package_that_has_part_in_them_counts(
    asker: Asker, tmp_path: Path
) -> None:
    q = asker.question
    asker.question = FlagQuestion("eng serve", "eng", "eng", ("lib",), q.script, q.snapshot)
    python, _ = installed(tmp_path, "2.1")
    for version in ("1.0", "1.1"):
        lay_out(tmp_path / "env" / SITE, {"lib/__init__.py": f"__version__ = '{version}'"})
        asker(python)
        assert len(asker.lines) == 1


@pytest.mark.parametrize("python", [None, "no/bin/python"])
def test_without_an_interpreter_the_shipped_flags_count(asker: Asker, python: str | None) -> None:
    path = asker.directory / python if python else None
    assert asker(path) == FlagAnswer(SHIPPED)
    assert asker.lines == []


def test_without_an_engine_the_shipped_flags_count(asker: Asker, tmp_path: Path) -> None:
    assert asker(venv(tmp_path / "env")) == FlagAnswer(SHIPPED)
    assert asker.lines == []


def test_a_file_that_is_gone_is_a_change(asker: Asker, tmp_path: Path) -> None:
    python, file = installed(tmp_path, "2.0")
    file.unlink()
    lay_out(file.parent, {"arguments/__init__.py": "FLAGS = {'moved': 'str'}\n"})
    assert asker(python).table.flags == {"moved": Flag("str")}


@pytest.mark.parametrize("layout", [venv, conda], ids=["venv", "conda"])
def test_layouts(asker: Asker, tmp_path: Path, layout: Callable[[Path], Path]) -> None:
    python = layout(tmp_path / "env")
    lay_out(tmp_path / "env" / SITE, package("3.0", "{'other': 'float'}"))
    assert asker(python).table == FlagTable("eng serve", "Engine", "3.0", {"other": Flag("float")})


@pytest.mark.parametrize("how", ["pth", "finder"])
def test_an_editable_installation_is_followed(asker: Asker, tmp_path: Path, how: str) -> None:
    python = venv(tmp_path / "env")
    clone, site = tmp_path / "clone", tmp_path / "env" / SITE
    lay_out(clone, package("2.1.dev0", "{'new': 'bool'}"))
    (site / "eng_ine-2.0.dist-info").mkdir()  # as it was when it was installed
    if how == "pth":
        (site / "eng.pth").write_text(f"import os\n{clone}\n/nowhere\n")
    else:  # as setuptools writes it, but for the hook
        (site / "__editable__.eng.pth").write_text(f"import sys; sys.path.append({str(clone)!r})\n")
        mapping = f"MAPPING: dict[str, str] = {{'eng': {str(clone / 'eng')!r}}}\nNAMES = {{}}\n"
        (site / "__editable___eng_2_0_finder.py").write_text(mapping)
    assert asker(python).table == FlagTable(
        "eng serve", "Engine", "2.1.dev0", {"new": Flag("bool")}
    )
    (clone / "eng/arguments.py").write_text("FLAGS = {'newer': 'bool'}\n")
    assert [*asker(python).table.flags] == ["newer"]


def test_a_clone_on_pythonpath_comes_first(asker: Asker, tmp_path: Path) -> None:
    python, _ = installed(tmp_path, "2.0")
    lay_out(tmp_path / "clone", package("2.2", "{'cloned': 'int'}"))
    assert asker(python, PYTHONPATH=str(tmp_path / "clone")).table.version == "2.2"
    assert asker(python).table.version == "2.0"


def test_two_environments_do_not_share_an_answer(asker: Asker, tmp_path: Path) -> None:
    pythons = [venv(tmp_path / name) for name in ("a", "b")]
    for python, flag in zip(pythons, ("first", "second"), strict=True):
        lay_out(python.parent.parent / SITE, package("2.1", f"{{'{flag}': 'int'}}"))
    for _ in range(2):
        assert [list(asker(python).table.flags) for python in pythons] == [["first"], ["second"]]


def test_a_parser_that_cannot_be_asked_leaves_the_shipped_flags_and_a_note(
    asker: Asker, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    python, file = installed(tmp_path, "2.1")
    file.write_text("import absent\n")
    table, note = asker(python)
    assert table == SHIPPED
    assert str(note) == (
        "env: the flags of Engine 2.1 could not be asked for "
        "(ModuleNotFoundError: No module named 'absent'), "
        f"those of 2.0 are assumed; see '{python} {asker.question.script}'"
    )
    assert len(asker.lines) == 1
    assert asker(python) == (table, note)
    assert asker.lines == []  # not each time
    lay_out(tmp_path / "env" / SITE, {"absent.py": ""})
    file.write_text("import absent\nFLAGS = {}\n")
    assert asker(python).note is None


def test_a_failure_is_forgotten(
    asker: Asker, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    python, file = installed(tmp_path, "2.1")
    file.write_text("raise SystemExit(3)\n")
    assert "(status 3)" in str(asker(python).note)
    monkeypatch.setattr(asking, "FAILURE_COUNTS_S", -1.0)
    asker(python)
    assert len(asker.lines) == 1


def test_a_parser_that_hangs_is_ended_with_all_that_it_started(
    asker: Asker, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(asking, "TIMEOUT_S", 1.0)
    python, file = installed(tmp_path, "2.1")
    file.write_text("import subprocess\nsubprocess.run(['sleep', '300'])\n")
    assert "(no answer within 1 s)" in str(asker(python).note)  # the pipe is closed: no sleep


@pytest.mark.parametrize(
    ("printed", "why"),
    [
        ("", "ask.py printed something else: JSONDecodeError"),
        ("[]", "ask.py printed something else: AttributeError"),
        ('{"eng serve": 5}', "ask.py printed something else: TypeError"),
        ('{"eng serve": {"flags": {}}}', "ask.py printed something else: KeyError"),
        ('{"eng serve": {"flags": {}, "files": {"a": 1}}}', "ask.py printed something else"),
        ('{"eng serve": {"flags": [], "files": {}}}', "not a table of flags"),
        ('{"eng serve": {"flags": {"a": "wat"}, "files": {}}}', "is no kind of flag"),
        ('{"eng other": {"flags": {}, "files": {}}}', "KeyError('eng serve')"),
    ],
)
def test_an_odd_answer_is_a_note(asker: Asker, tmp_path: Path, printed: str, why: str) -> None:
    python, _ = installed(tmp_path, "2.1")
    asker.question.script.write_text(f"print({printed!r})\n")
    table, note = asker(python)
    assert table == SHIPPED
    assert why in str(note)


@pytest.mark.costly
@pytest.mark.parametrize("junk", ["", "{", "[]", '{"files": {}}', '{"files": 5}', "\udcff"])
def test_a_broken_cache_is_replaced(asker: Asker, tmp_path: Path, junk: str) -> None:
    python, _ = installed(tmp_path, "2.1")
    whole = asker(python)
    (file,) = (tmp_path / "cache").iterdir()
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    good = file.read_text()
    file.write_bytes(junk.encode(errors="surrogateescape"))
    assert asker(python) == whole
    assert file.read_text() == good


def test_a_cache_that_cannot_be_written_costs_time_and_nothing_else(
    asker: Asker, tmp_path: Path
) -> None:
    (tmp_path / "cache").write_text("a file, no directory")
    python, _ = installed(tmp_path, "2.1")
    for _ in range(2):
        assert asker(python).table.version == "2.1"
        assert len(asker.lines) == 1


def test_a_new_launcher_asks_again(asker: Asker, tmp_path: Path) -> None:
    python, _ = installed(tmp_path, "2.1")
    asker(python)
    asker.question.script.write_text(SCRIPT + "# changed\n")
    asker(python)
    assert len(asker.lines) == 1


def test_defaults_are_told_and_remembered(asker: Asker, tmp_path: Path) -> None:
    script = SCRIPT.replace('"files": files}', '"files": files, "defaults": {"port": 8000}}')
    asker.question.script.write_text(script)
    python, _ = installed(tmp_path, "2.1")
    assert asker(python).table.defaults == {"port": 8000}
    assert asker(python).table.defaults == {"port": 8000}
    assert asker.lines == []
