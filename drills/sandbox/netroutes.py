"""Serve a packet simulator on a sandbox's control API, and publish what it saw as time passes."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import asdict
from typing import Any, Protocol

from drills.sandbox.connections import Attempt, Delivery, UnknownSourceError
from drills.sandbox.control import ControlError, ControlRequest, Route
from drills.sandbox.packets import protocol_number

PUBLISH_EVERY_SECONDS = 0.2


class Connect(Protocol):
    """Attempts a connection, as `Connections.connect` does."""

    def __call__(
        self,
        source: str,
        destination: str,
        port: int,
        *,
        protocol: int,
        source_address: str | None,
        source_port: int | None,
    ) -> Attempt:
        """Attempt it."""
        ...


def serve_packets(route: Route, connect: Connect, send: Callable[[str], Delivery | None]) -> None:
    """Register the routes by which a rogue agent, a canary or a test sends packets."""

    @route("POST", "/net/connect")
    def attempt_connection(request: ControlRequest) -> dict[str, Any]:
        """Attempt a connection from an interface, or from the internet."""
        body = request.body
        try:
            outcome = connect(
                str(body.get("source", "")),
                str(body.get("destination", "")),
                int(body.get("port", 0)),
                protocol=protocol_number(body.get("protocol", "tcp")),
                source_address=body.get("source_address"),
                source_port=body.get("source_port"),
            )
        except UnknownSourceError as error:
            raise ControlError(str(error), 404) from error
        return asdict(outcome) | {"allowed": outcome.allowed}

    @route("POST", "/net/send")
    def send_packet(request: ControlRequest) -> dict[str, Any]:
        """Send one packet on a connection."""
        delivery = send(str(request.body.get("connection_id", "")))
        if delivery is None:
            raise ControlError("no such connection", 404)
        return asdict(delivery)


def publish_for_ever(publish_due: Callable[[], object]) -> threading.Thread:
    """Publish flow logs as they become due, from a daemon thread."""

    def publish() -> None:
        while True:
            publish_due()
            time.sleep(PUBLISH_EVERY_SECONDS)

    thread = threading.Thread(target=publish, name="flow-logs", daemon=True)
    thread.start()
    return thread
