"""How much history one containment writes: the CI gate holds it below 8 events per measure plus 60."""

from __future__ import annotations

import asyncio
from typing import Any

from bench import histories
from bench.ground import FAST_PROOF, Ground, connected, contain, ground, say, warm_up
from bench.processes import machine

EVENTS_PER_MEASURE = 8
EVENTS_BESIDE = 60
LIMIT_BYTES = 256 * 1024


def run(size: float) -> dict[str, Any]:  # noqa: ARG001 - one run says all
    """One containment of the full sample workload and one of a lean one."""
    runs = {}
    for name, copies in (("full sample workload", 1), ("lean workload", 2)):
        with ground(copies=copies, proof=FAST_PROOF) as place:
            runs[name] = asyncio.run(_one(place))
            say(f"  {name}: {runs[name]}")
    return {"machine": machine(), "runs": runs}


async def _one(place: Ground) -> dict[str, Any]:
    client, workload = await connected(place), place.workloads()[0]
    place.worker()
    await warm_up(client, place, workload)
    history = await histories.read((await contain(client, place, workload)).handle)
    limit = EVENTS_PER_MEASURE * history.steps + EVENTS_BESIDE
    return {
        "measures": history.steps,
        "events": history.events,
        "events_limit": limit,
        "events_per_measure": round(history.events / history.steps, 2),
        "bytes": history.size_bytes,
        "bytes_limit": LIMIT_BYTES,
        "met": history.events <= limit and history.size_bytes <= LIMIT_BYTES,
    }
