"""The plain script as a process of its own, asked through its standard input."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from bench.ground import Ground


@dataclass(frozen=True)
class Plain:
    """The other side of the comparison; it also undoes runs of either side."""

    process: subprocess.Popen[str]

    async def contain(self, incident_id: str, workload_id: str) -> dict[str, Any]:
        """Contain without Temporal."""
        return await self._ask({"do": "contain", "incident": incident_id, "workload": workload_id})

    async def undo(self, incident_id: str) -> None:
        """Revert a run."""
        await self._ask({"do": "undo", "incident": incident_id})

    async def _ask(self, command: dict[str, str]) -> dict[str, Any]:
        return await asyncio.to_thread(self._exchange, command)

    def _exchange(self, command: dict[str, str]) -> dict[str, Any]:
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write(json.dumps(command) + "\n")
        self.process.stdin.flush()
        line = self.process.stdout.readline()
        assert line, f"the plain script ended with {self.process.wait()}; see plain.log"
        answer: dict[str, Any] = json.loads(line)
        return answer


@contextmanager
def plain(place: Ground) -> Iterator[Plain]:
    """Run the plain script for the length of a block."""
    log = place.folder / "plain.log"
    with log.open("ab") as output:
        process = subprocess.Popen(
            [sys.executable, "-m", "bench.plain"],
            env=place.environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=output,
            text=True,
        )
    try:
        yield Plain(process)
    finally:
        process.terminate()
        process.wait()
        if process.returncode not in {0, -15}:
            sys.stderr.write(log.read_text(encoding="utf-8"))
