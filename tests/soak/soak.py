"""Thousands of containments beside two busy neighbours, and none of them may get stuck.

``python -m tests.soak.soak`` plays 2,000; ``--quick`` plays 100. Workers of temporalio 1.32 to 1.35 were
seen to lose their workflow poller for ever under exactly this load, with local activities.
"""

from __future__ import annotations

import argparse
import asyncio
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import psutil
from temporalio.client import Client, WorkflowHandle
from temporalio.service import RPCError, RPCStatusCode

from firebreak import start
from firebreak.codec import data_converter
from firebreak.connect import ensure_search_attributes
from firebreak.devserver import dev_server
from firebreak.measure import now
from firebreak.model import Mode, Verdict
from firebreak.record import Ended, Trigger
from firebreak.settings import Settings
from tests.workflows.stage import workload_named
from workflows.containment import Containment

TASK_QUEUE = "soak"
IN_FLIGHT = 100
"""The load under which the wedge was seen."""
NEIGHBOURS = 2
STUCK_AFTER = 180.0
"""Seconds without a single run ending; far beyond what a busy machine needs for one."""


class StuckError(AssertionError):
    """Nothing ended any more while runs were open."""


@dataclass
class Score:
    """What was seen while the runs were played."""

    wanted: int
    seconds: list[float] = field(default_factory=list)
    others: list[str] = field(default_factory=list)
    ended_at: float = field(default_factory=time.monotonic)
    took: float = 0.0
    memory: int = 0

    def add(self, incident_id: str, verdict: Verdict, seconds: float) -> None:
        """Count a run that ended."""
        self.seconds.append(seconds)
        self.ended_at = time.monotonic()
        if verdict is not Verdict.CONTAINED:
            self.others.append(f"{incident_id}: {verdict}")

    def __str__(self) -> str:
        ordered = sorted(self.seconds)
        return (
            f"{len(ordered)} of {self.wanted} containments in {self.took:.0f} s: "
            f"{len(ordered) / self.took:.1f} a second, p50 {statistics.median(ordered):.1f} s, "
            f"p99 {ordered[int(len(ordered) * 0.99)]:.1f} s, worker {self.memory // 2**20} MiB, "
            f"{len(self.others)} not contained"
        )


def soak(count: int) -> Score:
    """Play that many containments; raises StuckError when they stop ending."""
    with ExitStack() as stack:
        scratch = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        server = stack.enter_context(dev_server(scratch, memory=True))
        worker = stack.enter_context(
            _process([sys.executable, "-m", "tests.soak.player", server.address, TASK_QUEUE], scratch)
        )
        for _ in range(NEIGHBOURS):
            stack.enter_context(_process([sys.executable, "-c", "while True: pass"], scratch))
        return asyncio.run(_drive(server.address, worker.pid, Score(count)))


@contextmanager
def _process(command: list[str], scratch: Path) -> Iterator[subprocess.Popen[bytes]]:
    with (scratch / "processes.log").open("ab") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log)
    try:
        yield process
    finally:
        process.kill()
        process.wait()


async def _drive(address: str, worker: int, score: Score) -> Score:
    client = await Client.connect(address, data_converter=data_converter(Settings()))
    await ensure_search_attributes(client)
    began = score.ended_at = time.monotonic()
    free = asyncio.Semaphore(IN_FLIGHT)
    runs = asyncio.gather(*(_one(client, free, number, score) for number in range(score.wanted)))
    while not (await asyncio.wait({runs}, timeout=1))[0]:
        sys.stderr.write(f"\r{len(score.seconds)} of {score.wanted}")
        score.memory = max(score.memory, psutil.Process(worker).memory_info().rss)
        if time.monotonic() - score.ended_at > STUCK_AFTER:
            runs.cancel()
            msg = f"nothing ended for {STUCK_AFTER:.0f} s; {len(score.seconds)} of {score.wanted} had"
            raise StuckError(msg)
    runs.result()
    score.took = time.monotonic() - began
    return score


async def _one(client: Client, free: asyncio.Semaphore, number: int, score: Score) -> None:
    async with free:
        began = time.monotonic()
        incident_id = f"INC-SOAK-{number}"
        trigger = Trigger(source="soak", reason="soak", requested_by="soak", received_at=now())
        started = await start.contain(
            client,
            Settings(task_queue=TASK_QUEUE),
            workload_named(f"soak-{number}"),
            trigger,
            incident_id=incident_id,
            mode=Mode.LIVE,
        )
        ended = await _ended(client.get_workflow_handle_for(Containment.run, started.workflow_id))
        score.add(incident_id, ended.verdict, time.monotonic() - began)


async def _ended(handle: WorkflowHandle[Containment, Ended]) -> Ended:
    """Wait for the end; a starved server may drop the question, and is then asked again."""
    while True:
        try:
            return await handle.result()
        except RPCError as error:
            if error.status is not RPCStatusCode.DEADLINE_EXCEEDED:
                raise


def main() -> int:
    """Print the score; exit code 1 when a run was not contained."""
    parser = argparse.ArgumentParser(description="containments beside two busy neighbours")
    parser.add_argument("--quick", action="store_true", help="100 instead of 2,000")
    score = soak(100 if parser.parse_args().quick else 2000)
    sys.stdout.write(f"{score}\n")
    return 1 if score.others else 0


if __name__ == "__main__":
    sys.exit(main())
