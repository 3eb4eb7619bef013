"""Run the packet simulator inside the sandbox: its control routes, its rules and its flow log publisher."""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING, Any

from drills.sandbox.aws.calls import on_call
from drills.sandbox.aws.control import route
from drills.sandbox.aws.ec2state import Ec2Rules
from drills.sandbox.aws.flowdelivery import AccountDestinations
from drills.sandbox.aws.flowlogs import FlowLogs
from drills.sandbox.aws.network import Network
from drills.sandbox.aws.state import emulator_lock, on_reset, settings
from drills.sandbox.aws.stubs.networkfirewall import firewall_of
from drills.sandbox.connections import Attempt, Delivery
from drills.sandbox.netroutes import publish_for_ever, serve_packets

if TYPE_CHECKING:
    from drills.sandbox.aws.calls import CallFacts, RecordedCall

flow_logs = FlowLogs(AccountDestinations(), settings.flow_aggregation_seconds, settings.flow_delivery_seconds)
network = Network(Ec2Rules(firewall_of), flow_logs.observe)
on_reset(network.reset)
on_reset(flow_logs.reset)


def start_publishing() -> threading.Thread:
    """Publish flow log windows as they become due, from a daemon thread."""
    return publish_for_ever(publish_due)


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


def send(connection_id: str) -> Delivery | None:
    """Send one packet on a connection under the emulator's lock."""
    with emulator_lock:
        return network.send(connection_id)


serve_packets(route, attempt, send)
