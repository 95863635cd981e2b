"""Run by the learner's own interpreter: what its arguments and its data are to ms-swift.

    PYTHON rehearse.py PROGRAM ARGUMENTS_FILE PROCESSES MAX_MODEL_LEN ENTRY...

Parses the learner's arguments as ``swift PROGRAM`` does, imports its plugins, makes its reward
functions, and reads and encodes its first rows. It sees no device, makes no connection and no
directory. After each stage it prints a line, ``rehearsal {...}``; the last one is the verdict
(``runs/rehearsal.py`` reads them).

    PROGRAM         ``rlhf``, ``sft`` or ``pt``
    ARGUMENTS_FILE  the file that the learner gets
    PROCESSES       of the learner on this node; NNODES says how many nodes
    MAX_MODEL_LEN   of the rollout server, tokens; 0: not known
    ENTRY           the command before ``PROGRAM``: whose interpreter imports ms-swift

Needs nothing of the launcher, only ms-swift 4. What it replaces there it looks up first: where a
name is gone, this version cannot be rehearsed, which stops nobody.
"""

# pyright: basic, reportMissingImports=false, reportAttributeAccessIssue=false

from __future__ import annotations

import importlib.metadata
import inspect
import os
import pathlib
import sys
import time
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

# The modules beside this file are the launcher's: they must not hide the engine's.
sys.path[:] = [entry for entry in sys.path if entry not in (str(HERE), str(HERE.parent))]

ROWS = 64
"""How many rows are read."""

ENCODING_S = 10.0
"""Seconds after which no further row is encoded: pictures take their time."""

LOSS_TYPES = {
    "4.6": ("grpo", "bnpo", "dr_grpo", "dapo", "cispo", "sapo", "real", "fipo"),
}
"""By version, what ``GRPOTrainer._compute_loss_and_metrics`` knows; others it refuses at the
first loss."""

GIVEN = {
    *("completions", "trainer_state", "trajectory_inputs", "messages", "images", "videos"),
    *("audios", "tools", "objects", "prompt_id", "request_id", "finish_reason", "is_truncated"),
    *("rollout_infos", "response_token_ids", "self"),
}
"""What a reward function is called with besides the columns (``GRPOSample.to_reward_row``)."""


def main():
    """Rehearse, and print the answer of each stage."""
    program, path, processes, max_model_len, *entry = sys.argv[1:]
    become_the_interpreter_of(entry)
    told = answers()
    if "-m" in entry:  # which puts the working directory there; a console script does not
        sys.path.insert(0, str(pathlib.Path.cwd()))
    own = Rehearsal(program, path, int(processes), int(max_model_len))
    rehearse(own, (own.load, own.parse, own.rewards, own.data), told)


class Rehearsal:
    """One rehearsal; its stages are called one after the other."""

    def __init__(self, program, path, local, max_model_len):
        self.program = program
        self.path = path
        self.local = local
        self.world = local * int(os.environ.get("NNODES") or 1)
        self.max_model_len = max_model_len
        self.args: typing.Any = None
        self.names = []
        self.given = {}
        self.functions = []

    # What stands for the devices, the hub and the server

    def load(self):
        """Import the argument classes, and keep them from devices, network and directories."""
        os.environ.update(
            CUDA_VISIBLE_DEVICES="",
            HF_HUB_OFFLINE="1", HF_DATASETS_OFFLINE="1", TRANSFORMERS_OFFLINE="1",
            RANK="0", LOCAL_RANK="0",
            WORLD_SIZE=str(self.world), LOCAL_WORLD_SIZE=str(self.local),
            MASTER_ADDR="127.0.0.1", MASTER_PORT="1",
        )  # fmt: skip
        # The timing plugin would write into the run's journal.
        os.environ.pop("GRPO_LAUNCH_RUN", None)
        sys.dont_write_bytecode = True
        no_network()
        try:
            import yaml  # noqa: F401
            from swift.cli.main import parse_yaml_args
        except ImportError as error:
            raise Missing(str(error)) from error
        self.argv = [self.path]
        parse_yaml_args(self.argv)  # sets the variables of ENV, before torch is imported
        self.given = given(self.argv)
        try:
            self.replace()
        except (ImportError, AttributeError) as error:
            raise Missing(str(error)) from error
        return {"version": version()}

    def replace(self):
        """Replace what asks for devices, a server, a hub, or a directory."""
        import swift.utils
        import torch
        import transformers.training_args as training
        from swift.hub import hub

        put(swift.utils, "get_device_count", lambda: self.local)
        from swift.arguments import PretrainArguments, RLHFArguments, SftArguments
        from swift.utils import parse_args

        def setup_devices(arguments):
            kind = training.DistributedType
            arguments._n_gpu = 1
            arguments.distributed_state = types.SimpleNamespace(
                num_processes=self.world, process_index=0, local_process_index=0, backend=None,
                device=torch.device("cpu"), is_main_process=True, is_local_main_process=True,
                distributed_type=kind.MULTI_GPU if self.world > 1 else kind.NO,
            )  # fmt: skip
            return torch.device("cpu")

        def no_client(arguments):
            arguments.vllm_client = None

        put(RLHFArguments, "_init_external_vllm", no_client)
        put(SftArguments, "_add_version", lambda _: None)
        put(training.TrainingArguments, "_setup_devices", property(setup_devices))
        put(training, "is_torch_bf16_gpu_available", lambda: True)
        put(training, "is_torch_tf32_available", lambda: True)
        for cls in (hub.MSHub, hub.HFHub):
            put(cls, "download_model", classmethod(local_only(cls.download_model)))
            put(cls, "try_login", classmethod(lambda _cls, _token=None: False))
        self.parser = parse_args
        of_program = {"rlhf": RLHFArguments, "sft": SftArguments, "pt": PretrainArguments}
        self.arguments = of_program[self.program]
        self.names = list(getattr(self.arguments, "__dataclass_fields__", {}))

    # Stages

    def parse(self):
        """What the program does with its arguments, external plugins included."""
        self.args, rest = self.parser(self.arguments, self.argv)
        if rest and not self.args.ignore_args_error:
            what = f"is no argument of swift {self.program}: {' '.join(rest)}"
            raise Refused(rest[0].lstrip("-"), what)
        known = LOSS_TYPES.get(".".join(version().split(".")[:2]))
        loss, kind = self.args.loss_type, getattr(self.args, "rlhf_type", None)
        if kind == "grpo" and known and loss not in known:
            raise Refused("loss_type", f"unknown loss type {loss}, choose {', '.join(known)}")
        training = self.args.training_args
        return {"world_size": training.world_size, "template": self.args.template}

    def rewards(self):
        """Make the reward functions, as ``GRPOTrainer._prepare_rewards`` does."""
        try:
            from swift.rewards import orms
        except ImportError as error:
            raise Missing(str(error)) from error
        for name in getattr(self.args, "reward_funcs", None) or []:
            if name not in orms:
                raise Refused("reward_funcs", f"no reward function is called {name}")
            try:
                self.functions.append((name, orms[name](args=self.args.training_args)))
            except (ImportError, AssertionError) as error:
                if isinstance(error, AssertionError) and "install" not in str(error):
                    raise
                raise Refused("reward_funcs", f"{name}: {error}") from error
        return {"rewards": [name for name, _ in self.functions]}

    def data(self):
        """Read the first rows, look for the columns that rewards take, encode the prompts."""
        from swift.dataset import load_dataset
        from swift.dataset.dataset_syntax import DatasetSyntax

        rows, warnings, whole = [], [], True
        how = {**self.args.get_dataset_kwargs(), "streaming": True, "num_proc": None}
        for name in self.args.dataset:
            syntax = DatasetSyntax.parse(name)
            if syntax.dataset_type == "repo" and not pathlib.Path(syntax.dataset).is_dir():
                whole = False  # a hub's
                continue
            try:
                found = load_dataset([name], **{**how, "strict": True})[0]
                rows += found.take(ROWS)
            except Exception as error:
                whole = False
                warnings.append(f"{name}: {said(error)}")
        if whole and rows:
            self.check_columns({column for row in rows for column in row})
        return {"rows": len(rows), "warnings": [*warnings, *self.too_long(rows)],
                "longest": self.longest}  # fmt: skip

    def check_columns(self, columns):
        """A function that takes what no row has is called in vain at the first step."""
        if getattr(self.args, "multi_turn_scheduler", None):  # which may add to the rows
            return
        for name, function in self.functions:
            call = function if inspect.isfunction(function) else type(function).__call__
            for parameter in inspect.signature(call).parameters.values():
                optional = parameter.default is not parameter.empty
                if optional or parameter.kind in (parameter.VAR_KEYWORD, parameter.VAR_POSITIONAL):
                    continue
                if parameter.name not in GIVEN | columns:
                    have = ", ".join(sorted(columns))
                    what = f"the reward {name} takes the column {parameter.name}, the rows have"
                    raise Refused("dataset", f"{what} {have}")

    longest = None

    def too_long(self, rows):
        """Yield a warning for each limit that prompts do not keep; encodes them."""
        lengths = []
        try:
            template = self.args.get_template()
            template.max_length = None
            until = time.perf_counter() + ENCODING_S
            for row in rows:
                if time.perf_counter() > until:
                    break
                whole = row if self.program != "rlhf" else prompt(row)
                lengths.append(len(template.encode(whole)["input_ids"]))
        except Exception as error:
            yield f"the rows could not be encoded: {said(error)}"
        self.longest = max(lengths, default=None)
        limits = {"max_length": self.args.max_length}
        if self.max_model_len and (completion := getattr(self.args, "max_completion_length", 0)):
            limits["vllm_max_model_len - max_completion_length"] = self.max_model_len - completion
        for name, limit in limits.items():
            over = sum(length > limit for length in lengths) if limit else 0
            if over:
                what = "prompts" if self.program == "rlhf" else "rows"
                yield f"{over} of {len(lengths)} {what} are longer than {name} ({limit} tokens)"


def local_only(download):
    """``download_model`` that looks at what is here already."""

    def of_class(_cls, *arguments, **more):
        return download(*arguments, **{**more, "local_files_only": True})

    return of_class


def given(argv):
    """The arguments by name, from a list of flags."""
    found, name = {}, ""
    for word in argv:
        if word.startswith("--"):
            name = word[2:]
            found[name] = ""
        else:
            found[name] = f"{found[name]} {word}".strip()
    return found


def prompt(row):
    """A row without the answer, which the learner takes away as well."""
    messages = list(row["messages"])
    if messages and messages[-1]["role"] == "assistant":
        messages.pop()
    kept = {k: row[k] for k in ("images", "videos", "audios", "tools", "objects") if row.get(k)}
    return {**kept, "messages": messages}


def version():
    """The installed version of ms-swift."""
    return importlib.metadata.version("ms_swift")


if __name__ == "__main__":
    main()
