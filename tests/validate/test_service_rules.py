"""Side processes: what may be said of them in each form, and what a plan makes of it."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import pytest
import yaml

from grpo_launch import plan
from grpo_launch.checks import report
from grpo_launch.checks.examine import validate
from grpo_launch.config.compose import compose
from grpo_launch.config.facts import Facts
from grpo_launch.config.hydra import lookup
from grpo_launch.config.launch_config import LaunchConfig
from grpo_launch.config.schema_services import Service, ServiceCheck
from grpo_launch.errors import LaunchError
from grpo_launch.planning import devices, listening, planner, shell
from grpo_launch.settle import ports
from tests.validate.test_rules import GOOD

CWD = Path("/project")
URL = "http://127.0.0.1:9000/health"
JUDGE = {"argv": ["judge", "--port", 9000], "devices": [3], "check": {"url": URL}}
SAID = Service(["judge", "--port", "9000"], ["3"], {}, ServiceCheck(URL))
BOTH = (plan.SERVER, plan.LEARNER)


@pytest.fixture(autouse=True)
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A working directory for the experiment ``x.yaml``."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv(lookup.SETTING, raising=False)


def experiment(*overrides: str, role: str = "both", **services: Any) -> LaunchConfig:
    """An experiment with these services; GPU 0 serves, 1 and 2 learn."""
    body = copy.deepcopy(GOOD)
    body["custom"]["extra"]["launch"] |= {"services": services}
    body["custom"]["extra"]["launch"]["gpus"] = {"server": [0], "learner": [1, 2]}
    body["custom"]["extra"]["rollout_server"] |= {
        "vllm_tensor_parallel_size": 1,
        "vllm_data_parallel_size": 1,
    }
    Path("x.yaml").write_text(yaml.safe_dump(body))
    return compose("x", [f"role={role}", *overrides])


def judge(**changes: Any) -> dict[str, Any]:
    return {**JUDGE, **changes}


def found(config: LaunchConfig) -> list[str]:
    return [str(problem) for problem in validate(config) if "services" in str(problem)]


def planned(config: LaunchConfig, *parts: str) -> plan.LaunchPlan:
    assert found(config) == []
    split = devices.assign(config, [str(i) for i in range(8)])
    return planner.build(config, split, parts or BOTH, "r", CWD)


# What is said


def test_a_legacy_file_says_it_in_its_launch_block() -> None:
    assert experiment(judge=JUDGE).services == {"judge": SAID}


@pytest.mark.slow
def test_a_native_file_says_it_at_its_top() -> None:
    native = {"rollout_server": {}, "train": GOOD, "services": {"judge": JUDGE}}
    Path("x.yaml").write_text("# @package _global_\n" + yaml.safe_dump(native))
    assert compose("x").services == {"judge": SAID}


@pytest.mark.parametrize("plus", ["", "+", "++"])
def test_the_command_line_adds_one_with_and_without_plus(plus: str) -> None:
    words = ["judge.argv=[judge,--port,9000]", "judge.devices=[3]", f"judge.check.url='{URL}'"]
    config = experiment(*(f"{plus}services.{word}" for word in words))
    assert config.services == {"judge": SAID}


@pytest.mark.slow(every_row=True)
@pytest.mark.parametrize(
    ("override", "wanted"),
    [
        ("services.judge.devices=[4]", {"judge": judge(devices=[4])}),
        ("services.judge={argv: [x]}", {"judge": judge(argv=["x"])}),
        ("services.judge=null", {}),
        ("~services.judge", {}),
        ("~services.judge.check", {"judge": judge(check={})}),
        ("services.tool.argv=[t]", {"judge": JUDGE, "tool": {"argv": ["t"]}}),
    ],
)
def test_the_command_line_changes_and_removes_one(override: str, wanted: dict[str, Any]) -> None:
    assert experiment(override, judge=JUDGE).services == experiment(**wanted).services


@pytest.mark.slow
def test_what_a_file_extends_is_merged() -> None:
    experiment(judge=JUDGE)
    Path("x.yaml").rename("base.yaml")
    more = {"services": {"judge": {"devices": []}, "tool": {"argv": ["t"]}}}
    body = {"extends": "base.yaml", "custom": {"extra": {"launch": more}}}
    Path("y.yaml").write_text(yaml.safe_dump(body))
    services = compose("y").services
    assert (services["judge"].argv, services["judge"].devices) == (SAID.argv, [])
    assert services["tool"].argv == ["t"]


WORDS = [("true", "true"), ("1", "1"), ("0.9", "0.9"), ("'${x}'", "${x}"), ("'???'", "???")]


@pytest.mark.slow(every_row=True)
@pytest.mark.parametrize(("typed", "word"), WORDS[:3])
def test_words_and_variables_are_text_as_it_is_written(typed: str, word: str) -> None:
    overrides = (f"services.a.argv=[a,{typed}]", f"services.a.env.V={typed}")
    for config in (
        experiment(*overrides),
        experiment(a={"argv": ["a", yaml.safe_load(typed)], "env": {"V": yaml.safe_load(typed)}}),
    ):
        assert config.services == {"a": Service(["a", word], [], {"V": word})}


def test_a_file_s_text_is_no_interpolation() -> None:
    config = experiment(a={"argv": ["a", "${x}"], "env": {"V": "${y}"}})
    assert config.services == {"a": Service(["a", "${x}"], [], {"V": "${y}"})}


UNREADABLE: list[tuple[Any, str]] = [
    (judge(agv=[]), ".judge.agv: unknown key, did you mean argv?"),
    (judge(argv="judge --port 9000"), ".judge.argv: 'judge --port 9000' is not a list"),
    (judge(argv=["a", None]), ".judge.argv.1: null is not a string"),
    (judge(devices=3), ".judge.devices: 3 is not a list"),
    (judge(check=URL), f".judge.check: '{URL}' is not a mapping"),
    (judge(check={"timeout": 3}), ".judge.check.timeout: unknown key, did you mean timeout_s?"),
    (judge(check={"timeout_s": "soon"}), ".judge.check.timeout_s: 'soon' is not a number"),
    (["judge"], ".judge: must be a mapping, not ['judge']"),
    ({"cmd": ["judge"]}, ".judge.cmd: unknown key, use one of argv, check, devices, env"),
]


@pytest.mark.parametrize(("said", "wanted"), UNREADABLE, ids=[w for _, w in UNREADABLE])
def test_what_cannot_be_read_is_named_with_its_place(said: Any, wanted: str) -> None:
    (problem,) = found(experiment(judge=said))
    assert problem.startswith(f"x.yaml: custom.extra.launch.services{wanted}")


@pytest.mark.slow(every_row=True)
@pytest.mark.parametrize(("said", "shown"), [(["judge"], "['judge']"), ("judge", "'judge'")])
def test_services_are_a_mapping(said: Any, shown: str) -> None:
    experiment()
    Path("y.yaml").write_text(yaml.safe_dump({"extends": "x.yaml", "services": said}))
    (problem,) = found(compose("y"))
    assert problem == f"y.yaml: services: must be a mapping, not {shown}, write keys below"


def test_a_mistake_of_the_command_line_is_named_there() -> None:
    (problem,) = found(experiment("services.judge.agv=[a]", judge=JUDGE))
    assert problem == "command line: services.judge.agv: unknown key, did you mean argv?"


# The rules


WRONG: list[tuple[str, dict[str, Any], str]] = [
    ("a-b", JUDGE, ".a-b: 'a-b' is no name"),
    ("../x", JUDGE, ".../x: '../x' is no name"),
    *(
        (name, JUDGE, f".{name}: {name} is the name of another process")
        for name in ("server", "learner", "server_0", "upload", "rehearsal", "witness", "launcher")
    ),
    ("judge", judge(argv=[]), ".judge.argv: is empty"),
    ("judge", {}, ".judge.argv: is empty"),
    ("judge", judge(argv=["a", "x\0"]), ".judge.argv: holds a zero byte"),
    ("judge", judge(argv=["a", "--api-key=x"]), ".judge.argv: --api-key gives a secret"),
    ("judge", judge(argv=["a", "--token", "x"]), ".judge.argv: --token gives a secret"),
    ("judge", judge(argv=["env", "HF_TOKEN=x", "a"]), ".judge.argv: HF_TOKEN gives a secret"),
    ("judge", judge(env={"HF_TOKEN": "abc"}), ".judge.env.HF_TOKEN: a secret in the"),
    ("judge", judge(env={"A-B": "x"}), ".judge.env.A-B: 'A-B' is not a name of a variable"),
    ("judge", judge(env={"CUDA_VISIBLE_DEVICES": "3"}), ".judge.env.CUDA_VISIBLE_DEVICES: is set"),
    ("judge", judge(devices=[3, 3]), ".judge.devices: lists 3 more than once"),
    ("judge", judge(devices=["3,4"]), ".judge.devices: '3,4' is no device"),
    ("judge", judge(devices=[-1]), ".judge.devices: '-1' is no device"),
    ("judge", judge(devices=[""]), ".judge.devices: '' is no device"),
    ("judge", judge(devices=[0]), ".judge.devices: shares device 0 with gpus.server"),
    ("judge", judge(devices=[2]), ".judge.devices: shares device 2 with gpus.learner"),
    *(
        ("judge", judge(check={"url": url}), f".judge.check.url: '{url}' is no HTTP URL")
        for url in ("127.0.0.1:9000", "tcp://h:1", "http://", "http://h:x/", "http://h:0", "")
    ),
    ("judge", judge(check={"url": URL, "timeout_s": 0}), ".judge.check.timeout_s: 0 is no time"),
    ("judge", judge(check={"url": "http://localhost:8080"}), ".judge.check.url: port 8080 is also"),
]


@pytest.mark.parametrize(("name", "said", "wanted"), WRONG, ids=[w for _, _, w in WRONG])
def test_what_does_not_fit_is_said(name: str, said: dict[str, Any], wanted: str) -> None:
    named: Any = {name: said}
    (problem,) = found(experiment(**named))
    assert problem.startswith(f"x.yaml: custom.extra.launch.services{wanted}")


RIGHT: list[dict[str, dict[str, Any]]] = [
    {"judge": JUDGE},
    {"judge": {"argv": ["j"]}},
    {"judge": JUDGE, "teacher": judge(check={})},  # both on GPU 3
    {"server_of_tools": judge(devices=["GPU-5ebe9f43", "MIG-GPU-1/2/0"])},
    {"judge": judge(check={"url": "https://judge.example/ready?x=1"})},
    {"judge": judge(check={"url": "http://[::1]:9000"})},
    {"judge": judge(check={"url": "http://elsewhere:8000"})},
    {"judge": judge(argv=["vllm", "--tokenizer", "x", "--max-tokens", "3", "--api-key-file", "f"])},
    {"judge": judge(argv=["env", "HF_TOKEN=", "MAX_TOKENS=3", "tokenizer=x"])},
    {"judge": judge(check=None, devices=None, env=None)},
    {"judge": judge(argv=["python", "a b.py", "it's", "--token"])},
]


@pytest.mark.parametrize("services", RIGHT, ids=str)
def test_what_fits_is_accepted(services: dict[str, Any]) -> None:
    assert found(experiment(**services)) == []


def test_a_server_elsewhere_has_other_devices() -> None:
    config = experiment(
        "train.rlhf.vllm_server_host=[node1]", role="learner", judge=judge(devices=[0])
    )
    assert found(config) == []
    two = ["train.rlhf.vllm_server_host=[node1,localhost]", "train.rlhf.vllm_server_port=[1,2]"]
    (shared,) = found(experiment(*two, role="learner", judge=judge(devices=[0])))
    assert "shares device 0 with gpus.server" in shared


# The plan


def test_services_come_first_and_the_learner_waits_for_them() -> None:
    config = experiment(judge=judge(env={"K": "v"}), tool={"argv": ["./tool"]})
    made = planned(config)
    assert [spec.name for spec in made.processes] == ["judge", "tool", "server", "learner"]
    assert [spec.part for spec in made.processes[:2]] == [plan.SERVICE] * 2
    assert made.processes[0] == plan.ProcessSpec(
        name="judge",
        part=plan.SERVICE,
        argv=("judge", "--port", "9000"),
        cwd="/project",
        log="r/logs/judge.log",
        env={"K": "v", "CUDA_VISIBLE_DEVICES": "3"},
        devices=("3",),
    )
    assert made.processes[1].env == {"CUDA_VISIBLE_DEVICES": ""}
    assert [gate.server for gate in made.gates] == ["server", "judge"]
    gate = made.gates[1]
    assert (gate.url, gate.checks) == (
        "http://127.0.0.1:9000",
        (plan.HttpCheck("health", "/health"),),
    )
    assert made.ports[-1] == 9000
    assert made.server_urls == ["http://127.0.0.1:8080"]
    text = shell.render(made)
    assert "env K=v CUDA_VISIBLE_DEVICES=3 judge --port 9000\n" in text
    assert "and http://127.0.0.1:9000/health answers 200; log r/logs/learner.log" in text


def test_they_belong_to_the_run_that_learns() -> None:
    config = experiment(judge=JUDGE)
    server, learner = planned(config, plan.SERVER), planned(config, plan.LEARNER)
    assert [spec.name for spec in server.processes] == ["server"]
    assert [gate.server for gate in server.gates] == ["server"]
    assert 9000 not in server.ports
    assert [spec.name for spec in learner.processes] == ["judge", "learner"]
    assert [gate.server for gate in learner.gates] == ["server", "judge"]


def test_runtime_and_env_are_of_the_halves() -> None:
    config = experiment("runtime=conda", "runtime.name=ms", "+env.set.A=b", judge=JUDGE)
    judged, server, _ = planned(config).processes
    assert (judged.argv[0], server.argv[0]) == ("judge", "conda")
    assert "A" not in judged.env
    assert server.env["A"] == "b"


def test_on_a_cpu_they_see_no_gpu() -> None:
    made = planned(experiment("accelerator=cpu", judge=JUDGE))
    assert made.processes[0].env["CUDA_VISIBLE_DEVICES"] == ""


def test_the_halves_do_not_get_their_devices() -> None:
    config = experiment("gpus.server=null", "gpus.learner=null", judge=judge(devices=[0, 2]))
    split = devices.assign(config, ["0", "1", "2", "3", "4"])
    assert (split.server, split.learner) == (("1",), ("3", "4"))
    with pytest.raises(LaunchError, match="0 of the 1 devices that TP x DP needs are free"):
        devices.assign(config, ["0", "2"])


@pytest.mark.parametrize(
    ("url", "base", "path"),
    [
        ("http://127.0.0.1:9000", "http://127.0.0.1:9000", "/"),
        ("http://localhost/v1/health", "http://localhost:80", "/v1/health"),
        ("https://h/x?a=1&b=2#top", "https://h:443", "/x?a=1&b=2"),
        ("http://h?x=1", "http://h:80", "/?x=1"),
        ("http://[::1]:9000/h", "http://[::1]:9000", "/h"),
    ],
)
def test_a_url_becomes_a_gate(url: str, base: str, path: str) -> None:
    gate = planned(experiment(judge=judge(check={"url": url}))).gates[1]
    assert (gate.url, gate.checks[0].path) == (base, path)


def test_a_port_of_a_service_is_not_chosen_for_anything_else() -> None:
    url = f"http://localhost:{ports.MASTER_START}"
    config = experiment("ports=auto", judge=judge(check={"url": url}))
    with ports.chosen(config, BOTH, {}, "x", hold=False, look=False) as choice:
        assert choice.config.learner.master_port == ports.MASTER_START + 1


def test_only_ports_of_this_machine_are_looked_at() -> None:
    here, there = judge(), judge(check={"url": "http://node1:9001"})
    config = experiment(here=here, there=there)
    key = "services.here.check.url"
    assert [*listening.of_services(config)] == [(9000, key)]
    (*_, port) = listening.ports(config, planned(config))
    assert port.where == f"x.yaml: custom.extra.launch.{key}"


def test_the_report_and_the_record_tell_of_them() -> None:
    config = experiment(judge=JUDGE, tool={"argv": ["t"]})
    assert report.summary(config, Facts())["services"] == {
        "judge": f"on GPU 3, {URL}",
        "tool": "on no GPU, without a check",
    }
    recorded = config.as_dict()["services"]["judge"]
    assert recorded == {
        "argv": ["judge", "--port", "9000"],
        "devices": ["3"],
        "env": {},
        "check": {"url": URL, "timeout_s": 300.0},
    }
    assert "services" not in report.summary(experiment(), Facts())
