"""Which workloads hold a shared identity contained: it is given back when the last of them is released.

Removing has no owner's mark that could be put on the resource, so the evidence store keeps the list. It
records, for each workload, what it found when it came: whoever is released last gives back everybody's.
"""

from __future__ import annotations

from collections.abc import Iterator
from hashlib import sha256

from pydantic import AwareDatetime

from firebreak.measure import Context, now
from firebreak.model import FrozenModel, JsonObject, Target
from firebreak.session import owner_mark
from providers.azure.session import AzureAccess

HELD, HANDED_OVER, RELEASED = "held", "handed over", "released"


class Hold(FrozenModel):
    """One workload's hold on one resource."""

    workload_id: str
    incident_id: str
    status: str
    held_at: AwareDatetime
    before: JsonObject
    """What has to be given back on its behalf."""


class Holders:
    """The holds on one target of one measure."""

    def __init__(self, context: Context[AzureAccess], measure: str, target: Target) -> None:
        self._vault = context.vault
        self._run = context.run
        place = sha256(target.key.lower().encode()).hexdigest()[:32]
        self._prefix = f"holders/{measure}/{place}"
        self._mine = f"{self._prefix}/{owner_mark(context.run)}.json"

    def hold(self, before: JsonObject) -> None:
        """Record the hold right before the first change; harmless when it is recorded already.

        It stands until the workload is released, also when the change then failed half way.
        """
        known = self._read(self._vault.uri(self._mine))
        if known and known.status == HELD and known.incident_id == self._run.incident_id:
            return
        self._write(self._mine, self._new(before, HELD))

    def others(self) -> tuple[str, ...]:
        """The other workloads that still hold it."""
        return tuple(sorted(hold.workload_id for _, hold in self._all() if hold.status == HELD))

    def hand_over(self, before: JsonObject) -> None:
        """Leave it to the workloads that still hold it to give back what this one found."""
        self._write(self._mine, self._new(before, HANDED_OVER))

    def owed(self, before: JsonObject) -> list[JsonObject]:
        """What has to be given back: what others handed over and what this workload found, oldest first."""
        handed = [hold for _, hold in self._all() if hold.status == HANDED_OVER]
        known = self._read(self._vault.uri(self._mine))
        mine = self._new(before, HELD) if known is None else known.model_copy(update={"before": before})
        return [hold.before for hold in sorted([*handed, mine], key=lambda hold: hold.held_at)]

    def released(self) -> None:
        """Record that everything was given back and proved."""
        for key, hold in self._all():
            if hold.status == HANDED_OVER:
                self._write(key, hold.model_copy(update={"status": RELEASED}))
        known = self._read(self._vault.uri(self._mine))
        if known is not None and known.status != RELEASED:
            self._write(self._mine, known.model_copy(update={"status": RELEASED}))

    def _new(self, before: JsonObject, status: str) -> Hold:
        known = self._read(self._vault.uri(self._mine))
        return Hold(
            workload_id=self._run.workload.id,
            incident_id=self._run.incident_id,
            status=status,
            held_at=known.held_at if known and known.status != RELEASED else now(),
            before=before,
        )

    def _all(self) -> Iterator[tuple[str, Hold]]:
        """Every hold but this workload's own, by key."""
        for uri in self._vault.list(self._prefix):
            key = f"{self._prefix}/{uri.rsplit('/', 1)[-1]}"
            hold = self._read(uri)
            if hold is not None and key != self._mine:
                yield key, hold

    def _read(self, uri: str) -> Hold | None:
        if uri not in self._vault.list(self._prefix):
            return None
        stored = self._vault.find(uri)
        return Hold.model_validate_json(b"".join(self._vault.read(stored)))

    def _write(self, key: str, hold: Hold) -> None:
        self._vault.put(key, hold.canonical())
