"""The embedded Temporal dev server, as its own process from the ``temporal`` binary on PATH."""

from __future__ import annotations

import asyncio
import shutil
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from temporalio.client import Client

from firebreak.errors import FirebreakError

DYNAMIC_CONFIG = (
    "history.transferProcessorMaxPollRPS=2000",
    "history.timerProcessorMaxPollRPS=2000",
    "frontend.WorkflowTimeSkippingEnabled=true",
)
"""The dev server has one history shard and reads its queues 20 times a second: every workflow task waits
for a 50 ms tick. Lifted, since a production cluster's 512 shards do not show that limit."""

DATABASE = "temporal.db"
"""SQLite's file; its journals lie beside it, with longer names (https://www.sqlite.org/tempfiles.html)."""

START_TIMEOUT = 30.0
_ANSWER_SECONDS = 3.0
START_ATTEMPTS = 3
"""A port that was free a moment ago may be taken by now; the server also picks some of its own that way."""


@dataclass(frozen=True)
class DevServer:
    """A running dev server."""

    address: str
    ui: str
    process: subprocess.Popen[bytes]

    def stop(self) -> None:
        """Ask it to end, and wait for that."""
        self.process.terminate()
        self.process.wait()

    def kill(self) -> None:
        """End it as a crash would (SIGKILL)."""
        self.process.kill()
        self.process.wait()


def binary() -> str:
    """The ``temporal`` binary: the user's own on PATH, or the one of this environment."""
    beside = Path(sys.executable).parent / "temporal"
    found = shutil.which("temporal") or (str(beside) if beside.exists() else None)
    if found is None:
        raise FirebreakError(
            "the `temporal` binary is not on PATH",
            remedy="install firebreak[sandbox]",
        )
    return found


def command(port: int, ui_port: int, database: Path | None, namespace: str = "default") -> list[str]:
    """The command line of a dev server; without a database it keeps everything in memory."""
    options = [f"--dynamic-config-value={each}" for each in DYNAMIC_CONFIG]
    if database is not None:
        options.append(f"--db-filename={database}")
    return [
        binary(),
        "server",
        "start-dev",
        "--ip=127.0.0.1",
        f"--port={port}",
        f"--ui-port={ui_port}",
        f"--namespace={namespace}",
        "--log-level=error",
        *options,
    ]


def launch(port: int, ui_port: int, database: Path | None, log: Path) -> DevServer:
    """Start the process; ``ready`` tells when it answers."""
    with log.open("ab") as output:
        process = subprocess.Popen(command(port, ui_port, database), stdout=output, stderr=output)
    return DevServer(f"127.0.0.1:{port}", f"http://127.0.0.1:{ui_port}", process)


async def ready(server: DevServer, timeout: float = START_TIMEOUT) -> None:  # noqa: ASYNC109 - a deadline over polls
    """Wait until the server answers; raises FirebreakError when it ends or stays silent."""
    loop = asyncio.get_running_loop()
    deadline = loop.time() + timeout
    while not await _answers(server.address):
        if server.process.poll() is not None:
            raise FirebreakError(f"the Temporal dev server ended with code {server.process.returncode}")
        if loop.time() > deadline:
            raise FirebreakError("the Temporal dev server does not answer", resource=server.address)
        await asyncio.sleep(0.05)


@contextmanager
def dev_server(folder: Path, *, port: int = 0, ui_port: int = 0, memory: bool = False) -> Iterator[DevServer]:
    """A dev server for the length of a block; its database and log lie in ``folder``."""
    folder.mkdir(parents=True, exist_ok=True)
    database = None if memory else folder / DATABASE
    server = _started(port, ui_port, database, folder / "temporal.log")
    try:
        yield server
    finally:
        server.stop()


def _started(port: int, ui_port: int, database: Path | None, log: Path) -> DevServer:
    """A server that answers; one that ended on ports of our choice is started again on others."""
    attempts = 1 if port and ui_port else START_ATTEMPTS
    while True:
        attempts -= 1
        server = launch(port or free_port(), ui_port or free_port(), database, log)
        try:
            asyncio.run(ready(server))
        except FirebreakError:
            ended = server.process.poll() is not None
            server.stop()
            if attempts and ended:
                continue
            raise
        return server


def free_port() -> int:
    """A port that nobody listens on at the moment."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


async def _answers(address: str) -> bool:
    try:
        async with asyncio.timeout(_ANSWER_SECONDS):
            client = await Client.connect(address)
            await client.service_client.check_health()
    except (RuntimeError, TimeoutError):  # the SDK's word for: nobody listens there yet; somebody else does
        return False
    return True
