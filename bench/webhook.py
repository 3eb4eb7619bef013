"""From an alert on the wire to its acknowledgement: one after the other, and a thousand in a burst."""

from __future__ import annotations

import asyncio
import json
import os
import time
from collections import Counter
from pathlib import Path
from typing import Any

import httpx

from bench.figures import percentile
from bench.ground import Ground, connected, ground, running, say, scripted_worker
from bench.processes import machine, metered
from firebreak import devserver, inventory
from firebreak.model import Workload
from firebreak.start import workflow_id
from tests.firebreak.web.hooks import ids_of, payload, sent, settings_for
from tests.firebreak.web.senders import Keys

ALONE, BURST, WORKLOADS = 200, 1000, 100
AT_ONCE = 50
"""Connections of the burst."""
GOAL_SECONDS = 1.0
"""For the median of acknowledgements, one after the other. Of a burst, the last waits for all before it: what
counts there is how many a second are taken in, and that none is lost."""
STEPS = 9
READY_SECONDS = 30.0
SOURCE = "siem"
SECRET = "BENCH_WEBHOOK_SECRET"  # noqa: S105 - the name of a variable

Posted = tuple[int, float, Any]


def run(size: float) -> dict[str, Any]:
    """Standard Webhooks to ``firebreak serve`` as a process of its own, beside a worker that does nothing."""
    with ground(sandboxed=False) as place:
        return {**asyncio.run(_measured(place, size)), "machine": machine()}


async def _measured(place: Ground, size: float) -> dict[str, Any]:
    client = await connected(place)
    worker = place.worker(scripted_worker(STEPS))
    keys, port = Keys(), devserver.free_port()
    workloads = _prepared(place, keys, max(2, round(WORKLOADS * size)))
    command = ("-m", "firebreak", "serve", "--port", str(port))
    web = place.stack.enter_context(running(command, place.environment, place.folder / "web.log"))
    pids = {"web": web.pid, "server": place.server.process.pid, "worker": worker.pid}
    connections = asyncio.Semaphore(AT_ONCE)

    async def in_turn(each: Workload) -> Posted:
        async with connections:
            return await _post(http, keys, each)

    async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}", timeout=60) as http:
        await _ready(http)
        await _post(http, keys, workloads[0])
        alone = [await _post(http, keys, workloads[0]) for _ in range(max(10, round(ALONE * size)))]
        with metered(pids) as meter:
            targets = [workloads[n % len(workloads)] for n in range(max(20, round(BURST * size)))]
            burst = await asyncio.gather(*(in_turn(each) for each in targets))
    handles = [client.get_workflow_handle(workflow_id(each)) for each in workloads]
    ended = [await handle.result() for handle in handles]
    result: dict[str, Any] = {
        "alone": _distribution([seconds for _, seconds, _ in alone]),
        "burst": {
            **_distribution([seconds for _, seconds, _ in burst]),
            "answers": dict(Counter(str(code) for code, _, _ in burst)),
            "workloads": len(workloads),
            "runs_contained": sum(each["verdict"] == "contained" for each in ended),
            "at_once": AT_ONCE,
            "seconds": round(meter.seconds, 1),
            "per_second": round(len(burst) / meter.seconds, 1),
            "usage": meter.json(len(burst)),
        },
        "goal_seconds": GOAL_SECONDS,
    }
    result["met"] = result["alone"]["p50_ms"] <= 1000 * GOAL_SECONDS
    say(f"  alone {result['alone']}\n  burst {result['burst']}")
    return result


def _prepared(place: Ground, keys: Keys, count: int) -> list[Workload]:
    """An inventory, a file of sources, and the settings of the web process."""
    settings = settings_for(place.folder, "unused", agents=count)
    source = {
        "name": SOURCE,
        "adapter": "ocsf",
        "authentication": {"mode": "standard_webhooks", "secrets": [{"id": "bench", "env": SECRET}]},
        "workloads": ["*"],
        "workloads_per_minute": 10_000,
        "alerts_per_minute": 10_000,
    }
    path = place.folder / "sources.json"
    path.write_text(json.dumps({"version": 1, "sources": [source]}), encoding="utf-8")
    place.environment |= {
        SECRET: keys.secrets["STANDARD"],
        "FIREBREAK_INVENTORY": str(settings.inventory),
        "FIREBREAK_WEB__SOURCES": str(path),
        "FIREBREAK_WEB__ANSWER_SECONDS": "60",
    }
    os.environ.update(place.environment)
    return list(inventory.load(Path(settings.inventory)).workloads.values())


async def _ready(http: httpx.AsyncClient) -> None:
    deadline = time.monotonic() + READY_SECONDS
    while time.monotonic() < deadline:
        try:
            if (await http.get("/readyz")).status_code == httpx.codes.OK:
                return
        except httpx.TransportError:  # it does not listen yet
            await asyncio.sleep(0.05)
    msg = "the web process does not come up"
    raise TimeoutError(msg)


async def _post(http: httpx.AsyncClient, keys: Keys, workload: Workload) -> Posted:
    """One alert: the answer's code, the seconds from sending it to the answer, and the answer."""
    request = sent(keys.standard(), payload("ocsf", ids_of(workload)))
    began = time.perf_counter()
    answer = await http.post(f"/hooks/{SOURCE}", content=request.body, headers=request.headers)
    return answer.status_code, time.perf_counter() - began, answer.json()


def _distribution(seconds: list[float]) -> dict[str, Any]:
    return {
        "p50_ms": round(1000 * percentile(seconds, 0.5), 1),
        "p99_ms": round(1000 * percentile(seconds, 0.99), 1),
        "count": len(seconds),
    }
