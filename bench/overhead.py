"""What the orchestrator costs: one containment through Temporal against the same calls in plain asyncio."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

from temporalio.client import Client

from bench import histories
from bench.figures import spread
from bench.ground import (
    FAST_PROOF,
    Ground,
    connected,
    contain,
    ground,
    nobody,
    say,
    scripted_worker,
    warm_up,
)
from bench.plainside import Plain, plain
from bench.processes import machine, metered
from firebreak.model import Verdict, Workload
from firebreak.start import new_incident_id

LATENCY_MS = 150.0
GOAL_RATIO = 1.15
GOAL_SECONDS = 1.0
FULL_STEPS = 27
"""As many as the full sample workload has."""


def run(size: float) -> dict[str, Any]:
    """Pairs of runs, interleaved, on the full sample workload with 150 ms for every cloud call."""
    with ground(proof=FAST_PROOF) as place, plain(place) as other:
        measured = asyncio.run(_pairs(place, other, max(2, round(7 * size))))
    with ground(sandboxed=False) as place:
        alone = asyncio.run(_alone(place, max(5, round(20 * size))))
    return {
        "machine": machine(),
        "latency_ms": LATENCY_MS,
        "pairs": measured,
        "alone": alone,
        **_judged(measured),
    }


async def _alone(place: Ground, count: int) -> dict[str, Any]:
    """As many steps whose activities do nothing, one run after the other: orchestration without noise."""
    client = await connected(place)
    place.worker(scripted_worker(FULL_STEPS))
    await contain(client, place, nobody("warm-up"))
    runs = [await contain(client, place, nobody(f"alone-{number}")) for number in range(count)]
    seconds = spread([each.seconds for each in runs])
    say(f"  {FULL_STEPS} steps that do nothing: {seconds}")
    return {"steps": FULL_STEPS, "seconds": seconds}


async def _pairs(place: Ground, other: Plain, count: int) -> list[dict[str, Any]]:
    client, (workload,) = await connected(place), place.workloads()
    worker = place.worker()
    await warm_up(client, place, workload)
    pids = {"worker": worker.pid, "server": place.server.process.pid}
    pairs = Pairs(place, client, other, workload, pids)
    await pairs.one()  # warms both sides, and is not counted
    pairs.latency_ms = LATENCY_MS
    place.aws.configure(latency_ms=LATENCY_MS)
    return [await pairs.one() for _ in range(count)]


class Pairs:
    """Runs one side after the other, and undoes each."""

    def __init__(
        self, place: Ground, client: Client, other: Plain, workload: Workload, pids: dict[str, int]
    ) -> None:
        self.place = place
        self.client = client
        self.other = other
        self.workload = workload
        self.pids = pids
        self.turn = 0
        self.latency_ms = 0.0

    async def one(self) -> dict[str, Any]:
        """One pair; which side comes first alternates."""
        self.turn += 1
        sides = [self._orchestrated, self._plain]
        first, second = sides if self.turn % 2 else sides[::-1]
        pair = {**await first(), **await second()}
        pair["ratio"] = pair["firebreak"]["seconds"] / pair["plain"]["seconds"]
        pair["added_seconds"] = pair["firebreak"]["seconds"] - pair["plain"]["seconds"]
        say(
            f"  firebreak {pair['firebreak']['seconds']:.2f} s, plain {pair['plain']['seconds']:.2f} s: "
            f"{pair['ratio']:.3f}x, +{pair['added_seconds']:.2f} s"
        )
        return pair

    async def _undo(self, incident_id: str) -> None:
        """Revert without the latency, which nobody measures here."""
        self.place.aws.configure(latency_ms=0)
        await self.other.undo(incident_id)
        self.place.aws.configure(latency_ms=self.latency_ms)

    async def _orchestrated(self) -> dict[str, Any]:
        mark = self.place.calls_so_far()
        with metered(self.pids) as meter:
            done = await contain(self.client, self.place, self.workload)
        assert done.verdict == Verdict.CONTAINED, done.verdict
        history = await histories.read(done.handle)
        side = {
            "seconds": done.seconds,
            "cpu_seconds": {name: meter.cpu_seconds[name] for name in ("worker", "server")},
            "load_average_1min": meter.load_average,
            "proved_after": [history.since_start(at) for at in history.proved_at],
            "calls": self.place.calls_since(mark),
        }
        await self._undo(done.incident_id)
        return {"firebreak": side}

    async def _plain(self) -> dict[str, Any]:
        mark, incident_id = self.place.calls_so_far(), new_incident_id()
        side = await self.other.contain(incident_id, self.workload.id)
        side["calls"] = self.place.calls_since(mark)
        await self._undo(incident_id)
        return {"plain": side}


def _judged(pairs: Sequence[dict[str, Any]]) -> dict[str, Any]:
    ratio, added = spread([p["ratio"] for p in pairs], 3), spread([p["added_seconds"] for p in pairs])
    return {
        "ratio": ratio,
        "added_seconds": added,
        "firebreak_seconds": spread([p["firebreak"]["seconds"] for p in pairs]),
        "plain_seconds": spread([p["plain"]["seconds"] for p in pairs]),
        "goal_ratio": GOAL_RATIO,
        "goal_seconds": GOAL_SECONDS,
        "met": ratio["median"] <= GOAL_RATIO and added["median"] <= GOAL_SECONDS,
    }
