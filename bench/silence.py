"""Everybody whom Firebreak tells is away: containment must take as long as it does with all of them there."""

from __future__ import annotations

import asyncio
import json
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from temporalio.client import Client

from bench.figures import spread
from bench.ground import Ground, connected, ground, nobody, running, say, scripted_worker, trigger
from bench.processes import machine
from firebreak import devserver, runs, start
from firebreak.model import Mode, Verdict

PAIRS = 15
STEPS = 27
"""As many as the full sample workload has."""
GOAL_RATIO = 1.05


def run(size: float) -> dict[str, Any]:
    """Pairs of runs, interleaved: one worker logs its pages, the other one also sends them into the void."""
    with ground(sandboxed=False) as place, void() as address:
        return {**asyncio.run(_measured(place, address, max(3, round(PAIRS * size)))), "machine": machine()}


@contextmanager
def void() -> Iterator[str]:
    """An address that takes every connection and never answers."""
    with socket.create_server(("127.0.0.1", 0), backlog=512) as silent:
        host, port = silent.getsockname()
        yield f"{host}:{port}"


async def _measured(place: Ground, address: str, count: int) -> dict[str, Any]:
    client = await connected(place)
    _worker(place, "told", {})
    _worker(place, "untold", _away(address))
    pairs = []
    for number in range(count + 1):
        told = await _contained(client, place, "told", f"told-{number}")
        untold = await _contained(client, place, "untold", f"untold-{number}")
        if number:  # the first pair warms both workers
            pairs.append({"told": told, "untold": untold, "ratio": untold / told})
            say(f"  told {told:.3f} s, into the void {untold:.3f} s: {untold / told:.3f}x")
    ratio = spread([pair["ratio"] for pair in pairs], 3)
    return {
        "pairs": pairs,
        "steps": STEPS,
        "told_seconds": spread([pair["told"] for pair in pairs], 3),
        "untold_seconds": spread([pair["untold"] for pair in pairs], 3),
        "ratio": ratio,
        "goal_ratio": GOAL_RATIO,
        "met": ratio["median"] <= GOAL_RATIO,
    }


def _away(address: str) -> dict[str, str]:
    """Chat and pager that never answer, a SIEM whose address nobody has."""
    return {
        "FIREBREAK_NOTIFY__URLS": json.dumps([f"json://{address}/chat"]),
        "FIREBREAK_NOTIFY__PAGERDUTY_KEY": "benchmark",
        "FIREBREAK_NOTIFY__PAGERDUTY_URL": f"http://{address}/v2/enqueue",
        "FIREBREAK_SIEM__SPLUNK_URL": f"http://127.0.0.1:{devserver.free_port()}/services/collector/event",
        "FIREBREAK_SIEM__SPLUNK_TOKEN": "benchmark",
    }


def _worker(place: Ground, queue: str, settings: dict[str, str]) -> None:
    environment = {**place.environment, "FIREBREAK_TASK_QUEUE": queue, **settings}
    command = (*scripted_worker(STEPS), "--real-pages")
    place.stack.enter_context(running(command, environment, place.folder / f"{queue}.log"))


async def _contained(client: Client, place: Ground, queue: str, workload_id: str) -> float:
    """Seconds from the trigger to the proof of phase 4."""
    settings = place.settings().model_copy(update={"task_queue": queue})
    started = await start.contain(
        client,
        settings,
        nobody(workload_id),
        trigger(),
        incident_id=start.new_incident_id(),
        mode=Mode.LIVE,
    )
    handle = client.get_workflow_handle(started.workflow_id)
    await handle.result()
    document = await runs.status(handle)
    assert document.verdict is Verdict.CONTAINED, document
    return document.elapsed_seconds
