"""Slow clouds: 150 ms for every call, and identity changes that take effect 5 s late."""

from __future__ import annotations

import asyncio
from typing import Any

from temporalio.client import Client

from bench import histories
from bench.figures import spread
from bench.ground import Ground, connected, contain, ground, say, warm_up
from bench.plainside import Plain, plain
from bench.processes import machine
from firebreak.model import Verdict, Workload

LATENCY_MS = 150.0
PROPAGATION_SECONDS = 5.0


def run(size: float) -> dict[str, Any]:
    """Runs with and without propagation delay, interleaved, with the production settings of proof."""
    with ground() as place, plain(place) as other:
        times = asyncio.run(_runs(place, other, max(1, round(3 * size))))
    return {
        "machine": machine(),
        "latency_ms": LATENCY_MS,
        "runs": {
            f"{delay:g}": {name: spread([each[name] for each in some]) for name in some[0]}
            for delay, some in times.items()
        },
    }


async def _runs(place: Ground, other: Plain, count: int) -> dict[float, list[dict[str, float]]]:
    client, (workload,) = await connected(place), place.workloads()
    place.worker()
    await warm_up(client, place, workload)
    times: dict[float, list[dict[str, float]]] = {0.0: [], PROPAGATION_SECONDS: []}
    for _ in range(count):
        for delay, some in times.items():
            some.append(await _one(client, place, other, workload, delay))
            say(f"  {delay:g} s propagation: {some[-1]}")
    return times


async def _one(
    client: Client, place: Ground, other: Plain, workload: Workload, delay: float
) -> dict[str, float]:
    place.aws.configure(latency_ms=LATENCY_MS, iam_propagation_seconds=delay)
    done = await contain(client, place, workload)
    assert done.verdict == Verdict.CONTAINED, done.verdict
    history = await histories.read(done.handle)
    place.aws.configure(latency_ms=0, iam_propagation_seconds=0)
    await other.undo(done.incident_id)
    return {
        "phase_1_proved_seconds": history.since_start(history.proved_at[0]),
        "contained_seconds": history.since_start(history.packaged_at),
        "sealed_seconds": history.since_start(history.ended_at),
    }
