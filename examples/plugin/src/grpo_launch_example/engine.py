"""The engine ``echo``: a server that gives every prompt back."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from grpo_launch.config.problem import Problem
from grpo_launch.config.rule import Context, rule
from grpo_launch.engines.base import RELOAD, OwnPorts, ServeRequest, SizeKeys, Sizes
from grpo_launch.plan import HttpCheck, Signs

PROGRAM = "grpo_launch_example.serve"


@dataclass
class EchoSettings:
    """The node ``rollout_server``."""

    replicas: int = 1
    """How many answer at a time."""


@rule
def there_is_a_replica(context: Context) -> Iterator[Problem]:
    """``rollout_server.replicas`` is at least 1."""
    config = context.config
    if (count := config.rollout_server.get("replicas", 1)) < 1:
        where = config.where("rollout_server.replicas")
        yield Problem(where, f"{count} is below 1", "use a positive integer")


class EchoEngine:
    """See ``grpo_launch.engines.base`` for what each name means."""

    product = "echo"
    entry = cpu_entry = ("python", "-m", PROGRAM)
    environment = ""
    cpu_overlay: Mapping[str, Any] = {}
    managed = True
    settings = EchoSettings
    size_keys = SizeKeys(data_parallel="replicas")
    max_num_seqs = 1
    signs = Signs(served="POST /generate")
    transfers = frozenset({RELOAD})
    health_path = "/health"
    packages = ("grpo-launch-example",)
    rules = (there_is_a_replica,)
    flags = None

    def sizes(self, settings: Mapping[str, Any]) -> Sizes:
        return Sizes(1, settings.get("replicas", 1), None)

    def summary(self, context: Context) -> Mapping[str, Mapping[str, Any]]:
        return {}

    def argv(self, request: ServeRequest) -> list[str]:
        replicas = request.settings.get("replicas", 1)
        words = ["--model", request.model, "--host", request.host, "--port", str(request.port)]
        return [*request.entry, *words, "--replicas", str(replicas)]

    def env(self, request: ServeRequest) -> Mapping[str, str]:
        return {"PYTHONUNBUFFERED": "1"}

    def checks(self, request: ServeRequest, health_path: str) -> tuple[HttpCheck, ...]:
        replicas = request.settings.get("replicas", 1)
        asked = HttpCheck(
            name="number of replicas",
            path="/replicas",
            field="replicas",
            value=replicas,
            meaning="rollout_server.replicas",
            otherwise="this is no echo server",
        )
        return HttpCheck(name="health", path=health_path), asked

    def own_ports(self, settings: Mapping[str, Any]) -> OwnPorts | None:
        del settings
        return None

    def generation(self, request: ServeRequest) -> HttpCheck:
        return HttpCheck(
            name="token",
            path="/generate",
            body={"prompt": "1"},
            generates=True,
            tokens=("tokens",),
        )

    def from_argv(self, argv: Sequence[str]) -> dict[str, Any]:
        if PROGRAM not in argv:
            raise ValueError(f"no {PROGRAM} in {' '.join(argv)!r}")
        at = list(argv).index(PROGRAM) + 1
        words = dict(zip(argv[at::2], argv[at + 1 :: 2], strict=True))
        return {
            "engine.entry": [*argv[:at]],
            "train.model.model": words["--model"],
            "train.rlhf.vllm_server_host": [words["--host"]],
            "train.rlhf.vllm_server_port": [int(words["--port"])],
            "rollout_server.replicas": int(words["--replicas"]),
        }


ENGINE = EchoEngine()
