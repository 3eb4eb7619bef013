"""Run the packet simulator inside the sandbox: its control routes and its flow log publisher."""

from __future__ import annotations

import threading

from drills.sandbox.azure import clock
from drills.sandbox.azure.control import route
from drills.sandbox.azure.network import flowdelivery
from drills.sandbox.azure.network.flows import FlowTable
from drills.sandbox.azure.network.simulator import Network
from drills.sandbox.azure.state import define, lock, on_reset, settings
from drills.sandbox.netroutes import publish_for_ever, serve_packets

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
        publish_for_ever(publish_due)


def publish_due() -> int:
    """Write the intervals that are due now and return how many tuples were written."""
    with lock:
        due = list(flow_table.advance(clock.seconds(), settings["flow_delivery_seconds"]))
        return sum(flowdelivery.deliver(interval) for interval in due)


clock.on_advance(publish_due)
serve_packets(route, network.connect, network.send)
