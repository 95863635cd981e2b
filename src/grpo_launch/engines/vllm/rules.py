"""The rules that vLLM's server brings (vLLM 0.32, named at each rule)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from grpo_launch.config import endpoint, kinds
from grpo_launch.config.arguments import is_true, size
from grpo_launch.config.choices import AcceleratorKind
from grpo_launch.config.env import of_half
from grpo_launch.config.facts import DeviceMemory
from grpo_launch.config.launch_config import LaunchConfig
from grpo_launch.config.problem import Problem
from grpo_launch.config.rule import Context, Finding, Rule, rule
from grpo_launch.engines import serving
from grpo_launch.engines.flag_facts import ServerFlags
from grpo_launch.engines.flags import TAKEN_FOR_A_FLAG, Flag, accepts, expected
from grpo_launch.engines.model_shape import ModelShape
from grpo_launch.engines.vllm import serve
from grpo_launch.engines.vllm.memory import LENGTH, UTILIZATION, serving_of
from grpo_launch.plan import SERVER

_COUNTS = ("tensor_parallel_size", "data_parallel_size", "pipeline_parallel_size", "max_num_seqs")

_NO_HTTP = {
    "headless": "starts no HTTP server",
    "grpc": "serves gRPC instead of HTTP",
    "uds": "listens on a socket file instead of a port",
    "ssl_keyfile": "serves HTTPS, while the launcher asks its servers over HTTP",
    "ssl_certfile": "serves HTTPS, while the launcher asks its servers over HTTP",
}
"""Flags of a server that the launcher could not ask (``vllm/entrypoints/launchers``)."""


def _serves(config: LaunchConfig) -> bool:
    return config.starts_servers and endpoint.has_servers(config)


def _on_cpu(config: LaunchConfig) -> bool:
    return config.accelerator.kind is AcceleratorKind.cpu


@rule(when=endpoint.has_servers)
def server_has_a_model(context: Context) -> Iterator[Problem]:
    """Something names the model: ``vllm serve`` alone would fetch one of its own choice."""
    config = context.config
    if not config.model:
        where = config.where("rollout_server.model")
        yield Problem(where, "is not set, and no learner names a model", "name what to serve")


@rule(needs=(ServerFlags,), settles=True)
def server_flags_are_valid(context: Context) -> Iterator[Problem]:
    """Every key is a flag of vLLM's server and takes its value."""
    config, table = context.config, context[ServerFlags]
    for name, value in config.rollout_server.items():
        if name in serve.OWN_KEYS:
            continue
        where, flag = config.where(f"rollout_server.{name}"), table.flags.get(name)
        if flag is None:
            what = f"unknown key, no flag of {table.program} of {table.product}"
            yield Problem(where, what, "remove it")
        elif wanted := not_taken(name, flag, value):
            fix = "choose one of them" if flag.choices else f"write {expected(flag)}"
            if wanted.endswith(TAKEN_FOR_A_FLAG):
                fix = "begin it otherwise"
            fix = "use a positive integer" if name == LENGTH else fix
            yield Problem(where, f"{kinds.said_at(name, value)} is not {wanted}", fix)


@rule
def server_counts_are_positive(context: Context) -> Iterator[Problem]:
    """TP, DP, PP and the sequences at a time are positive."""
    config = context.config
    for name in _COUNTS:
        value = config.rollout_server.get(name)
        if value is not None and size(value) is None:
            where = config.where(f"rollout_server.{name}")
            yield Problem(where, f"{kinds.said(value)} is below 1", "use a positive integer")


@rule
def gpu_memory_utilization_is_a_fraction(context: Context) -> Iterator[Problem]:
    """``gpu_memory_utilization`` is above 0 and at most 1."""
    yield from serving.share_is_a_fraction(context.config, UTILIZATION)


@rule
def server_flags_are_not_empty(context: Context) -> Iterator[Problem]:
    """No flag is an empty string: vLLM reads some as null, and others fail late."""
    yield from serving.are_not_empty(context.config)


@rule(when=_serves)
def server_listens_for_http(context: Context) -> Iterator[Problem]:
    """No flag takes away the HTTP port that everything asks."""
    config = context.config
    for name, why in _NO_HTTP.items():
        if config.rollout_server.get(name) not in (None, False):
            yield Problem(config.where(f"rollout_server.{name}"), why, "remove it")


@rule(when=_serves)
def development_endpoints_are_on_loopback(context: Context) -> Iterator[Problem]:
    """Only this machine reaches a server with ``development_mode``.

    Its endpoints ask for no API key and load weights from any path, run methods by name and put
    the server to sleep (``vllm/entrypoints/serve``; vLLM itself warns not to use it in production).
    """
    config = context.config
    key = "rollout_server.development_mode"
    if not config.rollout_server.get("development_mode"):
        key = next(iter(_variables(config, serve.DEVELOPMENT)), "")
    open_to = [h for h in endpoint.hosts(config) if h not in endpoint.LOCAL_HOSTS]
    if key and open_to:
        what = f"lets everyone who reaches {open_to[0]} replace the weights"
        fix = f"set {config.spelled('rollout_server.host')} to 127.0.0.1, or remove it"
        yield Problem(config.where(key), what, fix)


@rule(when=_on_cpu)
def sleep_mode_needs_a_gpu(context: Context) -> Iterator[Problem]:
    """``enable_sleep_mode`` is not set on a CPU: vLLM ends with status 1 there."""
    config = context.config
    if config.rollout_server.get("enable_sleep_mode"):
        where = config.where("rollout_server.enable_sleep_mode")
        yield Problem(where, "vLLM has no sleep mode on a CPU and does not start", "remove it")


@rule(needs=(ModelShape,), when=_serves)
def tensor_parallel_size_divides_attention_heads(context: Context) -> Iterator[Finding]:
    """See ``serving.tensor_parallel_fits``."""
    config, shape = context.config, context[ModelShape]
    yield from serving.tensor_parallel_fits(config, serving_of(config, shape, None), shape)


@rule(needs=(ModelShape,), when=_serves)
def model_supports_max_model_len(context: Context) -> Iterator[Finding]:
    """See ``serving.length_fits``."""
    config, shape = context.config, context[ModelShape]
    yield from serving.length_fits(config, serving_of(config, shape, None), shape)


@rule(needs=(ModelShape, DeviceMemory), when=_serves)
def kv_cache_holds_one_sequence(context: Context) -> Iterator[Finding]:
    """See ``serving.one_sequence_fits``."""
    config, shape, gib = context.config, context[ModelShape], context[DeviceMemory].gib
    yield from serving.one_sequence_fits(config, serving_of(config, shape, gib), shape, gib)


@rule(needs=(ModelShape, DeviceMemory), when=_serves)
def kv_cache_holds_max_num_seqs(context: Context) -> Iterator[Finding]:
    """See ``serving.sequences_fit``."""
    config, shape, gib = context.config, context[ModelShape], context[DeviceMemory].gib
    yield from serving.sequences_fit(config, serving_of(config, shape, gib), gib)


RULES: Sequence[Rule] = (
    server_has_a_model,
    server_flags_are_valid,
    server_counts_are_positive,
    gpu_memory_utilization_is_a_fraction,
    server_flags_are_not_empty,
    server_listens_for_http,
    development_endpoints_are_on_loopback,
    sleep_mode_needs_a_gpu,
    tensor_parallel_size_divides_attention_heads,
    model_supports_max_model_len,
    kv_cache_holds_one_sequence,
    kv_cache_holds_max_num_seqs,
)
"""In the order in which their findings are reported."""


def not_taken(name: str, flag: Flag, value: Any) -> str | None:
    """What a flag takes, where it does not take ``value``."""
    if name == LENGTH:
        is_length = serve.length(value) not in (None, 0) or str(value) in ("auto", "-1")
        return None if is_length else "a number of tokens, as 32768 or 32k, or auto"
    as_json = flag.kind == "json" and isinstance(value, list) and not flag.is_list
    wanted = accepts(flag, serve.render(value) if as_json else value)
    if wanted and wanted.endswith(TAKEN_FOR_A_FLAG) and not flag.is_list:
        return accepts(flag, f" {value}")  # it is given as --flag=value
    return wanted


def _variables(config: LaunchConfig, name: str) -> Iterator[str]:
    """The keys of ``env`` that set a variable of the server to true."""
    own = of_half(config.env, SERVER)
    for kind, values in (("set", own.set), ("defaults", own.defaults)):
        if is_true(values.get(name, "")):
            half = "server." if name in getattr(config.env.server, kind) else ""
            yield f"env.{half}{kind}.{name}"
