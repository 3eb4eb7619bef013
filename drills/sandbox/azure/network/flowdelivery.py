"""Write flow log records where the flow logs of the subscription say: one blob an hour and interface.

Source: "Virtual network flow logs", sections "Log format" and "Sample log record"; "Read flow logs" for the
path of the blob.
"""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from drills.sandbox.azure import ids
from drills.sandbox.azure.network import topology
from drills.sandbox.azure.storage.blobs import blob_store
from drills.sandbox.azure.store import store

if TYPE_CHECKING:
    from collections.abc import Iterator

    from drills.sandbox.azure.network.flows import Interval, Tuple
    from drills.sandbox.azure.network.topology import Interface
    from drills.sandbox.azure.store import Item

Json = dict[str, Any]
FLOW_LOGS = "Microsoft.Network/networkWatchers/flowLogs"
CONTAINER = "insights-logs-flowlogflowevent"
VERSION = 4
STATE_FIELD = 7


def deliver(interval: Interval) -> int:
    """Write one interval of one interface to every flow log that covers it; return how many tuples."""
    interface = topology.interface(interval.nic_id)
    if interface is None:
        return 0
    return sum(_write(flow_log, interface, interval) for flow_log in _covering(interface))


def _covering(interface: Interface) -> Iterator[Item]:
    covered = {ids.key(each) for each in (interface.id, interface.subnet_id, interface.network_id)}
    for item in store.list(resource_type=FLOW_LOGS):
        if item.properties.get("enabled") and ids.key(item.properties["targetResourceId"]) in covered:
            yield item


def _write(flow_log: Item, interface: Interface, interval: Interval) -> int:
    kept = list(_kept(flow_log, interval.tuples))
    account = ids.name_of(flow_log.properties["storageId"]).lower()
    owner = blob_store.accounts.get(account)
    if not kept or owner is None:
        return 0
    if CONTAINER not in owner.containers:
        blob_store.create_container(account, CONTAINER)
    path = _path(flow_log, interface, interval.closes_at)
    records = [*_present(account, path), _record(flow_log, interface, interval.closes_at, kept)]
    blob_store.write(account, CONTAINER, path, json.dumps({"records": records}).encode())
    return len(kept)


def _kept(flow_log: Item, tuples: list[Tuple]) -> Iterator[Tuple]:
    """Leave out the states that the flow log does not want (``recordTypes``)."""
    wanted = str(flow_log.properties.get("recordTypes") or "").upper().replace(" ", "")
    for each in tuples:
        if not wanted or each.text.split(",")[STATE_FIELD] in wanted.split(","):
            yield each


def _present(account: str, path: str) -> list[Json]:
    blob = blob_store.container(account, CONTAINER).blobs.get(path)
    if blob is None or blob.current is None:
        return []
    return list(json.loads(blob_store.read(blob.current))["records"])


def _record(flow_log: Item, interface: Interface, at: float, tuples: list[Tuple]) -> Json:
    groups: dict[str, dict[str, list[str]]] = {}
    for each in tuples:
        groups.setdefault(each.seen.group_guid, {}).setdefault(each.seen.rule, []).append(each.text)
    flows = [
        {
            "aclID": acl or "unspecified",
            "flowGroups": [{"rule": rule, "flowTuples": lines} for rule, lines in rules.items()],
        }
        for acl, rules in groups.items()
    ]
    return {
        "time": datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%dT%H:%M:%S.%f") + "0Z",
        "flowLogVersion": VERSION,
        "flowLogGUID": flow_log.properties.get("targetResourceGuid", ""),
        "macAddress": interface.mac.replace("-", ""),
        "category": "FlowLogFlowEvent",
        "flowLogResourceID": flow_log.id.upper(),
        "targetResourceID": flow_log.properties["targetResourceId"],
        "operationName": "FlowLogFlowEvent",
        "flowRecords": {"flows": flows},
    }


def _path(flow_log: Item, interface: Interface, at: float) -> str:
    when = datetime.fromtimestamp(at, UTC)
    watcher = ids.name_of(flow_log.id.rsplit("/", 2)[0])
    place = (
        f"{ids.subscription_of(flow_log.id)}_{ids.group_of(flow_log.id)}/{watcher}_{flow_log.name}".upper()
    )
    mac = interface.mac.replace("-", "")
    return (
        f"flowLogResourceID=/{place}/y={when:%Y}/m={when:%m}/d={when:%d}/h={when:%H}/m=00"
        f"/macAddress={mac}/PT1H.json"
    )
