"""``role=advise`` as a user reads it; golden texts are rewritten with --update-golden."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml

from grpo_launch import cli, plan
from grpo_launch.config.hydra import lookup
from tests.advice.made import NAME, line, make_run, start, steady

GOLDEN = Path(__file__).with_name("golden")
DOCUMENT = Path(__file__).resolve().parents[2] / "docs" / "advise.md"


@pytest.fixture(autouse=True)
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A working directory without experiments of its own."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv(lookup.SETTING, raising=False)
    monkeypatch.delenv("HYDRA_FULL_ERROR", raising=False)


@pytest.fixture
def runs(tmp_path: Path) -> Path:
    return tmp_path / "runs"


Advise = Callable[..., tuple[int, str, str]]


@pytest.fixture
def advise(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Advise:
    def run(*arguments: str) -> tuple[int, str, str]:
        monkeypatch.setattr("sys.argv", ["grpo_launch", "role=advise", *arguments])
        status = cli.main()
        shown = capsys.readouterr()
        return status, shown.out, shown.err

    return run


TURNS = [
    "rollout_server.multi_turn_scheduler=gym_scheduler",
    "+train.rlhf.multi_turn_scheduler=gym_scheduler",
]
OVERLAPPING = [
    start(),
    *(
        row
        for n in range(12)
        for row in (
            line("sync", 10 * n, 10 * n + 1, n),
            line("generate", 10 * n + 1, 10 * n + 5, n, background=True),
        )
    ),
]
CASES: dict[str, tuple[list[dict[str, object]], list[str]]] = {
    "learner_is_slow": (steady(40, 6.2, 0.8, 11.4), []),
    "server_is_slow": (
        steady(40, 26.2, 0.8, 5.4, steps=3, requests=144),
        ["rollout_server.vllm_max_num_seqs=4", "train.rlhf.steps_per_generation=9"],
    ),
    "conversations": (steady(12, 9.0, 1.0, 2.5), TURNS),
    "overlapping": (OVERLAPPING, ["train.rlhf.async_generate=true"]),
    "on_a_cpu": (steady(12, 2.0, 0.5, 2.0), ["accelerator=cpu"]),
    "too_few": (steady(5, 6.0, 1.0, 9.0), []),
    "only_begun": (steady(2, 6.0, 1.0, 9.0), []),
}


@pytest.mark.parametrize("name", CASES)
def test_the_advice_is_what_was_reviewed(
    request: pytest.FixtureRequest, runs: Path, advise: Advise, name: str
) -> None:
    lines, overrides = CASES[name]
    make_run(runs, lines, *overrides)
    status, out, err = advise("run=summary_1024")
    assert (status, err) == (0, "")
    golden = GOLDEN / f"{name}.txt"
    if request.config.getoption("--update-golden", default=False):
        golden.parent.mkdir(exist_ok=True)
        golden.write_text(out)
    assert out == golden.read_text()
    assert max(map(len, out.splitlines())) <= 140


def test_every_golden_file_belongs_to_a_case() -> None:
    assert sorted(path.stem for path in GOLDEN.iterdir()) == sorted(CASES)


def test_a_run_is_named_as_grpo_runs_names_it(runs: Path, advise: Advise) -> None:
    directory = make_run(runs, steady(8, 6.0, 1.0, 9.0))
    (runs / "latest").symlink_to(NAME)
    first = advise(f"run={NAME}")
    assert first[0] == 0
    for word in ("latest", "summary_1024", "20261121-14", f"runs/{NAME}", str(directory)):
        assert advise(f"run={word}") == first
    assert advise("output=text", f"run='{NAME}'") == first


def test_json_has_the_documented_fields(runs: Path, advise: Advise) -> None:
    make_run(runs, steady(8, 6.0, 1.0, 9.0))
    status, out, err = advise("run=summary_1024", "output=json")
    assert (status, err) == (0, "")
    body = json.loads(out)
    documented = DOCUMENT.read_text()
    fields = {*body, *body["split"], *body["choices"][0], *body["settings"][0], *body["devices"]}
    assert [name for name in sorted(fields) if f"`{name}`" not in documented] == []
    assert body["best"] in body["choices"]
    assert body["now"]["server"] == 6
    assert body["split"]["learner_waits"] == pytest.approx(6 / 16.1)


def test_servers_of_two_machines_count_but_the_devices_there_are_not_named(
    runs: Path, advise: Advise
) -> None:
    key = "train.rlhf.vllm_server"
    hosts = (f"{key}_host=[127.0.0.1,node1]", f"{key}_port=[8000,8000]", f"{key}_group_port=null")
    make_run(runs, steady(8, 6.2, 0.8, 11.4), *hosts)
    status, out, _ = advise("run=summary_1024")
    assert status == 0
    assert "server   12 GPUs" in out
    assert "gpus.server=" not in out


def test_the_learner_s_own_run_knows_how_many_gpus_serve_but_not_which(
    runs: Path, advise: Advise
) -> None:
    make_run(runs, steady(8, 6.2, 0.8, 11.4), parts=[plan.LEARNER])
    status, out, _ = advise("run=summary_1024")
    assert status == 0
    assert "server   6 GPUs" in out
    assert "advice: 4 + 4 in place of 6 + 2" in out
    assert "gpus.server=" not in out
    assert "the server is of another run" in out


def test_a_run_that_goes_on_is_advised_on_what_is_there(runs: Path, advise: Advise) -> None:
    directory = make_run(runs, steady(8, 6.0, 1.0, 9.0), state="training")
    with open(directory / "timing.jsonl", "a") as file:
        file.write('{"kind": "generate", "begin"')
    status, out, _ = advise("run=summary_1024")
    assert status == 0
    assert out.startswith(f"{NAME}  training\n  looked at 6 generations")


def test_attempts_of_a_restarted_run_are_all_looked_at(runs: Path, advise: Advise) -> None:
    make_run(runs, [*steady(5, 6.0, 1.0, 9.0), *steady(5, 6.0, 1.0, 9.0)])
    assert "looked at 6 generations for 6 optimizer steps" in advise("run=summary_1024")[1]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ([], "command line: run= is missing, say run=RUN: latest"),
        (["run="], "command line: run: has no value, say latest"),
        (["run=nothing"], "command line: run=nothing: is no run below "),
        (["rum=latest"], "command line: rum: is no option of role=advise, did you mean run=?"),
        (["run=latest", "outputs=json"], "did you mean output=?"),
        (["run=latest", "output=yaml"], "'yaml' is no form of output, say text or json"),
        (["run=latest", "config=x"], "config: means nothing here, the run itself says it"),
        (["run=latest", "gpus.server=[0]"], "gpus.server: is no option of role=advise, remove it"),
        (["run=latest", "--cfg", "job"], "--cfg: is no option of role=advise"),
        (["run=latest", "role=check"], "command line: role: is said twice"),
    ],
)
def test_a_wrong_command_line_is_one_line(
    runs: Path, advise: Advise, arguments: list[str], said: str
) -> None:
    make_run(runs, [])
    status, out, err = advise(*arguments)
    assert (status, out) == (2, "")
    assert err.startswith("error: ")
    assert said in err
    assert err.count("\n") == 1


def test_no_runs_at_all(advise: Advise) -> None:
    said = "error: command line: run=latest: runs/ holds no runs, name the directory of a run\n"
    assert advise("run=latest") == (2, "", said)


@pytest.mark.parametrize(
    ("lines", "overrides", "parts", "said"),
    [
        (None, [], [plan.SERVER], "is a rollout server alone, name the run of its learner"),
        (None, [], [plan.LEARNER], "has no timing.jsonl: its learner has not begun, or could not"),
        (None, ["learner.timing=false"], [plan.LEARNER], "was started with learner.timing=false"),
        ([], [], [plan.LEARNER], "its timing.jsonl holds no timing"),
    ],
)
def test_a_run_with_nothing_to_advise_on_is_one_line(
    runs: Path,
    advise: Advise,
    lines: list[dict[str, object]] | None,
    overrides: list[str],
    parts: list[str],
    said: str,
) -> None:
    make_run(runs, lines, *overrides, parts=parts)
    status, out, err = advise("run=summary_1024")
    assert (status, out) == (3, "")
    assert f"error: {NAME}: {said}" in err
    assert err.count("\n") == 1


@pytest.mark.parametrize("file", ["run.json", "plan.json", "config.yaml"])
@pytest.mark.parametrize("text", ["", "{", "[]", "\x00", None], ids=repr)
def test_a_run_that_cannot_be_read_is_one_line(
    runs: Path, advise: Advise, file: str, text: str | None
) -> None:
    path = make_run(runs, steady(8, 6.0, 1.0, 9.0)) / file
    path.unlink() if text is None else path.write_text(text)
    status, out, err = advise("run=summary_1024")
    assert (status, out) == (3, "")
    assert err.startswith(f"error: {NAME}: ")
    assert err.count("\n") == 1


def test_a_learner_whose_batches_are_unknown_gets_no_split(runs: Path, advise: Advise) -> None:
    (make_run(runs, steady(8, 6.0, 1.0, 9.0)) / "learner_arguments.yaml").unlink()
    status, out, _ = advise("run=summary_1024")
    assert status == 0
    assert "split: the learner's batches cannot be read" in out


def test_a_failure_is_json_where_that_was_asked_for(advise: Advise) -> None:
    status, out, err = advise("run=latest", "output=json")
    assert (status, err) == (2, "")
    assert json.loads(out)["problems"][0]["what"] == "runs/ holds no runs"


def test_a_sweep_over_roles_does_not_take_it_for_an_experiment_s(
    advise: Advise, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from grpo_launch.errors import ConfigError
    from grpo_launch.roles import advise as role

    with pytest.raises(ConfigError, match="reads a run, not an experiment"):
        role.run(None, None)  # type: ignore[arg-type]


def test_the_document_shows_what_is_printed() -> None:
    shown = DOCUMENT.read_text().partition("```text\nsplits")[2].partition("```")[0]
    assert f"splits{shown}" in (GOLDEN / "learner_is_slow.txt").read_text()


@pytest.mark.parametrize(
    ("node", "without"),
    [
        ("engine", "no setting of this run's engine says how many replicas"),
        ("learner", "the learner's batches cannot be read"),
    ],
)
def test_of_a_plug_in_that_is_not_installed_nothing_is_assumed(
    runs: Path, advise: Advise, node: str, without: str
) -> None:
    run = make_run(runs, steady(40, 6.2, 0.8, 11.4))
    file = run / "config.yaml"
    config = yaml.safe_load(file.read_text())
    config[node]["name"] = "uninstalled"
    file.write_text(yaml.safe_dump(config))
    status, out, err = advise(f"run={run}")
    assert (status, err) == (0, "")
    assert f"split: {without}" in out
