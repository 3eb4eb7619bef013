"""Run the packet simulator inside the sandbox: its control routes and its flow log publisher."""

from __future__ import annotations

import threading
import time
from dataclasses import asdict
from typing import Any

from drills.sandbox.azure import clock
from drills.sandbox.azure.control import ControlError, ControlRequest, route
from drills.sandbox.azure.network import flowdelivery
from drills.sandbox.azure.network.flows import FlowTable
from drills.sandbox.azure.network.simulator import Network
from drills.sandbox.azure.state import define, lock, on_reset, settings
from drills.sandbox.connections import UnknownSourceError
from drills.sandbox.packets import protocol_number

PUBLISH_EVERY_SECONDS = 0.2
# "Virtual network flow logs": logs are collected at intervals of one minute; how late they are written is not
# promised.
define("flow_aggregation_seconds", 60.0)
define("flow_delivery_seconds", 0.0)

flow_table = FlowTable(lambda: settings["flow_aggregation_seconds"])
network = Network(flow_table)
on_reset(network.reset)
_started = threading.Event()


def start_publishing() -> None:
    """Publish flow logs as they become due, from a daemon thread that is started once."""
    if not _started.is_set():
        _started.set()
        threading.Thread(target=_publish_for_ever, name="flow-logs", daemon=True).start()


def _publish_for_ever() -> None:
    while True:
        publish_due()
        time.sleep(PUBLISH_EVERY_SECONDS)


def publish_due() -> int:
    """Write the intervals that are due now and return how many tuples were written."""
    with lock:
        due = list(flow_table.advance(clock.seconds(), settings["flow_delivery_seconds"]))
        return sum(flowdelivery.deliver(interval) for interval in due)


clock.on_advance(publish_due)


@route("POST", "/net/connect")
def connect(request: ControlRequest) -> dict[str, Any]:
    """Attempt a connection from an interface, or from the internet."""
    body = request.body
    try:
        outcome = network.connect(
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
def send(request: ControlRequest) -> dict[str, Any]:
    """Send one packet on a connection."""
    delivery = network.send(str(request.body.get("connection_id", "")))
    if delivery is None:
        raise ControlError("no such connection", 404)
    return asdict(delivery)
