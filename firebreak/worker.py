"""The worker process: workflows without credentials, or one cloud's activities with that cloud's alone."""

from __future__ import annotations

import asyncio
import ctypes
import os
import signal
import socket
from contextlib import AsyncExitStack
from dataclasses import dataclass
from datetime import timedelta

import structlog
from temporalio.client import Client
from temporalio.runtime import PrometheusConfig, Runtime, TelemetryConfig
from temporalio.worker import Worker, WorkflowRunner
from temporalio.worker.workflow_sandbox import SandboxedWorkflowRunner, SandboxRestrictions

from activities.evidence import EvidenceActivities
from activities.measures import MeasureActivities
from activities.notify import NotifyActivities
from activities.release import ReleaseActivities
from firebreak import __version__, ownership
from firebreak.connect import connect, ensure_search_attributes
from firebreak.devserver import free_port
from firebreak.engine import Engine
from firebreak.liveness import watch
from firebreak.measure import measures
from firebreak.model import Cloud
from firebreak.notify import channels, commenting
from firebreak.settings import Settings
from firebreak.start import cloud_queue
from workflows.alarm import Alarm
from workflows.containment import Containment
from workflows.delivery import Delivery
from workflows.preview import Canary, PreviewContainment
from workflows.release import Release
from workflows.sentry import Sentry

log = structlog.get_logger("firebreak.worker")

WORKFLOWS = (Alarm, Containment, Release, PreviewContainment, Canary, Delivery, Sentry)

MAX_WORKFLOW_TASKS = 20
"""Capped: with more in flight under CPU contention, workers of temporalio 1.32 to 1.35 were seen to wedge."""

STICKY_TIMEOUT = timedelta(seconds=1)
"""How long a workflow task waits for the worker that has it cached; bounds recovery from a kill."""

GRACEFUL_SHUTDOWN = timedelta(seconds=10)
"""Steps hand over at once when asked; a blocking cloud call may take this long to return."""

# malloc.h of glibc; other C libraries have no such parameters.
_M_MMAP_THRESHOLD, _M_ARENA_MAX = -3, -8
_LARGE = 256 * 1024


HANDING_OVER = 1.0
"""Seconds that workflows go on after the steps beside them have stopped: a workflow task delivered to a
worker that is leaving is lost until it times out, which was measured to cost 10 s."""


@dataclass(frozen=True)
class Role:
    """What one worker process does."""

    workflows: bool
    clouds: tuple[Cloud, ...]

    @classmethod
    def parse(cls, name: str) -> Role:
        """``workflows``, a cloud's name, or several joined by commas."""
        parts = name.split(",")
        clouds = tuple(Cloud(part) for part in parts if part != "workflows")
        return cls(workflows="workflows" in parts, clouds=clouds)


async def run(settings: Settings, role: Role, *, stop: asyncio.Event | None = None) -> None:
    """Work until SIGTERM or SIGINT; raises FirebreakError when the process cannot or must not start."""
    ownership.check_names()
    _save_memory()
    stop = stop or _stopped_by_signal()
    metrics = settings.worker.metrics_address or f"127.0.0.1:{free_port()}"
    client = await connect(settings, _runtime(metrics))
    await ensure_search_attributes(client)
    identity = f"{os.getpid()}@{socket.gethostname()}"
    async with AsyncExitStack() as stack:
        for worker in build(client, settings, role, identity):
            await stack.enter_async_context(worker)
            if role.workflows and role.clouds and worker.task_queue == settings.task_queue:
                stack.push_async_callback(asyncio.sleep, HANDING_OVER)
        log.info("worker.started", role=str(role), identity=identity, version=__version__, metrics=metrics)
        if role.workflows:
            await watch(client, settings.task_queue, metrics, stop)
        await stop.wait()
        log.info("worker.stopping", identity=identity)


def _save_memory() -> None:
    """Let threads share heaps, and give large buffers back at once (mallopt(3)).

    A heap for each thread, and buffers of captures that stay in heaps, add half to a worker's size.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        mallopt(_M_ARENA_MAX, 2)
        mallopt(_M_MMAP_THRESHOLD, _LARGE)


def build(client: Client, settings: Settings, role: Role, identity: str) -> list[Worker]:
    """The SDK workers of a role."""
    workers = [_workflow_worker(client, settings, identity)] if role.workflows else []
    return [*workers, *(_cloud_worker(client, settings, cloud, identity) for cloud in role.clouds)]


def _workflow_worker(client: Client, settings: Settings, identity: str) -> Worker:
    return Worker(
        client,
        task_queue=settings.task_queue,
        workflows=WORKFLOWS,
        activities=[NotifyActivities(channels(settings), commenting(settings)).notify],
        workflow_runner=_runner(),
        identity=identity,
        max_concurrent_workflow_tasks=MAX_WORKFLOW_TASKS,
        max_concurrent_activities=settings.worker.activities,
        sticky_queue_schedule_to_start_timeout=STICKY_TIMEOUT,
        graceful_shutdown_timeout=GRACEFUL_SHUTDOWN,
    )


def _cloud_worker(client: Client, settings: Settings, cloud: Cloud, identity: str) -> Worker:
    measures(cloud)  # imports the cloud's SDK now, not inside the first incident
    engine = Engine(cloud, settings)
    steps = MeasureActivities(engine)
    evidence = EvidenceActivities(engine, identity)
    release = ReleaseActivities(engine, identity)
    return Worker(
        client,
        task_queue=cloud_queue(settings, cloud),
        activities=[
            steps.preview,
            steps.plan,
            steps.mark,
            steps.contain,
            steps.preserve,
            steps.revert,
            evidence.chain,
            evidence.keep_alert,
            evidence.package,
            release.plan,
            release.package,
        ],
        identity=identity,
        max_concurrent_activities=settings.worker.activities,
        max_heartbeat_throttle_interval=timedelta(seconds=2),
        graceful_shutdown_timeout=GRACEFUL_SHUTDOWN,
    )


def _runner() -> WorkflowRunner:
    """Temporal's sandbox, with our own pure modules passed through so that models keep their identity."""
    passed = SandboxRestrictions.default.with_passthrough_modules(
        "firebreak", "activities", "pydantic", "pydantic_core", "annotated_types", "rfc8785", "structlog"
    )
    return SandboxedWorkflowRunner(restrictions=passed)


def _runtime(metrics: str) -> Runtime:
    return Runtime(
        telemetry=TelemetryConfig(
            metrics=PrometheusConfig(
                bind_address=metrics, durations_as_seconds=True, counters_total_suffix=True, unit_suffix=True
            )
        )
    )


def _stopped_by_signal() -> asyncio.Event:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for each in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(each, stop.set)
    return stop
