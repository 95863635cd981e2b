"""Variants of a model: ``python reload_models.py MODEL OUT``, in the environment of the engines."""

import json
import shutil
import sys
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file

MODEL, OUT = map(Path, sys.argv[1:])
FIRST = load_file(MODEL / "model.safetensors")


def save(name, tensors, **config):
    directory = OUT / name
    shutil.copytree(MODEL, directory)
    save_file(tensors, directory / "model.safetensors", metadata={"format": "pt"})
    said = json.loads((directory / "config.json").read_text())
    (directory / "config.json").write_text(json.dumps(said | config))
    return directory


torch.manual_seed(7)
other = {name: tensor + 0.05 * torch.randn_like(tensor) for name, tensor in FIRST.items()}
save("other", other)
save("bfloat16", {name: tensor.bfloat16() for name, tensor in other.items()}, dtype="bfloat16")
save("missing", {name: t for name, t in other.items() if "layers.1.mlp" not in name})
narrow = {name: t[:, :64].contiguous() if t.ndim == 2 else t for name, t in other.items()}
save("shape", narrow)
save("architecture", other, architectures=["LlamaForCausalLM"], model_type="llama")
save("extra", {**other, "model.layers.0.mlp.down_proj.bias": torch.ones(128)})
part = save("truncated", other) / "model.safetensors"
part.write_bytes(part.read_bytes()[:-1000])
sharded = save("sharded", {})
names = sorted(other)
halves = {"a.safetensors": names[::2], "b.safetensors": names[1::2]}
(sharded / "model.safetensors").unlink()
for file, part_names in halves.items():
    save_file({n: other[n] for n in part_names}, sharded / file, metadata={"format": "pt"})
index = {"metadata": {}, "weight_map": {n: file for file, ns in halves.items() for n in ns}}
(sharded / "model.safetensors.index.json").write_text(json.dumps(index))
