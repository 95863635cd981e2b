"""Run by the learner's own interpreter: what its training file is to LLaMA-Factory.

    PYTHON rehearse.py ARGUMENTS_FILE PROCESSES INFO ENTRY...

Parses the training file as ``llamafactory-cli train`` does, converts the first rows of the files
that the launcher lists, and holds the template against the model's own. It sees no device, makes no
connection and no directory. After each stage it prints a line, ``rehearsal {...}``; the last one is
the verdict (``runs/rehearsals.py`` reads them).

    ARGUMENTS_FILE  the file that the learner gets
    PROCESSES       of the learner on this node; NNODES says how many nodes
    INFO            the list of data sets that the launcher writes; empty: it writes none
    ENTRY           the command before ``train``: whose interpreter imports LLaMA-Factory

Needs nothing of the launcher, only LLaMA-Factory 0.9. What it replaces there it looks up first:
where a name is gone, this version cannot be rehearsed, which stops nobody.
"""

# pyright: basic, reportMissingImports=false, reportAttributeAccessIssue=false

from __future__ import annotations

import importlib.metadata
import itertools
import json
import os
import pathlib
import sys
import types
import typing

HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent))
from rehearse_stages import (  # noqa: E402
    answers,
    become_the_interpreter_of,
    no_network,
    put,
    rehearse,
)
from rehearse_verdict import Missing, Refused, said  # noqa: E402

# The modules beside this file are the launcher's: they must not hide the learner's.
sys.path[:] = [entry for entry in sys.path if entry not in (str(HERE), str(HERE.parent))]

ROWS = 8
"""How many rows of a file are looked at."""

TALK = (
    {"role": "user", "content": "What is 2 plus 3?"},
    {"role": "assistant", "content": "It is 5."},
    {"role": "user", "content": "And 4?"},
)
"""Conversations, up to any of the questions, that LLaMA-Factory's template and the model's own
chat template should turn into the same prompt."""

AROUND = 24
"""Characters that are shown of two prompts, from a little before they differ."""


def main():
    """Rehearse, and print the answer of each stage."""
    path, processes, info, *entry = sys.argv[1:]
    become_the_interpreter_of(entry)
    told = answers()
    own = Rehearsal(path, int(processes), info)
    rehearse(own, (own.load, own.parse, own.data, own.template), told)


class Rehearsal:
    """One rehearsal; its stages are called one after the other."""

    def __init__(self, path, local, info):
        self.path = path
        self.local = local
        self.world = local * int(os.environ.get("NNODES") or 1)
        self.info = info
        self.given = {}
        self.arguments: typing.Any = {}
        self.args: typing.Any = None
        self.found: dict[str, typing.Any] = {"warnings": []}

    def load(self):
        """Import the parser, and keep it from devices, network and directories."""
        os.environ.update(
            CUDA_VISIBLE_DEVICES="",
            HF_HUB_OFFLINE="1", HF_DATASETS_OFFLINE="1", TRANSFORMERS_OFFLINE="1",
            RANK="0", LOCAL_RANK="0",
            WORLD_SIZE=str(self.world), LOCAL_WORLD_SIZE=str(self.local),
            MASTER_ADDR="127.0.0.1", MASTER_PORT="1",
        )  # fmt: skip
        sys.dont_write_bytecode = True
        no_network()
        try:
            import torch
            import transformers.training_args as training
            from llamafactory.hparams import parser
            from omegaconf import OmegaConf
        except ImportError as error:
            raise Missing(str(error)) from error

        def setup_devices(arguments):
            kind = training.DistributedType
            arguments._n_gpu = 1
            arguments.distributed_state = types.SimpleNamespace(
                num_processes=self.world, process_index=0, local_process_index=0, backend=None,
                device=torch.device("cpu"), is_main_process=True, is_local_main_process=True,
                distributed_type=kind.MULTI_GPU if self.world > 1 else kind.NO,
            )  # fmt: skip
            return torch.device("cpu")

        try:
            put(training.TrainingArguments, "_setup_devices", property(setup_devices))
            for module in (training, parser):
                put(module, "is_torch_bf16_gpu_available", lambda: True)
            put(training, "is_torch_tf32_available", lambda: True)
        except AttributeError as error:
            raise Missing(str(error)) from error
        self.arguments = OmegaConf.to_container(OmegaConf.load(self.path))
        self.given = {key: str(value) for key, value in self.arguments.items()}
        self.parser = parser.get_train_args
        return {"version": importlib.metadata.version("llamafactory")}

    def parse(self):
        """What ``llamafactory-cli train`` does with its file before it loads anything."""
        self.args = self.parser(self.arguments)
        return {"world_size": self.args[2].world_size}

    def data(self):
        """Convert the first rows of each file that the launcher lists, as the training will."""
        if not self.info:
            return {}
        from datasets import load_dataset
        from llamafactory.data.converter import get_dataset_converter
        from llamafactory.data.loader import FILEEXT2TYPE
        from llamafactory.data.parser import get_dataset_list

        _, data_args, *_ = self.args
        info = json.loads(pathlib.Path(self.info).read_text(encoding="utf-8"))
        rows, warnings = 0, self.found["warnings"]
        for attr in get_dataset_list([*data_args.dataset, *(data_args.eval_dataset or [])], info):
            file = attr.dataset_name
            if not pathlib.Path(file).is_file():
                continue  # a directory, or reported already
            kind = FILEEXT2TYPE[pathlib.Path(file).suffix[1:]]
            converter = get_dataset_converter(attr.formatting, attr, data_args)
            try:
                found = load_dataset(kind, data_files=[file], split=attr.split, streaming=True)
                first = list(itertools.islice(found, ROWS))
            except Exception as error:
                raise Refused("dataset", f"{file} cannot be read: {said(error)}") from error
            for number, row in enumerate(first, 1):
                try:
                    converted = converter(row)
                except Exception as error:
                    what = f"row {number} of {file} cannot be converted: {said(error)}"
                    columns = ", ".join(sorted(row))
                    raise Refused("dataset", f"{what}; its columns are {columns}") from error
                if not converted["_prompt"]:
                    warnings.append(f"row {number} of {file} is left out, its messages are invalid")
            rows += len(first)
        self.found["rows"] = rows
        return self.found

    def template(self):
        """Compare the prompts that are trained on with those of the model's own chat template.

        A server renders the model's own: where the two differ, it asks otherwise than was trained.
        """
        model_args, data_args, _, finetuning_args, _ = self.args
        path = model_args.model_name_or_path
        if finetuning_args.stage == "pt" or not pathlib.Path(path).is_dir():
            return self.found
        from llamafactory.data import get_template_and_fix_tokenizer
        from llamafactory.model import load_tokenizer

        tokenizer = load_tokenizer(model_args)["tokenizer"]
        own = tokenizer.chat_template
        if not isinstance(own, str):
            return self.found
        template = get_template_and_fix_tokenizer(tokenizer, data_args)
        for last in range(0, len(TALK), 2):
            talk = [*TALK[: last + 1]]
            answer = {"role": "assistant", "content": "9"}
            trained = tokenizer.decode(template.encode_oneturn(tokenizer, [*talk, answer])[0])
            served = tokenizer.apply_chat_template(
                talk, chat_template=own, tokenize=False, add_generation_prompt=True
            )
            if trained != served:
                self.found["warnings"].append(differ(data_args.template, trained, served))
                break
        return self.found


def differ(name, trained, served):
    """The warning for a prompt that is trained on and one that a server makes."""
    pairs = enumerate(zip(trained, served, strict=False))
    same = next(
        (at for at, (one, other) in pairs if one != other), min(map(len, (trained, served)))
    )
    begin = max(0, same - AROUND // 3)
    shown = [repr(text[begin : begin + AROUND]) for text in (trained, served)]
    what = f"template {name} makes other prompts than the model's own chat template"
    return f"{what}: ...{shown[0]} is trained on, a server that loads the model asks ...{shown[1]}"


if __name__ == "__main__":
    main()
