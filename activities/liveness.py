"""How a running activity shows that it is alive, and yields when its worker is asked to stop."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

from temporalio import activity

from firebreak.measure import Progress
from firebreak.model import JsonObject
from firebreak.turnstile import URGENCY

HEARTBEAT_SECONDS = 1.0
"""Well below the heartbeat timeout of 5 s that the recovery goal of 10 s rests on."""


@asynccontextmanager
async def heartbeating(begun: JsonObject | None = None) -> AsyncIterator[Progress]:
    """Heartbeat in the background with the last progress reported, which a later attempt resumes from.

    ``begun`` is where an earlier activity of the same work ended; an earlier attempt of this one got further.

    The activity's cloud calls get its run's priority, so that live runs pass drills inside the process too.
    """
    URGENCY.set(activity.info().priority.priority_key or URGENCY.get())
    details = activity.info().heartbeat_details
    resume: JsonObject = details[0] if details else begun or {}
    latest = resume

    def report(progress: JsonObject) -> None:  # called from the threads of blocking SDK calls
        nonlocal latest
        latest = progress

    async def beat() -> None:
        while True:
            activity.heartbeat(latest)
            await asyncio.sleep(HEARTBEAT_SECONDS)

    beating = asyncio.create_task(beat())
    try:
        yield Progress(report=report, resume=resume)
    finally:
        beating.cancel()
        with suppress(asyncio.CancelledError):
            await beating


async def pause(seconds: float) -> bool:
    """Wait; True as soon as this worker is shutting down, so that another one takes the step over."""
    try:
        await asyncio.wait_for(activity.wait_for_worker_shutdown(), seconds)
    except TimeoutError:  # the time passed and no shutdown came: the ordinary case
        return False
    return True
