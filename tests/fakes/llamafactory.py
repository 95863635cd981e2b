"""``llamafactory-cli`` at the process boundary, for loops: a training of STEPS short steps.

    python llamafactory.py train ARGUMENTS.yaml

It begins with the model of ``model_name_or_path`` or goes on from ``resume_from_checkpoint``. Each
checkpoint is a model whose ``counter`` is one more than that of the first model, see
``vllm_server.py``. FAKE_LEDGER is a file that gets a line of JSON for each step and for the end;
FAKE_LEARNER_S is how long a step takes.

FAKE_LEARNER names what goes wrong, of those in FAULTS; ``_once``: not again, in this ledger.
"""

import json
import os
import signal
import struct
import sys
import time
from pathlib import Path

import yaml

STEPS = 3
PADDING = 1 << 20
FAULTS = ("", "fails", "fails_once", "hangs_once", "obeys")


def values_of(model):
    content = (model / "model.safetensors").read_bytes()
    length = struct.unpack("<Q", content[:8])[0]
    assert len(content) == 8 + length + 16 + PADDING, f"{model} is not whole"
    return struct.unpack_from("<qq", content, 8 + length)


def write_model(directory, counter, step):
    tensors = {"counter": ("I64", 1, 0, 8), "step": ("I64", 1, 8, 16)}
    tensors["padding"] = ("U8", PADDING, 16, 16 + PADDING)
    header = json.dumps(
        {
            n: {"dtype": k, "shape": [s], "data_offsets": [a, e]}
            for n, (k, s, a, e) in tensors.items()
        }
    ).encode()
    body = struct.pack("<qq", counter, step) + bytes(PADDING)
    config = {"architectures": ["Qwen2ForCausalLM"], "model_type": "qwen2"}
    (directory / "config.json").write_text(json.dumps(config))
    (directory / "tokenizer.json").write_text('{"of": "the training"}')
    (directory / "model.safetensors").write_bytes(struct.pack("<Q", len(header)) + header + body)


def note(**line):
    with open(os.environ["FAKE_LEDGER"], "a") as file:
        file.write(json.dumps({**line, "pid": os.getpid()}) + "\n")


def is_first():
    try:
        with open(os.environ["FAKE_LEDGER"] + ".spent", "x"):
            return True
    except FileExistsError:
        return False


def go_wrong(fault):
    if fault == "fails" or (fault == "fails_once" and is_first()):
        print("ValueError: loss is nan", flush=True)
        sys.exit(7)
    if fault == "hangs_once" and is_first():
        signal.pause()


def train(arguments):
    fault = os.environ.get("FAKE_LEARNER", "")
    assert fault in FAULTS, fault
    if fault == "obeys":
        signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    listed = json.loads(Path(arguments["dataset_dir"], "dataset_info.json").read_text())
    for name in arguments["dataset"].split(","):
        with open(listed[name]["file_name"]) as file:
            rows = [json.loads(line) for line in file]
        assert rows, "no rows"
    answers = {m["content"] for row in rows for m in row["messages"] if m["role"] == "assistant"}
    base = values_of(Path(arguments["model_name_or_path"]))[0]
    output = Path(arguments["output_dir"])
    output.mkdir(parents=True, exist_ok=True)
    begun = 0
    if checkpoint := arguments.get("resume_from_checkpoint"):
        counter, begun = values_of(Path(checkpoint))
        assert counter == base + 1, f"{checkpoint} is of another training"
    for step in range(begun + 1, STEPS + 1):
        time.sleep(float(os.environ.get("FAKE_LEARNER_S", "0.1")))
        if step == STEPS:
            go_wrong(fault)
        with open(output / "trainer_log.jsonl", "a") as log:
            log.write(
                json.dumps({"current_steps": step, "total_steps": STEPS, "loss": 1 / step}) + "\n"
            )
        directory = output / f"checkpoint-{step}"
        directory.mkdir(exist_ok=True)
        write_model(directory, base + 1, step)
        (directory / "trainer_state.json").write_text(json.dumps({"global_step": step}))
        note(step=step, base=base, output=str(output), rows=len(rows), answers=sorted(answers))
    note(end=True, base=base, output=str(output))


if __name__ == "__main__":
    assert sys.argv[1] == "train"
    train(yaml.safe_load(Path(sys.argv[2]).read_text()))
