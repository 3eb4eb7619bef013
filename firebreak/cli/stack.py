"""The embedded stack for a command: clean settings, readiness, and the environment for other shells."""

from __future__ import annotations

import asyncio
import os
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from temporalio.api.enums.v1 import TaskQueueType
from temporalio.client import Client

from drills.sandbox.sample import ENVIRONMENT_FILE, write_environment
from drills.stack import Stack, embedded, foreign_variables
from firebreak.connect import connect
from firebreak.devserver import DATABASE
from firebreak.errors import FirebreakError, UsageError
from firebreak.pollers import ACTIVITIES, WORKFLOWS, pollers
from firebreak.settings import Settings, load_settings
from firebreak.start import cloud_queue

READY_SECONDS = 60.0
Queue = tuple[str, TaskQueueType.ValueType]
"""A task queue, and the kind of tasks that somebody must wait for there."""


def claimed(folder: Path, command: str) -> Path:
    """Make a folder and mark it as the command's own; raises UsageError when it holds anything else."""
    place = folder.resolve()
    marker = _marker(place, command)
    if not marker.exists() and place.exists() and any(place.iterdir()):
        raise UsageError(
            f"the folder holds files that `firebreak {command}` did not put there",
            resource=str(folder),
            remedy=f"name a new or empty --folder; if all is of an earlier `firebreak {command}`, remove it",
        )
    place.mkdir(parents=True, exist_ok=True)
    marker.touch()
    return place


def emptied(folder: Path, command: str) -> Path:
    """The same, without what the command left there the last time."""
    place = claimed(folder, command)
    for each in set(place.iterdir()) - {_marker(place, command)}:
        if each.is_dir() and not each.is_symlink():
            shutil.rmtree(each)
        else:
            each.unlink()
    return place


def without_runs(place: Path) -> None:
    """Forget the runs of an earlier ``up``: the sandboxes that they were about are gone."""
    for each in place.glob(f"{DATABASE}*"):
        each.unlink()


def _marker(place: Path, command: str) -> Path:
    return place / f".firebreak-{command}"


@contextmanager
def running(folder: Path) -> Iterator[Stack]:
    """Start everything and wait until every task queue is worked on.

    The process's own environment points at the stack from then on; ``folder/env`` does it for a shell, which
    also forgets by it what this process had to forget.
    """
    folder = folder.resolve()  # files that the settings name are read by processes elsewhere
    foreign = foreign_variables()
    for name in foreign:
        del os.environ[name]
    with embedded(folder) as stack:
        own = {name: value for name, value in stack.environment.items() if os.environ.get(name) != value}
        write_environment(folder / ENVIRONMENT_FILE, own, without=foreign)
        os.environ.update(own)
        asyncio.run(_ready(stack))
        yield stack


async def _ready(stack: Stack) -> None:
    """Wait until every task queue is polled; raises FirebreakError when time is over."""
    settings = load_settings()
    client = await connect(settings)
    queues = _queues(settings, stack)
    deadline = asyncio.get_running_loop().time() + READY_SECONDS
    while not await _polled(client, queues):
        if asyncio.get_running_loop().time() > deadline:
            raise FirebreakError("a worker does not come up", remedy=f"see {stack.folder}/worker-*.log")
        await asyncio.sleep(0.1)


def _queues(settings: Settings, stack: Stack) -> list[Queue]:
    """The workflows' queue, and that of each cloud's activities."""
    activities = [(cloud_queue(settings, cloud), ACTIVITIES) for cloud in stack.clouds]
    return [(settings.task_queue, WORKFLOWS), *activities]


async def _polled(client: Client, queues: Sequence[Queue]) -> bool:
    found = await asyncio.gather(*(pollers(client, queue, kind) for queue, kind in queues))
    return all(found)
