"""What every command that talks to Temporal shares: a connection, and the waiting for a run."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any, TypeVar

from pydantic import TypeAdapter, ValidationError
from temporalio.client import Client, WorkflowFailureError, WorkflowHandle, WorkflowQueryFailedError
from temporalio.service import RPCError, RPCStatusCode

from firebreak import logs, runs
from firebreak.cli import exit as codes
from firebreak.cli.output import say
from firebreak.connect import connect
from firebreak.errors import FirebreakError, UsageError
from firebreak.model import Verdict
from firebreak.record import RunStatus
from firebreak.settings import Settings, load_settings

POLL_SECONDS = 1.0
PATIENCE_SECONDS = 60.0
"""How long a run may go unanswered before the command gives up watching; the run itself goes on."""

NO_WORKER = "start a worker (`firebreak worker --role workflows`)"

CODES = {
    Verdict.CONTAINED: codes.OK,
    Verdict.RELEASED: codes.OK,
    Verdict.REFUSED: codes.REFUSED,
    Verdict.REJECTED: codes.REJECTED,
}
"""By how a run ended (docs/runbook.md); whatever else it was, the workload is not contained."""

ValueT = TypeVar("ValueT")


@dataclass(frozen=True)
class Session:
    """A connected client and the settings it was connected by."""

    client: Client
    settings: Settings


def exit_code(document: RunStatus) -> int:
    """The exit code of a command that reports a run."""
    return CODES.get(document.verdict, codes.NOT_CONTAINED)


@asynccontextmanager
async def connected() -> AsyncIterator[Session]:
    """Connect, and turn what the server refuses into our own words."""
    settings = load_settings()
    logs.configure(settings)
    client = await connect(settings)
    try:
        yield Session(client, settings)
    except RPCError as error:
        raise _explained(error) from error


async def watch(handle: WorkflowHandle[Any, Any], seen: Callable[[RunStatus], None]) -> RunStatus:
    """Report each state of a run until it has ended; returns the last one."""
    ending = asyncio.ensure_future(_end(handle))
    try:
        while not ending.done():
            seen(await patiently(handle))
            await asyncio.wait({ending}, timeout=POLL_SECONDS)
        ending.result()
    except WorkflowFailureError as error:
        raise FirebreakError(
            f"the run itself failed: {error.cause}", resource=handle.id, remedy="see it in the Temporal UI"
        ) from error
    finally:
        ending.cancel()
    last = await patiently(handle)
    seen(last)
    return last


async def _end(handle: WorkflowHandle[Any, Any]) -> None:
    """Wait for the end of a run, beyond a restart of the server."""
    while True:
        try:
            await handle.result()
        except RPCError as error:
            if _is_final(error):
                raise
            await patiently(handle)  # gives up where nobody answers any more
        else:
            return


async def patiently(handle: WorkflowHandle[Any, Any]) -> RunStatus:
    """Ask for the status until an answer comes: a worker or the server may be restarting."""
    deadline = asyncio.get_running_loop().time() + PATIENCE_SECONDS
    told = False
    while True:
        try:
            return await runs.status(handle)
        except (RPCError, WorkflowQueryFailedError) as error:
            if asyncio.get_running_loop().time() > deadline or _is_final(error):
                raise FirebreakError(
                    f"nobody answers for the run: {error}",
                    resource=handle.id,
                    remedy=f"{NO_WORKER}; the run goes on by itself",
                ) from error
            if not told:
                say(f"nobody answers for the run yet; waiting for up to {PATIENCE_SECONDS:.0f} s")
            told = True
            await asyncio.sleep(POLL_SECONDS)


def checked(kind: Any, value: ValueT, option: str) -> ValueT:
    """A value that has the form its field requires; raises UsageError naming the option."""
    try:
        TypeAdapter(kind).validate_python(value)
    except ValidationError as error:
        raise UsageError(f"{option}: {error.errors()[0]['msg']}") from error
    return value


def _is_final(error: Exception) -> bool:
    return isinstance(error, RPCError) and error.status in {
        RPCStatusCode.NOT_FOUND,
        RPCStatusCode.PERMISSION_DENIED,
        RPCStatusCode.UNAUTHENTICATED,
        RPCStatusCode.INVALID_ARGUMENT,
    }


def _explained(error: RPCError) -> FirebreakError:
    # A query that no worker takes: the server's status, or the client's own when its patience is over.
    if error.status in {RPCStatusCode.CANCELLED, RPCStatusCode.DEADLINE_EXCEEDED}:
        return FirebreakError(f"nobody answered in time: {error.message}", remedy=NO_WORKER)
    remedy = {
        RPCStatusCode.NOT_FOUND: "check TEMPORAL_NAMESPACE and the id",
        RPCStatusCode.PERMISSION_DENIED: "check the Temporal credentials",
        RPCStatusCode.UNAUTHENTICATED: "check the Temporal credentials",
        RPCStatusCode.UNAVAILABLE: "check TEMPORAL_ADDRESS and the server",
    }.get(error.status, "run firebreak doctor")
    return FirebreakError(f"Temporal answered {error.status.name}: {error.message}", remedy=remedy)
