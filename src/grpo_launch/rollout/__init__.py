"""An asynchronous collector of episodes from OpenAI-compatible servers.

    import asyncio
    from pathlib import Path
    from grpo_launch.rollout import Client, Collector, Settings, TaskFile, load_plugins

    settings = Settings(urls=("http://127.0.0.1:8000",), sampling={"max_tokens": 64})
    collector = Collector(
        Client.of(settings),
        load_plugins(["plugin.py"], "my_env"),
        TaskFile(Path("tasks.jsonl")),
        settings,
        output=Path("out"),
    )
    summary = asyncio.run(collector.run())

Runs wherever aiohttp is installed (the extra ``rollout``); ``docs/collector.md`` has the files
that it writes, ``python -m grpo_launch.rollout`` is the program.
"""

from __future__ import annotations

from grpo_launch.rollout.answers import Answer, EpisodeError
from grpo_launch.rollout.client import Client
from grpo_launch.rollout.collector import Collector
from grpo_launch.rollout.environments import Environments, Request
from grpo_launch.rollout.plugin_files import load as load_plugins
from grpo_launch.rollout.settings import Settings
from grpo_launch.rollout.summary import Summary
from grpo_launch.rollout.tasks import Task, TaskFile, Tasks

__all__ = [
    "Answer",
    "Client",
    "Collector",
    "Environments",
    "EpisodeError",
    "Request",
    "Settings",
    "Summary",
    "Task",
    "TaskFile",
    "Tasks",
    "load_plugins",
]
