"""Write down when the learner generates, syncs weights, scores, saves and evaluates.

The launcher gives this file to ``swift rlhf`` as one of its ``--external_plugins`` (off with
``learner.timing=false``). It appends one JSON object a line to ``timing.jsonl`` in the run's
directory, whose path the environment carries. ms-swift measures the same moments itself
(``profiling_context``, ``swift/rlhf_trainers/utils.py``) and tells them to Weights & Biases and
SwanLab only (docs/adr/0016).

Only the process of rank 0 writes: it alone talks to the rollout server. A training must never
fail for this file's sake: whatever goes wrong costs one line in the learner's log and the rest of
the timing.

The first line of each start of the learner is ``{"kind": "start", ...}``; each further one an
interval:

    kind        ``generate``, ``sync``, ``wait``, ``score``, ``save``, ``evaluate``
    start       its beginning, seconds since the epoch
    begin, end  the same moments in seconds of the monotonic clock
    step        optimizer steps that had been made
    train       whether the model was in training mode; evaluations generate too
    background  whether another thread than the main one spent it (``async_generate``)

and of ``generate`` also ``requests`` and ``completions`` (numbers), ``tokens`` (generated in all),
``longest`` (of one completion) and ``servers``.
"""

from __future__ import annotations

import functools
import importlib
import json
import multiprocessing
import os
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

RUN = "GRPO_LAUNCH_RUN"
"""In the environment: the directory of the run, absolute."""

FILE = "timing.jsonl"
FORMAT = 1

MODULE, TRAINER = "swift.rlhf_trainers.grpo_trainer", "GRPOTrainer"
REQUIRED = {"_engine_infer": "generate", "_move_model_to_vllm": "sync"}
OPTIONAL = {
    "_wait_queue": "wait",
    "_score_completions": "score",
    "_save_checkpoint": "save",
    "evaluate": "evaluate",
}
"""Methods of the trainer in ms-swift 4.6, and what they spend time on."""


class Journal:
    """Appends lines to the file; after the first failure it stays silent.

    Args:
        path: of the file.
        log: told once why there is no timing any more.

    Raises:
        OSError: the file cannot be opened.
    """

    def __init__(self, path: str, log: Callable[[str], None]) -> None:
        flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC
        self._fd: int | None = os.open(path, flags, 0o600)
        self._log = log

    def write(self, line: Mapping[str, Any], *, after: str = "") -> None:
        """Append one line, whole: several threads may write.

        Args:
            line: what to write.
            after: text before it; a line break ends what a killed learner left half-written.
        """
        if self._fd is not None:
            os.write(self._fd, f"{after}{json.dumps(line)}\n".encode())

    def give_up(self, error: BaseException) -> None:
        """Stop writing, for a reason."""
        self._fd = None
        self._log(f"no more timing ({type(error).__name__}: {error})")

    @property
    def is_open(self) -> bool:
        """Whether lines are still written."""
        return self._fd is not None


def timed(method: Callable[..., Any], kind: str, journal: Journal) -> Callable[..., Any]:
    """``method`` of a trainer, with a line for each call that returned."""

    @functools.wraps(method)
    def call(self: Any, *args: Any, **kwargs: Any) -> Any:
        if not journal.is_open:
            return method(self, *args, **kwargs)
        start, begin = time.time(), time.monotonic()
        train = _is_training(self)
        result = method(self, *args, **kwargs)
        end = time.monotonic()
        try:
            line = {
                "kind": kind,
                "start": round(start, 4),
                "begin": round(begin, 4),
                "end": round(end, 4),
                "step": int(self.state.global_step),
                "train": train,
                "background": threading.current_thread() is not threading.main_thread(),
            }
            if kind == "generate":
                requests = args[0] if args else kwargs["infer_requests"]
                line.update(_sizes(self, requests, result))
            journal.write(line)
        except Exception as error:
            journal.give_up(error)
        return result

    return call


def _is_training(trainer: Any) -> bool:
    return bool(getattr(getattr(trainer, "model", None), "training", True))


def _sizes(trainer: Any, requests: Sequence[Any], outputs: Sequence[Any]) -> dict[str, int]:
    """What one generation asked for and got (``RolloutOutput``, ``swift/infer_engine``)."""
    lengths = [_tokens(output) for output in outputs]
    return {
        "requests": len(requests),
        "completions": len(outputs),
        "tokens": sum(lengths),
        "longest": max(lengths, default=0),
        "servers": int(getattr(trainer.vllm_client, "num_servers", 1)),
    }


def _tokens(output: Any) -> int:
    """Generated tokens of one completion; of several turns all of them."""
    turns = output.response_token_ids
    if turns:
        return sum(map(len, turns))
    usage = output.response.usage
    return int(usage.completion_tokens) if usage is not None else 0


def install(environ: Mapping[str, str], log: Callable[[str], None]) -> None:
    """Time the trainer's methods in this process, where it is the learner's main one.

    Args:
        environ: of the process; ``RANK`` is torchrun's.
        log: told, once, why there is no timing.
    """
    is_worker = multiprocessing.parent_process() is not None  # of a data loader
    if RUN not in environ or environ.get("RANK", "0") != "0" or is_worker:
        return
    trainer = getattr(importlib.import_module(MODULE), TRAINER)
    missing = [name for name in REQUIRED if not callable(getattr(trainer, name, None))]
    if missing:
        log(f"no timing: {TRAINER} of this ms-swift has no {' and no '.join(missing)}")
        return
    journal = Journal(f"{environ[RUN]}/{FILE}", log)
    found = {
        name: kind
        for name, kind in {**REQUIRED, **OPTIONAL}.items()
        if callable(getattr(trainer, name, None))
    }
    start = {
        "kind": "start",
        "format": FORMAT,
        "start": round(time.time(), 4),
        "begin": round(time.monotonic(), 4),
        "pid": os.getpid(),
        "swift": getattr(sys.modules.get("swift"), "__version__", None),
        "kinds": sorted(found.values()),
    }
    journal.write(start, after="\n")
    for name, kind in found.items():
        setattr(trainer, name, timed(getattr(trainer, name), kind, journal))


def _say(text: str) -> None:
    print(f"grpo_launch: {text}", file=sys.stderr, flush=True)


try:
    install(os.environ, _say)
except Exception as error:
    _say(f"no timing ({type(error).__name__}: {error})")
