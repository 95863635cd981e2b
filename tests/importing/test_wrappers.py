"""What stands before a program is told from it."""

from __future__ import annotations

import shlex

import pytest

from grpo_launch.bash.script import Kind, Unknown, Value
from grpo_launch.importing.flags import parsed, same, texts
from grpo_launch.importing.wrappers import unwrapped


def values(line: str) -> list[Value]:
    return [Value((word,)) if word else Value() for word in shlex.split(line)]


@pytest.mark.parametrize(
    ("line", "before", "program"),
    [
        ("nohup swift rollout", "", "swift rollout"),
        ("exec -a name swift rollout", "", "swift rollout"),
        ("command time -f %e swift sft", "", "swift sft"),
        ("setsid nohup swift sft", "", "swift sft"),
        ("uv run --with x swift sft", "uv run --with x", "swift sft"),
        ("uv pip install x", "", "uv pip install x"),
        ("srun -N 1 --gres=gpu:8 swift sft", "srun -N 1 --gres=gpu:8", "swift sft"),
        ("taskset -c 0-3 swift sft", "taskset -c 0-3", "swift sft"),
        ("taskset 0xff swift sft", "taskset 0xff", "swift sft"),
        ("numactl -N 0 --membind 1 swift sft", "numactl -N 0 --membind 1", "swift sft"),
        ("timeout -k 5 3600 swift sft", "timeout -k 5 3600", "swift sft"),
        ("stdbuf -oL swift sft", "stdbuf -oL", "swift sft"),
        ("nohup nice -n 5 python train.py", "nice -n 5", "python train.py"),
        ("nohup", "", ""),
        ("env", "", ""),
    ],
)
def test_wrappers_are_left_out_or_stay(line: str, before: str, program: str) -> None:
    found = unwrapped(values(line))
    assert (" ".join(texts(found.before)), " ".join(texts(found.words))) == (before, program)


def test_env_says_variables() -> None:
    found = unwrapped(values("env -u C -i A=1 B='x y' swift sft D=2"))
    assert {name: value.known for name, value in found.environ.items()} == {"A": "1", "B": "x y"}
    assert found.unset == {"C"}
    assert texts(found.words) == ["swift", "sft", "D=2"]


@pytest.mark.parametrize(
    ("line", "name", "prefix"),
    [
        ("conda run -n rl --no-capture-output swift sft", "rl", ""),
        ("conda run --name=rl --live-stream swift sft", "rl", ""),
        ("nohup mamba run -p /envs/rl swift sft", "", "/envs/rl"),
    ],
)
def test_conda_run_is_an_environment(line: str, name: str, prefix: str) -> None:
    found = unwrapped(values(line))
    assert (found.conda, found.prefix, texts(found.words)) == (name, prefix, ["swift", "sft"])


def test_a_command_line_is_flags_with_their_words() -> None:
    flags = parsed(values("--a 1 2 --b=x --c -1 -1e-5 --d -tp 2 --e ''"))
    assert [(flag.name, texts(flag.values)) for flag in flags] == [
        ("--a", ["1", "2"]),
        ("--b", ["x"]),
        ("--c", ["-1", "-1e-5"]),
        ("--d", []),
        ("-tp", ["2"]),
        ("--e", [""]),
    ]


def test_a_flag_whose_name_is_not_known_is_no_value_of_the_one_before() -> None:
    unknown = Unknown(Kind.VARIABLE, "$X", "X")
    flags = parsed([*values("--a 1"), Value(("--", unknown)), *values("2")])
    assert [flag.name for flag in flags] == ["--a", "", ""]


@pytest.mark.parametrize(
    ("one", "other", "equal"),
    [
        (["1e-6"], ["1.0e-06"], True),
        (["True"], ["true"], True),
        (['{"a": 1}'], ['{"a":1}'], True),
        (["1"], ["2"], False),
        (["1"], ["true"], False),
        (["a", "b"], ["a b"], False),
        (["007"], ["7"], False),
        (["null"], ["None"], False),
    ],
)
def test_words_are_compared_as_parsers_read_them(
    one: list[str], other: list[str], equal: bool
) -> None:
    assert same(one, other) is equal
