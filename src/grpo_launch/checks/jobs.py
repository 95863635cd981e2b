"""The rules of jobs that no learner brings; see ``config/formats/jobs.py``."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from grpo_launch.config import schema
from grpo_launch.config.problem import Problem, Severity
from grpo_launch.config.rule import Context, Rule, rule
from grpo_launch.engines.base import engine
from grpo_launch.learners.base import learner


@rule(when=lambda config: config.job is not None)
def a_job_has_the_learner_of_its_arguments(context: Context) -> Iterator[Problem]:
    """The fields of a job become arguments of one learner, the one that needs no name."""
    config = context.config
    if config.learner.name not in (schema.LEARNER, schema.NO_PLUGIN):
        what = f"is {config.learner.name}, but a job says arguments of "
        what += learner(schema.LEARNER).product
        fix = f"leave it out, or write an experiment for {config.learner.name}"
        yield Problem(config.where("learner.name"), what, fix)


@rule(when=lambda config: config.job is not None)
def deployment_of_a_job_has_an_effect(context: Context) -> Iterator[Problem]:
    """A warning for each field of the deployment that says something without effect."""
    from grpo_launch.config.formats import jobs
    from grpo_launch.job.fields import RL, SFT
    from grpo_launch.job.shape import Deployment

    config, said = context.config, context.config.job
    assert said is not None
    job, there, usual = said.job, said.job.deployment, Deployment()
    where = said.where("deployment.gpu_type")
    if job.model.device == "cpu" and there.gpu_type != usual.gpu_type:
        yield Problem(where, "has no effect on a CPU", "remove it", Severity.WARNING)
    unknown = job.model.device == "cuda" and jobs.gpu_memory_gib(there.gpu_type) is None
    if unknown and config.accelerator.memory_gib is None:
        what = f"is {there.gpu_type}, whose memory is not known here"
        fix = "say accelerator.memory_gib=GIB, or correct the type"
        yield Problem(where, what, fix, Severity.WARNING)
    where = said.where("deployment.sglang_port")
    if job.mode == SFT and there.sglang_port != usual.sglang_port:
        what = "has no effect: mode sft starts no server"
        yield Problem(where, what, "remove it", Severity.WARNING)
    if job.mode == RL and config.engine.name == schema.ENGINE:
        what = f"is served by {engine(schema.ENGINE).product}: SGLang is no engine yet"
        yield Problem(where, what, "keep it, or say engine=NAME for another", Severity.WARNING)


JOB_RULES: Sequence[Rule] = (
    a_job_has_the_learner_of_its_arguments,
    deployment_of_a_job_has_an_effect,
)
"""All rules of this module, in the order in which their findings are reported."""
