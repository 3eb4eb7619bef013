"""Open connections and send packets on them, whatever the cloud: every packet is judged anew.

A cloud's simulator says how a connection starts out and where each of its packets is lost.
"""

from __future__ import annotations

import itertools
import threading
import time
from abc import ABC, abstractmethod
from dataclasses import dataclass
from ipaddress import ip_address
from typing import TYPE_CHECKING

from drills.sandbox.packets import TCP, Connection

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

# TEST-NET-2 (RFC 5737) stands for "somewhere on the internet".
INTERNET = "internet"
INTERNET_HOST = ip_address("198.51.100.10")
EPHEMERAL_PORTS = (32_768, 60_999)
HANDSHAKE_BYTES = 60
ACK_BYTES = 52
DATA_BYTES = 552


class UnknownSourceError(LookupError):
    """A packet was to be sent from an interface that does not exist."""


@dataclass(frozen=True, slots=True)
class Dial:
    """One connection that somebody asks for."""

    source: str
    destination: str
    port: int
    protocol: int
    source_port: int
    source_address: str | None = None


@dataclass(frozen=True, slots=True)
class Attempt:
    """What became of an attempt to connect."""

    connection_id: str | None
    reason: str
    source_address: str
    source_port: int
    sent_at: float

    @property
    def allowed(self) -> bool:
        """Tell whether the handshake completed."""
        return self.connection_id is not None


@dataclass(frozen=True, slots=True)
class Delivery:
    """What became of one data packet: `delivered` there, `acknowledged` back."""

    delivered: bool
    acknowledged: bool
    reason: str
    sent_at: float


class Connections(ABC):
    """The open connections of one simulated network."""

    def __init__(self, clock: Callable[[], float] = time.time) -> None:
        """Tell the time by `clock`."""
        self._clock = clock
        self._connections: dict[str, Connection] = {}
        self._ports = itertools.cycle(range(*EPHEMERAL_PORTS))
        self._lock = threading.RLock()

    def reset(self) -> None:
        """Forget every connection."""
        with self._lock:
            self._connections.clear()

    def connect(
        self,
        source: str,
        destination: str,
        port: int,
        *,
        protocol: int = TCP,
        source_address: str | None = None,
        source_port: int | None = None,
    ) -> Attempt:
        """Attempt a handshake from an interface id, or from "internet", to an address and port."""
        with self._lock:
            dial = Dial(source, destination, port, protocol, source_port or next(self._ports), source_address)
            connection = self._prepare(dial)
            sent = connection.initiator.packet
            reason = self._pass(connection, forward=True, size=HANDSHAKE_BYTES) or self._pass(
                connection, forward=False, size=HANDSHAKE_BYTES
            )
            if not reason:
                self._open(connection)
        accepted = None if reason else connection.id
        return Attempt(accepted, reason, str(sent.source), sent.source_port, connection.opened_at)

    def send(self, connection_id: str, size: int = DATA_BYTES) -> Delivery | None:
        """Send one data packet on a connection, or return None when there is no such connection."""
        with self._lock:
            connection = self._connections.get(connection_id)
            if connection is None:
                return None
            sent_at = self._clock()
            reason = self._pass(connection, forward=True, size=size)
            if reason:
                return Delivery(delivered=False, acknowledged=False, reason=reason, sent_at=sent_at)
            reason = self._pass(connection, forward=False, size=ACK_BYTES)
            return Delivery(delivered=True, acknowledged=not reason, reason=reason, sent_at=sent_at)

    @property
    def _open_connections(self) -> Iterable[Connection]:
        return self._connections.values()

    def _open(self, connection: Connection) -> None:
        self._connections[connection.id] = connection

    @abstractmethod
    def _prepare(self, dial: Dial) -> Connection:
        """Find both ends, and the packet as each of them sees it."""

    @abstractmethod
    def _pass(self, connection: Connection, *, forward: bool, size: int) -> str:
        """Walk one packet along its path; return why it was lost, or an empty string."""
