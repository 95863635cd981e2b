"""`legacy.load` against an independent reference, its errors, and where each value came from."""

from __future__ import annotations

import datetime
import os
import tempfile
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from legacy_reference import EDGE_CASES, Files, exact, expected, graphs, write

from grpo_launch.config.formats import document, extends
from grpo_launch.errors import ConfigError


@pytest.mark.parametrize("files", EDGE_CASES.values(), ids=EDGE_CASES.keys())
def test_a_file_reads_as_safe_load_and_the_merge(tmp_path: Path, files: Files) -> None:
    path = write(tmp_path, files)
    assert exact(extends.load(path).data) == exact(expected(path))


@pytest.mark.slow
@given(graphs())
def test_any_extends_graph_reads_as_the_reference(files: Files) -> None:
    with tempfile.TemporaryDirectory() as directory:
        path = write(Path(directory), files)
        assert exact(extends.load(path).data) == exact(expected(path))


@pytest.mark.slow
@given(graphs())
def test_every_leaf_knows_the_file_and_line_that_set_it(files: Files) -> None:
    with tempfile.TemporaryDirectory() as directory:
        tree = extends.load(write(Path(directory), files))
        leaves = dict(_leaves(tree.data, ()))
        assert list(tree.origins) == list(leaves)
        for keys, origin in tree.origins.items():
            text = origin.file.read_text("utf-8")
            assert exact(_at(yaml.safe_load(text), keys)) == exact(leaves[keys])
            if isinstance(keys[-1], str) and keys[-1].isalpha():
                assert keys[-1] in text.split("\n")[origin.line - 1]


@given(graphs())
def test_the_file_of_a_single_value_is_that_of_the_whole_tree(files: Files) -> None:
    with tempfile.TemporaryDirectory() as directory:
        tree = extends.load(write(Path(directory), files))
        for keys, origin in tree.origins.items():
            assert tree.setter(*keys) == origin.file
            assert tree.setter(*keys, "below") is None
        for key in tree.data:
            last, _ = tree.sayings(key)[-1]
            assert tree.setter(key) == last.file
            assert tree.origin(key) == last


def _leaves(data: Any, keys: tuple[Any, ...]) -> Any:
    if isinstance(data, dict) and data:
        for key, value in data.items():
            yield from _leaves(value, (*keys, key))
    elif keys:
        yield keys, data


def _at(data: Any, keys: tuple[Any, ...]) -> Any:
    for key in keys:
        data = data[key]
    return data


ORIGINS: dict[str, tuple[Files, dict[tuple[Any, ...], tuple[str, int]]]] = {
    "own and inherited": (
        {"x.yaml": "extends: b.yaml\n\na:\n  c: 2\n", "b.yaml": "# b\na:\n  b: 1\n"},
        {("a", "b"): ("b.yaml", 3), ("a", "c"): ("x.yaml", 4)},
    ),
    "the overriding file, not the overridden": (
        {"x.yaml": "extends: b.yaml\na: {b: 2}\n", "b.yaml": "a: {b: 1, c: 1}\n"},
        {("a", "b"): ("x.yaml", 2), ("a", "c"): ("b.yaml", 1)},
    ),
    "the last base": (
        {"x.yaml": "extends: [b.yaml, c.yaml]\n", "b.yaml": "a: 1\n", "c.yaml": "\na: 1\n"},
        {("a",): ("c.yaml", 2)},
    ),
    "a list is one leaf": ({"x.yaml": "a:\n  - 1\n  - 2\n"}, {("a",): ("x.yaml", 1)}),
    "an empty mapping is a leaf": ({"x.yaml": "b: 1\na: {}\n"}, {("a",): ("x.yaml", 2)}),
    "null over a mapping": (
        {"x.yaml": "extends: b.yaml\na:\n", "b.yaml": "a: {b: 1}\n"},
        {("a",): ("x.yaml", 2)},
    ),
    "mapping over a scalar": (
        {"x.yaml": "extends: b.yaml\na: {b: 1}\n", "b.yaml": "a: 1\n"},
        {("a", "b"): ("x.yaml", 2)},
    ),
    "an alias: where the keys stand": (
        {"x.yaml": "a: &a\n  k: 1\nb: *a\ne: &e {}\nf: *e\n"},
        {("b", "k"): ("x.yaml", 2), ("f",): ("x.yaml", 5)},
    ),
    "a merge key: where the keys stand": (
        {"x.yaml": "a: &a\n  k: 1\n  l: 1\nb:\n  <<: *a\n  l: 2\n"},
        {("b", "k"): ("x.yaml", 2), ("b", "l"): ("x.yaml", 6)},
    ),
    "odd keys": (
        {"x.yaml": "1: a\n~:\n  2001-01-01: b\n"},
        {(1,): ("x.yaml", 1), (None, datetime.date(2001, 1, 1)): ("x.yaml", 3)},
    ),
    "a set is one leaf": ({"x.yaml": "a: !!set\n  ? x\n"}, {("a",): ("x.yaml", 1)}),
    "through a ladder": (
        {
            "x.yaml": "extends: [l.yaml, r.yaml]\n",
            "l.yaml": "extends: root.yaml\nl: 1\n",
            "r.yaml": "extends: root.yaml\n",
            "root.yaml": "\n\na: 1\n",
        },
        {("a",): ("root.yaml", 3), ("l",): ("l.yaml", 2)},
    ),
    "behind a byte order mark": ({"x.yaml": b"\xef\xbb\xbfa: 1\nb: 2\n"}, {("b",): ("x.yaml", 2)}),
}


@pytest.mark.parametrize(("files", "wanted"), ORIGINS.values(), ids=ORIGINS.keys())
def test_origins_name_file_and_line(
    tmp_path: Path, files: Files, wanted: dict[tuple[Any, ...], tuple[str, int]]
) -> None:
    tree = extends.load(write(tmp_path, files))
    found = {keys: (origin.file.name, origin.line) for keys, origin in tree.origins.items()}
    assert {keys: found[keys] for keys in wanted} == wanted
    for keys in found:
        name, line = found[keys]
        text = (tmp_path / name).read_text("utf-8-sig").splitlines()[line - 1]
        assert str(keys[-1]) in text or keys[-1] is None


def test_the_origin_of_a_mapping_is_the_last_file_that_mentions_it(tmp_path: Path) -> None:
    files: Files = {"x.yaml": "extends: b.yaml\nz: 1\na: {c: 2}\n", "b.yaml": "a: {b: 1}\n"}
    tree = extends.load(write(tmp_path, files))
    assert tree.origin("a") == document.Origin(tmp_path / "x.yaml", 3)
    assert tree.origin("a", "b") == document.Origin(tmp_path / "b.yaml", 1)
    assert tree.origin("nope") is None
    assert tree.origin("a", "b", "deeper") is None
    assert tree.origin("extends") is None


_NESTED = "[" * 3000 + "]" * 3000
_BOMB = "a: &a [1, 1]\n" + "".join(
    f"{key}: &{key} [{', '.join(['*' + below] * 10)}]\n"
    for below, key in zip("abcde", "bcdef", strict=True)
)

ERRORS: dict[str, tuple[Files, str]] = {
    "missing base": (
        {"x.yaml": "extends: nope.yaml\n"},
        (
            "x.yaml: extends 'nope.yaml', but nope.yaml does not exist, "
            "correct the path (it is relative to this file)"
        ),
    ),
    "missing base of a base": (
        {"x.yaml": "extends: sub/b.yaml\n", "sub/b.yaml": "extends: x.yaml\n"},
        (
            "sub/b.yaml: extends 'x.yaml', but sub/x.yaml does not exist, "
            "correct the path (it is relative to this file)"
        ),
    ),
    "extends itself": (
        {"x.yaml": "extends: x.yaml\n"},
        "x.yaml: extends forms a cycle: x.yaml -> x.yaml, remove one of these extends",
    ),
    "long cycle": (
        {"x.yaml": "extends: b.yaml\n", "b.yaml": "extends: c.yaml\n", "c.yaml": "extends: b.yaml"},
        "c.yaml: extends forms a cycle: b.yaml -> c.yaml -> b.yaml, remove one of these extends",
    ),
    "cycle through another spelling": (
        {"x.yaml": "extends: sub/../x.yaml\n", "sub/y.yaml": ""},
        "x.yaml: extends forms a cycle: x.yaml -> x.yaml, remove one of these extends",
    ),
    "inherit": (
        {"x.yaml": "inherit: b.yaml\n"},
        "x.yaml: the key 'inherit' is not supported, use 'extends'",
    ),
    "inherit in a base": (
        {"x.yaml": "extends: b.yaml\n", "b.yaml": "inherit:\n"},
        "b.yaml: the key 'inherit' is not supported, use 'extends'",
    ),
    "a section twice": (
        {"x.yaml": "rlhf: {beta: 1}\na: 1\nrlhf: {}\n"},
        "x.yaml:3: rlhf is given in line 1 already, which would be lost, make one of the two",
    ),
    "a key twice, below a list": (
        {"x.yaml": "a:\n- b: 1\n  'b': 1\n"},
        "x.yaml:3: b is given in line 2 already, which would be lost, make one of the two",
    ),
    "equal keys in other words": (
        {"x.yaml": "a: {yes: 1, true: 1}\n"},
        "x.yaml:1: true is given in line 1 already, which would be lost, make one of the two",
    ),
    "a key twice in a base": (
        {"x.yaml": "extends: b.yaml\n", "b.yaml": "a: {b: 1, b: 2}\n"},
        "b.yaml:1: b is given in line 1 already, which would be lost, make one of the two",
    ),
    "list at the top": (
        {"x.yaml": "- a\n"},
        "x.yaml: is a list, not a mapping, write 'key: value' lines at the top",
    ),
    "text at the top": (
        {"x.yaml": "hello\n"},
        "x.yaml: is text, not a mapping, write 'key: value' lines at the top",
    ),
    "list at the top of a base": (
        {"x.yaml": "extends: b.yaml\n", "b.yaml": "[]"},
        "b.yaml: is a list, not a mapping, write 'key: value' lines at the top",
    ),
    "open bracket": (
        {"x.yaml": "a: 1\nb: [1,\n"},
        (
            "x.yaml:3:1: malformed YAML: did not find expected node content, "
            "write a value there, and close every [ and { above it"
        ),
    ),
    "open bracket, with a tab": (
        {"x.yaml": "a: '\t'\nb: [1,\n"},
        (
            "x.yaml:3:1: malformed YAML: expected the node content, but found '<stream end>', "
            "write a value there, and close every [ and { above it"
        ),
    ),
    "wrong indentation": (
        {"x.yaml": "a:\n  b: 1\n c: 2\n"},
        (
            "x.yaml:3:2: malformed YAML: did not find expected key, "
            "align it with the other lines of its block, none of them begins in this column"
        ),
    ),
    "unknown anchor": (
        {"x.yaml": "a: *nope\n"},
        (
            "x.yaml:1:4: malformed YAML: found undefined alias, "
            "quote a value that begins with *, or define its anchor above"
        ),
    ),
    "unknown tag": (
        {"x.yaml": "\na: !custom 1\n"},
        (
            "x.yaml:2:4: malformed YAML: could not determine a constructor for the tag '!custom', "
            "remove the tag, or quote the value"
        ),
    ),
    "python tag": (
        {"x.yaml": "a: !!python/object/apply:os.system [id]\n"},
        (
            "x.yaml:1:4: malformed YAML: could not determine a constructor for the tag "
            "'tag:yaml.org,2002:python/object/apply:os.system', remove the tag, or quote the value"
        ),
    ),
    "list as a key": (
        {"x.yaml": "? [a]\n: 1\n"},
        "x.yaml:1:3: malformed YAML: found unhashable key, correct it",
    ),
    "merge key of a scalar": (
        {"x.yaml": "a:\n  <<: 3\n"},
        (
            "x.yaml:2:7: malformed YAML: expected a mapping or list of mappings for merging, but "
            "found scalar, correct it"
        ),
    ),
    "two documents": (
        {"x.yaml": "a: 1\n---\nb: 1\n"},
        (
            "x.yaml:2:1: malformed YAML: but found another document, remove the line ---, "
            "a file holds one experiment"
        ),
    ),
    "impossible date": (
        {"x.yaml": "a: 2020-13-45\n"},
        "x.yaml: holds a malformed value (month must be in 1..12), correct or quote it",
    ),
    "not a number": (
        {"x.yaml": "a: !!int x\n"},
        (
            "x.yaml: holds a malformed value (invalid literal for int() with base 10: 'x'), "
            "correct or quote it"
        ),
    ),
    "not UTF-8": (
        {"x.yaml": b"a: \xff\n"},
        "x.yaml: is not YAML (",
    ),
    "control character": (
        {"x.yaml": b"a: \x01\n"},
        "x.yaml: is not YAML (",
    ),
    "alias bomb": (
        {"x.yaml": _BOMB},
        "x.yaml: expands to more than 100000 values, remove aliases or split the file",
    ),
    "list that contains itself": (
        {"x.yaml": "a: &a [*a]\n"},
        "x.yaml: an alias contains itself, remove the alias",
    ),
    "mapping that contains itself": (
        {"x.yaml": "a: &a {b: {c: *a}}\n"},
        "x.yaml: an alias contains itself, remove the alias",
    ),
    "pairs that contain themselves": (
        {"x.yaml": "a: &a !!pairs [x: *a]\n"},
        "x.yaml: an alias contains itself, remove the alias",
    ),
    "document that contains itself": (
        {"x.yaml": "&a\nb: *a\n"},
        "x.yaml: an alias contains itself, remove the alias",
    ),
    "nested too deeply": (
        {"x.yaml": f"a: {_NESTED}\n"},
        "x.yaml: is nested too deeply, flatten it",
    ),
    "extends a number": (
        {"x.yaml": "extends: 3\n"},
        "x.yaml: extends must be a file name or a list of them, not 3, write extends: base.yaml",
    ),
    "extends a mapping": (
        {"x.yaml": "extends: {a: b}\n"},
        (
            "x.yaml: extends must be a file name or a list of them, not {a: 'b'}, "
            "write extends: base.yaml"
        ),
    ),
    "extends a list with null": (
        {"x.yaml": "extends: [b.yaml, ~]\n", "b.yaml": ""},
        "x.yaml: extends must be a file name or a list of them, not null, write extends: base.yaml",
    ),
    "extends a nested list": (
        {"x.yaml": "extends: [[b.yaml]]\n", "b.yaml": ""},
        (
            "x.yaml: extends must be a file name or a list of them, not ['b.yaml'], "
            "write extends: base.yaml"
        ),
    ),
    "extends an empty name": (
        {"x.yaml": "extends: ''\n"},
        "x.yaml: extends must be a file name or a list of them, not '', write extends: base.yaml",
    ),
    "extends a name with a zero byte": (
        {"x.yaml": 'extends: "a\\0b"\n'},
        (
            "x.yaml: extends must be a file name or a list of them, not 'a\\x00b', "
            "write extends: base.yaml"
        ),
    ),
    "extends a directory": (
        {"x.yaml": "extends: sub\n", "sub/y.yaml": ""},
        (
            "x.yaml: extends 'sub', but sub is a directory, "
            "correct the path (it is relative to this file)"
        ),
    ),
    "extends below a file": (
        {"x.yaml": "extends: b.yaml/c\n", "b.yaml": ""},
        (
            "x.yaml: extends 'b.yaml/c', but b.yaml/c does not exist, "
            "correct the path (it is relative to this file)"
        ),
    ),
    "extends a name that is too long": (
        {"x.yaml": f"extends: {'n' * 300}\n"},
        (
            f"x.yaml: extends '{'n' * 300}', but {'n' * 300} cannot be read (File name too long), "
            "correct the path (it is relative to this file)"
        ),
    ),
    "a chain that is too long": (
        {f"c{i}.yaml": f"extends: c{i + 1}.yaml\n" for i in range(1500)} | {"c1500.yaml": ""},
        "c0.yaml: extends too long a chain, merge some of its files",
    ),
}


ADVICE = {
    "a:\n\t b: 1\n": "indent with spaces, YAML allows no tab there",
    "a: [1, 2\nb: 3\n": "close the [ of line 1 with ], and put a comma between its items",
    "a: {b: 1\nc: 2\n": "close the { of line 1 with }, and put a comma between its keys",
    "a: 'b\nc: 2\n": "close the quote of line 1, or correct what is inside",
    'a: "\\d"\n': "use single quotes, or write two backslashes for one",
    "a: b: c\n": "correct its indentation, or quote a value that holds ': '",
    "a:1\nb: 2\n": "correct its indentation, or quote a value that holds ': '",
    "a: - b\n": "begin the list on a line of its own",
    "a: @x\n": "quote the value",
}


@pytest.mark.parametrize(("text", "advice"), ADVICE.items())
def test_a_syntax_error_says_what_to_do(tmp_path: Path, text: str, advice: str) -> None:
    path = write(tmp_path, {"x.yaml": text})
    with pytest.raises(ConfigError) as caught:
        extends.load(path)
    assert caught.value.fix == advice


@pytest.mark.parametrize(("files", "message"), ERRORS.values(), ids=ERRORS.keys())
def test_a_wrong_file_is_one_line_that_names_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, files: Files, message: str
) -> None:
    path = write(tmp_path, files)
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ConfigError) as caught:
        extends.load(path)
    text = str(caught.value)
    assert "\n" not in text
    assert text == message or (message.endswith("(") and text.startswith(message))


def test_a_file_that_is_not_there_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(
        ConfigError, match=r"^nope\.yaml: does not exist, name a readable YAML file$"
    ):
        extends.load("nope.yaml")


def test_a_directory_is_named(tmp_path: Path) -> None:
    with pytest.raises(
        ConfigError, match=rf"^{tmp_path}: is a directory, name a readable YAML file$"
    ):
        extends.load(tmp_path)


def test_an_unreadable_file_is_named(tmp_path: Path) -> None:
    path = write(tmp_path, {"x.yaml": "a: 1\n"})
    path.chmod(0)
    if os.access(path, os.R_OK):
        pytest.skip("root reads everything")
    with pytest.raises(ConfigError, match=r"x\.yaml: cannot be read \(Permission denied\), "):
        extends.load(path)


def test_a_loop_of_links_is_named(tmp_path: Path) -> None:
    (tmp_path / "x.yaml").symlink_to("y.yaml")
    (tmp_path / "y.yaml").symlink_to("x.yaml")
    write(tmp_path, {"z.yaml": "extends: x.yaml\n"})
    for name in ("x.yaml", "z.yaml"):
        with pytest.raises(ConfigError, match=r"x\.yaml.* (loop|symbolic)"):
            extends.load(tmp_path / name)


def test_a_pipe_is_refused_without_waiting_for_a_writer(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "x.yaml")
    with pytest.raises(
        ConfigError, match=r"x\.yaml: is no regular file, name a readable YAML file$"
    ):
        extends.load(tmp_path / "x.yaml")


def test_a_file_too_large_for_an_experiment_is_not_parsed(tmp_path: Path) -> None:
    path = tmp_path / "x.yaml"
    with path.open("wb") as file:
        file.truncate(document.MAX_FILE_BYTES + 1)
    with pytest.raises(ConfigError, match=r"x\.yaml: has 2097153 bytes, more than 2097152 is no"):
        extends.load(path)


def test_the_same_file_through_a_link_is_fine_unless_it_is_a_cycle(tmp_path: Path) -> None:
    path = write(tmp_path, {"x.yaml": "extends: [b.yaml, link.yaml]\n", "b.yaml": "a: 1\n"})
    (tmp_path / "link.yaml").symlink_to("b.yaml")
    assert extends.load(path).data == {"a": 1}
    (tmp_path / "b.yaml").unlink()
    (tmp_path / "b.yaml").symlink_to("x.yaml")
    with pytest.raises(ConfigError, match="extends forms a cycle"):
        extends.load(path)


def test_a_changed_file_is_read_again_even_with_equal_time_and_size(tmp_path: Path) -> None:
    path = write(tmp_path, {"x.yaml": "a: 1\n"})
    assert extends.load(path).data == {"a": 1}
    times = path.stat().st_mtime_ns
    path.write_text("a: 2\n")
    os.utime(path, ns=(times, times))
    assert extends.load(path).data == {"a": 2}


def test_merge_changes_neither_argument() -> None:
    base, over = {"a": {"b": 1}, "c": 1}, {"a": {"d": 2}, "e": 3}
    assert extends.merge(base, over) == {"a": {"b": 1, "d": 2}, "c": 1, "e": 3}
    assert base == {"a": {"b": 1}, "c": 1}
    assert over == {"a": {"d": 2}, "e": 3}


def test_a_path_below_the_working_directory_is_shown_relative(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert document.shown(tmp_path / "a" / "b.yaml") == "a/b.yaml"
    assert document.shown(Path("/elsewhere/b.yaml")) == "/elsewhere/b.yaml"
