"""The embedded stack: Temporal dev server, sandbox accounts with a sample workload, and both workers."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from temporalio.client import Client

from drills.sandbox.aws.client import SandboxClient, start_sandbox
from drills.sandbox.aws.rogue import running_rogue
from drills.sandbox.aws.sample import Sample, seed
from drills.sandbox.aws.sample.__main__ import ENVIRONMENT_FILE, INVENTORY_FILE, write_environment
from firebreak.connect import connect
from firebreak.devserver import DevServer, dev_server
from firebreak.doctor import ACTIVITIES, WORKFLOWS, pollers
from firebreak.errors import FirebreakError
from firebreak.model import Cloud
from firebreak.settings import load_settings
from firebreak.start import cloud_queue

READY_SECONDS = 60.0
STOP_SECONDS = 15.0
_OTHERS = ("AWS_", "FIREBREAK_", "TEMPORAL_")
"""Settings of the surrounding shell that must not leak into the stack."""


@dataclass(frozen=True)
class Stack:
    """A running stack."""

    folder: Path
    server: DevServer
    sandbox: SandboxClient
    sample: Sample

    @property
    def environment(self) -> dict[str, str]:
        """The variables that point Firebreak at this stack."""
        return {**self.temporal, **self.sample.environment()}

    @property
    def temporal(self) -> dict[str, str]:
        """What the workflow worker is given: no cloud credentials."""
        return {"TEMPORAL_ADDRESS": self.server.address, "TEMPORAL_NAMESPACE": "default"}


@contextmanager
def running(folder: Path) -> Iterator[Stack]:
    """Start everything, with its logs and settings in ``folder``, and stop it at the end of the block.

    The process's own environment points at the stack from then on.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with ExitStack() as parts:
        server = parts.enter_context(dev_server(folder, memory=True))
        sandbox = parts.enter_context(start_sandbox(log=folder / "sandbox.log"))
        made = Stack(folder, server, sandbox, seed(sandbox, folder / INVENTORY_FILE))
        write_environment(folder / ENVIRONMENT_FILE, made.environment)
        workers = [
            parts.enter_context(_worker(folder, "workflows", ["--workflows"], made.temporal)),
            parts.enter_context(_worker(folder, "aws", ["--cloud", "aws"], made.environment)),
        ]
        os.environ.update(made.environment)
        asyncio.run(_ready(workers, folder))
        yield made


@contextmanager
def attacked(stack: Stack) -> Iterator[None]:
    """Let the rogue agent attack through the sample workload for the length of a block."""
    config = stack.sample.rogue_config_path
    if config is None:
        raise FirebreakError("the sandbox was seeded without a rogue agent")
    with running_rogue(stack.sandbox.url, config, log=stack.folder / "rogue.log"):
        yield


@contextmanager
def _worker(
    folder: Path, name: str, options: list[str], variables: Mapping[str, str]
) -> Iterator[subprocess.Popen[bytes]]:
    clean = {name: value for name, value in os.environ.items() if not name.startswith(_OTHERS)}
    command = [sys.executable, "-m", "firebreak", "worker", *options]
    with _log(folder, name).open("wb") as output:
        process = subprocess.Popen(command, env={**clean, **variables}, stdout=output, stderr=output)
    try:
        yield process
    finally:
        _stop(process)


def _stop(process: subprocess.Popen[bytes]) -> None:
    process.terminate()
    try:
        process.wait(STOP_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def _log(folder: Path, name: str) -> Path:
    return folder / f"worker-{name}.log"


async def _ready(workers: list[subprocess.Popen[bytes]], folder: Path) -> None:
    """Wait until both task queues are polled; raises FirebreakError when a worker ends or time is over."""
    settings = load_settings()
    client = await connect(settings)
    deadline = asyncio.get_running_loop().time() + READY_SECONDS
    while not await _polled(client, settings.task_queue, cloud_queue(settings, Cloud.AWS)):
        ended = next((each for each in workers if each.poll() is not None), None)
        if ended or asyncio.get_running_loop().time() > deadline:
            what = f"ended with code {ended.returncode}" if ended else "does not come up"
            raise FirebreakError(f"a worker {what}", remedy=f"see {folder}/worker-*.log")
        await asyncio.sleep(0.1)


async def _polled(client: Client, workflows: str, activities: str) -> bool:
    return bool(await pollers(client, workflows, WORKFLOWS) and await pollers(client, activities, ACTIVITIES))
