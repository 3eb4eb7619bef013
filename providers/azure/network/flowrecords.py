"""Read the raw VNet flow log records of one interface from the storage account that holds them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from azure.core.exceptions import ResourceNotFoundError

from firebreak.declarations import of_kind
from firebreak.measure import now, on_any
from firebreak.model import JsonObject
from providers.azure.answers import translated
from providers.azure.ids import ResourceId, same
from providers.azure.network.documents import find, properties
from providers.azure.network.flowproof import STATES, Reading, plain_mac, read
from providers.azure.network.interfaces import Interface
from providers.azure.resources.evidence import FlowLog
from providers.azure.session import AzureAccess

if TYPE_CHECKING:
    from azure.storage.blob import ContainerClient

CONTAINER = "insights-logs-flowlogflowevent"
ROOT = "flowLogResourceID=/"
HISTORY = timedelta(hours=2)
"""How far before isolation flows are looked for that were established then."""
AHEAD = timedelta(hours=1)
"""The platform's clock may be ahead of ours."""
READ_FLOW_LOGS = on_any(
    "Microsoft.Network/networkWatchers/flowLogs/read",
    "data:Microsoft.Storage/storageAccounts/blobServices/containers/blobs/read",
)


@dataclass(frozen=True)
class Source:
    """A flow log that covers an interface and records everything that it sees."""

    declared: FlowLog
    account: str
    """The storage account's name."""


def source_of(access: AzureAccess, interface: Interface) -> Source | str:
    """Find the declared flow log that serves the interface; else say what is missing."""
    declared = of_kind(access.run.workload.evidence_sources, FlowLog)
    if not declared:
        return "the inventory declares no flow-log for this workload"
    reasons = []
    for each in declared:
        configured = find(access, each.ref)
        problem = _problem(configured, interface) if configured else "it does not exist"
        if configured and not problem:
            return Source(each, ResourceId.parse(properties(configured)["storageId"]).name)
        reasons.append(f"{ResourceId.parse(each.ref).name}: {problem}")
    return "no declared flow log serves: " + "; ".join(reasons)


def read_since(access: AzureAccess, source: Source, mac: str, since: datetime) -> Reading:
    """Read what has arrived about an interface, from some time before ``since`` on."""
    url = access.endpoints.blob_url(source.account)
    container = access.blobs(url).get_container_client(CONTAINER)
    whole = Reading()
    with translated(source.declared.ref):
        for folder in _folders(container, source.declared.ref):
            for hour in _hours(since):
                text = _content(container, f"{folder}{hour}macAddress={plain_mac(mac)}/PT1H.json")
                whole += read(text, mac) if text else Reading()
    return whole


def _problem(configured: JsonObject, interface: Interface) -> str:
    """Say why a flow log does not serve, or nothing."""
    values = properties(configured)
    target = str(values.get("targetResourceId", ""))
    if not any(same(target, each) for each in (interface.id, *interface.subnets, interface.network)):
        return f"it records {target}"
    if not values.get("enabled"):
        return "it is not enabled"
    if values.get("enabledFilteringCriteria"):
        return f"it leaves flows out ({values['enabledFilteringCriteria']})"
    kept = set(str(values.get("recordTypes") or "").replace(" ", "").upper().split(",")) - {""}
    if kept and not kept >= STATES:
        return f"it records {values['recordTypes']} only, the proof needs all states"
    return ""


def _folders(container: ContainerClient, flow_log: str) -> list[str]:
    """Find the folders of one flow log: ``{subscription}_{group}/{watcher}_{flow log}/``."""
    found = ResourceId.parse(flow_log)
    first = f"{ROOT}{found.subscription}_{found.group}/".upper()
    second = f"{found.part('networkWatchers')}_{found.name}/".upper()
    return [
        each
        for folder in _subfolders(container, ROOT)
        if folder.upper() == first
        for each in _subfolders(container, folder)
        if each.upper() == f"{first}{second}"
    ]


def _subfolders(container: ContainerClient, folder: str) -> list[str]:
    try:
        return [each.name for each in container.walk_blobs(folder, delimiter="/")]
    except ResourceNotFoundError:
        return []  # the container appears with the first delivery: so far nothing has arrived


def _hours(since: datetime) -> Iterator[str]:
    hour = (since - HISTORY).astimezone(UTC).replace(minute=0, second=0, microsecond=0)
    while hour <= now() + AHEAD:
        yield f"y={hour:%Y}/m={hour:%m}/d={hour:%d}/h={hour:%H}/m=00/"
        hour += timedelta(hours=1)


def _content(container: ContainerClient, name: str) -> str:
    try:
        return container.download_blob(name, encoding="utf-8").readall()
    except ResourceNotFoundError:
        return ""  # nothing was logged in that hour
