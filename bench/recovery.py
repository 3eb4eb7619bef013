"""What a crash or a deployment in the middle of a containment costs, against an undisturbed run beside it."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Any

from temporalio.client import Client

from bench import histories
from bench.figures import spread
from bench.ground import FAST_PROOF, Contained, Ground, connected, contain, ground, say, warm_up, write
from bench.plainside import Plain, plain
from bench.processes import Running, machine
from firebreak import devserver
from firebreak.model import Phase, Verdict, Workload
from firebreak.pollers import ACTIVITIES, pollers
from firebreak.start import cloud_queue

PHASES = (Phase.IDENTITY_REVOKE, Phase.NETWORK_ISOLATE, Phase.ARTIFACT_FREEZE)
INTO_THE_PHASE_SECONDS = 0.3


@dataclass
class Scene:
    """A place with its workers, of which some may be hurt."""

    place: Ground
    client: Client
    other: Plain
    workload: Workload
    workers: list[Running]


Disturbance = Callable[[Scene], Awaitable[None]]


async def kill_worker(scene: Scene) -> None:
    """SIGKILL the only worker; a supervisor starts another one at once."""
    scene.workers.pop().kill()
    scene.workers.append(scene.place.worker())


async def kill_one_of_two(scene: Scene) -> None:
    """SIGKILL one of two workers; it comes back after the run, for the next one."""
    scene.workers.pop(0).kill()


async def restart_worker(scene: Scene) -> None:
    """SIGTERM the only worker, wait for its end, start the new one: a deployment without overlap."""
    leaving = scene.workers.pop()
    await asyncio.to_thread(leaving.stop)
    scene.workers.append(scene.place.worker())


async def replace_worker(scene: Scene) -> None:
    """Start the new worker, wait until it polls, then SIGTERM the old one: a rolling deployment."""
    leaving, coming = scene.workers.pop(), scene.place.worker()
    scene.workers.append(coming)
    queue = cloud_queue(scene.place.settings(), scene.workload.cloud)
    while True:
        if any(name.startswith(f"{coming.pid}@") for name in await pollers(scene.client, queue, ACTIVITIES)):
            break
        await asyncio.sleep(0.1)
    await asyncio.to_thread(leaving.stop)


async def kill_server(scene: Scene) -> None:
    """SIGKILL the Temporal server and start it again on its database."""
    place = scene.place
    place.server.kill()
    port, ui_port = (int(address.rsplit(":", 1)[1]) for address in (place.server.address, place.server.ui))
    folder = place.folder / "temporal"
    place.server = devserver.launch(port, ui_port, folder / "temporal.db", folder / "temporal.log")
    place.stack.callback(place.server.kill)
    await devserver.ready(place.server)


SCENARIOS: dict[str, tuple[Disturbance, int, float]] = {
    "worker killed, started again at once": (kill_worker, 1, 10.0),
    "worker killed, another one alive": (kill_one_of_two, 2, 10.0),
    "server killed, started again at once": (kill_server, 1, 5.0),
    "worker restarted gracefully, the new one started first": (replace_worker, 1, 3.0),
    "worker restarted gracefully, the new one started after": (restart_worker, 1, 3.0),
}
"""What is done, how many workers there are, and the goal for the added time in seconds."""


def run(size: float) -> dict[str, Any]:
    """Pairs of an undisturbed and a disturbed run, for each scenario, in phases 1, 2 and 3 in turn."""
    scenarios = {}
    for name, (disturb, workers, goal) in SCENARIOS.items():
        say(f"  {name}")
        with ground(proof=FAST_PROOF, in_memory=False) as place, plain(place) as other:
            pairs = asyncio.run(_pairs(place, other, disturb, workers, max(1, round(3 * size))))
        scenarios[name] = {"goal_seconds": goal, "pairs": pairs, **_judged(pairs, goal)}
        write("recovery", {"machine": machine(), "scenarios": scenarios})
    return {"machine": machine(), "scenarios": scenarios}


async def _pairs(
    place: Ground, other: Plain, disturb: Disturbance, workers: int, count: int
) -> list[dict[str, Any]]:
    client, (workload,) = await connected(place), place.workloads()
    scene = Scene(place, client, other, workload, [place.worker() for _ in range(workers)])
    await warm_up(client, place, workload)
    await _undisturbed(scene)  # warms the workers, and is not counted
    pairs = []
    for number in range(count):
        usual = await _undisturbed(scene)
        pairs.append(await _disturbed(scene, disturb, PHASES[number % len(PHASES)], usual))
        while len(scene.workers) < workers:
            scene.workers.append(place.worker())
        say(f"    {pairs[-1]}")
    return pairs


async def _undisturbed(scene: Scene) -> float:
    done = await contain(scene.client, scene.place, scene.workload)
    await _undo(scene, done)
    return done.seconds


async def _disturbed(scene: Scene, disturb: Disturbance, phase: Phase, usual: float) -> dict[str, Any]:
    running = asyncio.create_task(contain(scene.client, scene.place, scene.workload))
    await _until_inside(scene, phase)
    await disturb(scene)
    done = await running
    history = await histories.read(done.handle)
    await _undo(scene, done)
    return {
        "phase": int(phase),
        "undisturbed_seconds": round(usual, 2),
        "disturbed_seconds": round(done.seconds, 2),
        "added_seconds": round(done.seconds - usual, 2),
        "retried_activities": history.retried_activities,
        "timed_out_workflow_tasks": history.timed_out_tasks,
    }


async def _undo(scene: Scene, done: Contained) -> None:
    assert done.verdict == Verdict.CONTAINED, done.verdict
    await scene.other.undo(done.incident_id)


async def _until_inside(scene: Scene, phase: Phase) -> None:
    """Wait until the newest run is at work on the phase, by its history."""
    query = "WorkflowType = 'containment' AND ExecutionStatus = 'Running'"
    while True:
        async for each in scene.client.list_workflows(query, limit=1):
            handle = scene.client.get_workflow_handle(each.id, run_id=each.run_id)
            events = [event async for event in handle.fetch_history_events()]
            if histories.phases_chained(events) == phase - 1 and histories.at_work(events):
                await asyncio.sleep(INTO_THE_PHASE_SECONDS)
                return
        await asyncio.sleep(0.1)


def _judged(pairs: Sequence[dict[str, Any]], goal: float) -> dict[str, Any]:
    added = spread([pair["added_seconds"] for pair in pairs])
    retried = [pair["retried_activities"] for pair in pairs]
    return {"added_seconds": added, "retried_activities": retried, "met": added["median"] <= goal}
