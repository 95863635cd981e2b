"""Runs in the engine's environment: the timing plugin on ms-swift's own trainer and HTTP client.

``timing_probe.py PLUGIN URL``: imports the plugin as ms-swift would, lets a trainer that never
was initialised generate from the server at URL and do what else is timed, and measures what the
timing itself costs.
"""

from __future__ import annotations

import json
import os
import sys
import threading
import time
from types import SimpleNamespace

from swift.infer_engine import RequestConfig
from swift.infer_engine.protocol import RolloutInferRequest
from swift.rlhf_trainers.grpo_trainer import GRPOTrainer
from swift.rlhf_trainers.rollout_mixin import RolloutTrainerMixin
from swift.rlhf_trainers.vllm_client import VLLMInferClient
from swift.utils import import_external_file

CALLS = 2000


class Empty:
    """A method whose own time is next to nothing, for the cost of the timing."""

    model = SimpleNamespace(training=True)
    state = SimpleNamespace(global_step=7)

    def plain(self) -> None:
        pass


def seconds_a_call(function) -> float:
    begin = time.perf_counter()
    for _ in range(CALLS):
        function()
    return (time.perf_counter() - begin) / CALLS


def main() -> None:
    path, url = sys.argv[1:]
    inherited = RolloutTrainerMixin._engine_infer
    plugin = import_external_file(path)
    import_external_file(path)  # a second time changes nothing
    assert RolloutTrainerMixin._engine_infer is inherited, "other trainers are left alone"
    trainer = object.__new__(GRPOTrainer)
    trainer.vllm_mode, trainer.vllm_client = "server", VLLMInferClient(base_urls=[url])
    trainer.template = SimpleNamespace(padding_free=False, sequence_parallel_size=1)
    trainer.args = SimpleNamespace(report_to=[], async_generate=False, tuner_type="full")
    trainer.model = SimpleNamespace(training=True)
    trainer.state = SimpleNamespace(global_step=3)
    trainer._move_full_model_to_vllm = lambda: time.sleep(0.05)
    trainer._reset_vllm_cache = lambda: None
    requests = [RolloutInferRequest(messages=[{"role": "user", "content": "1"}])] * 4

    def generate() -> None:
        trainer._engine_infer(infer_requests=requests, request_config=RequestConfig())

    trainer._move_model_to_vllm()
    generate()
    thread = threading.Thread(target=generate)
    thread.start()
    thread.join()
    trainer.model.training = False
    generate()
    with open(os.environ["OUT"], "w", encoding="utf-8") as file:
        plain, empty = seconds_a_call(Empty().plain), Empty()
        journal = plugin.Journal(os.environ["OUT"] + ".jsonl", print)
        timed = plugin.timed(Empty.plain, "sync", journal)
        json.dump({"overhead_s": seconds_a_call(lambda: timed(empty)) - plain}, file)


main()
