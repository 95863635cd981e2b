"""The side processes of a run: what is started beside the two halves, and what is waited for."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from grpo_launch.config import endpoint, services
from grpo_launch.config.launch_config import LaunchConfig
from grpo_launch.plan import SERVICE, Gate, HttpCheck, ProcessSpec


def processes(
    config: LaunchConfig, run_dir: str, cwd: Path, *, cuda: bool
) -> Iterator[ProcessSpec]:
    """One process for each service.

    It runs in the caller's environment: what ``runtime`` and ``env`` say is for the two halves.
    CUDA_VISIBLE_DEVICES is always set, so that none takes a GPU that it was not given.

    Args:
        config: a valid configuration.
        run_dir: the run directory, absolute or relative to ``cwd``.
        cwd: the working directory of the processes.
        cuda: whether devices are CUDA devices.
    """
    for name, service in config.services.items():
        devices = tuple(service.devices)
        yield ProcessSpec(
            name=name,
            part=SERVICE,
            argv=tuple(service.argv),
            cwd=str(cwd),
            log=f"{run_dir}/logs/{name}.log",
            env={**service.env, "CUDA_VISIBLE_DEVICES": ",".join(devices) if cuda else ""},
            devices=devices,
        )


def gates(config: LaunchConfig) -> Iterator[Gate]:
    """One for each service that has a check."""
    for name, url in services.addresses(config).items():
        query = f"?{url.query}" if url.query else ""
        yield Gate(
            server=name,
            url=endpoint.url(str(url.hostname), services.port_of(url), url.scheme),
            checks=(HttpCheck("health", f"{url.path or '/'}{query}"),),
            generation=None,
            timeout_s=config.services[name].check.timeout_s,
            advice=f"look at its log, or set a longer {services.key(name, 'check', 'timeout_s')}",
            elsewhere=f"choose another port in {services.key(name)}",
            model="",
        )
