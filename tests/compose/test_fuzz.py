"""Mutated files: nothing but ``ConfigError`` comes out, one line that names a file.

Every case has a seed of its own, so that a failure comes back.
"""

from __future__ import annotations

import copy
import random
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from legacy_reference import EDGE_CASES, exact, expected

from grpo_launch.checks.examine import validate
from grpo_launch.config.compose import compose
from grpo_launch.config.formats import extends, lift
from grpo_launch.config.hydra import lookup
from grpo_launch.errors import ConfigError
from tests.conftest import ROOT
from tests.effort import EFFORT

BLOCKS = range(EFFORT.fuzz_blocks)
LOADED = 110  # cases in a block that are loaded
COMPOSED = 8  # and, of other cases, composed and validated

SHIPPED = sorted((ROOT / "configs").rglob("*.yaml"))
EXPERIMENTS = [path for path in SHIPPED if path.stem != "base"]
HEADERS = [
    b"# @package _global_\n",
    b"# @package\n",
    b"# @package: train\n",
    b"#@package _group_ x\n",
]

PIECES = [
    *(b"[ ] { } : - ? , & * ! | > ' \" % @ ` # ~ = << \\ --- ... !! &a *a ??? ${ ${x} }".split()),
    *(b": |- - |+ |9 !!int !!float !!set !!omap !!pairs !!binary !!timestamp !!null".split()),
    *(b"!!bool !!python/name:os.system !custom %YAML %TAG 2001-13-45 1:99:99 0o9 1e999".split()),
    *(b".nan -.inf extends inherit defaults hydra train custom extra launch _target_".split()),
    *(b"rollout_server batch_plan vllm_max_model_len".split()),
    b" ", b"\t", b"\n", b"\r", b"\0", b"\x1b[31m", b"\x85", b"\xc2\x85", b"\xe2\x80\xa8", b"\xff",
    b"\xef\xbb\xbf", b"\xed\xa0\x80", b'"\\ud800"', b'"\\UFFFFFFFF"', b'"\\0"', b"\xf0\x9f\x99\x82",
    b"<<: *a\n", b"<<: [*a, *a]\n", b"&a [*a]", b"&a {<<: *a}", b"- - - - -", b"? ? ? ?",
    b"9" * 5000, b"0x" + b"f" * 5000, b"1:" * 2000 + b"1", b"[" * 200, b"{a: " * 200, b"x" * 20000,
    b"a: &a [1, 1]\nb: &b [*a, *a]\nc: [*b, *b]\n", b"extends: x.yaml\n", b"extends: ..\n",
]  # fmt: skip

ODD: list[Any] = [
    None, True, False, 0, -1, 1, 2.5, 1e300, float("nan"), float("inf"), 10**400, -(10**400),
    "", " ", "???", "${x}", "${", "a\0b", "x" * 20000, "\x1b[31m", "\u2028", "1e5", "0x1F", "yes",
    "1,2", "null", "../..", "/", "~", [], [[]], [None], ["???"], ["${x}"], {}, {"": 1}, {None: 1},
    {1: {2: 3}}, {"a": {"b": []}}, {"a.b": 1}, {"defaults": ["x"]}, [1, "a", {}], [["a"], ["b"]],
    {"_target_": "os.system"}, b"\xff", [0, 0], ["127.0.0.1", "::1"], {"x": "y" * 3000},
]  # fmt: skip


KEYS = [
    "rollout_server.vllm_max_model_len", "rollout_server.vllm_engine_kwargs", "rollout_server",
    "gpus.server", "gpus", "health.timeout_s", "env.set.A", "runtime", "runtime.kind", "engine",
    "train", "train.rlhf", "train.rlhf.num_generations", "train.model.model", "train.custom.extra",
    "dry_run", "preflight", "nope", "rlhf.beta", "config", "hydra.run.dir", "", "a.b.c", "role",
]  # fmt: skip
KNOWN_PLACES = ("command line", "accelerator=")


def texts() -> list[bytes]:
    edges = [t for files in EDGE_CASES.values() for t in files.values()]
    return [t.encode() if isinstance(t, str) else t for t in edges]


EDGES = texts()
WHOLE = [path.read_bytes() for path in SHIPPED]


# Mutations of the text

Mutation = Callable[[random.Random, bytes], bytes]


def place(rng: random.Random, text: bytes) -> int:
    return rng.randrange(len(text) + 1)


def span(rng: random.Random, text: bytes) -> tuple[int, int]:
    start = place(rng, text)
    return start, min(len(text), start + rng.choice([1, 2, 5, 20, 200]))


def flip(rng: random.Random, text: bytes) -> bytes:
    at = place(rng, text)
    return text[:at] + bytes([rng.randrange(256)]) + text[at + 1 :]


def delete(rng: random.Random, text: bytes) -> bytes:
    start, stop = span(rng, text)
    return text[:start] + text[stop:]


def duplicate(rng: random.Random, text: bytes) -> bytes:
    start, stop = span(rng, text)
    at = place(rng, text)
    return text[:at] + text[start:stop] * rng.choice([1, 1, 3]) + text[at:]


def insert(rng: random.Random, text: bytes) -> bytes:
    at = place(rng, text)
    return text[:at] + rng.choice(PIECES) + text[at:]


def splice(rng: random.Random, text: bytes) -> bytes:
    other = rng.choice([*EDGES, *WHOLE])
    return text[: place(rng, text)] + other[place(rng, other) :]


def replace_value(rng: random.Random, text: bytes) -> bytes:
    lines = text.split(b"\n")
    at = rng.randrange(len(lines))
    key, colon, _ = lines[at].partition(b":")
    lines[at] = key + colon + b" " + rng.choice(PIECES)
    return b"\n".join(lines)


def replace_key(rng: random.Random, text: bytes) -> bytes:
    lines = text.split(b"\n")
    at = rng.randrange(len(lines))
    key, colon, value = lines[at].partition(b":")
    indent = key[: len(key) - len(key.lstrip())]
    lines[at] = indent + rng.choice(PIECES) + colon + value
    return b"\n".join(lines)


def indent(rng: random.Random, text: bytes) -> bytes:
    lines = text.split(b"\n")
    at = rng.randrange(len(lines))
    for index in range(at, min(len(lines), at + rng.choice([1, 1, 4]))):
        line = lines[index]
        lines[index] = rng.choice(
            [b" " + line, b"\t" + line, line[1:], line.lstrip(), b"- " + line]
        )
    return b"\n".join(lines)


def swap_lines(rng: random.Random, text: bytes) -> bytes:
    lines = text.split(b"\n")
    one, two = rng.randrange(len(lines)), rng.randrange(len(lines))
    lines[one], lines[two] = lines[two], lines[one]
    return b"\n".join(lines)


MUTATIONS: list[Mutation] = [
    flip, delete, duplicate, insert, insert, splice, replace_value, replace_key, indent, swap_lines,
]  # fmt: skip


def mutated_text(rng: random.Random) -> bytes:
    text = rng.choice(EDGES if rng.random() < 0.5 else WHOLE)
    if rng.random() < 0.7:  # a part of a long file: most of the time goes into parsing
        lines = text.split(b"\n")
        start = rng.randrange(len(lines))
        text = b"\n".join(lines[start : start + 25])
    for _ in range(rng.choice([1, 1, 2, 3, 8])):
        text = rng.choice(MUTATIONS)(rng, text)
    return rng.choice(HEADERS) + text if rng.random() < 0.05 else text


# Mutations of the tree


def nodes(tree: Any) -> Iterator[tuple[Any, Any]]:
    items = tree.items() if isinstance(tree, dict) else enumerate(tree)
    for key, value in list(items):
        yield tree, key
        if isinstance(value, dict | list):
            yield from nodes(value)


def mutated_tree(rng: random.Random) -> bytes:
    tree: Any = copy.deepcopy(extends.load(rng.choice(EXPERIMENTS)).data)
    extra = tree.setdefault("custom", {}).setdefault("extra", {})
    extra.setdefault(
        "launch", {"gpus": {"server": [0], "learner": [1]}, "env": {"set": {"A": "b"}}}
    )
    if rng.random() < 0.3:
        plan = {"enabled": True, "per_device_train_batch_size": 1, "unified_batch_size": 8}
        tree["custom"]["grpo"] = {"batch_plan": plan}
    for _ in range(rng.choice([1, 2, 4, 10])):
        found = list(nodes(tree))
        parent, key = rng.choice(found)
        action = rng.random()
        if action < 0.6:
            parent[key] = copy.deepcopy(rng.choice(ODD))
        elif action < 0.75:
            del parent[key]
        elif isinstance(parent, dict):
            parent[rng.choice([None, 1, True, "a", "a.b", f"{key}x", "vllm_max_modl_len"])] = (
                parent[key]
            )
        else:
            parent.append(parent[key])
        if not tree:
            break
    if isinstance(tree, dict) and rng.random() < 0.25:
        return HEADERS[0] + dumped(native(tree))
    return dumped(tree)


def native(tree: dict[Any, Any]) -> dict[str, Any]:
    """The same experiment with its nodes said directly, as Hydra takes them."""
    launch = lift.block(tree, lift.LAUNCH_BLOCK) or {}
    return {**launch, "rollout_server": lift.block(tree, lift.SERVER_BLOCK), "train": tree}


def dumped(tree: Any) -> bytes:
    return yaml.safe_dump(tree, sort_keys=False, allow_unicode=True).encode()


def overrides(rng: random.Random) -> list[str]:
    """Mostly none; else one key of a typed node or of the experiment, set to something."""
    if rng.random() < 0.7:
        return []
    value = rng.choice([*map(str, ODD), "[1,a]", "{a: 1}", "'x'", "[", "${train.model}", "a,b"])
    sign = rng.choice(["", "", "+", "++", "~"])
    return [f"{sign}{rng.choice(KEYS)}={value}"]


# What comes out


@pytest.fixture
def directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The shipped experiments in the layout that they have; the cases go beside them."""
    shutil.copytree(ROOT / "configs", tmp_path / "configs")
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv(lookup.SETTING, raising=False)
    return tmp_path / "configs" / "train" / "grpo"


def is_a_message(text: str) -> bool:
    """Whether an error is one printable line that names a file or the command line."""
    place = text.partition(": ")[0]
    named = ".yaml" in place or place == "command line" or "x.yaml" in text
    return named and text.isprintable() and len(text) < 10_000


def check_message(error: ConfigError, text: bytes) -> None:
    for line in error.lines():
        assert is_a_message(line), (line, text[:2000])


@pytest.mark.parametrize("block", BLOCKS)
def test_a_mutated_file_loads_or_is_refused_in_one_line(directory: Path, block: int) -> None:
    path = directory / "x.yaml"
    for case in range(LOADED):
        text = mutated_text(random.Random(f"text {block} {case}"))
        path.write_bytes(text)
        try:
            tree = extends.load(path)
            assert tree.origins is not None
            if len(text) < 3000:
                assert exact(tree.data) == exact(expected(path))
            lift.read(tree.data, lambda *keys: f"x.yaml: {'.'.join(map(str, keys))}")
        except ConfigError as error:
            check_message(error, text)
        except BaseException:
            print(f"text {block} {case}: {text[:2000]!r}")
            raise


@pytest.mark.slow(every_row=True)
@pytest.mark.parametrize("block", BLOCKS)
def test_a_mutated_experiment_is_composed_and_checked_or_refused(
    directory: Path, block: int
) -> None:
    path = directory / "x.yaml"
    for case in range(COMPOSED):
        rng = random.Random(f"tree {block} {case}")
        text = mutated_tree(rng) if case else mutated_text(rng)
        path.write_bytes(text)
        try:
            config = compose("x", overrides(rng))
            for problem in validate(config):
                assert ".yaml" in problem.where or problem.where.startswith(KNOWN_PLACES)
        except ConfigError as error:
            check_message(error, text)
        except BaseException:
            print(f"tree {block} {case}: {text[:2000]!r}")
            raise
