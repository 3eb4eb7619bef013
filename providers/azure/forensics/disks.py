"""Preserve disks: one incremental snapshot of each managed disk of a machine, without stopping it."""

from __future__ import annotations

from hashlib import sha256
from typing import Any

from firebreak.declarations import of_kind, targets_of
from firebreak.measure import found, on_any, on_target
from firebreak.model import Change, Cloud, Finding, JsonObject, Method, Phase, State, Target, Workload
from firebreak.parallel import each_of
from firebreak.session import owner_mark
from providers.azure.answers import RestError, error_code, translated
from providers.azure.existence import existing
from providers.azure.ids import ResourceId, same
from providers.azure.resources.network import VirtualMachine
from providers.azure.session import AzureMeasure

_MACHINES = "2024-07-01"
_SNAPSHOTS = "2024-03-02"
"""api-versions of ``Microsoft.Compute`` (Compute REST API, "Virtual Machines - Get", "Snapshots")."""
_LOCKS = "2026-03-02"
"""The first api-version whose snapshots have an immutability policy (azure-mgmt-compute 39)."""
_NO_LOCK = frozenset(
    {
        # What Azure Resource Manager answers where a region or subscription has no such operation.
        "FeatureNotEnabled",
        "FeatureNotSupported",
        "InvalidApiVersionParameter",
        "InvalidResourceType",
        "NoRegisteredProviderFound",
        "NotSupported",
        "OperationNotAllowed",
    }
)
_MODE = "Unlocked"
"""Privileged users can lift it, so that a drill leaves nothing behind (the SDK's ImmutabilityPolicyType)."""
_TAG, _MACHINE_TAG = "firebreak:incident", "firebreak:machine"


class SnapshotDisks(AzureMeasure, cloud=Cloud.AZURE, phase=Phase.FORENSIC_CAPTURE, name="snapshot-disks"):
    """Snapshot every managed disk of a machine, closed to every export, and lock it where Azure can.

    The point in time is that of the call; Azure completes the copy by itself (Managed disks, "Create an
    incremental snapshot"). The snapshots lie in the machine's resource group.
    """

    permissions = (
        *on_target("Microsoft.Compute/virtualMachines/read"),
        *on_any(
            "Microsoft.Compute/disks/read",
            "Microsoft.Compute/disks/beginGetAccess/action",
            "Microsoft.Compute/snapshots/read",
            "Microsoft.Compute/snapshots/write",
            "Microsoft.Compute/snapshots/updateImmutabilityPolicy/action",
        ),
    )
    irreversible = "evidence is kept"

    @classmethod
    def applies_to(cls, workload: Workload) -> list[Target]:
        """Every declared virtual machine."""
        return targets_of(workload, of_kind(workload.network, VirtualMachine))

    @classmethod
    def places(cls, action: str, target: Target, workload: Workload) -> tuple[str, ...]:  # noqa: ARG003
        """The machine's resource group."""
        machine = ResourceId.parse(target.ref)
        return (f"/subscriptions/{machine.subscription}/resourceGroups/{machine.group}",)

    def snapshot(self, target: Target) -> JsonObject:
        """List the managed disks that are attached, and those that are none of Azure's managed ones."""
        machine = existing(self.access, target.ref, _MACHINES, "the machine")
        storage = machine["properties"].get("storageProfile", {})
        attached = [storage.get("osDisk", {}), *storage.get("dataDisks", [])]
        managed = [each["managedDisk"]["id"] for each in attached if "id" in each.get("managedDisk", {})]
        return {
            "disks": sorted(managed),
            "unmanaged": sorted(each["vhd"]["uri"] for each in attached if "vhd" in each),
            "location": machine["location"],
        }

    def apply(self, target: Target, state: State) -> Change:
        """Create the snapshots that this incident has not, and lock each."""
        made = each_of(lambda disk: self._ensure(target, state, disk), state.values["disks"])
        snapshots = {disk: place for disk, place, _ in made}
        return self.done(
            target,
            state,
            changed=any(new for _, _, new in made),
            snapshots=snapshots,
            locks={place: self._lock(place) for place in snapshots.values()},
        )

    def verify(self, target: Target, change: Change) -> tuple[Finding, ...]:
        """Read the snapshots back: one for each disk, sound and closed, and how each is locked."""
        if not change.before["disks"] and not change.before["unmanaged"]:
            return (
                found(Method.CONFIGURATION, "the machine has no disk of its own", holds=True, skipped=True),
            )
        read = {disk: self._read(self._place(target, disk)) for disk in change.before["disks"]}
        problems = {disk: problem for disk, each in read.items() if (problem := self._problem(disk, each))}
        return (
            found(
                Method.CONFIGURATION,
                f"{len(read) - len(problems)} of {len(read)} disks have a sound, closed snapshot",
                holds=not problems and not change.before["unmanaged"],
                problems=problems,
                unmanaged_disks_not_copied=change.before["unmanaged"],
            ),
            *self._lock_findings(change),
        )

    def revert(self, change: Change) -> Finding:
        """Raise Irreversible: evidence is kept."""
        raise self.cannot_revert(change)

    def _place(self, target: Target, disk: str) -> str:
        """The snapshot's id, always the same for one incident, workload and disk."""
        machine = ResourceId.parse(target.ref)
        mark = sha256(f"{self.run.incident_id}/{owner_mark(self.run)}/{disk.lower()}".encode()).hexdigest()[
            :24
        ]
        return (
            f"/subscriptions/{machine.subscription}/resourceGroups/{machine.group}"
            f"/providers/Microsoft.Compute/snapshots/firebreak-{mark}"
        )

    def _read(self, place: str) -> JsonObject | None:
        with translated(place):
            return self.access.arm().get(place, _SNAPSHOTS)

    def _ensure(self, target: Target, state: State, disk: str) -> tuple[str, str, bool]:
        place = self._place(target, disk)
        if self._read(place) is not None:
            return disk, place, False
        with translated(disk):
            self.access.arm().put(place, self._wanted(target, state, disk), _SNAPSHOTS)
        return disk, place, True

    def _wanted(self, target: Target, state: State, disk: str) -> JsonObject:
        return {
            "location": state.values["location"],
            "tags": {_TAG: self.run.incident_id, _MACHINE_TAG: ResourceId.parse(target.ref).name},
            "properties": {
                "creationData": {"createOption": "Copy", "sourceResourceId": disk},
                "incremental": True,
                "networkAccessPolicy": "DenyAll",
                "publicNetworkAccess": "Disabled",
            },
        }

    def _problem(self, disk: str, snapshot: JsonObject | None) -> str:
        """What is wrong with a snapshot, in words; empty when nothing is."""
        if snapshot is None:
            return "no snapshot"
        properties = snapshot["properties"]
        expected: dict[str, Any] = {
            "provisioningState": "Succeeded",
            "incremental": True,
            "networkAccessPolicy": "DenyAll",
            "publicNetworkAccess": "Disabled",
        }
        wrong = [
            f"{name} is {properties.get(name)}"
            for name, value in expected.items()
            if properties.get(name) != value
        ]
        if not same(properties.get("creationData", {}).get("sourceResourceId", ""), disk):
            wrong.append("it is of another disk")
        if snapshot.get("tags", {}).get(_TAG) != self.run.incident_id:
            wrong.append("it does not name the incident")
        return ", ".join(wrong)

    def _lock(self, place: str) -> str:
        """Make the snapshot immutable for as long as evidence is kept; says so where Azure cannot."""
        if self._immutability(place) == _MODE:
            return _MODE
        days = self.access.settings.evidence_of(Cloud.AZURE).retention_days
        body = {"immutabilityDurationDays": days, "type": _MODE}
        try:
            self.access.arm().post(f"{place}/updateImmutabilityPolicy", body, _LOCKS)
        except RestError as error:
            if error_code(error) in _NO_LOCK:
                return f"not locked: {error_code(error)}"
            with translated(place):
                raise
        return _MODE

    def _lock_findings(self, change: Change) -> tuple[Finding, ...]:
        locks: dict[str, str] = change.after["locks"]
        wanted = sorted(place for place, lock in locks.items() if not lock.startswith("not locked"))
        if not wanted:
            return ()
        locked = {place: self._immutability(place) for place in wanted}
        return (
            found(
                Method.CONFIGURATION,
                f"{sum(map(bool, locked.values()))} of {len(locks)} snapshots are immutable",
                holds=all(locked.values()),
                locks=locked,
            ),
        )

    def _immutability(self, place: str) -> str:
        with translated(place):
            snapshot = self.access.arm().get(place, _LOCKS)
        return str(((snapshot or {}).get("properties", {}).get("immutabilityPolicy") or {}).get("type", ""))
