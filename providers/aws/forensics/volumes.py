"""Preserve disks: one crash-consistent set of snapshots per instance, without a reboot."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

from botocore.exceptions import ClientError

from firebreak.declarations import of_kind, targets_of
from firebreak.measure import found, on_any
from firebreak.model import Change, Cloud, Finding, JsonObject, Method, Phase, State, Target, Workload
from providers.aws.answers import error_code, settling, translated
from providers.aws.resources import Ec2Instance
from providers.aws.session import AwsMeasure, partition

if TYPE_CHECKING:
    from types_boto3_ec2 import EC2Client

_TAG = "firebreak:incident"
_INSTANCE_TAG = "firebreak:instance"
# What the API answers where it has no snapshot lock (EC2 API reference, "Error codes"); never a server error.
_NO_LOCK = frozenset({"InvalidAction", "UnsupportedOperation"})
# EBS user guide, "Amazon EBS snapshot lock": governance has no cooling-off period and can be lifted by few.
_MODE: Literal["governance"] = "governance"
_LOCKED = frozenset({"governance", "compliance", "compliance-cooloff"})


class SnapshotVolumes(AwsMeasure, cloud=Cloud.AWS, phase=Phase.FORENSIC_CAPTURE, name="snapshot-volumes"):
    """Snapshot every volume of an instance at one point in time, and lock the snapshots where they are.

    The point in time is that of the call; a snapshot still pending is completed by EBS itself (EC2 API
    reference, CreateSnapshots). Nothing is copied: the snapshots stay in the workload's account, encrypted
    with the keys of their volumes, and cannot be read once such a key is disabled or deleted (EBS user guide,
    "Amazon EBS encryption").
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
        here = f"arn:{partition(target.region)}:ec2:{target.region}"
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
        # The API may list a new snapshot late, so an attempt tells the next one what it has made.
        existing = {**self.context.progress.resume.get("snapshots", {}), **self._mine(target)}
        created = self._create(target) if state.values["volumes"] and not existing else {}
        snapshots = existing or created
        self.context.progress.report({"snapshots": snapshots})
        locked = self._locks(list(existing))
        return self.done(
            target,
            state,
            changed=bool(created),
            snapshots=snapshots,
            locks={each: locked.get(each) or self._lock(each) for each in snapshots},
            kept="in the workload's account, under its volumes' keys: a disabled key makes them unreadable",
        )

    def verify(self, target: Target, change: Change) -> tuple[Finding, ...]:
        """Read the snapshots back: one for each volume, none failed, and each of them locked."""
        if not change.before["volumes"]:
            return (found(Method.CONFIGURATION, "the instance has no EBS volume", holds=True, skipped=True),)
        taken = self._described("snapshot-id", sorted(change.after["snapshots"]))
        states = {each["SnapshotId"]: each["State"] for each in taken}
        missing = sorted(set(change.before["volumes"]) - {each["VolumeId"] for each in taken})
        sound = not missing and all(each in {"pending", "completed"} for each in states.values())
        return (
            found(
                Method.CONFIGURATION,
                f"{len(states)} snapshots: {', '.join(sorted(set(states.values()))) or 'none'}",
                holds=sound,
                states=states,
                volumes_without_snapshot=missing,
            ),
            self._locked(change, sorted(states)),
        )

    def revert(self, change: Change) -> Finding:
        """Raise Irreversible: evidence is kept."""
        raise self.cannot_revert(change)

    def _client(self) -> EC2Client:
        return self.access.client("ec2")

    def _mine(self, target: Target) -> dict[str, str]:
        """The snapshots of this incident and instance that are listed, each with its volume."""
        mine = self._described(f"tag:{_TAG}", [self.run.incident_id])
        tag = {"Key": _INSTANCE_TAG, "Value": target.ref}
        return {each["SnapshotId"]: each["VolumeId"] for each in mine if tag in each["Tags"]}

    def _described(self, name: str, values: list[str]) -> list[Any]:
        if not values:
            return []
        pages = self._client().get_paginator("describe_snapshots")
        with translated(f"snapshots with {name} {', '.join(values)}"):
            asked = pages.paginate(OwnerIds=["self"], Filters=[{"Name": name, "Values": values}])
            return [each for page in asked for each in page["Snapshots"]]

    def _create(self, target: Target) -> dict[str, str]:
        tags: list[Any] = [
            {"Key": _TAG, "Value": self.run.incident_id},
            {"Key": _INSTANCE_TAG, "Value": target.ref},
        ]
        with translated(target.ref):
            answer = self._client().create_snapshots(
                InstanceSpecification={"InstanceId": target.ref, "ExcludeBootVolume": False},
                Description=f"Firebreak incident {self.run.incident_id}",
                TagSpecifications=[{"ResourceType": "snapshot", "Tags": tags}],
            )
        return {each["SnapshotId"]: each["VolumeId"] for each in answer["Snapshots"]}

    def _lock(self, snapshot_id: str) -> str:
        """Lock the snapshot for as long as evidence is kept; says so where the API has no such lock."""
        days = self.access.settings.evidence_of(Cloud.AWS).retention_days
        with settling(snapshot_id, "InvalidSnapshot.NotFound"):
            try:
                answer = self._client().lock_snapshot(
                    SnapshotId=snapshot_id, LockMode=_MODE, LockDuration=days
                )
            except ClientError as error:
                if error_code(error) not in _NO_LOCK:
                    raise
                return f"not locked: {error_code(error)}"
        return str(answer["LockState"])

    def _locks(self, snapshot_ids: list[str]) -> dict[str, str]:
        """Those of the snapshots that are locked, each with the state of its lock."""
        if not snapshot_ids:
            return {}
        with translated("snapshot locks"):
            answer = self._client().describe_locked_snapshots(SnapshotIds=snapshot_ids)
        states = {each["SnapshotId"]: each["LockState"] for each in answer["Snapshots"]}
        return {each: state for each, state in states.items() if state in _LOCKED}

    def _locked(self, change: Change, there: list[str]) -> Finding:
        """Whether every snapshot is locked now, also one that could not be."""
        locked, wanted = self._locks(there), change.after["snapshots"]
        return found(
            Method.CONFIGURATION,
            f"{len(locked)} of {len(wanted)} snapshots locked",
            holds=bool(wanted) and locked.keys() == wanted.keys(),
            locks=locked,
            answers=change.after["locks"],
        )
