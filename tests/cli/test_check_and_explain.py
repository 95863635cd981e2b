"""``role=check`` and ``role=explain`` as a user reads them."""

from __future__ import annotations

import json
import re
import shutil

import pytest

from tests.conftest import Project

BASE = "model:\n  model: some/model\nrlhf:\n  num_generations: 4\n"


SUMMARY = """\
model     some/model
tuner     lora, lora_rank 8, lora_alpha 32, target_modules all-linear
data      train.jsonl 1 rows
rewards   format 1
training  steps 3, epochs 3, schedule cosine, warmup 0
batch     8 a device x 1 device x 1 accumulated = 8 completions a step
          = 1 prompt x 8; a generation of 8 lasts for 1 step
server    CPU process 0; TP 1, DP 1; 127.0.0.1:{port}, weight sync {group_port}
learner   CPU process 1; torchrun port {master_port}
tokens    prompt, at most not limited; completion, at most 64; server, both 512
memory    not known
engine    ms-swift 4.6.0
checks    {passed} rules passed, preflight passed
          1 rule skipped: nothing limits the prompt
          1 rule skipped: some/model is a model of a hub
          {skipped} rules skipped: the model has no local config.json
exp: ready to launch
"""


@pytest.mark.slow
def test_a_check_says_what_a_launch_would_be(project: Project) -> None:
    done = project.launch("role=check", "config=exp", "accelerator.kind=cpu")
    assert (done.status, done.stderr) == (0, "")
    shown = re.sub(r"weight sync \d+", "weight sync {group_port}", done.stdout)
    shown = re.sub(r"torchrun port \d+", "torchrun port {master_port}", shown)
    shown = re.sub(r"\d+ rules passed", "{passed} rules passed", shown)
    shown = re.sub(r"\d+ rules skipped", "{skipped} rules skipped", shown)
    assert shown.replace(str(project.port), "{port}") == SUMMARY


@pytest.mark.slow
def test_a_check_names_the_rules_only_when_it_is_asked(project: Project) -> None:
    done = project.run("role=check", "config=exp", "accelerator.kind=cpu", "verbose=true")
    lines = {" ".join(line.split()) for line in done.stdout.splitlines()}
    assert {
        "passed server devices match tp times dp",
        "skipped model supports max model len: the model has no local config.json",
    } <= lines


def test_a_check_of_one_part_asks_for_nothing_of_the_other(project: Project) -> None:
    unset = ("train.rlhf.reward_funcs=null", "train.data.dataset=null")
    both = project.run("role=check", "config=exp", *unset)
    assert both.status == 2
    assert "names no reward" in both.stderr
    server = project.run("role=check", "config=exp", "part=server", *unset)
    assert (server.status, "error" in server.stderr) == (0, False)


def test_a_check_says_that_it_could_not_see_the_gpus(project: Project) -> None:
    done = project.run("role=check", "config=exp")  # no nvidia-smi on its PATH
    assert done.status == 0
    assert "gpus.server: the GPUs could not be checked" in done.stderr
    lines = [" ".join(line.split()) for line in done.stdout.splitlines()]
    assert any(line.endswith("preflight passed, without the GPUs") for line in lines)
    assert lines[-1] == "exp: ready to launch, if the GPUs are there"
    body = json.loads(project.run("role=check", "config=exp", "output=json").stdout)
    assert [found["severity"] for found in body["unchecked"]] == ["warning"]
    assert body["problems"] == []


def test_a_check_for_machines_says_what_could_not_be_loaded(project: Project) -> None:
    experiment = project.directory / "configs" / "exp.yaml"
    text = experiment.read_text().replace("runtime: current", "runtime: docker")
    experiment.write_text(text.replace("vllm_max_model_len: 512", "vllm_max_len: 512"))
    done = project.run("role=check", "config=exp", "output=json", "gpus.learner=[0]")
    assert (done.status, done.stderr) == (2, "")
    body = json.loads(done.stdout)
    assert [found["where"] for found in body["problems"]] == [
        "configs/exp.yaml: custom.extra.rollout_server.vllm_max_len",
        "configs/exp.yaml: custom.extra.launch.runtime",
        "command line: gpus.learner",
    ]
    assert "model is set" in body["passed"]
    assert "tensor parallel size divides attention heads" in [
        found["rule"] for found in body["skipped"]
    ]


def test_explain_refuses_what_could_not_be_loaded(project: Project) -> None:
    experiment = project.directory / "configs" / "exp.yaml"
    experiment.write_text(experiment.read_text().replace("gpus:", "gpu:"))
    done = project.run("role=explain", "config=exp", "key=gpus.server")
    assert (done.status, done.stdout) == (2, "")
    assert "custom.extra.launch.gpu: unknown key, did you mean gpus?" in done.errors[0]


@pytest.mark.slow
def test_a_failed_check_lists_every_error_and_starts_nothing(project: Project) -> None:
    done = project.launch(
        "role=check", "config=exp", "gpus.learner=[0]", "train.rlhf.num_generations=3"
    )
    assert done.status == 2
    assert len(done.errors) == 2
    assert "shares device 0 with gpus.server" in done.errors[0]
    assert "set it to 2 or 4" in done.errors[1]
    assert done.stdout.splitlines()[-1] == "exp: would not start"
    assert project.files() == set()


def test_a_check_for_machines_is_json_alone(project: Project) -> None:
    done = project.run("role=check", "config=exp", "output=json", "gpus.learner=[0]")
    assert (done.status, done.stderr) == (2, "")
    body = json.loads(done.stdout)
    assert body["status"] == 2
    assert [problem["severity"] for problem in body["problems"]] == ["error"]
    assert set(body["problems"][0]) == {"rule", "severity", "where", "what", "fix"}
    assert [problem["rule"] for problem in body["problems"]] == body["failed"]
    assert "server devices match tp times dp" in body["passed"]


def test_a_check_reports_what_preflight_finds(project: Project) -> None:
    done = project.run("role=check", "config=exp", "engine.entry=[no-such]", "output=json")
    assert done.status == 3
    (problem,) = json.loads(done.stdout)["preflight"]
    assert (problem["where"], problem["severity"]) == ("server: no-such", "error")
    assert problem["what"] == "no such command in runtime=current"


def test_a_check_says_what_an_earlier_root_hides(project: Project) -> None:
    (project.directory / "more").mkdir()
    shutil.copy(project.directory / "configs" / "exp.yaml", project.directory / "more")
    done = project.run("role=check", "config=exp", GRPO_LAUNCH_CONFIGS="more")
    assert "more/exp.yaml: the same name, not used" in done.stdout


@pytest.fixture
def chain(project: Project) -> Project:
    configs = project.directory / "configs"
    (configs / "base.yaml").write_text(BASE)
    text = (configs / "exp.yaml").read_text().replace("model:\n  model: some/model\n", "", 1)
    (configs / "exp.yaml").write_text(f"extends: base.yaml\n{text}")
    (configs / "child.yaml").write_text("extends: exp.yaml\nrlhf: {num_generations: 8}\n")
    return project


@pytest.mark.slow
def test_explain_prints_each_file_with_its_line_then_the_command_line(chain: Project) -> None:
    done = chain.launch(
        "role=explain", "config=child", "key=rlhf.num_generations", "train.rlhf.num_generations=2"
    )
    assert done.status == 0, done.stderr
    assert [line.split() for line in done.stdout.splitlines()] == [
        ["configs/base.yaml:4", "4"],
        ["configs/child.yaml:2", "8"],
        ["command", "line", "train.rlhf.num_generations=2"],
        ["rlhf.num_generations", "=", "2"],
    ]


@pytest.mark.parametrize(
    ("key", "last"),
    [
        ("model.model", "model.model = some/model"),
        ("train.model.model", "train.model.model = some/model"),
        ("rollout_server.vllm_max_model_len", "rollout_server.vllm_max_model_len = 512"),
        ("gpus.server", "gpus.server = ['0']"),
        ("health.path", "health.path = /health/"),
    ],
)
def test_explain_knows_every_kind_of_key(chain: Project, key: str, last: str) -> None:
    done = chain.run("role=explain", "config=child", f"key={key}")
    assert done.status == 0, done.stderr
    assert done.stdout.splitlines()[-1] == last


def test_explain_knows_whose_address_it_is(project: Project) -> None:
    said = ("role=explain", "config=exp", "key=gpus.server", "gpus.server=null")
    hosts = {"127.0.0.2": "['0']", "192.0.2.7": "[]"}
    for host, devices in hosts.items():
        named = f"train.rlhf.vllm_server_host=[{host}]"
        done = project.run(*said, "accelerator.kind=cpu", named)
        assert done.stdout.splitlines()[-1] == f"gpus.server = {devices}"


def test_explain_gives_the_rule_of_a_derived_value(project: Project) -> None:
    done = project.run(
        "role=explain", "config=summary_1024", "key=training.gradient_accumulation_steps"
    )
    assert done.stdout.splitlines()[-1] == "training.gradient_accumulation_steps = 3"
    assert "effective_batch_size" in done.stdout


PLAN = """\
custom:
  grpo:
    batch_plan: {enabled: true, per_device_train_batch_size: 8, unified_batch_size: 8}
global_max_length: 64
"""


@pytest.mark.parametrize(
    ("key", "more", "lines"),
    [
        (
            "rlhf.generation_batch_size",
            [],
            ["batch plan, configs/plan.yaml:4 unified_batch_size  8", "8"],
        ),
        (
            "training.per_device_eval_batch_size",
            [],
            ["batch plan, configs/plan.yaml:4 per_device_eval_batch_size  8", "8"],
        ),
        (
            "rlhf.steps_per_generation",
            [],
            [
                (
                    "derived: generation_batch_size / (per_device_train_batch_size x learner "
                    "devices), or gradient_accumulation_steps where that is not set  1"
                ),
                "1",
            ],
        ),
        ("max_length", [], ["derived: global_max_length  64", "64"]),
        ("gpus.learner", [], ["configs/exp.yaml:20  [1]", "['1']"]),
        (
            "custom.extra.rollout_server.vllm_max_model_len",
            ["rollout_server.vllm_max_model_len=256"],
            [
                "configs/exp.yaml:17  512",
                "command line  rollout_server.vllm_max_model_len=256",
                "256",
            ],
        ),
        (
            "runtime.kind",
            [],
            ["default  current", "configs/exp.yaml:19  runtime: current", "current"],
        ),
        (
            "health.timeout_s",
            ["accelerator=cpu"],
            ["default  300.0", "groups, accelerator=cpu  600.0", "600.0"],
        ),
        (
            "rollout_server.vllm_max_num_seqs",
            [],
            ["default of ms-swift 4.6.0 (swift rollout)  256", "256"],
        ),
        (
            "output_dir",
            [],
            [
                "derived: output/ of the run directory  runs/plan/<id>/output",
                "runs/plan/<id>/output",
            ],
        ),
    ],
)
def test_explain_names_every_place_of_a_value(
    chain: Project, key: str, more: list[str], lines: list[str]
) -> None:
    (chain.directory / "configs" / "plan.yaml").write_text(f"extends: child.yaml\n{PLAN}")
    done = chain.run("role=explain", "config=plan", f"key={key}", *more)
    assert done.status == 0, done.stderr
    shown = [re.sub(" {2,}", "  ", line) for line in done.stdout.splitlines()]
    assert shown == [*lines[:-1], f"{key} = {lines[-1]}"]


ENGINE = "ms-swift 4.6.0 (swift rollout)"
LEARNER = "ms-swift 4.6.0 (swift rlhf)"


@pytest.mark.parametrize(
    ("key", "more", "lines"),
    [
        (
            "num_generations",
            [],
            ["configs/base.yaml:4  4", "configs/child.yaml:2  8", "train.rlhf.num_generations = 8"],
        ),
        (
            "vllm_max_model_len",
            [],
            ["configs/exp.yaml:17  512", "rollout_server.vllm_max_model_len = 512"],
        ),
        (
            "tuner_type",
            ["train.tuner.tuner_type=full"],
            ["command line  train.tuner.tuner_type=full", "train.tuner.tuner_type = full"],
        ),
        ("lora_rank", [], [f"default of {LEARNER}  8", "lora_rank = 8"]),
        (
            "max_turns",
            [],
            [
                *(
                    f"not set  left to {ENGINE}, which has no default",
                    "rollout_server.max_turns = null",
                ),
                *("", "not set  see docs/training/REFERENCE.md", "collector.max_turns = null"),
                *("", f"not set  left to {LEARNER}, which has no default", "max_turns = null"),
            ],
        ),
        (
            "max_turns",
            ["rollout_server.max_turns=3"],
            ["command line  rollout_server.max_turns=3", "rollout_server.max_turns = 3"],
        ),
        (
            "wandb.project",
            ["tracking.wandb.project=games"],
            ["command line  tracking.wandb.project=games", "tracking.wandb.project = games"],
        ),
        (
            "rollout_server.vllm_gpu_memory_utilization",
            ["rollout_server.vllm_gpu_memory_utilization=null"],
            [
                "command line  rollout_server.vllm_gpu_memory_utilization=null",
                f"default of {ENGINE}  0.9",
                "rollout_server.vllm_gpu_memory_utilization = 0.9",
            ],
        ),
    ],
)
def test_explain_finds_what_a_short_key_names_and_the_defaults_of_the_programs(
    chain: Project, key: str, more: list[str], lines: list[str]
) -> None:
    done = chain.run("role=explain", "config=child", f"key={key}", *more)
    assert done.status == 0, done.stderr
    assert [re.sub(" {2,}", "  ", line) for line in done.stdout.splitlines()] == lines


BARE = """\
model: {model: some/model}
custom: {extra: {launch: {runtime: current}}}
"""


@pytest.mark.parametrize(
    ("key", "lines"),
    [
        ("vllm_mode", ["by the launcher: server mode  server", "vllm_mode = server"]),
        ("rlhf.use_vllm", ["by the launcher: server mode  true", "rlhf.use_vllm = true"]),
        (
            "rlhf.vllm_server_host",
            [
                "by the launcher: server mode  ['127.0.0.1']",
                "rlhf.vllm_server_host = ['127.0.0.1']",
            ],
        ),
        (
            "rlhf.vllm_server_port",
            [f"default of {LEARNER}  [8000]", "rlhf.vllm_server_port = [8000]"],
        ),
        (
            "rollout_server.vllm_tensor_parallel_size",
            [f"default of {ENGINE}  1", "rollout_server.vllm_tensor_parallel_size = 1"],
        ),
        (
            "rollout_server.vllm_max_model_len",
            ["not set  the model's own", "rollout_server.vllm_max_model_len = null"],
        ),
    ],
)
def test_explain_says_who_says_what_nobody_said(
    project: Project, key: str, lines: list[str]
) -> None:
    (project.directory / "configs" / "bare.yaml").write_text(BARE)
    done = project.run("role=explain", "config=bare", f"key={key}")
    assert done.status == 0, done.stderr
    assert [re.sub(" {2,}", "  ", line) for line in done.stdout.splitlines()] == lines


def test_a_check_lists_what_nobody_said_and_who_says_it(project: Project) -> None:
    text = f"{BARE}rlhf: {{reward_funcs: [accuracy], num_generations: 2}}\n"
    text += "data: {dataset: [some/data]}\n"
    text += "training: {gradient_accumulation_steps: 2, eval_strategy: 'no'}\n"
    (project.directory / "configs" / "bare.yaml").write_text(text)
    split = ("gpus.server=[0]", "gpus.learner=[1]")
    done = project.run("role=check", "config=bare", *split, "preflight=false", "output=json")
    assert done.status == 0, done.stdout
    assert json.loads(done.stdout)["summary"]["defaults"] == {
        "vllm_tensor_parallel_size": "1 (ms-swift)",
        "vllm_data_parallel_size": "1 (ms-swift)",
        "vllm_max_model_len": "the model's own",
        "use_vllm": "true (launcher, server mode)",
        "vllm_mode": "'server' (launcher, server mode)",
        "vllm_server_host": "['127.0.0.1'] (launcher, server mode)",
    }


def test_explain_for_machines_lists_every_node_of_a_short_key(chain: Project) -> None:
    done = chain.run("role=explain", "config=child", "key=kind", "output=json")
    body = json.loads(done.stdout)
    assert (body["node"], body["value"]) == ("runtime.kind", "current")
    assert [(found["node"], found["value"]) for found in body["others"]] == [
        ("accelerator.kind", "cuda")
    ]


def test_explain_masks_what_a_short_key_finds(project: Project) -> None:
    experiment = project.directory / "configs" / "exp.yaml"
    experiment.write_text(experiment.read_text() + "tuner:\n  hub_token: abcdefgh12\n")
    done = project.run("role=explain", "config=exp", "key=hub_token")
    assert done.stdout.splitlines()[-1] == "train.tuner.hub_token = **********"
    assert "abcdefgh12" not in done.stdout + done.stderr


def test_explain_names_the_line_of_a_native_file(project: Project) -> None:
    (project.directory / "configs" / "n.yaml").write_text(
        "# @package _global_\ntrain:\n  rlhf:\n    x: '${train.rlhf.y}'\n    y: 4\n"
    )
    done = project.run("role=explain", "config=n", "key=rlhf.x")
    assert done.stdout.splitlines() == [
        "configs/n.yaml:4  ${train.rlhf.y}",
        "composed          4",
        "rlhf.x = 4",
    ]


def test_explain_names_near_keys(project: Project) -> None:
    done = project.run("role=explain", "config=exp", "key=rlhf.vllm_mod")
    assert done.status == 2
    assert "did you mean rlhf.vllm_mode" in done.errors[0]


@pytest.mark.parametrize(
    ("text", "said"),
    [("a: [1\n", "malformed YAML"), ("a: ${env:X}\nextends: gone.yaml\n", "gone.yaml")],
)
def test_a_machine_gets_json_even_of_a_file_that_cannot_be_read(
    project: Project, text: str, said: str
) -> None:
    (project.directory / "configs" / "bad.yaml").write_text(text)
    done = project.run("role=check", "config=bad", "output=json")
    body = json.loads(done.stdout)
    assert (done.status, body["status"], done.stderr) == (2, 2, "")
    (problem,) = body["problems"]
    assert said in f"{problem['where']}: {problem['what']}"
