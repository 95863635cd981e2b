"""The plan of a loop: its servers, and for each stage of an iteration an ordinary plan.

Texts of those plans hold marks (``plan.py``) for what changes from iteration to iteration.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from grpo_launch import runtimes
from grpo_launch.base.shipped_files import found
from grpo_launch.config import loops, schema
from grpo_launch.config.amend import amended
from grpo_launch.config.launch_config import LaunchConfig, plain_enums
from grpo_launch.config.loops import with_model
from grpo_launch.learners.base import OnTrajectories, learner
from grpo_launch.plan import (
    COLLECT,
    COLLECT_EVAL,
    FREE,
    ITERATION_MARK,
    LEARNER,
    MODEL_MARK,
    NEXT_MARK,
    PUBLISH,
    PYTHON_MARK,
    RELOAD_STAGE,
    SELECT,
    SERVER,
    SERVING,
    VERSION_MARK,
    LaunchPlan,
    Loop,
    Metrics,
    PlannedFile,
    ProcessSpec,
    Stage,
)
from grpo_launch.planning import planner
from grpo_launch.planning.devices import Devices

EPISODES = "episodes.jsonl"
TRAJECTORIES = "trajectories.jsonl"
_FILES = "loop"
"""Below the directory of a loop: the settings of the programs."""

_COLLECTED = Metrics(
    files=("progress.jsonl",),
    step="step",
    max_steps="max_steps",
    reward="reward",
    completion_length="completion_length",
    elapsed="elapsed",
)
"""What the collector writes while it runs, see ``rollout/meter.py``."""

_ROUNDS = Metrics(
    files=("iterations.jsonl",),
    step="step",
    max_steps="max_steps",
    reward="reward",
    step_time=("step_time",),
)
"""What the loop itself writes, see ``runs/loop_state.py``."""


def build(
    config: LaunchConfig,
    devices: Devices,
    run_dir: str,
    cwd: Path,
    run_id: str = "",
    downgraded: Sequence[str] = (),
    own_ports: Sequence[int] = (),
) -> LaunchPlan:
    """The plan of a valid configuration whose role does stages of a loop.

    Args:
        config: a configuration without errors.
        devices: who gets which devices.
        run_dir: the directory of the loop, absolute or relative to ``cwd``.
        cwd: the working directory of the processes.
        run_id: names the run for trackers.
        downgraded: names of the rules whose errors were taken as warnings.
        own_ports: the first of the ports that each server gives to itself.

    Raises:
        ConfigError: see ``planner.build``.
    """
    return _Planning(config, devices, run_dir, cwd, run_id, downgraded, own_ports).plan()


@dataclass(frozen=True)
class _Planning:
    config: LaunchConfig
    devices: Devices
    run_dir: str
    cwd: Path
    run_id: str
    downgraded: Sequence[str]
    own_ports: Sequence[int]

    @property
    def _here(self) -> str:
        """The directory of an iteration."""
        return f"{self.run_dir}/iterations/{ITERATION_MARK}"

    def plan(self) -> LaunchPlan:
        config = self.config
        settings = config.loop
        serving = self._serving()
        stages = {
            loops.LOOP: lambda: [*self._collecting(serving), *self._updating(serving)],
            loops.ROLLOUT: lambda: [*self._collecting(serving)],
            loops.UPDATE: lambda: self._updating(serving),
        }[config.role]()
        is_whole = config.role == loops.LOOP
        reloads = is_whole and settings.swap is schema.Swap.reload
        shared = set(self.devices.server) & set(self.devices.learner) if is_whole else set[str]()
        waits = bool(shared) and self.devices.cuda
        loop = Loop(
            stages=tuple(stages),
            iterations=settings.iterations,
            passes=not is_whole,
            eval_interval=settings.eval_interval if is_whole else None,
            max_failures=settings.max_failures,
            model=first_model(config, self.cwd),
            reload=self._reloading(serving) if reloads else None,
            free=self._freeing(serving, shared) if waits else None,
        )
        return replace(
            serving,
            output_dir=self.run_dir,
            metrics=_ROUNDS,
            checkpoints=None,
            files=tuple(self._files(serving)),
            loop=loop,
        )

    # Servers and programs

    def _serving(self) -> LaunchPlan:
        """The servers of the loop; an update alone has none."""
        config = with_model(self.config, MODEL_MARK)
        parts = (SERVER,) if config.role != loops.UPDATE else ()
        plan = planner.build(
            config,
            self.devices,
            parts,
            self.run_dir,
            self.cwd,
            self.run_id,
            self.downgraded,
            self.own_ports,
        )
        return replace(plan, recovery=replace(plan.recovery, arguments_file=None, resuming=None))

    def _collecting(self, serving: LaunchPlan) -> list[Stage]:
        """The collections of an iteration."""
        loop, split = self.config.loop, schema.Split
        chosen = {COLLECT: split.train}
        if self.config.role == loops.ROLLOUT and loop.split is split.eval:
            chosen = {COLLECT_EVAL: split.eval}
        elif self.config.role == loops.LOOP and loop.eval_interval is not None:
            chosen[COLLECT_EVAL] = split.eval
        return [self._collection(serving, name, each.value) for name, each in chosen.items()]

    def _collection(self, serving: LaunchPlan, name: str, split: str) -> Stage:
        output = f"{self._here}/{split}"
        words = ["-m", "grpo_launch.rollout", self._settings("collect"), "--output", output]
        words += ["--split", split, "--version", VERSION_MARK]
        entered = self._entered(words)
        spec = replace(self._program(name, []), argv=entered.argv, path=entered.path)
        spec = replace(spec, env={**entered.env, **spec.env})
        plan = replace(self._job(serving, spec), metrics=_COLLECTED, output_dir=output)
        plan = replace(plan, processes=(*serving.processes, spec), gates=serving.gates)
        return Stage(name, plan, serves=True, figures=f"{output}/summary.json")

    def _entered(self, words: Sequence[str]) -> runtimes.Entered:
        """The collector's command in its environment: the launcher's, unless another is said."""
        own = {k: v for k, v in vars(self.config.collector.runtime).items() if v is not None}
        if not own:
            return runtimes.Entered((PYTHON_MARK, *words))
        return runtimes.of(replace(self.config.runtime, **own)).enter(("python", *words), self.cwd)

    def _updating(self, serving: LaunchPlan) -> list[Stage]:
        """Selection, training and publication."""
        episodes, data = f"{self._here}/train/{EPISODES}", f"{self._here}/data"
        select = ["grpo_launch.stages.select", self._settings("select")]
        select += ["--episodes", episodes, "--output", data]
        trained = self._training(f"{data}/{TRAJECTORIES}")
        publish = ["grpo_launch.stages.publish", self._settings("publish")]
        publish += ["--training", trained.output_dir, "--models", f"{self.run_dir}/models"]
        publish += ["--name", f"iter_{NEXT_MARK}", "--serving", MODEL_MARK]
        chosen = self._job(serving, self._program(SELECT, select))
        return [
            Stage(SELECT, chosen, figures=f"{data}/card.json"),
            Stage(LEARNER, trained),
            Stage(PUBLISH, self._job(serving, self._program(PUBLISH, publish))),
        ]

    def _training(self, data: str) -> LaunchPlan:
        """The learner on the episodes of an iteration."""
        trained = learner(self.config.learner.name)
        values: dict[str, Any] = {}
        if isinstance(trained, OnTrajectories):
            values[f"train.{trained.data_key}"] = [str(self.cwd / data)]
        output = f"{self._here}/output"
        if key := trained.output_key:
            said = self.config.get(key)
            output = output if said is None else f"{said}/{ITERATION_MARK}"
            values[f"train.{key}"] = output
        config = amended(with_model(self.config, MODEL_MARK), values)
        plan = planner.build(
            config, self.devices, (LEARNER,), self._here, self.cwd, self.run_id, self.downgraded
        )
        done = str(self.cwd / self._here / f"{LEARNER}.done")
        alone = not plan.members  # of several, one may end well and another fail
        team = [replace(s, done=done) if alone and s in plan.team else s for s in plan.processes]
        return replace(plan, processes=tuple(team), afterwards=())

    def _reloading(self, serving: LaunchPlan) -> Stage:
        words = ["grpo_launch.stages.swap", f"{self.run_dir}/{SERVING}"]
        words += ["--model", MODEL_MARK, "--version", VERSION_MARK]
        spec = replace(self._program(RELOAD_STAGE, words), done="")
        return Stage(RELOAD_STAGE, self._job(serving, spec), serves=True)

    def _freeing(self, serving: LaunchPlan, shared: set[str]) -> Stage:
        ordered = [device for device in self.devices.server if device in shared]
        words = ["grpo_launch.stages.free", self._settings("free"), "--devices", ",".join(ordered)]
        return Stage(FREE, self._job(serving, replace(self._program(FREE, words), done="")))

    def _program(self, name: str, words: Sequence[str]) -> ProcessSpec:
        """A program of the launcher's own, as a job."""
        own = self.config.env
        return ProcessSpec(
            name=name,
            part=name,
            argv=(PYTHON_MARK, "-m", *words),
            cwd=str(self.cwd),
            log=f"{self._here}/logs/{name}.log",
            env={"CUDA_VISIBLE_DEVICES": "", **own.set},
            env_defaults=dict(own.defaults),
            done=str(self.cwd / self._here / f"{name}.done"),
        )

    def _job(self, serving: LaunchPlan, spec: ProcessSpec) -> LaunchPlan:
        """A job alone, watched as the loop is."""
        return replace(
            serving,
            run_dir=self._here,
            output_dir=self._here,
            processes=(spec,),
            job=spec.name,
            gates=(),
            files=(),
            ports=(),
            metrics=None,
            checkpoints=None,
            sides=(),
        )

    # Files

    def _settings(self, name: str) -> str:
        return f"{self.run_dir}/{_FILES}/{name}.json"

    def _located(self) -> dict[str, Any]:
        """The collector's files, those of shipped experiments found from any directory."""
        collector = self.config.collector
        tasks = ("train_tasks", "eval_tasks")
        said = {key: path for key in tasks if (path := getattr(collector, key)) is not None}
        located = {key: found(path, self.cwd) for key, path in said.items()}
        return {**located, "plugins": [found(path, self.cwd) for path in collector.plugins]}

    def _files(self, serving: LaunchPlan) -> list[PlannedFile]:
        config = self.config
        urls = [gate.url for gate in serving.gates]
        trained = learner(config.learner.name)
        layout = trained.checkpoints(config)
        base = with_model(config, first_model(config, self.cwd))
        published = {
            **_plain(config.publish),
            "base": loops.trained_model(base),
            "layout": asdict(layout) if layout else None,
        }
        if isinstance(trained, OnTrajectories):
            patterns = trained.publication
            published["checkpoint"] = [*patterns.checkpoint]
            published["base_files"] = [*patterns.base]
            published["needed"] = [*patterns.needed]
        bodies = {
            "collect": {**_plain(config.collector), **self._located(), "urls": urls},
            "select": _plain(config.update),
            "publish": published,
            "free": _plain(config.gpu_wait),
        }
        return [
            PlannedFile(self._settings(name), json.dumps(body, indent=2, ensure_ascii=False) + "\n")
            for name, body in bodies.items()
        ]


def together(plan: LaunchPlan) -> LaunchPlan:
    """A plan of all that needs this machine's devices, ports and programs, to be judged.

    Of a loop that is the learner as well, beside the servers; any other plan is that already.
    """
    learners = [stage.plan for stage in plan.stages if stage.name == LEARNER]
    team = [spec for trained in learners for spec in trained.team]
    if not team:
        return plan
    return replace(plan, processes=(*plan.processes, *team), job=LEARNER)


def first_model(config: LaunchConfig, cwd: Path) -> str:
    """The model that the loop begins with: a directory, absolute, or a hub's name."""
    said = loops.trained_model(config)
    path = cwd / said
    return str(path) if path.is_dir() else said


def _plain(node: Any) -> dict[str, Any]:
    """A node of the configuration as JSON can say it."""
    return asdict(node, dict_factory=plain_enums)
