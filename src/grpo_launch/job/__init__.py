"""A training job in one small, typed shape: what to train, on which data, how long, and where.

    from grpo_launch.job import Data, Deployment, Job, Model, Training

    job = Job(
        mode="sft",
        model=Model(id="Qwen/Qwen2.5-0.5B-Instruct"),
        data=Data(id="train.jsonl"),
        training=Training(num_steps=1000),
        deployment=Deployment(gpu_ranks=(0, 1)),
    )
    job.save("job.json")

``config=job.json`` launches that file, and ``config=job.py`` a Python file with ``job = ...``
(docs/jobs.md). Nothing but the standard library is needed here.
"""

from grpo_launch.job.fields import JobError as JobError
from grpo_launch.job.fields import JobProblem as JobProblem
from grpo_launch.job.shape import Data as Data
from grpo_launch.job.shape import Deployment as Deployment
from grpo_launch.job.shape import Job as Job
from grpo_launch.job.shape import Model as Model
from grpo_launch.job.shape import Training as Training
