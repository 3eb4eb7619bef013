"""Run the packet simulator inside the sandbox: its control routes, its rules and its flow log publisher."""

from __future__ import annotations

import threading
import time
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from drills.sandbox.aws.calls import on_call
from drills.sandbox.aws.control import ControlError, ControlRequest, route
from drills.sandbox.aws.ec2state import Ec2Rules
from drills.sandbox.aws.flowdelivery import AccountDestinations
from drills.sandbox.aws.flowlogs import FlowLogs
from drills.sandbox.aws.network import Network
from drills.sandbox.aws.state import emulator_lock, on_reset, settings
from drills.sandbox.aws.stubs.networkfirewall import firewall_of
from drills.sandbox.connections import Attempt, UnknownSourceError
from drills.sandbox.packets import protocol_number

if TYPE_CHECKING:
    from drills.sandbox.aws.calls import CallFacts, RecordedCall

PUBLISH_EVERY_SECONDS = 0.2

flow_logs = FlowLogs(AccountDestinations(), settings.flow_aggregation_seconds, settings.flow_delivery_seconds)
network = Network(Ec2Rules(firewall_of), flow_logs.observe)
on_reset(network.reset)
on_reset(flow_logs.reset)


def start_publishing() -> threading.Thread:
    """Publish flow log windows as they become due, from a daemon thread."""
    thread = threading.Thread(target=_publish_for_ever, name="flow-logs", daemon=True)
    thread.start()
    return thread


def _publish_for_ever() -> None:
    while True:
        publish_due()
        time.sleep(PUBLISH_EVERY_SECONDS)


def publish_due() -> int:
    """Publish the flow log windows that are due now, under the settings of now."""
    with emulator_lock:
        flow_logs.aggregation_seconds = settings.flow_aggregation_seconds
        flow_logs.delivery_seconds = settings.flow_delivery_seconds
        return flow_logs.advance(time.time())


def attempt(source: str, destination: str, port: int, **options: Any) -> Attempt:
    """Attempt a connection under the emulator's lock and the settings of now."""
    with emulator_lock:
        flow_logs.aggregation_seconds = settings.flow_aggregation_seconds
        return network.connect(source, destination, port, **options)


@on_call
def _follow_rules(call: RecordedCall, _facts: CallFacts) -> None:
    """Let every change of EC2 state decide anew which flows are tracked."""
    if call.service == "ec2" and call.mutating:
        with emulator_lock:
            network.rules_changed()


@route("POST", "/net/connect")
def connect(request: ControlRequest) -> dict[str, Any]:
    """Attempt a connection from an interface, or from the internet."""
    body = request.body
    try:
        outcome = attempt(
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
    with emulator_lock:
        delivery = network.send(str(request.body.get("connection_id", "")))
    if delivery is None:
        message = "no such connection"
        raise ControlError(message, 404)
    return asdict(delivery)
