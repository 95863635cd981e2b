"""What of a checkpoint becomes the directory that a server loads.

A checkpoint of LLaMA-Factory is a whole model directory, but its tokenizer carries the chat
template of ``template:``: it ignores ``add_generation_prompt`` and opens the assistant's turn by
itself. A server that loads it asks otherwise than before the training. So the tokenizer, its chat
template and what else decides how text becomes tokens are the base model's.
"""

from __future__ import annotations

from grpo_launch.learners.publication import Publication

PUBLICATION = Publication(
    checkpoint=("config.json", "*.safetensors", "*.safetensors.index.json", "pytorch_model*.bin*"),
    base=(
        *("tokenizer*", "*.tiktoken", "vocab*", "merges.txt", "special_tokens_map.json"),
        *("added_tokens.json", "chat_template*", "generation_config.json", "*processor*.json"),
        *("spiece.model", "sentencepiece*", "tekken.json", "*.py"),
    ),
    needed=("config.json",),
)
"""Of a whole model; an adapter (``adapter_config.json``) is merged before it can be served so."""
