"""Models in directories, as small as they can be, and the server that serves them."""

from __future__ import annotations

import contextlib
import json
import subprocess
import sys
from collections.abc import Generator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx

FAKE = Path(__file__).parents[1] / "fakes" / "reloading.py"

CONFIG: dict[str, Any] = {
    "architectures": ["Qwen2ForCausalLM"],
    "model_type": "qwen2",
    "hidden_size": 2,
    "num_hidden_layers": 1,
    "num_attention_heads": 1,
    "num_key_value_heads": 1,
    "intermediate_size": 4,
    "vocab_size": 3,
    "rms_norm_eps": 1e-6,
    "hidden_act": "silu",
    "tie_word_embeddings": False,
    "rope_parameters": {"rope_theta": 10000.0, "rope_type": "default"},
}
TENSORS: dict[str, tuple[int, ...]] = {
    "lm_head.weight": (3, 2),
    "model.embed_tokens.weight": (3, 2),
    "model.layers.0.mlp.up_proj.weight": (4, 2),
    "model.layers.0.mlp.down_proj.weight": (2, 4),
    "model.norm.weight": (2,),
}
NO_HEAD = {name: shape for name, shape in TENSORS.items() if name != "lm_head.weight"}
SIZES = {"F32": 4, "BF16": 2, "F64": 8, "I64": 8, "F8_E4M3": 1}


def packed(
    tensors: Mapping[str, tuple[int, ...]], dtype: str = "F32", fill: int = 1, *, says: bool = False
) -> bytes:
    """A safetensors file, with metadata where it ``says`` so."""
    header: dict[str, Any] = {"__metadata__": {"format": "pt"}} if says else {}
    at = 0
    for name, shape in tensors.items():
        length = SIZES[dtype]
        for size in shape:
            length *= size
        header[name] = {"dtype": dtype, "shape": shape, "data_offsets": [at, at + length]}
        at += length
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    return len(text).to_bytes(8, "little") + text + bytes([fill]) * at


def save(
    directory: Path,
    tensors: Mapping[str, tuple[int, ...]] = TENSORS,
    config: Mapping[str, Any] = CONFIG,
    dtype: str = "F32",
    fill: int = 1,
) -> Path:
    """A model in a new directory."""
    directory.mkdir(parents=True)
    (directory / "config.json").write_text(json.dumps(config))
    (directory / "model.safetensors").write_bytes(packed(tensors, dtype, fill))
    return directory


def save_sharded(
    directory: Path, shards: Sequence[Mapping[str, tuple[int, ...]]], **weight_map: str
) -> Path:
    """A model in several files."""
    directory.mkdir(parents=True)
    (directory / "config.json").write_text(json.dumps(CONFIG))
    mapping: dict[str, str] = {}
    for number, tensors in enumerate(shards, 1):
        name = f"model-{number:05}-of-{len(shards):05}.safetensors"
        (directory / name).write_bytes(packed(tensors))
        mapping |= dict.fromkeys(tensors, name)
    index = {"metadata": {}, "weight_map": mapping | weight_map}
    (directory / "model.safetensors.index.json").write_text(json.dumps(index))
    return directory


@dataclass(frozen=True)
class Fake:
    """A running fake."""

    process: subprocess.Popen[str]
    url: str

    def state(self) -> dict[str, Any]:
        return httpx.get(f"{self.url}/state", timeout=5).json()


@contextlib.contextmanager
def serving(directory: Path, *faults: str) -> Generator[Fake]:
    with subprocess.Popen(
        [sys.executable, "-I", "-S", str(FAKE), str(directory), *faults],
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        try:
            assert process.stdout is not None
            port = int(process.stdout.readline())
            yield Fake(process, f"http://127.0.0.1:{port}")
        finally:
            process.kill()
