"""A worker that lives but works on nothing is found out."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread

import pytest

from firebreak import liveness, start
from firebreak.doctor import Examination, Outcome, _clock
from firebreak.liveness import WedgedError
from firebreak.measure import now
from tests.workflows.stage import Stage

pytestmark = pytest.mark.asyncio(loop_scope="session")

HEALTHY = """\
# TYPE temporal_num_pollers gauge
temporal_num_pollers{namespace="default",poller_type="workflow_task",task_queue="q"} 4
temporal_num_pollers{namespace="default",poller_type="sticky_workflow_task",task_queue="q"} 1
temporal_num_pollers{namespace="default",poller_type="activity_task",task_queue="q"} 5
"""


@contextmanager
def metrics(text: str) -> Iterator[str]:
    class Answer(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.end_headers()
            self.wfile.write(text.encode())

        def log_message(self, format: str, *arguments: object) -> None:  # noqa: A002 - same
            return

    server = ThreadingHTTPServer(("127.0.0.1", 0), Answer)
    thread = Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()


async def test_the_gauge_of_workflow_pollers_is_read() -> None:
    with metrics(HEALTHY) as address:
        assert await asyncio.to_thread(liveness.workflow_pollers, address) == 5
    with metrics(HEALTHY.replace("workflow_task", "other_task")) as address:
        assert await asyncio.to_thread(liveness.workflow_pollers, address) == 0


async def test_metrics_that_do_not_answer_are_a_sign_of_trouble_not_an_error() -> None:
    with metrics("") as address:
        pass
    assert await asyncio.to_thread(liveness.workflow_pollers, address) == 0


async def test_the_canary_tells_a_worker_from_none(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    assert await liveness.canary(stage.client, stage.settings.task_queue)
    monkeypatch.setattr(liveness, "CANARY_TIMEOUT", liveness.CANARY_TIMEOUT / 20)
    assert not await liveness.canary(stage.client, "nobody-works-here")


async def watched(stage: Stage, queue: str, text: str, patch: pytest.MonkeyPatch) -> None:
    patch.setattr(liveness, "INTERVAL", 0.01)
    patch.setattr(liveness, "CANARY_TIMEOUT", liveness.CANARY_TIMEOUT / 50)
    stop = asyncio.Event()
    with metrics(text) as address:
        watching = asyncio.create_task(liveness.watch(stage.client, queue, address, stop))
        await asyncio.wait({watching}, timeout=4)
        stop.set()
        await watching


async def test_a_worker_without_pollers_and_without_progress_ends(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(WedgedError, match="no longer polls"):
        await watched(stage, "nobody-works-here", "", monkeypatch)


async def test_a_worker_that_still_polls_is_left_alone(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    await watched(stage, "nobody-works-here", HEALTHY, monkeypatch)


async def test_a_stopping_worker_stops_being_watched_at_once(stage: Stage) -> None:
    stop = asyncio.Event()
    stop.set()
    await asyncio.wait_for(liveness.watch(stage.client, start.cloud_queue, "127.0.0.1:1", stop), 5)  # type: ignore[arg-type]


@pytest.mark.parametrize("minutes", [-20, 0, 20])
async def test_the_distance_to_the_servers_clock_is_measured(
    stage: Stage, monkeypatch: pytest.MonkeyPatch, minutes: int
) -> None:
    monkeypatch.setattr(liveness, "now", lambda: now() + timedelta(minutes=minutes))
    assert abs(await liveness.clock_ahead(stage.client, "nobody-works-here") - minutes * 60) < 5


async def test_doctor_names_a_clock_that_is_off(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    made = Examination()
    await made.look("clock", lambda: _clock(stage.client, stage.settings.task_queue))
    monkeypatch.setattr(liveness, "now", lambda: now() + timedelta(minutes=3))
    await made.look("clock", lambda: _clock(stage.client, stage.settings.task_queue))
    assert [each.outcome for each in made.checks] == [Outcome.OK, Outcome.FAILED]
    assert "s ahead of Temporal" in made.checks[1].detail
    assert "NTP" in made.checks[1].remedy
