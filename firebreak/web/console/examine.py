"""An evidence package, fetched and verified for the page that shows the result, and the report from it."""

from __future__ import annotations

import asyncio
import tempfile
from collections import OrderedDict
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path

from firebreak.errors import EvidenceError
from firebreak.evidence.export import export
from firebreak.evidence.sign import TrustedKey, load_public_keys
from firebreak.evidence.verify import Expected, Report, verify
from firebreak.measure import now
from firebreak.model import Mode
from firebreak.provider import provider
from firebreak.record import EvidenceStatus, RunStatus
from firebreak.report import clocks, facts, page
from firebreak.settings import Settings

REMEMBERED = 16
"""Reports held in memory; a package never changes, so that they stay true."""


@dataclass(frozen=True)
class Examined:
    """What a verification found, and the containment report of the same bytes."""

    verification: Report
    report: str
    at: datetime


@dataclass
class Examiner:
    """Fetches and verifies, one package at a time: each may be large."""

    settings: Settings
    known: OrderedDict[EvidenceStatus, Examined] = field(default_factory=OrderedDict)
    turn: asyncio.Lock = field(default_factory=asyncio.Lock)

    def usable(self, run: RunStatus) -> bool:
        """Whether keys and an evidence store are configured for runs like this one."""
        return bool(self._keys(run.mode)) and bool(self.settings.evidence_of(run.cloud).store)

    def seen(self, run: RunStatus) -> Examined | None:
        """What was found before, since this process began."""
        return self.known.get(run.evidence) if run.evidence else None

    async def examine(self, run: RunStatus, *, again: bool = False) -> Examined:
        """Fetch and verify the package of a run; raises EvidenceError where that cannot be done."""
        if run.evidence is None or not self.usable(run):
            raise EvidenceError(
                "this console cannot verify the package",
                resource=run.incident_id,
                remedy="set FIREBREAK_CONSOLE__EVIDENCE_KEYS, or verify it with the command line",
            )
        async with self.turn:
            found = None if again else self.known.get(run.evidence)
            if found is None:
                found = await asyncio.to_thread(self._examine, run, run.evidence)
                self._remember(run.evidence, found)
        return found

    def _examine(self, run: RunStatus, evidence: EvidenceStatus) -> Examined:
        vault = provider(run.cloud).vault(self.settings)
        with tempfile.TemporaryDirectory(prefix="firebreak-console-") as parent:
            folder = export(vault, evidence.uri, Path(parent) / "package")
            expected = Expected.at(evidence.uri, evidence.manifest_sha256)
            verification = verify(folder, self._trusted(run.mode), expected)
            moment = now()
            report = page.html(facts.read(folder, verification), clocks.load(), made_at=moment)
        return Examined(verification, report, moment)

    def _keys(self, mode: Mode) -> tuple[Path, ...]:
        console = self.settings.console
        return console.drill_evidence_keys if mode is Mode.DRILL else console.evidence_keys

    def _trusted(self, mode: Mode) -> tuple[TrustedKey, ...]:
        return load_public_keys(self._keys(mode), mode)

    def _remember(self, evidence: EvidenceStatus, found: Examined) -> None:
        self.known[evidence] = found
        while len(self.known) > REMEMBERED:
            self.known.popitem(last=False)
