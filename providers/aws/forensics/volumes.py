"""Preserve disks: one crash-consistent set of snapshots per instance, without a reboot."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

from botocore.exceptions import ClientError

from firebreak.declarations import of_kind, targets_of
from firebreak.measure import found, on_any
from firebreak.model import Change, Cloud, Finding, JsonObject, Method, Phase, State, Target, Workload
from providers.aws.answers import error_code, translated
from providers.aws.resources import Ec2Instance
from providers.aws.session import AwsMeasure

if TYPE_CHECKING:
    from types_boto3_ec2 import EC2Client

_TAG = "firebreak:incident"
_INSTANCE_TAG = "firebreak:instance"
# What the API answers where it has no snapshot lock.
_NO_LOCK = frozenset({"InvalidAction", "UnsupportedOperation", "InternalFailure", "NotImplemented", "501"})
# EBS user guide, "Amazon EBS snapshot lock": governance has no cooling-off period and can be lifted by few.
_MODE: Literal["governance"] = "governance"


class SnapshotVolumes(AwsMeasure, cloud=Cloud.AWS, phase=Phase.FORENSIC_CAPTURE, name="snapshot-volumes"):
    """Snapshot every volume of an instance at one point in time, and lock the snapshots.

    The point in time is that of the call; a snapshot still pending is completed by EBS itself (EC2 API
    reference, CreateSnapshots).
    """

    permissions = on_any(
        "ec2:CreateSnapshots",
        "ec2:CreateTags",
        "ec2:DescribeInstances",
        "ec2:DescribeLockedSnapshots",
        "ec2:DescribeSnapshots",
        "ec2:LockSnapshot",
    )
    irreversible = "evidence is kept"

    @classmethod
    def applies_to(cls, workload: Workload) -> list[Target]:
        """Every declared instance."""
        return targets_of(workload, of_kind(workload.network, Ec2Instance))

    @classmethod
    def places(cls, action: str, target: Target, workload: Workload) -> tuple[str, ...]:  # noqa: ARG003
        """Where each action acts (Service authorization reference, Amazon EC2)."""
        here = f"arn:aws:ec2:{target.region}"
        snapshots = f"{here}::snapshot/*"
        if action in {"ec2:CreateTags", "ec2:LockSnapshot"}:
            return (snapshots,)
        if action == "ec2:CreateSnapshots":
            mine = f"{here}:{target.account}"
            return (f"{mine}:instance/{target.ref}", f"{mine}:volume/*", snapshots)
        return ("*",)

    def snapshot(self, target: Target) -> JsonObject:
        """List the volumes that are attached."""
        with translated(target.ref):
            reservations = self._client().describe_instances(InstanceIds=[target.ref])["Reservations"]
        mappings = [
            mapping
            for reservation in reservations
            for instance in reservation["Instances"]
            for mapping in instance.get("BlockDeviceMappings", [])
        ]
        return {"volumes": sorted(each["Ebs"]["VolumeId"] for each in mappings if "Ebs" in each)}

    def apply(self, target: Target, state: State) -> Change:
        """Create the snapshots, unless this incident has them, and lock each."""
        existing = self._mine(target)
        if state.values["volumes"] and not existing:
            self._create(target)
        taken = self._mine(target)
        locks = {each["SnapshotId"]: self._lock(each["SnapshotId"]) for each in taken}
        return self.done(
            target,
            state,
            changed=bool(taken) and not existing,
            snapshots={each["SnapshotId"]: each["VolumeId"] for each in taken},
            locks=locks,
        )

    def verify(self, target: Target, change: Change) -> tuple[Finding, ...]:
        """Read the snapshots back: one for each volume, none failed, and how each is locked."""
        taken = self._mine(target)
        states = {each["SnapshotId"]: each["State"] for each in taken}
        missing = sorted(set(change.before["volumes"]) - {each["VolumeId"] for each in taken})
        if not change.before["volumes"]:
            return (found(Method.CONFIGURATION, "the instance has no EBS volume", holds=True, skipped=True),)
        sound = not missing and all(each in {"pending", "completed"} for each in states.values())
        return (
            found(
                Method.CONFIGURATION,
                f"{len(states)} snapshots: {', '.join(sorted(set(states.values()))) or 'none'}",
                holds=sound,
                states=states,
                volumes_without_snapshot=missing,
            ),
            *self._lock_findings(change),
        )

    def revert(self, change: Change) -> Finding:
        """Raise Irreversible: evidence is kept."""
        raise self.cannot_revert(change)

    def _client(self) -> EC2Client:
        return self.access.client("ec2")

    def _mine(self, target: Target) -> list[Any]:
        filters = [
            {"Name": f"tag:{_TAG}", "Values": [self.run.incident_id]},
            {"Name": f"tag:{_INSTANCE_TAG}", "Values": [target.ref]},
        ]
        with translated(target.ref):
            pages = (
                self._client()
                .get_paginator("describe_snapshots")
                .paginate(
                    OwnerIds=["self"],
                    Filters=filters,  # type: ignore[arg-type]
                )
            )
            return [each for page in pages for each in page["Snapshots"]]

    def _create(self, target: Target) -> None:
        tags: list[Any] = [
            {"Key": _TAG, "Value": self.run.incident_id},
            {"Key": _INSTANCE_TAG, "Value": target.ref},
        ]
        with translated(target.ref):
            self._client().create_snapshots(
                InstanceSpecification={"InstanceId": target.ref, "ExcludeBootVolume": False},
                Description=f"Firebreak incident {self.run.incident_id}",
                TagSpecifications=[{"ResourceType": "snapshot", "Tags": tags}],
            )

    def _lock(self, snapshot_id: str) -> str:
        """Lock the snapshot for as long as evidence is kept; says so where the API has no such lock."""
        days = self.access.settings.evidence_of(Cloud.AWS).retention_days
        try:
            answer = self._client().lock_snapshot(SnapshotId=snapshot_id, LockMode=_MODE, LockDuration=days)
        except ClientError as error:
            if error_code(error) in _NO_LOCK:
                return f"not locked: {error_code(error)}"
            with translated(snapshot_id):
                raise
        return str(answer["LockState"])

    def _lock_findings(self, change: Change) -> tuple[Finding, ...]:
        locks = change.after["locks"]
        wanted = sorted(each for each, lock in locks.items() if not lock.startswith("not locked"))
        if not wanted:
            return ()
        with translated("snapshot locks"):
            answer = self._client().describe_locked_snapshots(SnapshotIds=wanted)
        locked = {each["SnapshotId"]: each["LockState"] for each in answer["Snapshots"]}
        held = all(locked.get(each) in {"governance", "compliance", "compliance-cooloff"} for each in wanted)
        return (
            found(
                Method.CONFIGURATION,
                f"{len(locked)} of {len(locks)} snapshots locked",
                holds=held,
                locks=locked,
            ),
        )
