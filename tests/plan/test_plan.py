"""The plan: what a dry run prints, what JSON carries, who gets which devices and arguments."""

from __future__ import annotations

import dataclasses
import json
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import NoneType, UnionType
from typing import Any, get_args, get_origin, get_type_hints

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from grpo_launch import plan, runtimes
from grpo_launch.base import resources, shipped_files
from grpo_launch.checks.examine import require_valid
from grpo_launch.config import schema
from grpo_launch.config.compose import compose
from grpo_launch.config.endpoint import direct_hosts
from grpo_launch.config.hydra import lookup
from grpo_launch.config.launch_config import LaunchConfig
from grpo_launch.engines.swift import serve
from grpo_launch.errors import ConfigError, PreflightError
from grpo_launch.learners.swift import arguments
from grpo_launch.planning import devices, planner, shell
from grpo_launch.runs import plans
from grpo_launch.settle import ports
from grpo_launch.transfer import MODES
from tests.composed import shipped
from tests.effort import costly

GOLDEN = Path(__file__).parent / "golden"
CWD = Path("/project")
VISIBLE = [str(i) for i in range(8)]
PARTS = {"server": [plan.SERVER], "learner": [plan.LEARNER], "both": [plan.SERVER, plan.LEARNER]}


@pytest.fixture(autouse=True)
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A working directory without experiments of its own."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv(lookup.SETTING, raising=False)


def make(
    config: LaunchConfig,
    parts: list[str],
    run_dir: str = "runs/x/NEW",
    own_ports: Sequence[int] = (),
) -> plan.LaunchPlan:
    """The plan in /project, on a machine with eight GPUs."""
    require_valid(config)
    split = devices.assign(config, VISIBLE)
    return planner.build(config, split, parts, run_dir, CWD, own_ports=own_ports)


def written(text: str) -> LaunchConfig:
    """The configuration of an experiment with this text."""
    Path("x.yaml").write_text(text)
    return compose("x")


# Golden files


JUDGE = [
    "services.judge.argv=[judge,--port,9000]",
    "services.judge.devices=[8]",
    "services.judge.check.url='http://127.0.0.1:9000/health'",
    "services.tools.argv=[./tools]",
    "services.tools.env.MODE=fast",
]

CASES: list[tuple[str, str, str, list[str]]] = [
    ("summary_1024-both.sh", "summary_1024", "both", []),
    ("summary_1024-both.json", "summary_1024", "both", []),
    ("summary_1024-both-cpu.sh", "summary_1024", "both", ["accelerator=cpu"]),
    ("summary_1024-judge.sh", "summary_1024", "both", JUDGE),
    ("hanabi-both.sh", "hanabi", "both", []),
    ("hanabi-both-cpu.sh", "hanabi", "both", ["accelerator=cpu"]),
    ("tiny_cpu-both.sh", "tiny_cpu", "both", []),
]


@pytest.mark.parametrize(
    ("file", "experiment", "role", "overrides"), CASES, ids=[case[0] for case in CASES]
)
def test_the_dry_run_is_what_was_reviewed(
    request: pytest.FixtureRequest, file: str, experiment: str, role: str, overrides: list[str]
) -> None:
    config = shipped(experiment, [f"role={role}", *overrides])
    parts = (plan.SERVER, plan.LEARNER)
    with ports.chosen(config, parts, {}, "x", hold=False, look=False) as got:
        planned = make(got.config, PARTS[role], f"runs/{experiment}/NEW", got.own)
    text = planned.to_json() if file.endswith(".json") else shell.render(planned)
    text = text.replace(str(resources.root()), "/shipped")
    golden = GOLDEN / file
    if request.config.getoption("--update-golden", default=False):
        golden.write_text(text)
    assert text == golden.read_text()


@pytest.mark.slow
def test_a_half_alone_is_what_it_is_beside_the_other() -> None:
    both, server, learner = (
        make(shipped("summary_1024", [f"role={role}"]), PARTS[role])
        for role in ("both", "server", "learner")
    )
    assert server.processes + learner.processes == both.processes
    assert (server.files, learner.files) == ((), both.files)
    # Only the two together wait for a token: another learner may have the server already.
    for half in (server, learner):
        (alone,), (beside,) = half.gates, both.gates
        assert alone == dataclasses.replace(beside, checks=beside.checks[:-1], advice=alone.advice)
    together, *halves = (shell.render(planned).splitlines() for planned in (both, server, learner))
    own = [line for text in halves for line in text if line not in together]
    assert own == [
        "# summary_1024, role=server; run directory runs/x/NEW",
        "# summary_1024, role=learner; run directory runs/x/NEW",
        (
            "# learner: starts when http://127.0.0.1:8080/health/ answers 200 and "
            "/get_world_size/ says 6; log runs/x/NEW/logs/learner.log"
        ),
    ]


def test_every_golden_file_belongs_to_a_case() -> None:
    assert sorted(path.name for path in GOLDEN.iterdir()) == sorted(case[0] for case in CASES)


def test_golden_files_hold_no_path_of_a_machine() -> None:
    for path in GOLDEN.iterdir():
        assert str(resources.root()) not in path.read_text()
        assert str(Path.home()) + "/" not in path.read_text()


def test_the_learner_s_file_in_a_dry_run_is_yaml_with_the_composed_values() -> None:
    planned = make(shipped("summary_1024", ["train.rlhf.beta=0.5"]), PARTS["learner"])
    loaded = yaml.safe_load(planned.files[0].text)
    assert loaded["beta"] == 0.5
    assert loaded["rlhf_type"] == "grpo"
    assert loaded["reward_weights"] == [0.5, 0.5, 1.0, 0.5, 1.0, 1.0]


# JSON


_text = st.text(st.characters(codec="utf-8"), max_size=6)
_seconds = st.floats(0, 1e6)
_json = st.recursive(
    st.none() | st.booleans() | st.integers() | _text,
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(_text, inner, max_size=2),
    max_leaves=4,
)
_TYPES: dict[Any, st.SearchStrategy[Any]] = {
    str: _text,
    int: st.integers(1, 65535),
    bool: st.booleans(),
    float: _seconds,
    Any: _json,
}


_patterns = st.lists(st.text("ab*/", max_size=5).map("a{}".format), max_size=2).map(tuple)
_NARROWER: dict[tuple[Any, str], st.SearchStrategy[Any]] = {
    (plan.LaunchPlan, "loop"): st.none(),  # a plan of plans, see the tests of loops
    (plan.Metrics, "files"): _patterns,
    (plan.Metrics, "patterns"): st.sampled_from([(), (r"step (?P<step>\d+)", "loss=(.*)")]),
    (plan.CheckpointLayout, "directories"): _patterns,
    (plan.CheckpointLayout, "weights"): _patterns,
    (plan.CheckpointLayout, "named_by"): st.sampled_from(["", "a (.*) b"]),
    (plan.Reload, "steps"): st.tuples(st.builds(plan.ReloadStep, _text, _text)),
    (plan.Reload, "modes"): st.dictionaries(st.sampled_from(MODES), _text),
    (plan.Reload, "unloaded"): st.sampled_from([(), ("a (.*) b",)]),
}
"""Fields that take only patterns below a directory, a regular expression, or a few words."""


def _built(kind: Any) -> st.SearchStrategy[Any]:
    """Values of a type that a plan is made of."""
    if dataclasses.is_dataclass(kind):
        hints = get_type_hints(kind)
        made = {
            name: _NARROWER[kind, name] if (kind, name) in _NARROWER else _built(hint)
            for name, hint in hints.items()
        }
        return st.builds(kind, **made)
    if get_origin(kind) is tuple:
        return st.lists(_built(get_args(kind)[0]), max_size=2).map(tuple)
    if get_origin(kind) is Mapping:
        return st.dictionaries(_text, _built(get_args(kind)[1]), max_size=2)
    if get_origin(kind) is UnionType:
        return st.none() | _built(next(k for k in get_args(kind) if k is not NoneType))
    return _TYPES[kind]


@pytest.mark.slow
@given(_built(plan.LaunchPlan))
def test_a_plan_goes_to_json_and_back_unchanged(planned: plan.LaunchPlan) -> None:
    text = planned.to_json()
    assert text.endswith("}\n")
    assert plans.parse(text) == (planned, ())


def test_a_real_plan_goes_to_json_and_back_unchanged() -> None:
    planned = make(shipped("summary_1024", ["role=both"]), PARTS["both"])
    assert plans.parse(planned.to_json()) == (planned, ())


@pytest.mark.parametrize(
    "text",
    ["", "[]", "3", "null", "{}", '{"format": "4"}', '{"format": 4}', '{"format": 3, "gates": 3}'],
)
def test_what_is_no_plan_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"."):
        plans.parse(text)


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("gates", [{}]),
        ("processes", [3]),
        ("files", [{"nope": 1}]),
        ("deadlines", None),
        ("role", ...),
    ],
)
def test_a_damaged_plan_is_refused(key: str, value: Any) -> None:
    body = json.loads(make(shipped("summary_1024"), PARTS["both"]).to_json())
    if value is ...:
        del body[key]
    else:
        body[key] = value
    with pytest.raises(ValueError, match=key):
        plans.parse(json.dumps(body))


def test_the_same_configuration_gives_the_same_plan() -> None:
    first, second = (make(compose("summary_1024"), PARTS["both"]) for _ in range(2))
    assert first.to_json() == second.to_json()


# What the processes get


def test_the_server_s_flags_are_the_experiment_s() -> None:
    config = written(
        "model: {model: org/m, model_type: t, torch_dtype: bfloat16, use_hf: true}\n"
        "template: {template: tt}\n"
        "rlhf: {use_vllm: true, vllm_mode: server, vllm_server_host: localhost,"
        " vllm_server_port: ['8123']}\n"
        "custom: {extra: {rollout_server: {vllm_tensor_parallel_size: 2,"
        " vllm_data_parallel_size: 3, vllm_max_model_len: 9, vllm_enable_prefix_caching: false,"
        " vllm_engine_kwargs: {a: [1, \u00fc]}, vllm_quantization: ~}}}\n"
    )
    assert serve.argv(*planner.serve_requests(config, CWD)) == [
        *["swift", "rollout", "--model", "org/m", "--host", "localhost", "--port", "8123"],
        *["--vllm_tensor_parallel_size", "2", "--vllm_data_parallel_size", "3"],
        *["--vllm_max_model_len", "9", "--vllm_enable_prefix_caching", "false"],
        *["--vllm_engine_kwargs", '{"a": [1, "\u00fc"]}'],
        *["--model_type", "t", "--torch_dtype", "bfloat16", "--use_hf", "true"],
        *["--template", "tt"],
    ]


def test_plugins_of_the_server_are_words_and_shipped_ones_are_found() -> None:
    said = "rollout_server.external_plugins=[examples/summary/plugin.py,own.py]"
    config = shipped("summary_1024", [said])
    command = serve.argv(*planner.serve_requests(config, CWD))
    first = command.index("--external_plugins") + 1
    plugin = str(resources.path("examples/summary/plugin.py"))
    assert command[first : first + 2] == [plugin, "own.py"]


def test_each_half_sees_its_own_devices_alone() -> None:
    planned = make(shipped("summary_1024"), PARTS["both"])
    server, learner = planned.process("server"), planned.process("learner")
    assert server is not None
    assert learner is not None
    assert server.env["CUDA_VISIBLE_DEVICES"] == "0,1,2,3,4,5"
    assert learner.env["CUDA_VISIBLE_DEVICES"] == learner.env["gpus"] == "6,7"
    assert planned.gates[0].checks[1].value == len(server.devices) == 6
    assert planned.process("nope") is None


def test_env_set_wins_over_what_the_launcher_sets() -> None:
    overrides = ["+env.set.CUDA_VISIBLE_DEVICES=9", "+env.defaults.A=b"]
    overrides += ["checks.warn=[devices_are_said_in_gpus]"]
    planned = make(shipped("summary_1024", overrides), PARTS["both"])
    assert {spec.env["CUDA_VISIBLE_DEVICES"] for spec in planned.processes} == {"9"}
    assert [spec.env_defaults for spec in planned.processes] == [{"A": "b"}] * 2


def test_debug_and_a_fixed_port_reach_the_learner_alone() -> None:
    overrides = ["learner.debug=true", "learner.master_port=29501"]
    planned = make(shipped("summary_1024", overrides), PARTS["both"])
    server, learner = planned.processes
    assert (learner.env["debug"], learner.env["MASTER_PORT"]) == ("true", "29501")
    assert not {"debug", "MASTER_PORT", "config", "gpus"} & set(server.env)
    plain = make(shipped("summary_1024"), PARTS["learner"]).processes[0]
    assert not {"debug", "MASTER_PORT"} & set(plain.env)


def test_output_goes_below_the_run_unless_the_experiment_says_where() -> None:
    assert make(shipped("summary_1024"), PARTS["learner"]).output_dir == "runs/x/NEW/output"
    said = make(shipped("summary_1024", ["+train.training.output_dir=o"]), PARTS["learner"])
    assert said.output_dir == "o"
    assert yaml.safe_load(said.files[0].text)["output_dir"] == "o"


@pytest.mark.parametrize(
    ("runtime", "argv", "path", "env"),
    [
        (schema.Runtime(), ("swift", "x y"), (), {}),
        (
            schema.Runtime(schema.RuntimeKind.venv, "env dir"),
            ("swift", "x y"),
            ("/project/env dir/bin",),
            {"VIRTUAL_ENV": "/project/env dir"},
        ),
        (
            schema.Runtime(schema.RuntimeKind.venv, "/abs"),
            ("swift", "x y"),
            ("/abs/bin",),
            {"VIRTUAL_ENV": "/abs"},
        ),
        (
            schema.Runtime(schema.RuntimeKind.conda, name="my env"),
            ("conda", "run", "--no-capture-output", "-n", "my env", "swift", "x y"),
            (),
            {},
        ),
    ],
    ids=["current", "venv", "absolute venv", "conda"],
)
def test_a_command_is_entered_as_the_runtime_says(
    runtime: schema.Runtime, argv: tuple[str, ...], path: tuple[str, ...], env: dict[str, str]
) -> None:
    entered = runtimes.of(runtime).enter(["swift", "x y"], CWD)
    assert (entered.argv, entered.path, entered.env) == (argv, path, env)


# Devices


D = ["rollout_server.vllm_tensor_parallel_size=2", "rollout_server.vllm_data_parallel_size=1"]
CPU = ["accelerator=cpu"]
UNSET = ["gpus.server=null", "gpus.learner=null"]


@pytest.mark.parametrize(
    ("overrides", "visible", "server", "learner"),
    [
        ([*D, *UNSET], VISIBLE, "0 1", "2 3 4 5 6 7"),
        ([*D, *UNSET], ["3", "5", "1"], "3 5", "1"),
        ([*D, *UNSET], ["GPU-a", "GPU-b", "GPU-c"], "GPU-a GPU-b", "GPU-c"),
        ([*D, *UNSET], ["0", "1"], "0 1", ""),
        ([*D, "gpus.server=[6,7]", "gpus.learner=null"], VISIBLE, "6 7", "0 1 2 3 4 5"),
        ([*D, "gpus.server=null", "gpus.learner=[0,7]"], VISIBLE, "1 2", "0 7"),
        ([*D, "gpus.server=[a,b]", "gpus.learner=[c]"], [], "a b", "c"),
        (CPU, VISIBLE, "0", "1"),
        ([*CPU, *D], [], "0 1", "2"),
        ([*CPU, "gpus.learner=[a,b]"], [], "0", "a b"),
    ],
)
def test_devices_are_split(
    overrides: list[str], visible: list[str], server: str, learner: str
) -> None:
    config = shipped("summary_1024", overrides)
    split = devices.assign(config, visible)
    assert (" ".join(split.server), " ".join(split.learner)) == (server, learner)
    assert split.cuda is ("accelerator=cpu" not in overrides)


@pytest.mark.parametrize(
    ("visible", "message"),
    [
        (
            ["0"],
            (
                "command line: gpus.server: is not set, and 1 of the 2 devices that TP x DP needs "
                "are free, set gpus.server=[...] or a smaller "
                "rollout_server.vllm_data_parallel_size"
            ),
        ),
        (
            [],
            (
                "command line: gpus.server: is not set, and no CUDA device is visible, "
                "set gpus.server=[...], or accelerator=cpu for a machine without a GPU"
            ),
        ),
    ],
    ids=["too few", "none"],
)
def test_too_few_devices_for_the_server_are_an_error(visible: list[str], message: str) -> None:
    with pytest.raises(PreflightError) as caught:
        devices.assign(shipped("summary_1024", [*D, *UNSET]), visible)
    assert str(caught.value) == message


def test_no_device_left_for_the_learner_is_an_error_where_it_starts() -> None:
    config = shipped("summary_1024", [*D, *UNSET])
    split = devices.assign(config, ["0", "1"])
    assert planner.build(config, split, [plan.SERVER], "r", CWD).process("server") is not None
    with pytest.raises(ConfigError, match=r"gpus\.learner: is not set, and no visible device"):
        planner.build(config, split, [plan.LEARNER], "r", CWD)


@pytest.mark.parametrize(
    ("overrides", "needed"),
    [([], False), (["gpus.learner=null"], True), (UNSET, True), ([*CPU, *UNSET], False)],
)
def test_visible_devices_are_asked_for_only_when_they_matter(
    overrides: list[str], needed: bool
) -> None:
    assert devices.needs_discovery(shipped("summary_1024", overrides)) is needed


# Learner arguments


def flat(text: str, world_size: int = 2, output_dir: str = "out") -> dict[str, Any]:
    return arguments.flatten(written(text), world_size, output_dir)


BASE = {
    "rlhf_type": "grpo",
    "output_dir": "out",
    "use_vllm": True,
    "vllm_mode": "server",
    "vllm_server_host": ["127.0.0.1"],
    "vllm_server_port": [8000],
}


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("", {}),
        ("model: {a: 1}\nrlhf: {b: [2]}\ntuner: {c: x}\n", {"a": 1, "b": [2], "c": "x"}),
        ("model: {a: ~}\ndata: ~\n", {}),
        ("rlhf: {rlhf_type: gkd}\n", {"rlhf_type": "gkd"}),
        ("training: {output_dir: mine}\n", {"output_dir": "mine"}),
        ("training: {output_dir: ~}\n", {}),
        ("other: {a: 1}\ncustom: {b: 1}\n", {}),
        ("global_max_length: 64\n", {"max_length": 64}),
        ("global_max_length: '64'\n", {"max_length": 64}),
        ("global_max_length: 64\ntemplate: {max_length: 32}\n", {"max_length": 32}),
        ("deepspeed: zero2\n", {"deepspeed": "zero2"}),
        ("deepspeed: {enabled: true, config: zero3}\n", {"deepspeed": "zero3"}),
        ("deepspeed: {enabled: false, config: zero3}\n", {}),
        ("deepspeed: {config: zero3}\n", {"deepspeed": "zero3"}),
        ("deepspeed: {enabled: true}\n", {}),
        ("deepspeed: {deepspeed: zero2, x: 1}\n", {"deepspeed": "zero2", "x": 1}),
        ("deepspeed: {deepspeed: {stage: 2}}\n", {"deepspeed": {"stage": 2}}),
        ("deepspeed: ~\n", {}),
    ],
)
def test_sections_become_one_mapping_of_arguments(text: str, wanted: dict[str, Any]) -> None:
    assert flat(text) == {**BASE, **wanted}


@pytest.mark.parametrize(
    ("effective", "per_device", "world", "steps"),
    [
        (48, 8, 2, 3),
        (48, 8, 1, 6),
        (48, None, 2, 24),
        (50, 8, 2, 4),
        (8, 8, 2, 1),
        (1, 8, 8, 1),
        ("'48'", "'8'", 2, 3),
        (48.0, 8, 2, 3),
        (7, 2, 3, 2),
    ],
)
def test_an_effective_batch_size_becomes_accumulation_steps(
    effective: Any, per_device: Any, world: int, steps: int
) -> None:
    per_device_text = f", per_device_train_batch_size: {per_device}" if per_device else ""
    text = f"training: {{effective_batch_size: {effective}{per_device_text}}}\n"
    found = flat(text, world)
    assert found["gradient_accumulation_steps"] == steps
    assert "effective_batch_size" not in found


def test_accumulation_steps_alone_are_passed_on() -> None:
    assert flat("training: {gradient_accumulation_steps: 5}\n")["gradient_accumulation_steps"] == 5
    both = "training: {effective_batch_size: 6, gradient_accumulation_steps: 3}\n"
    assert flat(both)["gradient_accumulation_steps"] == 3


SHIPPED = "examples/summary/dataset.jsonl"


@pytest.mark.parametrize(
    ("key", "value", "wanted"),
    [
        ("dataset", SHIPPED, f"/shipped/{SHIPPED}"),
        ("dataset", [SHIPPED, "org/name"], [f"/shipped/{SHIPPED}", "org/name"]),
        ("dataset", f"{SHIPPED}#100", f"/shipped/{SHIPPED}#100"),
        ("val_dataset", SHIPPED, f"/shipped/{SHIPPED}"),
        (
            "external_plugins",
            ["examples/summary/plugin.py"],
            ["/shipped/examples/summary/plugin.py"],
        ),
        ("dataset", "here.jsonl", "here.jsonl"),
        ("dataset", "/absolute.jsonl", "/absolute.jsonl"),
        ("dataset", "", ""),
        ("dataset", None, None),
        ("dataset", 3, 3),
        ("dataset", "#5", "#5"),
        ("model", SHIPPED, SHIPPED),
    ],
)
def test_shipped_files_are_found_from_any_directory(key: str, value: Any, wanted: Any) -> None:
    text = json.dumps(shipped_files.located(key, value, Path.cwd()))
    assert json.loads(text.replace(str(resources.root()), "/shipped")) == wanted


def test_a_file_of_the_working_directory_wins_over_the_shipped_one() -> None:
    Path(SHIPPED).parent.mkdir(parents=True)
    Path(SHIPPED).touch()
    assert shipped_files.located("dataset", SHIPPED, Path.cwd()) == SHIPPED


# The shell


DUMP = "import json,os,sys;json.dump([sys.argv[1:], dict(os.environ)], sys.stdout)"
_WORDS = [*"ab \t'\"\\$`}{!*?~#&|;<>()[]=%-,\n\u00fc\U0001f642", "${x}", "$(x)"]
_nasty = st.lists(st.sampled_from(_WORDS), max_size=6).map("".join)
_names = st.sampled_from(["A", "B_1", "LANG_X", "_x"])


def run(spec: plan.ProcessSpec, environ: dict[str, str]) -> tuple[list[str], dict[str, str]]:
    """What a program gets when a shell runs the printed line."""
    line = shell.command(spec)
    done = subprocess.run(
        ["sh", "-c", line], env=environ, capture_output=True, check=True, timeout=30
    )
    argv, seen = json.loads(done.stdout)
    return argv, seen


def spec_of(words: list[str], **kwargs: Any) -> plan.ProcessSpec:
    argv = (sys.executable, "-S", "-E", "-c", DUMP, *words)
    return plan.ProcessSpec("server", "server", argv, "/", "log", **kwargs)


@costly
@given(
    st.lists(_nasty, max_size=4),
    st.dictionaries(_names, _nasty, max_size=3),
    st.dictionaries(_names, _nasty, max_size=3),
    st.dictionaries(_names, _nasty, max_size=2),
    st.lists(_nasty, max_size=2),
)
def test_the_printed_line_does_what_the_plan_says(
    words: list[str],
    env: dict[str, str],
    defaults: dict[str, str],
    caller: dict[str, str],
    path: list[str],
) -> None:
    spec = spec_of(words, env=env, env_defaults=defaults, path=tuple(path))
    environ = {"PATH": "/usr/bin:/bin", "PYTHONUTF8": "1", **caller}
    argv, seen = run(spec, environ)
    assert argv == words
    expected = {**defaults, **caller, **env}
    assert {name: seen[name] for name in expected} == expected
    assert seen["PATH"] == ":".join([*path, "/usr/bin:/bin"])


def test_a_default_yields_to_the_caller_even_when_the_caller_s_is_empty() -> None:
    spec = spec_of([], env_defaults={"A": "default", "B": "b c"})
    assert run(spec, {"A": "", "PATH": "/usr/bin:/bin"})[1]["A"] == ""
    assert run(spec, {"PATH": "/usr/bin:/bin"})[1]["A"] == "default"


def test_a_command_that_looks_like_a_variable_is_still_a_command(tmp_path: Path) -> None:
    program = tmp_path / "a=b"
    program.write_text("#!/bin/sh\necho ran\n")
    program.chmod(0o755)
    spec = plan.ProcessSpec("server", "server", (str(program), "x"), "/", "log")
    done = subprocess.run(["sh", "-c", shell.command(spec)], capture_output=True, text=True)
    assert done.stdout == "ran\n"


@pytest.mark.parametrize(
    "text",
    ["a: 1\n", "", "END_OF_FILE\n", "a\nEND_OF_FILE\nb\n", "$x `y` \\ 'z' \"\n", "no newline"],
)
def test_the_printed_files_hold_what_the_plan_says(tmp_path: Path, text: str) -> None:
    target = tmp_path / "new dir" / "it's.yaml"
    planned = make(shipped("summary_1024"), PARTS["server"])
    planned = dataclasses.replace(
        planned, processes=(), files=(plan.PlannedFile(str(target), text),)
    )
    subprocess.run(["sh", "-c", shell.render(planned)], check=True, timeout=30)
    assert target.read_text() == (text if text.endswith("\n") or not text else text + "\n")


@pytest.mark.parametrize(
    ("hosts", "direct"),
    [
        ("[127.0.0.1]", ("127.0.0.1", "localhost", "::1")),
        ("[localhost]", ("127.0.0.1", "localhost", "::1")),
        ("[gpu-7.cluster]", ("gpu-7.cluster",)),
        ("['[fd00::7]']", ("fd00::7",)),
    ],
)
def test_servers_are_reached_without_a_proxy(hosts: str, direct: tuple[str, ...]) -> None:
    config = compose("tiny_cpu", ["role=learner", f"train.rlhf.vllm_server_host={hosts}"])
    assert direct_hosts(config) == direct
