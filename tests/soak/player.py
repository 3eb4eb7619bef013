"""The worker process of the soak: production workflows and limits, scripted activities."""

from __future__ import annotations

import asyncio
import signal
import sys
from contextlib import AsyncExitStack

from temporalio.client import Client

from firebreak.codec import data_converter
from firebreak.settings import Settings
from tests.workflows.scripted import ScriptedActivities
from tests.workflows.stage import scripted_workers


async def play(address: str, task_queue: str) -> None:
    """Work until SIGTERM."""
    stop = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    settings = Settings(task_queue=task_queue)
    client = await Client.connect(address, data_converter=data_converter(settings))
    async with AsyncExitStack() as stack:
        for worker in scripted_workers(client, settings, ScriptedActivities()):
            await stack.enter_async_context(worker)
        await stop.wait()


if __name__ == "__main__":
    asyncio.run(play(*sys.argv[1:]))
