"""The legacy rules once more, written independently of grpo_launch, and graphs to try them on."""

from __future__ import annotations

import datetime
from pathlib import Path
from typing import Any

import yaml
from hypothesis import strategies as st

from grpo_launch.base import resources

Files = dict[str, str | bytes]
"""Texts by path below a directory."""


def expected(path: Path) -> dict[Any, Any]:
    """What the legacy launcher reads: ``yaml.safe_load`` of each file, and the merge."""
    document = yaml.safe_load(path.read_bytes()) or {}
    bases = document.pop("extends", None) or []
    result: dict[Any, Any] = {}
    for base in [bases] if isinstance(bases, str) else bases:
        result = _lay(result, expected(_beside_or_shipped(path.parent, base)))
    return _lay(result, document)


def _beside_or_shipped(directory: Path, name: str) -> Path:
    shipped = resources.path("configs")
    places = (directory / name, directory / f"{name}.yaml")
    if "/" not in name:
        places += (shipped / f"train/grpo/{name}.yaml", shipped / f"{name}.yaml")
    return next((path for path in places if path.exists()), directory / name)


def _lay(under: dict[Any, Any], over: dict[Any, Any]) -> dict[Any, Any]:
    out: dict[Any, Any] = {}
    for key in [*under, *(k for k in over if k not in under)]:
        if key not in over:
            out[key] = under[key]
        elif key in under and type(under[key]) is dict and type(over[key]) is dict:
            out[key] = _lay(under[key], over[key])
        else:
            out[key] = over[key]
    return out


def exact(value: Any) -> Any:
    """``value`` with types and key order spelled out, so that ``==`` compares them too."""
    name = type(value).__name__
    if isinstance(value, dict):
        return name, [(exact(key), exact(item)) for key, item in value.items()]
    if isinstance(value, list | tuple):
        return name, [exact(item) for item in value]
    if isinstance(value, set):
        return name, sorted(repr(exact(item)) for item in value)
    return name, repr(value)


def write(directory: Path, files: Files) -> Path:
    """Write the files; returns the first."""
    for name, text in files.items():
        path = directory / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return directory / next(iter(files))


EDGE_CASES: dict[str, Files] = {
    "deep merge": {
        "x.yaml": "extends: b.yaml\na: {b: {c: 1, new: 2}}\n",
        "b.yaml": "a: {b: {c: 0, kept: 3}, d: 4}\ne: 5\n",
    },
    "list replaces list": {"x.yaml": "extends: b.yaml\na: [3]\n", "b.yaml": "a: [1, 2]\n"},
    "empty list replaces": {"x.yaml": "extends: b.yaml\na: []\n", "b.yaml": "a: [1, 2]\n"},
    "null over mapping": {"x.yaml": "extends: b.yaml\na:\n", "b.yaml": "a: {b: 1}\n"},
    "null over scalar": {"x.yaml": "extends: b.yaml\na: ~\n", "b.yaml": "a: 1\n"},
    "mapping over null": {"x.yaml": "extends: b.yaml\na: {b: 1}\n", "b.yaml": "a:\n"},
    "empty mapping keeps": {"x.yaml": "extends: b.yaml\na: {}\n", "b.yaml": "a: {b: 1}\n"},
    "list over mapping": {"x.yaml": "extends: b.yaml\na: [1]\n", "b.yaml": "a: {b: 1}\n"},
    "mapping over list": {"x.yaml": "extends: b.yaml\na: {b: 1}\n", "b.yaml": "a: [1]\n"},
    "scalar over mapping and back": {
        "x.yaml": "extends: [b.yaml, c.yaml]\na: {z: 9}\n",
        "b.yaml": "a: {b: 1}\n",
        "c.yaml": "a: 7\n",
    },
    "key order": {
        "x.yaml": "extends: b.yaml\nz: 1\nb: 2\nextra: 3\na: 4\n",
        "b.yaml": "a: 0\nm: {q: 1, p: 2}\nb: 0\n",
    },
    "later base wins": {
        "x.yaml": "extends: [b.yaml, c.yaml]\n",
        "b.yaml": "a: 1\nonly_b: 1\n",
        "c.yaml": "a: 2\n",
    },
    "the file wins over its bases": {
        "x.yaml": "a: 3\nextends: [b.yaml, c.yaml]\n",
        "b.yaml": "a: 1\n",
        "c.yaml": "a: 2\n",
    },
    "one base named twice": {
        "x.yaml": "extends: [b.yaml, c.yaml, b.yaml]\n",
        "b.yaml": "a: 1\nd: {e: 1}\n",
        "c.yaml": "a: 2\nd: {f: 2}\n",
    },
    "diamond": {
        "x.yaml": "extends: [l.yaml, r.yaml]\na: {own: 1}\n",
        "l.yaml": "extends: root.yaml\na: {shared: left, l: 1}\n",
        "r.yaml": "extends: root.yaml\na: {r: 1}\n",
        "root.yaml": "a: {shared: root, deep: {x: 1}}\n",
    },
    "ladder": {
        "x.yaml": "extends: [l1.yaml, r1.yaml]\n",
        "l1.yaml": "extends: [l2.yaml, r2.yaml]\na: {l1: 1, s: l1}\n",
        "r1.yaml": "extends: [l2.yaml, r2.yaml]\na: {r1: 1}\n",
        "l2.yaml": "a: {l2: 1, s: l2}\nb: [1]\n",
        "r2.yaml": "a: {r2: 1, s: r2}\nb: [2]\n",
    },
    "relative to the file that says it": {
        "x.yaml": "extends: sub/b.yaml\n",
        "sub/b.yaml": "extends: ../c.yaml\nb: 1\n",
        "c.yaml": "c: 1\n",
        "sub/c.yaml": "wrong: 1\n",
    },
    "extends null": {"x.yaml": "extends:\na: 1\n"},
    "extends an empty list": {"x.yaml": "extends: []\na: 1\n"},
    "extends below the top is data": {"x.yaml": "a: {extends: nope.yaml, inherit: x}\n"},
    "dates": {"x.yaml": "d: 2001-12-14\nt: 2001-12-14t21:59:43.10-05:00\nu: 2001-12-14 21:59:43\n"},
    "octals": {"x.yaml": "a: 010\nb: 0o10\nc: 0x1F\nd: 0b101\ne: 08\nf: '010'\n"},
    "sexagesimals": {"x.yaml": "a: 1:20\nb: 1:20:30\nc: 1:20.5\nd: '1:20'\n"},
    "underscores": {"x.yaml": "a: 1_000\nb: 1_0.5\nc: _1\n"},
    "floats": {"x.yaml": "a: 1e5\nb: 1.0e5\nc: 1.e+5\nd: .5\ne: 1.\nf: -0.0\ng: 1E400\n"},
    "not finite": {"x.yaml": "a: .inf\nb: -.inf\nc: .nan\nd: inf\ne: nan\n"},
    "booleans": {"x.yaml": "a: yes\nb: No\nc: on\nd: OFF\ne: true\nf: y\ng: n\nh: 'yes'\n"},
    "nulls": {"x.yaml": "a: ~\nb: null\nc:\nd: Null\ne: 'null'\nf: none\n"},
    "odd keys": {
        "x.yaml": "2: int\ntrue: bool\n~: 'null'\n2001-01-01: date\n1.5: float\n? x\n: y\n"
    },
    "equal keys of two types": {"x.yaml": "extends: b.yaml\ntrue: b\n", "b.yaml": "1: a\n"},
    "set": {"x.yaml": "a: !!set {x, y}\nb: !!set {}\n"},
    "set over set": {"x.yaml": "extends: b.yaml\na: !!set {x}\n", "b.yaml": "a: !!set {y}\n"},
    "set over mapping": {"x.yaml": "extends: b.yaml\na: !!set {x}\n", "b.yaml": "a: {y: 1}\n"},
    "binary": {"x.yaml": "a: !!binary aGVsbG8=\n!!binary aGVsbG8=: key\n"},
    "ordered pairs": {"x.yaml": "a: !!omap [x: 1, y: 2]\nb: !!pairs [x: 1, x: 2]\n"},
    "explicit tags": {"x.yaml": "a: !!str 1\nb: !!int '2'\nc: !!float 3\nd: !!null ''\n"},
    "anchors": {"x.yaml": "a: &a {x: 1, y: [1, 2]}\nb: *a\nc: [*a, *a]\n"},
    "an anchor of an empty mapping": {"x.yaml": "a: &a {}\nb: *a\n"},
    "overriding a shared anchor": {
        "x.yaml": "extends: b.yaml\na: {x: 2}\n",
        "b.yaml": "a: &a {x: 1}\nb: *a\n",
    },
    "merge keys": {
        "x.yaml": "a: &a {x: 1, y: 1}\nb: &b {y: 2}\nc: {<<: [*b, *a], z: 3}\nd: {<<: *a, x: 9}\n"
    },
    "a mapping merged twice, and merge keys twice": {
        "x.yaml": "a: &a {x: 1}\nb: &b {<<: *a, x: 2}\nc: {<<: *b, <<: *a, y: 1}\nd: {<<: *b}\n"
    },
    "merge key at the top": {"x.yaml": "<<: {extends: b.yaml, q: 1}\na: 1\n", "b.yaml": "b: 1\n"},
    "byte order mark": {"x.yaml": b"\xef\xbb\xbfa: 1\n"},
    "utf-16": {"x.yaml": "a: \u00fc\n".encode("utf-16")},
    "windows line ends": {"x.yaml": "extends: b.yaml\r\na:\r\n  b: 1\r\n", "b.yaml": "c: 1\r\n"},
    "tabs": {"x.yaml": "a: 'x\ty'\nb: \"\t\"\nc: f # \tz\nd: |\n  \tx\n"},
    "lone tag": {"x.yaml": "a: !\nb: ! 1\n"},
    "unicode line breaks": {"x.yaml": 'a: "x\u2028y"\nb: z\n'},
    "block scalars": {"x.yaml": "a: |\n  one\n  two\n\nb: >-\n  one\n  two\nc: |+\n  x\n\n"},
    "interpolations are text": {
        "x.yaml": "a: ${b}\nb: '${oc.env:HOME}'\nc: ['${', '$${x}', '\\${x}', '\\\\${x}', '${}']\n"
    },
    "interpolations as keys": {"x.yaml": "'${a}': 1\nb: {'${': {'${c}': '${c}'}}\n"},
    "malformed interpolations": {"x.yaml": "a: '${'\nb: '${a'\nc: '${a:${b}'\nd: '}${{}'\n"},
    "question marks": {"x.yaml": "a: ???\nb: ['???', {c: '???'}]\n???: 1\n"},
    "hydra's words": {
        "x.yaml": "defaults: [a]\nhydra: {run: 1}\nconfig: 2\n_self_: 3\n_target_: 4\ntrain: 5\n"
    },
    "dots and equals in keys": {"x.yaml": "a.b: 1\nc=d: 2\n'': 3\n' ': 4\na b: 5\n'@': 6\n"},
    "strings that look like numbers": {"x.yaml": "a: '1'\nb: '1e5'\nc: '0x1'\nd: 'true'\ne: ''\n"},
    "big numbers": {"x.yaml": "a: 123456789012345678901234567890\nb: -9223372036854775809\n"},
    "empty file": {"x.yaml": ""},
    "comments alone": {"x.yaml": "# nothing\n\n# here\n"},
    "explicit null document": {"x.yaml": "---\n"},
    "empty base": {"x.yaml": "extends: b.yaml\na: 1\n", "b.yaml": ""},
    "extends alone": {"x.yaml": "extends: b.yaml\n", "b.yaml": "a: 1\n"},
    "file name with spaces": {"x y.yaml": "extends: b c.yaml\na: 1\n", "b c.yaml": "b: 1\n"},
    "file name with @": {"x@y.yaml": "extends: b@c.yaml\na: 1\n", "b@c.yaml": "b: 1\n"},
    "file name with $": {"x$y.yaml": "extends: b$c.yaml\na: 1\n", "b$c.yaml": "b: 1\n"},
    "file name with #": {"x#y.yaml": "extends: 'b#c.yaml'\na: 1\n", "b#c.yaml": "b: 1\n"},
    "file name with %40": {
        "x%40.yaml": "extends: ['b%40.yaml', b@.yaml]\n",
        "b%40.yaml": "a: 1\n",
        "b@.yaml": "b: 1\n",
    },
    "base name with an interpolation": {"x.yaml": "extends: '${b}.yaml'\n", "${b}.yaml": "b: 1\n"},
    "unicode file name": {"\u00fc\u4f60.yaml": "extends: \u00e9.yaml\n", "\u00e9.yaml": "b: 1\n"},
    "dots in file names": {"x.v1.2.yaml": "extends: ./b..yaml\n", "b..yaml": "b: 1\n"},
    "no suffix": {"x.yaml": "extends: base\n", "base": "b: 1\n"},
    "unicode values": {"x.yaml": "\u00fc: \u4f60\u597d\nb: '\U0001f642'\n"},
}


_scalars = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(10**20), 10**20),
    st.floats(allow_nan=False),
    st.dates(datetime.date(1900, 1, 1), datetime.date(2100, 1, 1)),
    st.binary(max_size=4),
    st.text("ab \u00e9\U0001f642${}\\?:.@'\"#!|\n\t0e", max_size=8),
    st.sampled_from(["${a}", "${", "???", "\\${a}", "1e5", "yes", "0o7", "1:20", "", "~", "null"]),
    st.sets(st.sampled_from("xyz")),
)
_keys = st.one_of(
    st.sampled_from(["a", "b", "c", "d"]),
    st.sampled_from([1, True, None, 1.5, datetime.date(2020, 1, 1), "${a}", "a.b", "", b"k"]),
)
_values = st.recursive(
    _scalars,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(_keys, inner, max_size=3),
    max_leaves=4,
)
_documents = st.dictionaries(
    _keys, _values | st.dictionaries(_keys, _values, max_size=3), max_size=4
)


@st.composite
def graphs(draw: st.DrawFn) -> Files:
    """Acyclic ``extends`` graphs of one to five files; the first file is the experiment."""
    count = draw(st.integers(1, 5))
    files: Files = {}
    for index in range(count):
        document = draw(_documents)
        later = [f"{'sub/' if i % 2 else ''}f{i}.yaml" for i in range(index + 1, count)]
        bases = draw(st.lists(st.sampled_from(later), max_size=3)) if later else []
        if index % 2:
            bases = [f"../{base}" for base in bases]
        if bases:
            document["extends"] = bases[0] if len(bases) == 1 and draw(st.booleans()) else bases
        name = f"{'sub/' if index % 2 else ''}f{index}.yaml"
        flow = draw(st.sampled_from([None, True, False]))
        files[name] = yaml.safe_dump(
            document, sort_keys=False, allow_unicode=True, default_flow_style=flow
        )
    return files
