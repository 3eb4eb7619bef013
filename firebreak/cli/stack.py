"""The embedded stack for a command: clean settings, readiness, and the environment for other shells."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from temporalio.client import Client

from drills.sandbox.aws.sample.__main__ import ENVIRONMENT_FILE, write_environment
from drills.stack import Stack, embedded
from firebreak.connect import connect
from firebreak.doctor import ACTIVITIES, WORKFLOWS, pollers
from firebreak.errors import FirebreakError
from firebreak.model import Cloud
from firebreak.settings import load_settings
from firebreak.start import cloud_queue

READY_SECONDS = 60.0
_FOREIGN = "AWS_"
"""Credentials and profiles of the surrounding shell must not leak into the stack."""


@contextmanager
def running(folder: Path) -> Iterator[Stack]:
    """Start everything and wait until both task queues are worked on.

    The process's own environment points at the stack from then on; ``folder/env`` does it for a shell.
    """
    for name in [name for name in os.environ if name.startswith(_FOREIGN)]:
        del os.environ[name]
    with embedded(folder) as stack:
        own = {name: value for name, value in stack.environment.items() if os.environ.get(name) != value}
        write_environment(folder / ENVIRONMENT_FILE, own)
        os.environ.update(own)
        asyncio.run(_ready(folder))
        yield stack


async def _ready(folder: Path) -> None:
    """Wait until both task queues are polled; raises FirebreakError when time is over."""
    settings = load_settings()
    client = await connect(settings)
    deadline = asyncio.get_running_loop().time() + READY_SECONDS
    while not await _polled(client, settings.task_queue, cloud_queue(settings, Cloud.AWS)):
        if asyncio.get_running_loop().time() > deadline:
            raise FirebreakError("a worker does not come up", remedy=f"see {folder}/worker-*.log")
        await asyncio.sleep(0.1)


async def _polled(client: Client, workflows: str, activities: str) -> bool:
    return bool(await pollers(client, workflows, WORKFLOWS) and await pollers(client, activities, ACTIVITIES))
