"""The rules of jobs: what their fields say that ms-swift cannot be told.

Source: ms-swift 4.6.0.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from grpo_launch.config.launch_config import LaunchConfig
from grpo_launch.config.problem import Problem, Severity
from grpo_launch.config.rule import Context, Rule, rule
from grpo_launch.engines.model_shape import ModelShape


def _trains(config: LaunchConfig) -> bool:
    return config.trains and config.job is not None


def _reads_the_rows(config: LaunchConfig) -> bool:
    """Whether the data set is the job's own: the command line may have named another."""
    said = config.job
    if said is None or not config.trains:
        return False
    from grpo_launch.config.formats import jobs

    return config.get("data.dataset") == jobs.dataset(said.job)


@rule(when=_reads_the_rows)
def split_of_a_job_is_read(context: Context) -> Iterator[Problem]:
    """``data.split`` is ``train``.

    Source: ``DatasetMeta.split`` (``swift/dataset/dataset_meta.py``) is ``train`` for what is not
    registered, and ``DatasetLoader._load_dataset_path`` reads a file as that split.
    """
    said = context.config.job
    assert said is not None
    if said.job.data.split != "train":
        what = f"is {said.job.data.split}, but ms-swift reads the split train"
        fix = "write its rows into a file and name that as data.id"
        yield Problem(said.where("data.split"), what, fix)


@rule(when=_reads_the_rows)
def rows_of_a_job_are_counted_once(context: Context) -> Iterator[Problem]:
    """``data.num_samples`` does not stand beside an ``id`` that ends in ``#N``.

    Source: ``DatasetSyntax.parse`` (``swift/dataset/dataset_syntax.py``) splits at the last ``#``.
    """
    said = context.config.job
    assert said is not None
    _, sign, number = said.job.data.id.rpartition("#")
    if said.job.data.num_samples is not None and sign and number.isdecimal():
        what = f"is {said.job.data.num_samples}, but data.id says #{number} already"
        yield Problem(said.where("data.num_samples"), what, "keep one of them")


@rule(when=_trains)
def code_of_a_hub_is_trusted(context: Context) -> Iterator[Problem]:
    """``model.trust_remote_code`` is true for a model of a hub.

    Source: ``ModelLoader.default_trust_remote_code`` and ``_get_model_info``
    (``swift/model``): ms-swift trusts it, and has no argument for that.
    """
    config, said = context.config, context.config.job
    assert said is not None
    untrusted = not said.job.model.trust_remote_code
    if untrusted and config.get("model.model") == said.job.model.id and not context.get(ModelShape):
        what = "is false, but ms-swift runs code that comes with a model of a hub"
        fix = "set it to true if you trust the model, or name a directory whose code you know"
        yield Problem(said.where("model.trust_remote_code"), what, fix, Severity.WARNING)


@rule(when=_trains)
def a_job_of_rl_says_its_reward(context: Context) -> Iterator[Problem]:
    """A warning where the reward is the one that is taken for ``mode: rl``."""
    from grpo_launch.job.fields import RL

    said, key = context.config.job, "train.rlhf.reward_funcs"
    assert said is not None
    if said.job.mode == RL and context.config.where(key) == said.where("mode"):
        what = "rl says no reward; taken is accuracy, which reads the column solution"
        yield Problem(said.where("mode"), what, f"say {key}=[NAME] for another", Severity.WARNING)


JOB_RULES: Sequence[Rule] = (
    split_of_a_job_is_read,
    rows_of_a_job_are_counted_once,
    code_of_a_hub_is_trusted,
    a_job_of_rl_says_its_reward,
)
"""All rules of this module, in the order in which their findings are reported."""
