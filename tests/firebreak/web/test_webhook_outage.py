"""Nothing acknowledged is lost and nothing lost is acknowledged: bursts, outages, killed processes."""

from __future__ import annotations

import asyncio
import os
import secrets
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import pytest
from temporalio.client import Client

from firebreak import devserver, inventory, runs, start
from firebreak.codec import data_converter
from firebreak.connect import ensure_search_attributes
from firebreak.devserver import DevServer
from firebreak.errors import FirebreakError
from firebreak.model import Verdict, Workload
from firebreak.record import RunStatus
from firebreak.settings import Settings
from tests.firebreak.web.hooks import ids_of, payload, sent, settings_for, sources_file
from tests.firebreak.web.senders import Keys, Sent
from tests.workflows.script import Script, standard
from tests.workflows.scripted import ScriptedActivities
from tests.workflows.stage import scripted_workers, until

ROOT = Path(__file__).resolve().parents[3]
PATIENCE = 400.0

pytestmark = pytest.mark.slow


@dataclass
class Place:
    """A server on a file, a web process, and the alerts that senders hold until they are acknowledged."""

    folder: Path
    keys: Keys
    port: int
    ui_port: int
    queue: str = field(default_factory=lambda: f"outage-{secrets.token_hex(4)}")
    server: DevServer | None = None

    def up(self) -> None:
        """Start the server, again on the same file and port."""
        log = self.folder / "temporal.log"
        self.server = devserver.launch(self.port, self.ui_port, self.folder / "temporal.db", log)

    def down(self) -> None:
        """Kill the server."""
        assert self.server is not None
        self.server.kill()

    async def back(self) -> None:
        """Start the server until it answers: while it was away, its port may have been somebody else's."""
        deadline = time.monotonic() + PATIENCE
        while True:
            self.up()
            assert self.server is not None
            try:
                return await devserver.ready(self.server)
            except FirebreakError:
                assert self.server.process.poll() is not None
                assert time.monotonic() < deadline

    async def client(self) -> Client:
        """A client, once the server answers."""
        assert self.server is not None
        await devserver.ready(self.server)
        client = await Client.connect(self.server.address, data_converter=data_converter(Settings()))
        await ensure_search_attributes(client)
        return client

    @contextmanager
    def web(self, agents: int) -> Iterator[Web]:
        """``firebreak serve`` as a process of its own."""
        settings = settings_for(self.folder, self.queue, agents=agents)
        environment = {
            **os.environ,
            "TEMPORAL_ADDRESS": f"127.0.0.1:{self.port}",
            "FIREBREAK_TASK_QUEUE": self.queue,
            "FIREBREAK_INVENTORY": str(settings.inventory),
            "FIREBREAK_WEB__SOURCES": str(sources_file(self.folder, self.keys)),
            "PYTHONUNBUFFERED": "1",
        }
        command = [sys.executable, "-m", "firebreak", "serve", "--port", "0"]
        with (self.folder / "web.log").open("ab") as log:
            process = subprocess.Popen(
                command, cwd=ROOT, env=environment, stdout=subprocess.PIPE, stderr=log, text=True
            )
        try:
            line = first_line(process)
            assert line.startswith("Listening on http://"), (self.folder / "web.log").read_text()
            yield Web(process, line.split()[-1])
        finally:
            process.kill()
            process.wait()


def first_line(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    with process.stdout as output:
        return output.readline()


@dataclass
class Web:
    """A running web process."""

    process: subprocess.Popen[str]
    url: str


@pytest.fixture
async def place(tmp_path: Path, keys: Keys) -> AsyncIterator[Place]:
    made = Place(tmp_path, keys, devserver.free_port(), devserver.free_port())
    made.up()
    await made.client()
    yield made
    made.down()


def workloads(place: Place, count: int) -> list[Workload]:
    settings_for(place.folder, place.queue, agents=count)
    return list(inventory.load(place.folder / "workloads.yaml").workloads.values())


async def reached(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < deadline
        await asyncio.sleep(0.02)


async def deliver(client: httpx.AsyncClient, request: Sent, answers: list[int]) -> dict[str, Any]:
    """What a sender does: again and again until it is acknowledged."""
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline:
        try:
            answer = await client.post("/hooks/pagerduty", content=request.body, headers=request.headers)
        except httpx.TransportError:
            answers.append(0)
        else:
            answers.append(answer.status_code)
            if answer.status_code == 202:
                told: dict[str, Any] = answer.json()
                return told
        await asyncio.sleep(0.3)
    pytest.fail(f"never acknowledged: {Counter(answers)}")


async def burst(
    web: Web, requests: list[Sent], at_once: int, answers: list[int] | None = None
) -> list[dict[str, Any]]:
    """Every sender at work until it is acknowledged; ``answers`` sees each answer, refusals included."""
    seen: list[int] = [] if answers is None else answers
    gate = asyncio.Semaphore(at_once)
    limits = httpx.Limits(max_connections=at_once)
    async with httpx.AsyncClient(base_url=web.url, timeout=30, limits=limits) as client:

        async def one(request: Sent) -> dict[str, Any]:
            async with gate:
                return await deliver(client, request, seen)

        return await asyncio.gather(*(one(request) for request in requests))


def alerts_for(place: Place, targets: list[Workload], count: int) -> list[Sent]:
    sign = place.keys.hmac_hex()
    return [sent(sign, payload("pagerduty", ids_of(targets[n % len(targets)]))) for n in range(count)]


async def contained(
    place: Place, client: Client, acting: ScriptedActivities, chosen: list[Workload]
) -> list[RunStatus]:
    """The documents of all runs, once workers have come and ended them."""
    first, second = scripted_workers(client, Settings(task_queue=place.queue), acting)
    async with first, second:
        handles = [client.get_workflow_handle(start.workflow_id(each)) for each in chosen]
        for handle in handles:
            await handle.result()
        return [await until(lambda h=h: runs.status(h), lambda d: d.finished) for h in handles]  # type: ignore[misc]


@pytest.mark.parametrize(
    ("count", "targets", "outage"),
    [(200, 20, 0.0), pytest.param(1000, 100, 30.0, marks=pytest.mark.timeout(900))],
)
async def test_a_burst_with_the_server_away_in_between_loses_no_alert(
    place: Place, count: int, targets: int, outage: float
) -> None:
    chosen = workloads(place, targets)
    requests = alerts_for(place, chosen, count)

    answers: list[int] = []

    async def interrupt() -> None:
        await reached(lambda: answers.count(202) >= count // 4)
        place.down()
        went, refused = time.monotonic(), answers.count(503)
        await reached(lambda: answers.count(503) > refused and time.monotonic() - went > outage)
        await place.back()

    with place.web(targets) as web:
        breaking = asyncio.create_task(interrupt())
        told = await burst(web, requests, 40, answers)
        await breaking
    assert len(told) == count
    assert 503 in answers
    assert set(answers) <= {0, 202, 503}
    client = await place.client()
    incidents = {each["workflow_id"]: each["incident_id"] for each in told}
    assert len(incidents) == targets
    assert {each["incident_id"] for each in told} == set(incidents.values())
    acting = ScriptedActivities(lambda: Script(standard()))
    documents = await contained(place, client, acting, chosen)
    assert {document.verdict for document in documents} == {Verdict.CONTAINED}
    assert {d.workload_id for d in documents} == {each.id for each in chosen}
    assert sum(document.alerts for document in documents) == count
    assert len(acting.runs) == targets


async def test_a_killed_web_process_remembers_every_delivery(place: Place) -> None:
    chosen = workloads(place, 3)
    requests = alerts_for(place, chosen, 3)
    with place.web(3) as web:
        before = await burst(web, requests, at_once=3)
        web.process.send_signal(signal.SIGKILL)
        web.process.wait()
    with place.web(3) as web:
        after = await burst(web, requests, at_once=3)
    assert [each["incident_id"] for each in after] == [each["incident_id"] for each in before]
    assert [each["repeated"] for each in after] == [True] * 3


async def test_a_burst_cut_by_a_killed_web_process_is_complete_after_the_senders_retry(place: Place) -> None:
    chosen = workloads(place, 10)
    requests = alerts_for(place, chosen, 40)
    answers: list[int] = []
    with place.web(10) as web:
        async with httpx.AsyncClient(base_url=web.url, timeout=30) as client:

            async def once(request: Sent) -> None:
                try:
                    answer = await client.post(
                        "/hooks/pagerduty", content=request.body, headers=request.headers
                    )
                    answers.append(answer.status_code)
                except httpx.TransportError:
                    answers.append(0)

            sending = [asyncio.create_task(once(request)) for request in requests]
            await reached(lambda: 202 in answers)
            web.process.send_signal(signal.SIGKILL)
            await asyncio.gather(*sending)
    assert set(answers) <= {0, 202, 503}
    with place.web(10) as web:
        told = await burst(web, requests, at_once=20)
    assert len({each["incident_id"] for each in told}) == 10


async def test_a_web_process_that_starts_before_its_server_asks_senders_to_wait(place: Place) -> None:
    place.down()
    (workload,) = workloads(place, 1)
    (request,) = alerts_for(place, [workload], 1)
    with place.web(1) as web:
        async with httpx.AsyncClient(base_url=web.url, timeout=30) as client:
            answer = await client.post("/hooks/pagerduty", content=request.body, headers=request.headers)
            ready = await client.get("/readyz")
            alive = await client.get("/healthz")
        assert (answer.status_code, answer.headers["Retry-After"]) == (503, "5")
        assert (ready.status_code, alive.status_code) == (503, 200)
        await place.back()
        told = await burst(web, [request], at_once=1)
    assert told[0]["status"] == "started"


async def test_a_web_process_that_is_told_to_stop_answers_what_it_has_begun(place: Place) -> None:
    chosen = workloads(place, 5)
    with place.web(5) as web:
        requests = alerts_for(place, chosen, 5)
        told = await burst(web, requests, at_once=5)
        web.process.send_signal(signal.SIGTERM)
        assert web.process.wait(20) == 0
    assert len(told) == 5
