"""Where scripted runs are played: a server, the production workflow worker, and shorthands for a test."""

from __future__ import annotations

import asyncio
import secrets
import shutil
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import datetime
from pathlib import Path
from typing import Any, TypeVar

from temporalio.api.enums.v1 import IndexedValueType
from temporalio.api.operatorservice.v1 import AddSearchAttributesRequest
from temporalio.client import Client, WorkflowHandle
from temporalio.service import RPCError
from temporalio.testing import WorkflowEnvironment
from temporalio.worker import Worker

from firebreak import runs, start, worker
from firebreak.codec import data_converter
from firebreak.connect import SEARCH_ATTRIBUTES, ensure_search_attributes
from firebreak.devserver import DevServer
from firebreak.model import Cloud, Mode, Workload
from firebreak.record import Decision, Ended, RunStatus, Trigger
from firebreak.settings import Settings
from tests.workflows.script import ACCOUNT, REGION, Script
from tests.workflows.scripted import Recording, ScriptedActivities
from workflows.containment import Containment

T = TypeVar("T")

PATIENCE = 60.0
"""Seconds until a test gives up waiting; generous, since the machine may be busy."""


class Stage:
    """Plays runs and asks them questions."""

    def __init__(self, client: Client, settings: Settings, acting: ScriptedActivities) -> None:
        self.client = client
        self.settings = settings
        self.acting = acting
        self.env: WorkflowEnvironment | None = None

    async def now(self) -> datetime:
        """The server's time."""
        return await self.env.get_current_time() if self.env else datetime.now().astimezone()

    async def pass_time(self, seconds: float) -> None:
        """Let that much time go by; only in simulated time."""
        assert self.env is not None
        await self.env.sleep(seconds)

    async def play(self, script: Script, **trigger: Any) -> Played:
        """Start a containment that follows the script, as the CLI starts one."""
        incident_id = f"INC-{secrets.token_hex(6)}"
        recording = self.acting.expect(incident_id, script)
        workload = workload_named(f"agent-{secrets.token_hex(6)}")
        started = await start.contain(
            self.client,
            self.settings,
            workload,
            await self.trigger(**trigger),
            incident_id=incident_id,
            mode=Mode.LIVE,
        )
        handle: WorkflowHandle[Containment, Ended] = self.client.get_workflow_handle(
            started.workflow_id, result_type=Ended
        )
        return Played(self, workload, incident_id, handle, recording)

    async def contained(self, script: Script) -> Played:
        """A containment at its end, ready to be released."""
        run = await self.play(script)
        await run.ended()
        await run.listed(ended=True)
        return run

    async def trigger(self, **fields: Any) -> Trigger:
        """An alert that came in now."""
        usual = {
            "source": "siem",
            "reason": "anomaly",
            "requested_by": "riley",
            "received_at": await self.now(),
        }
        return Trigger.model_validate(usual | fields)


class Played:
    """One run on the stage."""

    def __init__(
        self,
        stage: Stage,
        workload: Workload,
        incident_id: str,
        handle: WorkflowHandle[Containment, Ended],
        recording: Recording,
    ) -> None:
        self.stage = stage
        self.workload = workload
        self.incident_id = incident_id
        self.handle = handle
        self.recording = recording

    async def status(self) -> RunStatus:
        """The public document."""
        return await runs.status(self.handle)

    async def until(self, wanted: Callable[[RunStatus], bool]) -> RunStatus:
        """The first document that is as wanted."""
        return await until(self.status, wanted)

    async def asked(self) -> RunStatus:
        """The document once the run waits for people."""
        return await self.until(lambda document: document.awaiting is not None)

    async def decide(self, kind: str, by: str = "casey", reason: str = "looked into it") -> Decision:
        """Decide, as a Temporal update of that name."""
        decision = Decision.model_validate({"kind": kind, "by": by, "reason": reason})
        made: Decision = await self.handle.execute_update(kind, decision, result_type=Decision)
        return made

    async def ended(self) -> RunStatus:
        """The document after the end; time is skipped where the server can."""
        await self.handle.result()
        return await self.until(lambda _: True)

    async def listed(self, *, ended: bool = False) -> None:
        """Wait until visibility knows the run, or its end; it lags behind by a moment."""
        query = f"WorkflowId = '{self.handle.id}'"
        if ended:
            query += " AND ExecutionStatus = 'Completed'"

        async def found() -> bool:
            return [each async for each in self.stage.client.list_workflows(query)] != []

        await until(found, bool)

    async def release(self, *, by: str = "casey", approved_by: str = "sam") -> start.Started:
        """Start the release; without an approver it waits for one."""
        stage = self.stage
        return await start.release(
            stage.client, stage.settings, self.incident_id, by=by, approved_by=approved_by, reason="rebuilt"
        )


async def until(ask: Callable[[], Awaitable[T]], wanted: Callable[[T], bool]) -> T:
    """Ask again and again until the answer is as wanted; fails with the last answer."""
    deadline = time.monotonic() + PATIENCE
    while True:
        try:
            answer = await ask()
        except RPCError:  # a busy machine answers late; the deadline still holds
            if time.monotonic() > deadline:
                raise
            continue
        if wanted(answer):
            return answer
        assert time.monotonic() < deadline, f"waited in vain; the last answer was {answer}"
        await asyncio.sleep(0.02)


def workload_named(workload_id: str) -> Workload:
    """A workload that no provider has to know."""
    return Workload(id=workload_id, cloud=Cloud.AWS, account=ACCOUNT, region=REGION)


def scripted_workers(
    client: Client,
    settings: Settings,
    acting: ScriptedActivities,
    notify: Callable[..., Awaitable[None]] | None = None,
) -> list[Worker]:
    """The production worker's workflows and limits, with scripted activities."""
    return [
        Worker(
            client,
            task_queue=settings.task_queue,
            workflows=worker.WORKFLOWS,
            activities=[notify or acting.notify],
            workflow_runner=worker._runner(),
            max_concurrent_workflow_tasks=worker.MAX_WORKFLOW_TASKS,
            max_concurrent_activities=settings.worker.activities,
            sticky_queue_schedule_to_start_timeout=worker.STICKY_TIMEOUT,
        ),
        Worker(
            client,
            task_queue=start.cloud_queue(settings, Cloud.AWS),
            activities=acting.on_cloud_queue(),
            max_concurrent_activities=settings.worker.activities,
        ),
    ]


@asynccontextmanager
async def stage_on(client: Client) -> AsyncIterator[Stage]:
    """A stage on that server, with workers of its own."""
    settings = Settings(task_queue=f"stage-{secrets.token_hex(4)}")
    acting = ScriptedActivities()
    async with AsyncExitStack() as stack:
        for each in scripted_workers(client, settings, acting):
            await stack.enter_async_context(each)
        yield Stage(client, settings, acting)


@asynccontextmanager
async def stage_at(server: DevServer) -> AsyncIterator[Stage]:
    """A stage on a dev server, with its search attributes."""
    client = await Client.connect(server.address, data_converter=data_converter(Settings()))
    await ensure_search_attributes(client)
    async with stage_on(client) as running:
        yield running


@asynccontextmanager
async def skipping_stage() -> AsyncIterator[Stage]:
    """A stage in simulated time."""
    binary = shutil.which("temporal-test-server") or str(Path(sys.executable).parent / "temporal-test-server")
    async with await WorkflowEnvironment.start_time_skipping(
        test_server_existing_path=binary, data_converter=data_converter(Settings())
    ) as env:
        await _register(env.client)
        async with stage_on(env.client) as stage:
            stage.env = env
            yield stage
    await asyncio.sleep(0.25)  # the SDK's threads come to rest, or the interpreter may crash at its exit


async def _register(client: Client) -> None:
    """The test server knows no search attributes, and cannot list them either."""
    keyword = IndexedValueType.INDEXED_VALUE_TYPE_KEYWORD
    await client.operator_service.add_search_attributes(
        AddSearchAttributesRequest(
            namespace=client.namespace, search_attributes={key.name: keyword for key in SEARCH_ATTRIBUTES}
        )
    )
