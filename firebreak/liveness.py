"""Whether workflows are really being worked on: a canary workflow and the poller gauge.

A process that lives proves nothing: a worker was measured to lose its workflow poller for ever while
its activity poller went on (docs/performance.md). An unhealthy process ends, so that its supervisor
starts a new one; runs lose nothing by that.
"""

from __future__ import annotations

import asyncio
import urllib.request
import uuid
from collections.abc import Iterator
from datetime import timedelta

import structlog
from temporalio.client import Client, WorkflowFailureError, WorkflowHandle
from temporalio.service import RPCError

from firebreak.errors import FirebreakError
from firebreak.measure import now
from workflows.preview import Canary

log = structlog.get_logger("firebreak.liveness")

INTERVAL = 15.0
"""Seconds between two checks."""

CANARY_TIMEOUT = timedelta(seconds=10)

STRIKES = 4
"""Failed checks in a row before the process ends: one minute, well inside a phase's budget."""


class WedgedError(FirebreakError):
    """This worker no longer works on workflows."""


async def watch(client: Client, task_queue: str, metrics: str, stop: asyncio.Event) -> None:
    """Check until ``stop``; raises WedgedError after several failed checks in a row."""
    strikes = 0
    while not await _stopped(stop, INTERVAL):
        polls = await asyncio.to_thread(workflow_pollers, metrics)
        answers = await canary(client, task_queue)
        strikes = 0 if polls and answers else strikes + 1
        if strikes:
            log.warning("worker.unhealthy", pollers=polls, canary=answers, strikes=strikes)
        if strikes >= STRIKES and not polls:
            raise WedgedError(
                "this worker no longer polls for workflow tasks",
                remedy="let the supervisor start a new process",
            )


async def canary(client: Client, task_queue: str) -> bool:
    """Whether a workflow of the queue runs to its end in time."""
    try:
        await (await _begun(client, task_queue)).result()
    except (WorkflowFailureError, RPCError):  # timed out, or the server is away: not alive
        return False
    return True


async def clock_ahead(client: Client, task_queue: str) -> float:
    """By how many seconds this machine's clock is ahead of the server's; negative where it is behind.

    The server stamps the start of a workflow; what the call itself took does not count. No worker is needed.
    """
    before = now()
    handle = await _begun(client, task_queue)
    after = now()
    stamped = (await handle.describe()).start_time
    return max((before - stamped).total_seconds(), 0.0) - max((stamped - after).total_seconds(), 0.0)


def workflow_pollers(metrics: str) -> int:
    """Workflow pollers of this process, from its own metrics; none where those do not answer."""
    try:
        with urllib.request.urlopen(f"http://{metrics}/metrics", timeout=5) as answer:
            return sum(_pollers(answer.read().decode()))
    except OSError as error:  # counted as a strike like any other sign of trouble
        log.warning("worker.metrics_unreadable", metrics=metrics, error=str(error))
        return 0


async def _begun(client: Client, task_queue: str) -> WorkflowHandle[Canary, str]:
    return await client.start_workflow(
        Canary.run,
        id=f"canary-{uuid.uuid4().hex}",
        task_queue=task_queue,
        execution_timeout=CANARY_TIMEOUT,
    )


def _pollers(text: str) -> Iterator[int]:
    for line in text.splitlines():
        if line.startswith("temporal_num_pollers") and "workflow_task" in line:
            yield int(float(line.rsplit(" ", 1)[1]))


async def _stopped(stop: asyncio.Event, seconds: float) -> bool:
    try:
        await asyncio.wait_for(stop.wait(), seconds)
    except TimeoutError:  # time passed, and nobody asked to stop
        return False
    return True
