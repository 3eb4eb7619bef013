"""Play managed disks and their snapshots: copies that no workload can reach, and exports that are refused.

Compute REST API, "Disks", "Snapshots"; Managed disks, "Restrict your managed disks from being imported or
exported".
"""

from __future__ import annotations

from typing import Any, Final

from drills.sandbox.azure import clock
from drills.sandbox.azure.call import Answer, Call, JsonObject
from drills.sandbox.azure.errors import ArmError
from drills.sandbox.azure.generic import resource_type
from drills.sandbox.azure.state import define, settings
from drills.sandbox.azure.store import Item, store
from drills.sandbox.azure.table import operation

DISKS: Final = "Microsoft.Compute/disks"
SNAPSHOTS: Final = "Microsoft.Compute/snapshots"
VERSIONS: Final = ("2023-04-02", "2023-10-02", "2024-03-02", "2025-01-02", "2026-03-02")
LOCK_VERSIONS: Final = ("2026-03-02",)
_SNAPSHOT = (
    "/subscriptions/{subscription}/resourceGroups/{group}/providers/Microsoft.Compute/snapshots/{name}"
)
_SOURCE: Final = "Compute REST API, Snapshots"
define("snapshot_immutability", 1)
"""0: this region has no immutability policy for snapshots yet."""


def _copied(call: Call, item: Item, before: Item | None) -> None:
    """A snapshot is of a disk that its maker may read, and stays of that disk."""
    source = str(item.properties.get("creationData", {}).get("sourceResourceId", ""))
    if before is not None:
        was = before.properties.get("creationData", {}).get("sourceResourceId", "")
        if was.lower() != source.lower():
            message = "Changing property 'sourceResourceId' is not allowed."
            raise ArmError(409, "PropertyChangeNotAllowed", message)
        return
    disk = store.get(source)
    if disk is None:
        message = f"Disk '{source}' is not found. Please verify the disk exists."
        raise ArmError(404, "NotFound", message)
    call.require(f"{DISKS}/beginGetAccess/action", disk.id)
    item.properties.update(
        diskSizeGB=disk.properties.get("diskSizeGB", 32),
        diskState="Unattached",
        timeCreated=clock.stamp(),
        completionPercent=100.0,
    )
    item.properties.setdefault("networkAccessPolicy", "AllowAll")
    item.properties.setdefault("publicNetworkAccess", "Enabled")


def _kept(_call: Call, item: Item) -> None:
    """A snapshot under an immutability policy is not deleted."""
    if item.extra.get("immutabilityPolicy"):
        message = f"Snapshot '{item.name}' has an immutability policy and cannot be deleted."
        raise ArmError(409, "OperationNotAllowed", message)


def _shown(item: Item) -> JsonObject:
    document = item.document()
    policy = item.extra.get("immutabilityPolicy")
    return {
        **document,
        "properties": {**document["properties"], **({"immutabilityPolicy": policy} if policy else {})},
    }


resource_type(
    DISKS, versions=VERSIONS, source="Compute REST API, Disks", asynchronous=True, created_status=202
)
resource_type(
    SNAPSHOTS,
    versions=VERSIONS,
    source=_SOURCE,
    asynchronous=True,
    created_status=202,
    on_put=_copied,
    on_delete=_kept,
    view=_shown,
)


@operation(
    "arm",
    "POST",
    f"{_SNAPSHOT}/beginGetAccess",
    versions=VERSIONS,
    action=f"{SNAPSHOTS}/beginGetAccess/action",
    mutating=True,
    source="Managed disks, Restrict your managed disks from being imported or exported",
)
def begin_get_access(call: Call) -> JsonObject:
    """Give an address to download from, unless the snapshot is closed."""
    item = store.need(call.resource_id)
    if item.properties.get("networkAccessPolicy") == "DenyAll":
        message = f"Export of '{item.name}' is not allowed because its network access policy is DenyAll."
        raise ArmError(403, "OperationNotAllowed", message)
    return {"accessSAS": f"https://md-{item.name}.blob.storage.azure.net/abcd?sig=sandbox"}


@operation(
    "arm",
    "POST",
    f"{_SNAPSHOT}/updateImmutabilityPolicy",
    versions=LOCK_VERSIONS,
    action=f"{SNAPSHOTS}/updateImmutabilityPolicy/action",
    source=_SOURCE,
)
def update_immutability_policy(call: Call) -> Answer:
    """Keep a snapshot for some days; a locked policy is only ever extended."""
    if not settings["snapshot_immutability"]:
        message = "The feature 'Microsoft.Compute/SnapshotImmutability' is not enabled for this subscription."
        raise ArmError(400, "FeatureNotEnabled", message)
    item = store.need(call.resource_id)
    wanted: dict[str, Any] = call.body
    policy = item.extra.get("immutabilityPolicy") or {}
    days = int(wanted.get("immutabilityDurationDays", 0))
    if policy.get("type") == "Locked" and days < policy["immutabilityDurationDays"]:
        raise ArmError(409, "OperationNotAllowed", "The duration of a locked policy cannot be reduced.")
    item.extra["immutabilityPolicy"] = {
        "immutabilityDurationDays": days,
        "type": str(wanted.get("type", "Unlocked")),
    }
    store.touch(item)
    return Answer(200, _shown(item))
