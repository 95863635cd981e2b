"""``check EXP`` for ``role=check config=EXP``, and what to type instead of a word that is wrong."""

from __future__ import annotations

from importlib import metadata

import pytest

from grpo_launch import __version__
from grpo_launch.cli import words
from tests.conftest import Project

SETTING = "is a setting, not a flag"
EXPERIMENT = "is an experiment, not a role"
MANY = "is one word too many behind"
ROLES = "advise, both, check, explain, learner, loop, rollout, server, update, runs, import, help"

EXPANSIONS = [
    ("check exp", "role=check config=exp"),
    ("both exp dry_run=true", "role=both config=exp dry_run=true"),
    ("check dry_run=true exp", "role=check dry_run=true config=exp"),
    ("--multirun both exp a=1,2", "--multirun role=both config=exp a=1,2"),
    ("-m both a,b", "--multirun role=both config=a,b"),
    ("--cfg job -p train both exp", "--cfg job --package train role=both config=exp"),
    ("--info both exp", "--info role=both config=exp"),
    ("--info defaults-tree both exp", "--info defaults-tree role=both config=exp"),
    ("explain exp rlhf.beta", "role=explain config=exp key=rlhf.beta"),
    ("explain exp key=rlhf.beta", "role=explain config=exp key=rlhf.beta"),
    ("advise latest", "role=advise run=latest"),
    ("check dir/exp.yaml", "role=check config=dir/exp.yaml"),
    ("check 2048", "role=check config='2048'"),
    ("check été", "role=check config='été'"),
    # Names like those of roles: the first word is the role, the second never is one.
    ("check", "role=check"),
    ("check check", "role=check config=check"),
    ("check runs", "role=check config=runs"),
    # What an override says already stays as it is, and is refused.
    ("check config=a b", "role=check config=a b"),
    ("role=check exp", "role=check exp"),
    ("check role=both", "check role=both"),
    ("exp check", "exp check"),
    # Hydra's flags by their beginnings, as argparse takes them.
    ("--multi --cfg=job -cjob", "--multirun --cfg=job --cfg=job"),
]


@pytest.mark.parametrize(("typed", "meant"), EXPANSIONS)
def test_what_a_short_form_means(typed: str, meant: str) -> None:
    assert words.expanded(typed.split()) == meant.split()


def test_hydras_flags_are_known() -> None:
    from hydra._internal.utils import get_args_parser

    known: dict[str, tuple[str, ...] | None] = {"--": None}
    short: dict[str, str] = {}
    for action in get_args_parser()._actions:
        long = [name for name in action.option_strings if name.startswith("--")]
        short |= {name: long[0] for name in action.option_strings if name not in long}
        takes = None if action.nargs == 0 else tuple(action.choices or ())
        known |= dict.fromkeys(long, takes)
    assert known == words.FLAGS
    assert short == words.SHORT


@pytest.mark.parametrize(
    ("typed", "answer"),
    [
        ("both exp --dry-run", f"--dry-run: {SETTING}, write dry_run=true"),
        ("both exp --dry_run=json", f"--dry_run: {SETTING}, write dry_run=json"),
        ("both --config exp", f"--config: {SETTING}, write config=exp"),
        ("both exp dry_run", "dry_run: has no value, write dry_run=true"),
        ("both exp ports", "ports: has no value, write ports=VALUE"),
        ("both exp +a", "+a: has no value, write +a=VALUE"),
        (
            "both exp --num_generations 4",
            f"--num_generations: {SETTING}, write train.rlhf.num_generations=4",
        ),
        (
            "--num-generations=4",
            f"--num-generations: {SETTING}, write train.rlhf.num_generations=4",
        ),
        (
            "both exp --rlhf.beta 0",
            f"--rlhf.beta: {SETTING}, write train.rlhf.beta=0",
        ),
        (
            "both exp --vllm_enforce_eager",
            f"--vllm_enforce_eager: {SETTING}, write rollout_server.vllm_enforce_eager=true",
        ),
        (
            "both exp --dataset a.jsonl",
            f"--dataset: {SETTING}, write 'train.data.dataset=[a.jsonl]'",
        ),
        (
            "both exp --optim adam",
            f"--optim: {SETTING}, write train.training.optim=adam",
        ),
        (
            "both exp --hub_token hf_very_secret",
            f"--hub_token: {SETTING}, write train.training.hub_token=VALUE",
        ),
        (
            "both exp --learning_rat 1",
            "--learning_rat: no such flag, did you mean train.training.learning_rate=1?",
        ),
        ("both exp --multrun", "--multrun: no such flag, did you mean --multirun?"),
        ("both exp --x", "--x: no such flag, write KEY=VALUE for settings, see --help"),
        ("both exp --cfg", "--cfg: has no value, choose one of job, hydra, all"),
        ("both exp --cfg it", "--cfg: 'it' is unknown, choose one of job, hydra, all"),
        ("both exp --resolve=1", "--resolve: takes no value, leave it out"),
        ("chek exp", "chek: no such role, did you mean check?"),
        (
            "compose a.sh",
            f"compose: no such role, choose one of {ROLES}",
        ),
        (
            "exp",
            f"exp: {EXPERIMENT}, write check exp or both exp (all roles: {ROLES})",
        ),
        ("role=check exp", "exp: has no value, write config=exp"),
        ("check role=both exp", "check: role=both is said already, remove one of them"),
        (
            "check exp other",
            f"other: {MANY} config=exp, write KEY=VALUE for a setting, or remove it",
        ),
    ],
)
def test_a_word_that_is_wrong_is_answered_with_what_to_type(
    project: Project, typed: str, answer: str
) -> None:
    done = project.run(*typed.split())
    assert (done.status, done.stdout) == (2, "")
    assert done.stderr == f"error: command line: {answer}\n"


def test_an_experiment_may_have_the_name_of_a_role(project: Project) -> None:
    experiment = project.directory / "configs" / "exp.yaml"
    experiment.rename(experiment.with_name("both.yaml"))
    done = project.run("server", "both", "dry_run=true")
    assert (done.status, done.stderr) == (0, "")
    assert done.stdout.startswith("# both, role=server; ")


def test_a_missing_experiment_is_not_guessed(project: Project) -> None:
    done = project.run("check")
    assert done.status == 2
    assert done.stderr.startswith("error: command line: config= is missing, say config=NAME, ")


def test_both_forms_do_the_same(project: Project) -> None:
    done = project.run("both", "exp", "dry_run=json")
    assert done == project.run("role=both", "config=exp", "dry_run=json")
    assert done.status == 0


@pytest.mark.slow
def test_the_short_form_sweeps(project: Project) -> None:
    done = project.run("both", "exp", "--multirun", "train.rlhf.beta=0.1,0.2", "dry_run=true")
    assert (done.status, done.stderr) == (0, "")
    points = [line for line in done.stdout.splitlines() if line.startswith("# sweep: ")]
    assert points == ["# sweep: #0 train.rlhf.beta=0.1", "# sweep: #1 train.rlhf.beta=0.2"]


def test_runs_hands_over_to_grpo_runs(project: Project) -> None:
    done = project.run("runs", "list", "--json")
    assert done == project.run("list", "--json", module="grpo_launch.monitor")
    assert done.status == 0
    assert '"runs": []' in done.stdout
    assert "see grpo-runs --help" in project.run("runs", "lst").stderr


def test_the_version_is_ours(project: Project) -> None:
    hydra, omegaconf = metadata.version("hydra-core"), metadata.version("omegaconf")
    done = project.run("--version")
    wanted = f"grpo_launch {__version__} (Hydra {hydra}, OmegaConf {omegaconf})\n"
    assert (done.status, done.stdout, done.stderr) == (0, wanted, "")
