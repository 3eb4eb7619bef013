"""Many containments at once on one worker, on the sandbox and with activities that do nothing."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from temporalio.client import Client

from bench import histories
from bench.figures import distribution
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
    write,
)
from bench.histories import RunHistory
from bench.processes import machine, metered
from firebreak.measure import now
from firebreak.model import Mode, Verdict, Workload

SANDBOX_FLEETS = (1, 10, 100)
"""A thousand would take the sandbox over an hour; the thousand is measured without it."""
SCRIPTED_FLEETS = (1, 10, 100, 1000)
DRILLS, LIVE = 50, 10
LEAN_STEPS = 9
"""As many as a lean workload has on the sandbox."""
READERS = 8
"""Histories read at one time, after the measurement."""


@dataclass(frozen=True)
class Ran:
    """One run of a fleet."""

    mode: Mode
    triggered_at: datetime
    verdict: str
    history: RunHistory

    def after(self, moment: datetime) -> float:
        """Seconds from its trigger."""
        return (moment - self.triggered_at).total_seconds()


def run(size: float) -> dict[str, Any]:
    """Fleets of growing size on both kinds of worker, then live runs behind queued drills."""
    fleets = [max(1, round(n * size)) for n in SANDBOX_FLEETS]
    drills, live = max(4, round(DRILLS * size)), max(2, round(LIVE * size))
    result: dict[str, Any] = {"machine": machine(), "sandbox": [], "scripted": [], "priorities": {}}
    with ground(sandboxed=False) as place:
        asyncio.run(_scripted(place, [max(1, round(n * size)) for n in SCRIPTED_FLEETS], result))
    with ground(copies=sum(fleets) + drills + live + 1, proof=FAST_PROOF) as place:
        asyncio.run(_sandbox(place, fleets, (drills, live), result))
    return {**result, "machine": machine()}


async def _sandbox(
    place: Ground, fleets: Sequence[int], queue: tuple[int, int], results: dict[str, Any]
) -> None:
    client, workloads = await connected(place), iter(place.workloads())
    worker = place.worker()
    first = next(workloads)
    await warm_up(client, place, first)
    await contain(client, place, first)
    pids = {"worker": worker.pid, "server": place.server.process.pid, "sandbox": place.aws.pid or 0}
    for count in fleets:
        mark = place.calls_so_far()
        result = await _fleet(client, place, [next(workloads) for _ in range(count)], pids)
        calls = place.calls_since(mark)
        result["calls_per_containment"] = {k: round(v / count, 1) for k, v in calls.items()}
        result["calls_per_second"] = round(sum(calls.values()) / result["usage"]["seconds"], 1)
        results["sandbox"].append(result)
        say(f"  sandbox, {count} at once: {_brief(result)}")
        write("load", results)  # an hour of measuring is not lost to what comes after it
    drills, live = ([next(workloads) for _ in range(count)] for count in queue)
    results["priorities"]["sandbox"] = await _priorities(client, place, drills, live)


async def _scripted(place: Ground, fleets: Sequence[int], results: dict[str, Any]) -> None:
    client = await connected(place)
    worker = place.worker(scripted_worker(LEAN_STEPS))
    await contain(client, place, nobody("warm-up"))
    pids = {"worker": worker.pid, "server": place.server.process.pid}
    for count in fleets:
        fleet = [nobody(f"scripted-{count}-{number}") for number in range(count)]
        result = await _fleet(client, place, fleet, pids)
        results["scripted"].append(result)
        say(f"  scripted, {count} at once: {_brief(result)}")
        write("load", results)
    drills = [nobody(f"drill-{number}") for number in range(DRILLS * 4)]
    live = [nobody(f"live-{number}") for number in range(LIVE)]
    results["priorities"]["scripted"] = await _priorities(client, place, drills, live)


async def _fleet(
    client: Client, place: Ground, workloads: Sequence[Workload], pids: dict[str, int]
) -> dict[str, Any]:
    with metered(pids) as meter:
        runs = await asyncio.gather(*(_one(client, place, each, Mode.LIVE) for each in workloads))
    ran = await _read(runs)
    return {
        "containments": len(ran),
        "verdicts": dict(Counter(each.verdict for each in ran)),
        "phase_1_proved_seconds": distribution([each.after(each.history.proved_at[0]) for each in ran]),
        "contained_seconds": distribution([each.after(each.history.packaged_at) for each in ran]),
        "sealed_seconds": distribution([each.after(each.history.ended_at) for each in ran]),
        "per_minute": round(60 * len(ran) / meter.seconds, 1),
        "retried_activities": sum(each.history.retried_activities for each in ran),
        "timed_out_workflow_tasks": sum(each.history.timed_out_tasks for each in ran),
        "usage": meter.json(len(ran)),
    }


async def _one(client: Client, place: Ground, workload: Workload, mode: Mode) -> tuple[Mode, datetime, Any]:
    triggered_at = now()
    done = await contain(client, place, workload, mode)
    assert done.verdict == Verdict.CONTAINED, done.verdict
    return mode, triggered_at, done


async def _read(runs: Sequence[tuple[Mode, datetime, Any]]) -> list[Ran]:
    gate = asyncio.Semaphore(READERS)

    async def read(mode: Mode, triggered_at: datetime, done: Any) -> Ran:
        async with gate:
            return Ran(mode, triggered_at, done.verdict, await histories.read(done.handle))

    return await asyncio.gather(*(read(*each) for each in runs))


async def _priorities(
    client: Client, place: Ground, drills: Sequence[Workload], live: Sequence[Workload]
) -> dict[str, Any]:
    """Queue drills, then live runs at once behind them; see who is contained first."""
    began = now()
    queued = [asyncio.create_task(_one(client, place, each, Mode.DRILL)) for each in drills]
    await asyncio.sleep(0.5)
    urgent = [asyncio.create_task(_one(client, place, each, Mode.LIVE)) for each in live]
    ran = await _read(await asyncio.gather(*queued, *urgent))
    ends = {
        mode: sorted((r.history.packaged_at - began).total_seconds() for r in ran if r.mode is mode)
        for mode in Mode
    }
    overtaken = sum(end > ends[Mode.LIVE][-1] for end in ends[Mode.DRILL])
    result = {
        "drills": len(drills),
        "live": len(live),
        "drills_contained_after_seconds": distribution(ends[Mode.DRILL]),
        "live_contained_after_seconds": distribution(ends[Mode.LIVE]),
        "drills_that_ended_after_the_last_live_run": overtaken,
    }
    say(f"  priorities: {result}")
    return result


def _brief(result: dict[str, Any]) -> str:
    return (
        f"{result['verdicts']}, phase 1 {result['phase_1_proved_seconds']}, contained "
        f"{result['contained_seconds']}, {result['per_minute']}/min, retried {result['retried_activities']}, "
        f"CPU {result['usage']['cpu_seconds_per_containment']}"
    )
