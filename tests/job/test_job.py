"""A job is right or is not made, says all that is wrong at once, and comes back as it was saved."""

from __future__ import annotations

import dataclasses
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from grpo_launch.job import Data, Deployment, Job, JobError, Model, Training
from grpo_launch.job.fields import FIELDS
from grpo_launch.job.shape import SECTIONS

SFT: dict[str, Any] = {
    "mode": "sft",
    "model": {"id": "a/b"},
    "data": {"id": "rows.jsonl"},
    "training": {"num_steps": 3},
}
RL: dict[str, Any] = {**SFT, "mode": "rl", "deployment": {"gpu_ranks": [0, 1]}}


def changed(said: dict[str, Any], **values: Any) -> dict[str, Any]:
    """``said`` with other fields: ``training__lr=3`` is ``training.lr``; DROP removes one."""
    made: dict[str, Any] = json.loads(json.dumps(said))
    for place, value in values.items():
        section, _, name = place.partition("__")
        node = made.setdefault(section, {}) if name else made
        key = name or section
        if value is DROP:
            del node[key]
        else:
            node[key] = value
    return made


DROP = object()


def problems(said: Any) -> list[str]:
    with pytest.raises(JobError) as caught:
        Job.from_dict(said)
    return str(caught.value).splitlines()


def test_the_defaults_are_those_of_the_templates() -> None:
    assert Job.from_dict(SFT).as_dict() == {
        "mode": "sft",
        "model": {
            "id": "a/b",
            "dtype": "bfloat16",
            "device": "cuda",
            "trust_remote_code": False,
        },
        "data": {
            "id": "rows.jsonl",
            "split": "train",
            "num_samples": None,
            "sequence_length": 2048,
        },
        "training": {
            "num_steps": 3,
            "batch_size": 32,
            "learning_rate": 1e-4,
            "log_interval": 100,
            "checkpoint_interval": 500,
        },
        "deployment": {
            "gpu_ranks": [0],
            "gpu_type": "H100",
            "sglang_port": 30000,
            "tensor_parallel_size": 1,
        },
    }


COUNT = "write an integer of at least 1"
IDS = "write a list of GPU ids, [0, 1]"
WRONG: dict[str, tuple[Any, list[str]]] = {
    "no mapping": ([], ["job: is [], no mapping, write mode, model, data and training"]),
    "nothing": (
        {},
        [
            "mode: is missing, set it (`sft`, supervised fine-tuning, or `rl`, GRPO)",
            "model: is missing, write its fields: id, dtype, device, trust_remote_code",
            "data: is missing, write its fields: id, split, num_samples, sequence_length",
            (
                "training: is missing, write its fields: num_steps, batch_size, learning_rate, "
                "log_interval, checkpoint_interval"
            ),
        ],
    ),
    "everything": (
        {
            "mode": "sfx",
            "deploymnet": {},
            "model": {"id": " ", "dtype": "int8", "device": "tpu", "trust_remote_code": "yes"},
            "data": {"split": "", "num_samples": 0, "sequence_length": "long"},
            "training": {"num_steps": 2.5, "batch": 0, "lr": -1, "log": True, "save_steps": -2},
            "deployment": {"gpus": "0", "gpu_type": 100, "port": 65536, "tp": 0},
        },
        [
            "deploymnet: unknown field, did you mean deployment?",
            "mode: is 'sfx', write sft or rl",
            "model.id: is empty, write a name or a path",
            "model.dtype: is 'int8', write bfloat16, float16 or float32",
            "model.device: is 'tpu', write cuda or cpu",
            ("model.trust_remote_code: is 'yes', write true or false (True or False in Python)"),
            ("data.id: is missing, set it (a file of rows, or a name on the Hugging Face hub)"),
            "data.split: is empty, write a name or a path",
            f"data.num_samples: is 0, {COUNT}",
            f"data.sequence_length: is 'long', {COUNT}",
            f"training.num_steps: is 2.5, {COUNT}",
            f"training.batch: is 0, {COUNT}",
            "training.lr: is -1, write a number above 0",
            f"training.log: is True, {COUNT}",
            f"training.save_steps: is -2, {COUNT}",
            f"deployment.gpus: is '0', {IDS}",
            "deployment.gpu_type: is 100, write text",
            "deployment.port: is 65536, write an integer from 1 to 65535",
            f"deployment.tp: is 0, {COUNT}",
        ],
    ),
    "a section": (
        changed(SFT, model=3),
        ["model: is 3, write its fields: id, dtype, device, trust_remote_code"],
    ),
    "unknown fields": (
        changed(SFT, training__num_step=3, data__weather=1),
        [
            ("data.weather: unknown field, use one of id, split, num_samples, sequence_length"),
            "training.num_step: unknown field, did you mean num_steps?",
        ],
    ),
    "a name on two lines": (
        changed(SFT, model__id="a\nb"),
        ["model.id: is 'a\\nb', remove blanks around it and line ends"],
    ),
    "not finite": (
        changed(SFT, training__learning_rate=float("inf")),
        ["training.learning_rate: is inf, write a number above 0"],
    ),
    "two names, two values": (
        changed(SFT, training__lr=1e-5, training__learning_rate=1e-4),
        [
            (
                "training.learning_rate: is 0.0001, but lr, another name of it, is 1e-05, "
                "keep one of them"
            )
        ],
    ),
    "no GPU": (changed(SFT, deployment__gpu_ranks=[]), [f"deployment.gpu_ranks: is empty, {IDS}"]),
    "a GPU twice": (
        changed(SFT, deployment__gpu_ranks=[0, 0]),
        ["deployment.gpu_ranks: is [0, 0], name each GPU once"],
    ),
    "a negative GPU": (
        changed(SFT, deployment__gpu_ranks=[-1]),
        [f"deployment.gpu_ranks: is [-1], {IDS}"],
    ),
    "more TP than GPUs": (
        changed(RL, deployment__tp=4),
        [
            (
                "deployment.tp: is 4, but gpu_ranks names 2 GPUs, "
                "set it to 2 or less, or name more GPUs"
            )
        ],
    ),
    "TP takes all": (
        changed(RL, deployment__tp=2),
        [
            (
                "deployment.gpu_ranks: names 2 GPUs, of which the server takes 2 and none is left "
                "to train, name more GPUs or lower tensor_parallel_size"
            )
        ],
    ),
    "rl on one GPU": (
        changed(RL, deployment=DROP),
        [
            (
                "deployment.gpu_ranks: names 1 GPU, of which the server takes 1 and none is left "
                "to train, name more GPUs"
            )
        ],
    ),
    "TP without a server": (
        changed(SFT, deployment={"tp": 2, "gpus": [0, 1]}),
        [
            (
                "deployment.tp: is 2, but mode sft starts no server, "
                "and each GPU trains a copy of its own, remove it"
            )
        ],
    ),
    "a batch that does not divide": (
        changed(SFT, deployment__gpus=[0, 1, 2]),
        [("training.batch_size: 32 is not divisible by the 3 GPUs that train, set it to 30 or 33")],
    ),
    "a batch that is too small": (
        changed(SFT, deployment__gpus=[0, 1], training__batch=1),
        ["training.batch: 1 is not divisible by the 2 GPUs that train, set it to 2"],
    ),
    "half precision on a CPU": (
        changed(SFT, model__device="cpu", model__dtype="fp16"),
        ["model.dtype: is float16, which is not trained on a CPU, write float32 or bfloat16"],
    ),
}


@pytest.mark.parametrize(("said", "expected"), WRONG.values(), ids=WRONG.keys())
def test_all_that_is_wrong_is_said_with_the_field_as_it_is_spelled(
    said: Any, expected: list[str]
) -> None:
    assert problems(said) == expected


@pytest.mark.parametrize(
    "said",
    [
        changed(SFT, training__num_steps=1e3),
        changed(SFT, training__num_steps="10", training__lr="1e-4"),
        changed(SFT, training__lr=1, training__learning_rate=None),
        changed(SFT, training__batch=32, training__batch_size=32),
        changed(SFT, deployment=None, data__num_samples=None),
        changed(SFT, model__dtype="torch.bfloat16"),
        changed(SFT, deployment__gpus=[7]),
        changed(SFT, model__id="./models/with blank"),
        changed(RL, deployment={"gpus": [3, 5]}, training__batch=7),
    ],
)
def test_what_works_is_taken(said: dict[str, Any]) -> None:
    Job.from_dict(said)


def test_every_alias_says_its_field() -> None:
    told: set[tuple[str, str]] = set()
    for section, known in FIELDS.items():
        for name, one in known.items():
            for alias in one.aliases:
                assert (section, alias) not in told
                told.add((section, alias))
                usual = Job.from_dict(changed(RL, training__batch_size=6)).as_dict()
                value = usual[section].pop(name)
                usual[section][alias] = value
                assert Job.from_dict(usual).as_dict()[section][name] == value


def test_the_table_has_the_fields_of_the_dataclasses() -> None:
    for section, kind in SECTIONS.items():
        assert [one.name for one in dataclasses.fields(kind)] == [*FIELDS[section]]


def test_python_says_the_same_as_json() -> None:
    job = Job(
        mode="rl",
        model=Model(id="a/b", dtype="bf16"),
        data=Data("rows.jsonl", num_samples=9),
        training=Training(num_steps=3),
        deployment=Deployment(gpu_ranks=[0, 1]),  # pyright: ignore[reportArgumentType]
    )
    assert job == Job.from_dict(changed(RL, data__num_samples=9))
    assert (job.server_ranks, job.learner_ranks) == ((0,), (1,))
    with pytest.raises(dataclasses.FrozenInstanceError):
        job.mode = "sft"  # pyright: ignore[reportAttributeAccessIssue]
    with pytest.raises(
        JobError, match=r"^training\.num_steps: is 0, .*\ntraining\.learning_rate: "
    ):
        Training(num_steps=0, learning_rate=0)


counts = st.integers(1, 10**12)
names = st.text(st.characters(exclude_categories=("C", "Z")), min_size=1)


@st.composite
def jobs(draw: st.DrawFn) -> Job:
    mode = draw(st.sampled_from(["sft", "rl"]))
    ranks = draw(st.lists(st.integers(0, 99), min_size=1 + (mode == "rl"), max_size=8, unique=True))
    tp = draw(st.integers(1, len(ranks) - 1)) if mode == "rl" else 1
    learners = len(ranks) - (tp if mode == "rl" else 0)
    device = draw(st.sampled_from(["cuda", "cpu"]))
    dtypes = ["bfloat16", "float32", *(["float16"] if device == "cuda" else [])]
    return Job(
        mode,
        Model(draw(names), draw(st.sampled_from(dtypes)), device, draw(st.booleans())),
        Data(draw(names), draw(names), draw(st.none() | counts), draw(counts)),
        Training(
            draw(counts),
            draw(st.integers(1, 100)) * learners,
            draw(st.floats(0, exclude_min=True, allow_infinity=False)),
            draw(counts),
            draw(counts),
        ),
        Deployment(tuple(ranks), draw(names), draw(st.integers(1, 65535)), tp),
    )


@given(job=jobs())
def test_a_saved_job_comes_back_as_it_was(
    job: Job, tmp_path_factory: pytest.TempPathFactory
) -> None:
    path = tmp_path_factory.mktemp("job") / "job.json"
    job.save(path)
    assert Job.load(path) == job
    assert Job.from_dict(job.as_dict()) == job
    assert [*path.parent.iterdir()] == [path]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("{", "job: is not JSON (Expecting property name"),
        ('{"mode": "sft", "mode": "rl"}', "job: is not JSON (mode is given twice in one object)"),
        ("3", "job: is 3, no mapping"),
        ("[" * 100_000, "job: is nested too deeply"),
        ("\xff", "job: is not JSON ('utf-8' codec"),
    ],
)
def test_a_file_that_is_no_job_is_refused(tmp_path: Path, text: str, expected: str) -> None:
    path = tmp_path / "job.json"
    path.write_bytes(text.encode("latin-1"))
    with pytest.raises(JobError) as caught:
        Job.load(path)
    assert str(caught.value).startswith(expected)


def test_it_needs_the_standard_library_alone() -> None:
    code = "import sys; sys.path.append(sys.argv[1]); import grpo_launch.job.reading"
    code += "; print(*sys.modules)"
    source = Path(__file__).parents[2] / "src"
    command = [sys.executable, "-I", "-S", "-c", code, str(source)]
    loaded = subprocess.run(command, capture_output=True, text=True, check=True).stdout.split()
    ours = {name for name in loaded if name.split(".")[0] == "grpo_launch"}
    assert {name.split(".")[0] for name in {*loaded} - ours} - {"__main__"} <= (
        sys.stdlib_module_names
    )
    assert {name.split(".")[1] for name in ours if "." in name} == {"job"}
