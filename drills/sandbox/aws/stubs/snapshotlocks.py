"""Lock EBS snapshots: LockSnapshot, UnlockSnapshot, DescribeLockedSnapshots; a locked one cannot be deleted.

Behaviour: EBS user guide, "Amazon EBS snapshot lock"; EC2 API reference. Here no lock expires or has a
cooling-off period.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

from moto.ec2.models import ec2_backends

from drills.sandbox.aws.corrections import guard
from drills.sandbox.aws.stubs import StubError, StubRequest, stub

MODES = frozenset({"compliance", "governance"})
LONGEST_DAYS = 36_500
Json = dict[str, Any]


def _snapshots(request: StubRequest) -> dict[str, Any]:
    snapshots: dict[str, Any] = ec2_backends[request.account][request.region].snapshots
    return snapshots


def _snapshot(request: StubRequest, snapshot_id: str) -> Any:
    snapshot = _snapshots(request).get(snapshot_id)
    if snapshot is None:
        raise StubError("InvalidSnapshot.NotFound", f"The snapshot '{snapshot_id}' does not exist.")
    return snapshot


def _lock(snapshot: Any) -> Json | None:
    lock: Json | None = snapshot.__dict__.get("lock")
    return lock


@stub("ec2", "LockSnapshot")
def lock_snapshot(request: StubRequest) -> Json:
    """Lock a snapshot for some days."""
    snapshot, mode = _snapshot(request, request.params["SnapshotId"]), request.params["LockMode"]
    days = int(request.params.get("LockDuration") or 0)
    if mode not in MODES or not 1 <= days <= LONGEST_DAYS:
        raise StubError("InvalidParameterValue", "LockMode or LockDuration is not valid")
    began = datetime.now(UTC)
    snapshot.lock = {
        "SnapshotId": snapshot.id,
        "LockState": mode,
        "LockDuration": days,
        "LockCreatedOn": began,
        "LockDurationStartTime": began,
        "LockExpiresOn": began + timedelta(days=days),
    }
    return dict(snapshot.lock)


@stub("ec2", "UnlockSnapshot")
def unlock_snapshot(request: StubRequest) -> Json:
    """Lift a lock of governance mode."""
    snapshot = _snapshot(request, request.params["SnapshotId"])
    if (_lock(snapshot) or {}).get("LockState") != "governance":
        raise StubError("InvalidParameterValue", "The snapshot is not locked in governance mode")
    snapshot.lock = None
    return {"SnapshotId": snapshot.id}


@stub("ec2", "DescribeLockedSnapshots")
def describe_locked_snapshots(request: StubRequest) -> Json:
    """Name the locks, of the given snapshots or of all."""
    asked = request.params.get("SnapshotIds") or list(_snapshots(request))
    locks = [_lock(_snapshot(request, each)) for each in asked]
    return {"Snapshots": [{"OwnerId": request.account, **each} for each in locks if each]}


@guard("ec2", "DeleteSnapshot")
def locked_snapshots_stay(request: StubRequest) -> None:
    """Refuse to delete a locked snapshot; no reference names the error's code."""
    snapshot_id = str(request.params.get("SnapshotId"))
    snapshot = _snapshots(request).get(snapshot_id)
    if snapshot is not None and _lock(snapshot):
        raise StubError("OperationNotPermitted", f"Snapshot {snapshot_id} is locked and cannot be deleted.")
