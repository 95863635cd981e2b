"""Real runs of commands through the launcher: a shell script that trains, a server of its own."""

from __future__ import annotations

import json
import signal
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.conftest import ROOT, Finished, Project, free_port
from tests.launch.helpers import in_state, until

EXAMPLES = ROOT / "examples" / "command"
LEARN = str(EXAMPLES / "learn.sh")
PAIRS = {"format": "pairs", "max_steps": "of", "reward": "reward", "seconds": "dt"}
ALONE: dict[str, Any] = {
    "learner": "command",
    "engine": "none",
    "runtime": "current",
    "accelerator": "cpu_native",
    "shutdown": {"term_s": 5, "kill_s": 5},
    "argv": ["bash", LEARN, "--output", "{output_dir}", "--steps", 6, "{resume}"],
    "progress": PAIRS,
    "checkpoints": {"path": "step_{step}", "marker": "done"},
    "resume_by": {"argument": ["--from", "{checkpoint}"]},
}

RESTART = {"on_failure": "restart", "restart": {"budget": 1, "backoff_s": 0.1}}


def write(project: Project, **changes: Any) -> str:
    text = yaml.safe_dump(ALONE | changes, sort_keys=False)
    (project.directory / "configs" / "any.yaml").write_text(text)
    return "config=any"


def record(project: Project) -> dict[str, Any]:
    return json.loads((project.directory / "run" / "run.json").read_text())


def learn(project: Project, *arguments: str) -> Finished:
    return project.launch("role=learner", "config=any", "run.dir=run", *arguments)


@pytest.mark.slow
def test_a_shell_script_trains_is_followed_and_goes_on_in_a_new_run(project: Project) -> None:
    write(project)
    done = learn(project)
    assert done.status == 0, done.stderr
    assert "reward 0.17 -> 1.00 in 6 steps" in done.stderr
    assert record(project)["state"] == "done"
    assert (project.directory / "run" / "output" / "step_6" / "done").is_file()
    status = project.run("status", "run", "--json", module="grpo_launch.monitor")
    shown = json.loads(status.stdout)
    assert (shown["step"], shown["max_steps"], shown["reward"]) == (6, 6, 1.0)
    assert [checkpoint["step"] for checkpoint in shown["checkpoints"]] == [2, 4, 6]

    write(project, argv=[*ALONE["argv"][:5], 8, "{resume}"])
    again = project.launch("role=learner", "config=any", "run.dir=next", "resume=run")
    assert again.status == 0, again.stderr
    log = (project.directory / "next" / "logs" / "learner.log").read_text()
    assert log.startswith(f"going on from {project.directory}/run/output/step_6\nstep=7 of=8")
    assert project.left_over() == []


CONFIG_KEY = """
import json, os, sys
config = json.load(open(sys.argv[1]))
print(json.dumps(config), flush=True)
origin = config["trainer"].get("from")
words = ["bash", sys.argv[2], "--output", config["out"], "--steps", "6"]
os.execvp("bash", [*words, *(["--from", origin] if origin else [])])
"""

DIRECTORY = """
newest=$(ls -d "$1"/step_* 2>/dev/null | sort -V | tail -1 || true)
exec bash {learn} --output "$1" --steps 6 ${{newest:+--from "$newest"}}
"""


def failing_script(project: Project) -> str:
    """The script, but it is killed once, at its fifth step, after a checkpoint of the fourth."""
    script, once = project.directory / "failing.sh", project.directory / "once"
    sleeps = '  sleep "$seconds"\n'
    dies = f"  if ((step == 5)) && [[ ! -e {once} ]]; then touch {once}; kill -KILL $$; fi\n"
    script.write_text(Path(LEARN).read_text().replace(sleeps, dies + sleeps))
    return str(script)


@pytest.mark.slow
@pytest.mark.parametrize("mode", ["argument", "config_key", "directory", "none"])
def test_one_that_is_killed_goes_on_as_it_can(project: Project, mode: str) -> None:
    failing = failing_script(project)
    program = project.directory / "program"
    words = ["bash", failing, "--output", "{output_dir}", "--steps", 6]
    changes: dict[str, Any] = {"argv": words, "resume_by": "none"}
    if mode == "argument":
        changes["resume_by"] = {"argument": ["--from", "{checkpoint}"]}
    elif mode == "config_key":
        program.write_text(CONFIG_KEY)
        changes |= {
            "argv": ["python", str(program), "{config}", failing],
            "config": {"trainer": {"name": "x"}},
            "config_format": "json",
            "fill": {"out": "{output_dir}"},
            "resume_by": {"config_key": "trainer.from"},
        }
    elif mode == "directory":
        program.write_text(DIRECTORY.format(learn=failing))
        changes |= {"argv": ["bash", str(program), "{output_dir}"], "resume_by": "directory"}
    write(project, **RESTART, **changes)
    done = learn(project)
    assert done.status == 0, done.stderr
    first, second = record(project)["attempts"]
    assert "status 137" in first["reason"]
    log = (project.directory / "run" / "logs" / "attempt_2" / "learner.log").read_text()
    output = project.directory / "run" / "output"
    if mode == "none":
        assert "training starts anew; what it wrote is kept in run/output.attempt_1" in done.stderr
        assert second["resumed_from"] is None
        assert log.startswith("step=1 of=6")
        assert sorted(p.name for p in Path(f"{output}.attempt_1").glob("step_*")) == [
            "step_2", "step_4",
        ]  # fmt: skip
    else:
        assert f"training goes on from {output}/step_4" in done.stderr
        assert second["resumed_from"] == f"{output}/step_4"
        assert f"going on from {output}/step_4\nstep=5 of=6" in log
    assert (output / "step_6" / "done").is_file()
    assert project.left_over() == []


@pytest.mark.slow
def test_a_directory_that_is_gone_on_with_is_that_of_the_earlier_run(project: Project) -> None:
    program = project.directory / "program"
    program.write_text(DIRECTORY.format(learn=LEARN))
    write(project, argv=["bash", str(program), "{output_dir}"], resume_by="directory")
    assert learn(project).status == 0
    earlier = project.launch(
        "role=learner", "config=any", "run.dir=next", "resume=run/output/step_4"
    )
    assert earlier.status == 3, earlier.stderr
    assert "goes on from the newest checkpoint of its directory, step 6" in earlier.stderr
    program.write_text(program.read_text().replace("--steps 6", "--steps 8"))
    again = project.launch("role=learner", "config=any", "run.dir=next", "resume=run")
    assert again.status == 0, again.stderr
    assert (project.directory / "run" / "output" / "step_8" / "done").is_file()
    log = (project.directory / "next" / "logs" / "learner.log").read_text()
    assert log.startswith(f"going on from {project.directory}/run/output/step_6\nstep=7")


@pytest.mark.slow
def test_what_cannot_go_on_refuses_resume(project: Project) -> None:
    write(project, resume_by="none")
    done = project.launch("role=learner", "config=any", "resume=latest")
    assert done.status == 2
    assert "cannot go on from a checkpoint" in done.stderr


@pytest.mark.slow
def test_of_two_members_one_fails_and_ends_both(project: Project) -> None:
    script = 'if [[ $RANK == 1 ]]; then exit 9; fi; echo "rank $RANK of $N"; exec sleep 100'
    members = [{"N": "{members}"}, {"N": "{members}"}]
    write(
        project, argv=["bash", "-c", script], members=members, variables={"RANK": "{rank}"},
        progress=None, checkpoints=None, resume_by=None,
    )  # fmt: skip
    done = learn(project)
    assert done.status == 9, done.stderr
    assert "learner_1 ended with status 9" in done.stderr
    assert "stopping the learner" in done.stderr
    said = record(project)["processes"]
    assert (said["learner"]["exit"], said["learner_1"]["exit"]) == (128 + signal.SIGTERM, 9)
    assert project.left_over() == []


@pytest.mark.slow
def test_one_that_ends_well_when_it_is_told_to_stop_is_stopped(project: Project) -> None:
    script = "trap 'exit 0' TERM; echo ready; while true; do sleep 0.05; done"
    write(project, argv=["bash", "-c", script], progress=None, checkpoints=None, resume_by=None)
    launcher = project.start("role=learner", "config=any", "run.dir=run")
    log = project.directory / "run" / "logs" / "learner.log"
    until(lambda: log.exists() and "ready" in log.read_text())
    launcher.send_signal(signal.SIGTERM)
    assert launcher.wait(60) == 143
    assert in_state(project.directory / "run", "interrupted")["processes"]["learner"]["exit"] == 0


@pytest.mark.slow
def test_a_server_and_a_learner_that_are_both_commands(project: Project) -> None:
    port = free_port()
    text = (EXAMPLES / "both.yaml").read_text().replace("8124", str(port))
    (project.directory / "configs" / "both.yaml").write_text(
        text.replace("examples/command", str(EXAMPLES))
    )
    choice = ("role=both", "config=both", "run.dir=run", "health.probe=generate")
    shown = project.run(*choice, "dry_run=json")
    assert shown.status == 0, shown.stderr
    plan = json.loads(shown.stdout)
    assert [check["path"] for check in plan["gates"][0]["checks"]] == [
        "/health", "/v1/models", "/v1/completions",
    ]  # fmt: skip
    assert plan["gates"][0]["generation"]["body"]["model"] == "nothing/at-all"
    done = project.launch(*choice)
    assert done.status == 0, done.stderr
    assert record(project)["state"] == "done"
    answer = json.loads((project.directory / "run" / "output" / "answer.json").read_text())
    assert answer["choices"][0]["text"] == "10"
    assert "in 10 steps" in done.stderr
    assert project.left_over() == []
