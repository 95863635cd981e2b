"""Make a random, seeded, tiny Qwen2 with a byte-level tokenizer, for runs without a GPU.

Usage: ``python scripts/make_tiny_model.py OUT_DIR``, in the environment of the engines. Needs no
network. The directory appears whole or not at all; one that is already complete is kept.
"""

from __future__ import annotations

import argparse
import errno
import json
import shutil
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

__all__ = ["RECIPE", "is_complete", "main", "make"]

RECIPE: dict[str, Any] = {
    "version": 1,
    "seed": 20240521,
    "vocab_size": 320,
    "hidden_size": 128,
    "intermediate_size": 256,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 16384,
}
"""What the model is made from; a copy stands in the directory as ``recipe.json``.

The head dimension, 128 / 4 = 32, is one that vLLM's CPU attention has a kernel for; with 16 the
engine starts, says it is healthy, and dies at the first generation.
"""

_RECIPE_FILE = "recipe.json"
_FILES = ("config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json")
_PAD, _START, _END = "<|endoftext|>", "<|im_start|>", "<|im_end|>"
_CHAT_TEMPLATE = (
    "{% for message in messages %}"
    "{{ '<|im_start|>' + message['role'] + '\n' + message['content'] + '<|im_end|>' + '\n' }}"
    "{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)
_CORPUS = (
    "system user assistant",
    "You are a helpful assistant.",
    "Write a line of digits.",
    "Summarise the observed items in two lines.",
    "the chair and the table are in the room with the other items of the list",
    '{"stats": [{"category": "chair", "count": 2, "colour": {"red": 2}}]}',
    "<DOMAIN=kitchen>, <TASK=SUMMARY>",
    "a small red wooden chair, a large blue metal table, a round white glass bowl",
)
"""What the merges are learned from: enough to keep prompts short, no digits next to each other."""


def main(argv: Sequence[str] | None = None) -> int:
    """Make the model in the directory named on the command line; returns the exit status."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("out_dir", type=Path, metavar="OUT_DIR")
    out_dir: Path = parser.parse_args(argv).out_dir.absolute()
    if is_complete(out_dir):
        print(f"{out_dir}: already complete")
        return 0
    if out_dir.exists() and (not out_dir.is_dir() or any(out_dir.iterdir())):
        print(f"{out_dir}: exists and is not this model; remove it first", file=sys.stderr)
        return 1
    make(out_dir)
    print(f"{out_dir}: made")
    return 0


def is_complete(directory: Path) -> bool:
    """Whether the directory holds a whole model made from :data:`RECIPE`."""
    try:
        recipe = json.loads((directory / _RECIPE_FILE).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return False
    return recipe == RECIPE and all((directory / name).is_file() for name in _FILES)


def make(out_dir: Path) -> None:
    """Write the model beside ``out_dir``, then rename it there.

    Args:
        out_dir: absent, or an empty directory.

    Raises:
        OSError: the directory cannot be written, or something else took its place meanwhile.
    """
    out_dir.parent.mkdir(parents=True, exist_ok=True)
    staging = Path(tempfile.mkdtemp(prefix=f".{out_dir.name}.", dir=out_dir.parent))
    try:
        staging.chmod(0o755)
        _save(staging)
        recipe = json.dumps(RECIPE, indent=2) + "\n"
        (staging / _RECIPE_FILE).write_text(recipe, encoding="utf-8")
        for file in staging.iterdir():
            file.chmod(0o644)
        staging.rename(out_dir)
    except OSError as error:
        if error.errno not in (errno.ENOTEMPTY, errno.EEXIST) or not is_complete(out_dir):
            raise
    finally:
        shutil.rmtree(staging, ignore_errors=True)


def _save(directory: Path) -> None:
    import torch
    from transformers import PreTrainedTokenizerFast, Qwen2Config, Qwen2ForCausalLM
    from transformers.utils import logging

    logging.disable_progress_bar()

    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=_byte_level_bpe(RECIPE["vocab_size"]),
        pad_token=_PAD,
        eos_token=_END,
        additional_special_tokens=[_START],
        clean_up_tokenization_spaces=False,
        model_max_length=RECIPE["max_position_embeddings"],
    )
    tokenizer.chat_template = _CHAT_TEMPLATE
    config = Qwen2Config(
        vocab_size=RECIPE["vocab_size"],
        hidden_size=RECIPE["hidden_size"],
        intermediate_size=RECIPE["intermediate_size"],
        num_hidden_layers=RECIPE["num_hidden_layers"],
        num_attention_heads=RECIPE["num_attention_heads"],
        num_key_value_heads=RECIPE["num_key_value_heads"],
        max_position_embeddings=RECIPE["max_position_embeddings"],
        tie_word_embeddings=False,
        bos_token_id=None,
        eos_token_id=tokenizer.convert_tokens_to_ids(_END),
        pad_token_id=tokenizer.convert_tokens_to_ids(_PAD),
    )
    torch.manual_seed(RECIPE["seed"])
    model = Qwen2ForCausalLM(config).to(torch.float32)
    model.save_pretrained(directory, safe_serialization=True)
    tokenizer.save_pretrained(directory)


def _byte_level_bpe(vocab_size: int) -> Any:
    """Train a byte-level BPE: 256 bytes, three special tokens, and merges for the rest."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocab_size,
        special_tokens=[_PAD, _START, _END],
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        show_progress=False,
    )
    tokenizer.train_from_iterator(_CORPUS, trainer)
    return tokenizer


if __name__ == "__main__":
    sys.exit(main())
