"""Flow log records of traffic at an isolated interface, each beginning as it is written."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta

from drills.sandbox.azure.sample.admin import Admin
from firebreak.model import Cloud
from tests.e2e import aws
from tests.e2e.stack import Stack

SPACING = 0.2
CONTAINER = "insights-logs-flowlogflowevent"


@contextmanager
def leaking(stack: Stack, interface: str) -> Iterator[None]:
    """Accepted traffic at an interface in the flow logs, for the length of a block."""
    leak, stop = LEAKS[stack.cloud](stack, interface), threading.Event()

    def go_on() -> None:
        while not stop.wait(SPACING):
            leak()

    with ThreadPoolExecutor(1) as pool:
        leaked = pool.submit(go_on)
        try:
            yield
        finally:
            stop.set()
        leaked.result()


def _aws(stack: Stack, interface: str) -> Callable[[], None]:
    ref = next(each["ref"] for each in stack.entry()["network"] if each["kind"] == "flow-log")
    group, stream = ref.partition("log-group:")[2], f"{interface}-all"
    logs = aws.admin(stack).client("logs")
    known = logs.describe_log_streams(logGroupName=group, logStreamNamePrefix=stream)["logStreams"]
    if not known:
        logs.create_log_stream(logGroupName=group, logStreamName=stream)

    def leak() -> None:
        at = time.time()
        text = (
            f"2 {stack.sample.workload_account} {interface} 10.42.1.10 198.51.100.10 49152 443 6 "
            f"10 8400 {int(at)} {int(at) + 1} ACCEPT OK"
        )
        event = {"timestamp": int(at * 1000), "message": text}
        logs.put_log_events(logGroupName=group, logStreamName=stream, logEvents=[event])

    return leak


def _azure(stack: Stack, interface: str) -> Callable[[], None]:
    """Into the blob of the hour before, which nobody else writes any more ("Read flow logs")."""
    source = next(each for each in stack.entry()["evidence_sources"] if each["kind"] == "flow-log")
    admin = Admin(stack.sandbox, stack.sample.workload_account)
    mac = admin.arm("GET", interface, "2024-05-01")["properties"]["macAddress"].replace("-", "")
    _, _, subscription, _, group, _, _, _, watcher, _, log = source["ref"].split("/")
    hour = datetime.now(UTC) - timedelta(hours=1)
    place = f"{subscription}_{group}/{watcher}_{log}".upper()
    path = f"flowLogResourceID=/{place}/y={hour:%Y}/m={hour:%m}/d={hour:%d}/h={hour:%H}/m=00"
    storage, records = source["storage_account"], list[object]()
    account = storage.rsplit("/", 1)[-1]
    # Azure makes the container with its first record.
    admin.put(f"{storage}/blobServices/default/containers/{CONTAINER}", {"properties": {}}, "2025-06-01")

    def leak() -> None:
        at = datetime.now(UTC)
        stamp = int(at.timestamp() * 1000)
        line = f"{stamp},10.42.1.10,198.51.100.10,{49152 + len(records)},443,6,O,B,NX,1,60,0,0"
        flows = [{"aclID": "unspecified", "flowGroups": [{"rule": "unspecified", "flowTuples": [line]}]}]
        records.append(
            {
                "time": f"{at:%Y-%m-%dT%H:%M:%S.%f}Z",
                "flowLogVersion": 4,
                "macAddress": mac,
                "flowRecords": {"flows": flows},
            }
        )
        body = json.dumps({"records": records}).encode()
        admin.upload(account, CONTAINER, f"{path}/macAddress={mac}/PT1H.json", body)

    return leak


LEAKS = {Cloud.AWS: _aws, Cloud.AZURE: _azure}
