"""Planted secrets are nowhere: not in a run's directory, not in what is printed."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import Finished, Project
from tests.launch.helpers import in_state, nothing_left, run_of, supervisor, until

SECRETS = {
    "WANDB_API_KEY": "planted0123456789abcdef0123456789abcdef01",
    "HF_TOKEN": "hf_planted'with\"quotes\\and-a-backslash",
    "MY_PASSWORD": "plänted-pässword",
}
FROM_FILE = {"MODELSCOPE_API_TOKEN": "planted-in-the-env-file"}
RUN = ("role=both", "config=exp", "run.dir=runs/r")


def spellings(secret: str) -> set[str]:
    """As it is, as JSON, as Python shows it."""
    return {secret, json.dumps(secret)[1:-1], repr(secret)[1:-1]}


def holders(directory: Path, secrets: dict[str, str]) -> list[str]:
    """The files below a directory that hold one of the secrets in any spelling."""
    needles = [s.encode() for value in secrets.values() for s in spellings(value)]
    files = [path for path in directory.rglob("*") if path.is_file()]
    return [str(f) for f in files if any(needle in f.read_bytes() for needle in needles)]


def shows_nothing(done: Finished) -> None:
    for secret in {**SECRETS, **FROM_FILE}.values():
        for text in spellings(secret):
            assert text not in done.stdout + done.stderr


def with_env_file(project: Project) -> str:
    file = project.directory / "secrets.env"
    file.write_text("".join(f"{name}={value}\n" for name, value in FROM_FILE.items()))
    file.chmod(0o600)
    return "env.file=secrets.env"


@pytest.mark.slow
@pytest.mark.parametrize("how", ["ok", "learner fails", "server dies"])
def test_a_run_that_prints_its_environment(project: Project, how: str) -> None:
    more = ["console.learner=log", "tracking=wandb", "tracking.wandb.mode=offline"]
    environ = {**SECRETS, "FAKE_CHATTER": "1", "FAKE_CHECKPOINT": "1"}
    if how == "learner fails":
        environ["FAKE_LEARNER"] = "fail"
    if how == "server dies":
        environ["FAKE_SERVER"] = "die_at_start"
    done = project.launch(*RUN, *more, with_env_file(project), **environ)
    run = run_of(project, "r")
    assert holders(run, {**SECRETS, **FROM_FILE}) == []
    shows_nothing(done)
    # The processes did get them: the stars are in their places.
    log = (run / "logs" / "attempt_1" / "server.log").read_text()
    for name, secret in {**SECRETS, **FROM_FILE}.items():
        assert f'"{name}": "{"*" * len(json.dumps(secret)[1:-1])}"' in log


@pytest.mark.slow
def test_grpo_runs_logs_of_a_run_that_goes_on(project: Project) -> None:
    environ = {**SECRETS, "FAKE_CHATTER": "1", "FAKE_LEARNER": "hang"}
    started = project.start(*RUN, with_env_file(project), **environ)
    run = run_of(project, "r")
    log = run / "logs" / "attempt_1" / "learner.log"
    until(lambda: log.exists() and "fake learner" in log.read_text())
    assert in_state(run, "training")
    assert str(log) in holders(run, FROM_FILE)
    code = "import sys; from grpo_launch.monitor.cli import main; sys.exit(main())"
    shown = subprocess.run(
        [sys.executable, "-c", code, "logs", "runs/r", "-n", "100"],
        cwd=project.directory,
        env=project.environment(),  # none of the secrets
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    assert "MODELSCOPE_API_TOKEN" in shown
    shows_nothing(Finished(0, shown, ""))
    started.terminate()
    started.communicate(timeout=50)
    assert holders(run, {**SECRETS, **FROM_FILE}) == []


@pytest.mark.slow
def test_a_killed_launcher_leaves_scrubbed_logs(project: Project) -> None:
    environ = {**SECRETS, "FAKE_CHATTER": "1", "FAKE_LEARNER": "hang"}
    started = project.start(*RUN, with_env_file(project), **environ)
    run = run_of(project, "r")
    log = run / "logs" / "attempt_1" / "learner.log"
    until(lambda: log.exists() and "fake learner" in log.read_text())
    started.kill()
    started.communicate()
    assert supervisor(run) == started.pid
    nothing_left(project)
    assert in_state(run, "lost")
    assert holders(run, {**SECRETS, **FROM_FILE}) == []


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("+env.set.WANDB_API_KEY={}", "env.set.WANDB_API_KEY: a secret in the configuration"),
        ("+env.set.WANDB_API_KEY=[{}", "env.set.WANDB_API_KEY: [ and ] do not match"),
        ("+train.training.hub_token={}", "train.training.hub_token: a secret"),
        ("+env.set.GH_PAT={}", "env.set.GH_PAT: a secret"),
        ("+env.set.URL=http://me:{}@host/", "env.set.URL: the password in a URL"),
        ("+env.set.INNOCENT=x{}y", "configuration: repeats the value of WANDB_API_KEY"),
        ("+env.set.INNOCENT={}", "configuration: repeats the value of WANDB_API_KEY"),
        ("+env.set.INNOCENT=${{oc.env:WANDB_API_KEY}}", "repeats the value of WANDB_API_KEY"),
    ],
)
@pytest.mark.parametrize("more", [[], ["dry_run=true"], ["role=check", "output=json"]])
def test_a_secret_on_the_command_line_is_refused_and_not_shown(
    project: Project, override: str, message: str, more: list[str]
) -> None:
    words = override.format(SECRETS["WANDB_API_KEY"])
    role = [] if "role=check" in more else ["role=both"]
    done = project.run("config=exp", *role, *more, words, **SECRETS)
    assert done.status == 2
    text = done.stderr
    if "output=json" in more:
        problems = json.loads(done.stdout)["problems"]
        text = "".join(f"{problem['where']}: {problem['what']}" for problem in problems)
    assert message in text
    shows_nothing(done)
    assert project.files() == set()


SHORT = {"GH_PAT": "ghp_12ab34cd", "HTTP_PROXY": "http://me:2short4me@proxy:3128"}


@pytest.mark.parametrize("text", ["a-ghp_12ab34cd-b", "http://x/?p=2short4me", "${oc.env:GH_PAT}1"])
def test_a_short_secret_in_longer_text_is_refused(project: Project, text: str) -> None:
    done = project.run("config=exp", "role=both", "dry_run=true", f"+env.set.X='{text}'", **SHORT)
    assert done.status == 2
    assert "repeats the value of" in done.stderr


@pytest.mark.parametrize(
    "command",
    [
        ("role=explain", "key=training.hub_token"),
        ("role=explain", "key=training.hub_token", "output=json"),
        ("role=explain", "key=training"),
        ("role=explain", "key=env.set.X", "+env.set.X=a-${oc.env:GH_PAT}"),
        ("--cfg", "job"),
        ("--cfg", "job", "--resolve", "+env.set.X=a-${oc.env:GH_PAT}"),
        ("--info", "all"),
        ("--multirun", "dry_run=true", "role=both", "+env.set.OPENAI_KEY=sk-first-1,sk-second-2"),
        ("--multirun", "dry_run=true", "role=both", "+env.set.X=${oc.env:GH_PAT}1,2short4me"),
    ],
)
def test_what_is_shown_of_a_configuration_hides_secrets(
    project: Project, command: tuple[str, ...]
) -> None:
    text = "extends: exp.yaml\ntraining: {hub_token: in-the-file, report_to: ['http://u:word@h']}\n"
    (project.directory / "configs" / "leaky.yaml").write_text(text)
    done = project.run("config=leaky", *command, **SHORT)
    assert done.stdout + done.stderr
    for secret in ("in-the-file", "ghp_12ab34cd", "2short4me", "u:word", "sk-first", "sk-second"):
        assert secret not in done.stdout + done.stderr


@pytest.mark.slow
def test_a_password_that_is_a_word_stops_nothing(project: Project) -> None:
    words = {"DB_PASSWORD": "rollout_"}  # in many a value of the configuration
    done = project.launch(
        "role=both", "config=exp", "+env.set.X=my_rollout_1", "dry_run=true", **words
    )
    assert done.status == 0, done.stderr
    done = project.launch("role=both", "config=exp", "+env.set.X=rollout_", "dry_run=true", **words)
    assert done.status == 2


def test_a_secret_of_the_env_file_is_refused_as_well(project: Project) -> None:
    words = f"+env.set.INNOCENT={FROM_FILE['MODELSCOPE_API_TOKEN']}"
    done = project.run("role=both", "config=exp", with_env_file(project), words)
    assert done.status == 2
    assert "repeats the value of MODELSCOPE_API_TOKEN" in done.stderr
    shows_nothing(done)
    assert not (project.directory / "runs").exists()
