"""Say what flow log records must speak about, and what they prove; a cloud reads its own records."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from firebreak.measure import found
from firebreak.model import Finding, JsonObject, Method

_SHOWN = 5


class Line(Protocol):
    """A record, as far as a finding shows it."""

    @property
    def line(self) -> str:
        """The record as the cloud wrote it."""
        ...


@dataclass(frozen=True)
class Isolated(ABC):
    """An interface that is isolated, and the canary whose packets must be refused there."""

    interface: str
    addresses: frozenset[str]
    """The interface's own private addresses."""
    applied_at: datetime
    canary_sources: frozenset[str]
    canary_port: int
    interval: int
    """Seconds of the flow log's longest interval."""

    @property
    @abstractmethod
    def isolated_from(self) -> str:
        """The moment of isolation, as finely as the records tell time."""

    def is_canary(self, source: str, destination: str, port: int) -> bool:
        """Whether a record's packet is one that the canary sends to this interface."""
        return source in self.canary_sources and destination in self.addresses and port == self.canary_port

    def verdict(
        self, text: str, shown: Sequence[Line], *, holds: bool = False, inconclusive: bool = False
    ) -> Finding:
        """What the records prove, with some of them as they were written."""
        detail: JsonObject = {
            "interface": self.interface,
            "isolated_from": self.isolated_from,
            "records": [each.line for each in shown[:_SHOWN]],
        }
        return found(
            Method.LOG_EVIDENCE, f"flow logs: {text}", holds=holds, inconclusive=inconclusive, **detail
        )
