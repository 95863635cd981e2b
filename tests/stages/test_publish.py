"""What a training left becomes what servers load: whole, or not at all."""

from __future__ import annotations

import contextlib
import dataclasses
import errno
import json
import os
import random
import signal
import subprocess
import sys
import threading
import time
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from grpo_launch.base import safetensors
from grpo_launch.errors import ConfigError, PreflightError
from grpo_launch.learners.llamafactory.outputs import CHECKPOINTS
from grpo_launch.learners.publication import TRANSFORMERS
from grpo_launch.stages import aside, copying, publish, trained
from tests.stages.made import CONFIG, TENSORS, packed, save, save_sharded

BASE_FILES = ("tokenizer.json", "tokenizer_config.json", "chat_template.jinja")
HALVES = [dict(list(TENSORS.items())[:2]), dict(list(TENSORS.items())[2:])]


@pytest.fixture
def base(tmp_path: Path) -> Path:
    directory = save(tmp_path / "base")
    for name in BASE_FILES:
        (directory / name).write_text("of the base model")
    return directory


def checkpoint(training: Path, step: int, fill: int = 2, **how: Any) -> Path:
    """A checkpoint as transformers writes one, with a tokenizer of its own."""
    path = save(training / f"checkpoint-{step}", fill=fill, **how)
    for name in (*BASE_FILES, "optimizer.pt", "rng_state.pth"):
        (path / name).write_text("of the checkpoint")
    (path / "trainer_state.json").write_text(json.dumps({"global_step": step}))
    return path


def settings(base: Path, **changes: Any) -> publish.Publishing:
    made = publish.Publishing(
        base=str(base),
        layout=CHECKPOINTS,
        checkpoint=TRANSFORMERS.checkpoint,
        base_files=TRANSFORMERS.base,
        needed=TRANSFORMERS.needed,
    )
    return dataclasses.replace(made, **changes)


def weights_of(directory: Path) -> bytes:
    return (directory / "model.safetensors").read_bytes()[-1:]


def names(directory: Path) -> list[str]:
    return sorted(path.name for path in directory.iterdir() if path.name != ".lock")


@pytest.mark.parametrize("mode", ["copy", "link"])
def test_the_weights_of_the_newest_checkpoint_and_the_tokenizer_of_the_base_model(
    tmp_path: Path, base: Path, mode: str
) -> None:
    training, models = tmp_path / "training", tmp_path / "models"
    checkpoint(training, 4, fill=3)
    newest = checkpoint(training, 10, fill=4)
    found = publish.publish(settings(base, mode=mode), training, "iter_1", models)
    assert found == (models / "current").resolve() == models / "iter_1"
    assert os.readlink(models / "current") == "iter_1"
    assert names(found) == sorted([*BASE_FILES, "config.json", "model.safetensors"])
    assert {(found / name).read_text() for name in BASE_FILES} == {"of the base model"}
    assert weights_of(found) == b"\4"
    is_same = os.path.samefile(found / "model.safetensors", newest / "model.safetensors")
    assert is_same is (mode == "link")
    assert not os.path.samefile(found / "tokenizer.json", base / "tokenizer.json")


def test_the_checkpoint_itself(tmp_path: Path, base: Path) -> None:
    training, models = tmp_path / "training", tmp_path / "models"
    newest = checkpoint(training, 10)
    found = publish.publish(settings(base, mode="none"), training, "iter_1", models)
    assert found == newest == (models / "current").resolve()
    assert os.readlink(models / "current") == "../training/checkpoint-10"
    assert names(models) == ["current"]


def test_a_final_model_with_more_steps_than_the_checkpoints(tmp_path: Path, base: Path) -> None:
    training = tmp_path / "training"
    checkpoint(training, 10, fill=4)
    save(training / "x", fill=5)
    for path in (training / "x").iterdir():
        path.rename(training / path.name)
    for step, filling in ((12, b"\5"), (10, b"\4")):
        (training / "trainer_state.json").write_text(json.dumps({"global_step": step}))
        found = publish.publish(settings(base), training, f"iter_{step}", tmp_path / "models")
        assert weights_of(found) == filling


@pytest.mark.parametrize("layout", [CHECKPOINTS, None])
def test_a_training_that_made_no_checkpoint(tmp_path: Path, base: Path, layout: Any) -> None:
    save(tmp_path / "training", fill=5)
    how = settings(base, layout=layout)
    found = publish.publish(how, tmp_path / "training", "iter_1", tmp_path / "models")
    assert weights_of(found) == b"\5"


def test_a_model_in_several_files_and_one_that_torch_saved(tmp_path: Path, base: Path) -> None:
    save_sharded(tmp_path / "shards", HALVES)
    found = publish.publish(
        settings(base, layout=None), tmp_path / "shards", "iter_1", tmp_path / "models"
    )
    assert len([*found.glob("model-0000*")]) == 2
    pickled = tmp_path / "pickled"
    pickled.mkdir()
    (pickled / "config.json").write_text(json.dumps(CONFIG))
    with zipfile.ZipFile(pickled / "pytorch_model.bin", "w") as file:
        file.writestr("archive/data.pkl", "x" * 1000)
    how = settings(base, layout=None)
    found = publish.publish(how, pickled, "iter_2", tmp_path / "models")
    assert (found / "pytorch_model.bin").is_file()
    whole = (pickled / "pytorch_model.bin").read_bytes()
    (pickled / "pytorch_model.bin").write_bytes(whole[:-30])
    with pytest.raises(PreflightError, match=r"pytorch_model\.bin: is only a part of a file"):
        publish.publish(how, pickled, "iter_3", tmp_path / "models")


def test_a_half_checkpoint_is_passed_over_and_said(
    tmp_path: Path, base: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    training, models = tmp_path / "training", tmp_path / "models"
    half = checkpoint(training, 10)
    (half / "model.safetensors").write_bytes(packed(TENSORS)[:-1])
    with pytest.raises(
        PreflightError, match=r"no whole model: .*checkpoint-10: .*a part of a file"
    ):
        publish.publish(settings(base), training, "iter_1", models)
    assert names(models) == []
    checkpoint(training, 4, fill=3)
    assert weights_of(publish.publish(settings(base), training, "iter_1", models)) == b"\3"
    said = capsys.readouterr().err
    assert "checkpoint-10: model.safetensors is only a part of a file" in said
    assert f"{training}/checkpoint-4 is published instead" in said


def test_without_patterns_the_model_as_it_was_saved(tmp_path: Path) -> None:
    checkpoint(tmp_path / "training", 10)
    how = publish.Publishing(layout=CHECKPOINTS)
    found = publish.publish(how, tmp_path / "training", "iter_1", tmp_path / "models")
    model = (*BASE_FILES, "config.json", "model.safetensors", "trainer_state.json")
    assert names(found) == sorted(model)


def refused(how: publish.Publishing, training: Path, name: str = "iter_1") -> str:
    models = training.parent / "models"
    with pytest.raises((ConfigError, PreflightError)) as caught:
        publish.publish(how, training, name, models)
    assert not models.exists() or names(models) == []
    (line,) = caught.value.lines()
    return line


def test_what_is_refused(tmp_path: Path, base: Path) -> None:
    how = settings(base)
    assert "is no directory, name what a training wrote" in refused(how, tmp_path / "none")
    (tmp_path / "empty").mkdir()
    assert "empty: has no checkpoint, look at the log" in refused(how, tmp_path / "empty")
    adapter = checkpoint(tmp_path / "lora", 10)
    (adapter / "model.safetensors").rename(adapter / "adapter_model.safetensors")
    (adapter / "adapter_config.json").write_text("{}")
    assert "is an adapter (adapter_config.json), not a whole model, train the whole" in refused(
        how, tmp_path / "lora"
    )
    lacking = save_sharded(tmp_path / "lacking", HALVES)
    next(iter(lacking.glob("model-00002*"))).unlink()
    bare = dataclasses.replace(how, layout=None)
    assert "is not there" in refused(bare, lacking)
    optimizer = checkpoint(tmp_path / "zero", 10)
    (optimizer / "model.safetensors").unlink()
    (optimizer / "global_step10").mkdir()
    assert "no whole model" in refused(how, tmp_path / "zero")
    checkpoint(tmp_path / "good", 10)
    assert "iter is no name of a model" in refused(how, tmp_path / "good", "iter")
    assert "../iter_1 is no name of a model" in refused(how, tmp_path / "good", "../iter_1")
    gone = dataclasses.replace(how, base=str(tmp_path / "gone"))
    assert "gone: the base model is not there" in refused(gone, tmp_path / "good")
    with pytest.raises(ValueError, match="mode: move is none of copy, link, none"):
        dataclasses.replace(how, mode="move")


def test_a_published_model_is_never_touched_again(tmp_path: Path, base: Path) -> None:
    training, models = tmp_path / "training", tmp_path / "models"
    checkpoint(training, 10, fill=4)
    publish.publish(settings(base), training, "iter_1", models)
    (models / "current").unlink()
    checkpoint(training, 20, fill=5)
    publish.publish(settings(base), training, "iter_1", models)
    assert weights_of(models / "current") == b"\4"


@pytest.mark.parametrize(
    ("keep", "serving", "left"),
    [
        (0, None, [1, 2, 3, 4]),
        (2, None, [3, 4]),
        (1, "iter_1", [1, 4]),
        (1, "iter_2/", [2, 4]),
        (9, None, [1, 2, 3, 4]),
    ],
)
def test_how_many_models_stay(
    tmp_path: Path, base: Path, keep: int, serving: str | None, left: list[int]
) -> None:
    training, models = tmp_path / "training", tmp_path / "models"
    checkpoint(training, 10)
    for number in (1, 2, 3):
        publish.publish(settings(base, keep=0), training, f"iter_{number}", models)
    (models / "iter_x").mkdir()
    served = models / serving if serving else None
    publish.publish(settings(base, keep=keep), training, "iter_4", models, served)
    assert names(models) == ["current", *(f"iter_{number}" for number in left), "iter_x"]


def test_what_current_is_stays_though_others_are_newer(tmp_path: Path, base: Path) -> None:
    training, models = tmp_path / "training", tmp_path / "models"
    checkpoint(training, 10)
    for number in (2, 3):
        publish.publish(settings(base), training, f"iter_{number}", models)
    publish.publish(settings(base, keep=1), training, "iter_1", models)
    assert names(models) == ["current", "iter_1", "iter_3"]


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EDQUOT])
def test_a_full_disk(
    tmp_path: Path, base: Path, monkeypatch: pytest.MonkeyPatch, code: int
) -> None:
    training, models = tmp_path / "training", tmp_path / "models"
    checkpoint(training, 10)
    real = os.fsync

    def full(descriptor: int) -> None:
        if os.readlink(f"/proc/self/fd/{descriptor}").endswith("model.safetensors"):
            raise OSError(code, os.strerror(code))
        real(descriptor)

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(PreflightError, match=r"no room for a model of 0\.0 GiB, free some"):
        publish.publish(settings(base), training, "iter_1", models)
    assert names(models) == []


def test_a_directory_where_the_link_belongs(tmp_path: Path, base: Path) -> None:
    checkpoint(tmp_path / "training", 10)
    (tmp_path / "models" / "current").mkdir(parents=True)
    with pytest.raises(PreflightError, match="is a directory where a link belongs"):
        publish.publish(settings(base), tmp_path / "training", "iter_1", tmp_path / "models")


@pytest.mark.parametrize("code", [errno.EXDEV, errno.EPERM])
def test_without_hard_links_the_file_is_copied(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: int
) -> None:
    (tmp_path / "real").write_bytes(b"x" * 100)
    (tmp_path / "old").symlink_to("real")

    def refuse(*_: object) -> None:
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(os, "link", refuse)
    copying.link(tmp_path / "old", tmp_path / "new")
    assert (tmp_path / "new").read_bytes() == b"x" * 100
    assert not (tmp_path / "new").is_symlink()


@pytest.mark.parametrize("code", [None, errno.EXDEV, errno.ENOSYS])
def test_a_copy_is_the_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: int | None
) -> None:
    """With what the kernel copies, and without."""
    monkeypatch.setattr(copying, "_BLOCK", 1000)
    content = random.Random(1).randbytes(12_345)
    (tmp_path / "old").write_bytes(content)

    def refuse(*_: object) -> int:
        if code is None:
            return 0
        raise OSError(code, os.strerror(code))

    copying.copy(tmp_path / "old", tmp_path / "new")
    monkeypatch.setattr(os, "copy_file_range", refuse)
    copying.copy(tmp_path / "old", tmp_path / "again")
    assert (tmp_path / "new").read_bytes() == (tmp_path / "again").read_bytes() == content


def test_what_killed_attempts_left_is_removed(tmp_path: Path) -> None:
    for name in (".iter_1.17", ".iter_2.99"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "part").write_text("x")
    (tmp_path / ".current.5").symlink_to(".iter_1.17")
    kept = [".gitignore", ".hidden", "iter_1.17"]
    for name in kept:
        (tmp_path / name).write_text("x")
    aside.clear(tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == kept


def program(base: Path, training: Path, models: Path, name: str, mode: str) -> list[str]:
    body = dataclasses.asdict(settings(base, mode=mode, keep=1))
    (training.parent / "publish.json").write_text(json.dumps(body))
    words = ["--training", str(training), "--name", name, "--models", str(models)]
    module = "grpo_launch.stages.publish"
    return [sys.executable, "-m", module, str(training.parent / "publish.json"), *words]


@pytest.mark.slow
def test_as_a_program(tmp_path: Path, base: Path) -> None:
    training, models = tmp_path / "training", tmp_path / "models"
    command = program(base, training, models, "iter_1", "copy")
    failed = subprocess.run(command, capture_output=True, text=True, check=False)
    assert failed.returncode == 3
    assert failed.stderr == (f"error: {training}: is no directory, name what a training wrote\n")
    checkpoint(training, 10)
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, f"{models}/current is {models}/iter_1\n")
    (tmp_path / "publish.json").write_text('{"keep": "two"}')
    wrong = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (wrong.returncode, wrong.stderr) == (
        2,
        f"error: {tmp_path}/publish.json: keep: 'two' is no int, correct it\n",
    )


class Watcher(threading.Thread):
    """Looks at ``current`` all the time, as a server that loads it would."""

    def __init__(self, models: Path) -> None:
        super().__init__()
        self.models = models
        self.over = threading.Event()
        self.looks = 0
        self.broken: list[str] = []

    def run(self) -> None:
        while not self.over.is_set():
            for path in self.models.glob("iter_*"):
                self.look(path)
            if (self.models / "current").is_symlink():
                self.look(self.models / "current")
                self.looks += 1

    def look(self, path: Path) -> None:
        found = path.resolve()
        try:
            there = {each.name for each in found.iterdir()}
            header = safetensors.read(found / "model.safetensors")
            is_whole = {*BASE_FILES, "config.json"} <= there
            is_whole &= len(header.tensors) == len(TENSORS)
        except (OSError, ValueError):
            is_whole = False
        # One that is not what this name means any more was removed while it was looked at.
        if not is_whole and path.resolve() == found and (path.name == "current" or found.is_dir()):
            self.broken.append(str(path))


@contextlib.contextmanager
def watched(models: Path) -> Iterator[Watcher]:
    watcher = Watcher(models)
    watcher.start()
    try:
        yield watcher
    finally:
        watcher.over.set()
        watcher.join()


def attempt(how: publish.Publishing, training: Path, models: Path, name: str) -> int:
    """A process that publishes; it has all imported already."""
    pid = os.fork()
    if not pid:
        with contextlib.suppress(BaseException):
            publish.publish(how, training, name, models)
            os._exit(0)
        os._exit(1)
    return pid


@pytest.mark.slow(every_row=True)
@pytest.mark.parametrize("mode", ["copy", "link"])
def test_killed_at_any_moment_and_started_again(tmp_path: Path, base: Path, mode: str) -> None:
    chance = random.Random(14)
    training, models = tmp_path / "training", tmp_path / "models"
    models.mkdir()
    how = settings(base, mode=mode, keep=2)
    checkpoint(training, 10, fill=4)
    big = {**TENSORS, "model.embed_tokens.weight": (500_000, 2)}
    (training / "checkpoint-10" / "model.safetensors").write_bytes(packed(big))
    started = time.monotonic()
    os.waitpid(attempt(how, training, models, "iter_0"), 0)
    usual = time.monotonic() - started
    kills = 0
    with watched(models) as watcher:
        for number in range(1, 9):
            name = f"iter_{number}"
            for longest in (0.0, usual, usual):
                pid = attempt(how, training, models, name)
                time.sleep(chance.uniform(0, longest))
                os.kill(pid, signal.SIGKILL)
                kills += os.WIFSIGNALED(os.waitpid(pid, 0)[1])
            assert os.waitpid(attempt(how, training, models, name), 0)[1] == 0
            assert os.readlink(models / "current") == name
            trained.check(models / name)
            assert names(models) == sorted(["current", name, f"iter_{number - 1}"])
    assert watcher.broken == []
    assert watcher.looks > 8
    assert kills >= 8
