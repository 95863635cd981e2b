"""The job of sft.json in Python."""

from grpo_launch.job import Data, Job, Model, Training

job = Job(
    mode="sft",
    model=Model(id="Qwen/Qwen2.5-0.5B-Instruct", trust_remote_code=True),
    data=Data(id="examples/jobs/rows.jsonl", sequence_length=256),
    training=Training(
        num_steps=100,
        batch_size=16,
        learning_rate=1e-5,
        log_interval=1,
        checkpoint_interval=50,
    ),
)
