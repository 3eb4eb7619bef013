"""A worker with the production workflows whose activities do nothing: the cost of orchestration alone.

``python -m bench.scripted STEPS`` spreads that many steps over the four phases; with ``--real-pages`` it
tells people through the channels of its settings.
"""

from __future__ import annotations

import asyncio
import signal
import sys
from contextlib import AsyncExitStack

from activities.notify import NotifyActivities
from firebreak.cli.exit import run_and_exit
from firebreak.connect import connect
from firebreak.notify import channels
from firebreak.settings import load_settings
from tests.workflows.script import Script, many
from tests.workflows.scripted import ScriptedActivities
from tests.workflows.stage import scripted_workers


async def work(count: int, *, real_pages: bool) -> None:
    """Work until SIGTERM."""
    settings = load_settings()
    client = await connect(settings)
    stop = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    acting = ScriptedActivities(lambda: Script(many(count)))
    async with AsyncExitStack() as stack:
        notify = NotifyActivities(channels(settings)).notify if real_pages else acting.notify
        for each in scripted_workers(client, settings, acting, notify):
            await stack.enter_async_context(each)
        await stop.wait()


def _main() -> int:
    asyncio.run(work(int(sys.argv[1]), real_pages="--real-pages" in sys.argv))
    return 0


if __name__ == "__main__":
    run_and_exit(_main)
