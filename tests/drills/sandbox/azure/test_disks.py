from __future__ import annotations

from typing import Any
from uuid import uuid4

import pytest
from azure.core.exceptions import HttpResponseError
from azure.mgmt.compute import ComputeManagementClient

from drills.sandbox.azure.client import HOME_SUBSCRIPTION, AzureSandbox, SandboxError
from tests.drills.sandbox.azure.places import LOCATION, Bearer, Places


def wanted(disk: str, policy: str = "DenyAll") -> dict[str, Any]:
    return {
        "location": LOCATION,
        "properties": {
            "creationData": {"createOption": "Copy", "sourceResourceId": disk},
            "incremental": True,
            "networkAccessPolicy": policy,
        },
    }


def snapshots(sandbox: AzureSandbox, principal: str = "") -> Any:
    client = ComputeManagementClient(
        Bearer(sandbox, principal), HOME_SUBSCRIPTION, retry_total=0, polling_interval=0.05
    )
    return client.snapshots


def snapshot(sandbox: AzureSandbox, places: Places, disk: str, policy: str = "DenyAll") -> tuple[str, str]:
    group, name = places.group.rpartition("/")[2], f"s-{uuid4().hex[:8]}"
    made = snapshots(sandbox).begin_create_or_update(group, name, wanted(disk, policy)).result()
    assert made.properties.provisioning_state == "Succeeded"
    return group, name


def test_a_closed_snapshot_is_not_exported(sandbox: AzureSandbox) -> None:
    sandbox.configure(lro_seconds=0.1)
    places = Places.new(sandbox)
    _, (disk,) = places.machine("os")
    group, closed = snapshot(sandbox, places, disk)
    _, opened = snapshot(sandbox, places, disk, "AllowAll")
    asked = {"access": "Read", "durationInSeconds": 60}
    with pytest.raises(HttpResponseError, match="network access policy is DenyAll"):
        snapshots(sandbox).begin_grant_access(group, closed, asked).result()
    assert snapshots(sandbox).begin_grant_access(group, opened, asked).result()


def test_an_immutable_snapshot_is_not_deleted(sandbox: AzureSandbox) -> None:
    places = Places.new(sandbox)
    _, (disk,) = places.machine("os")
    group, name = snapshot(sandbox, places, disk)
    policy = {"immutabilityDurationDays": 7, "type": "Locked"}
    snapshots(sandbox).begin_update_immutability_policy(group, name, policy).result()
    shown = snapshots(sandbox).get(group, name)
    assert shown.properties.immutability_policy.type == "Locked"
    with pytest.raises(HttpResponseError, match="immutability policy"):
        snapshots(sandbox).begin_delete(group, name).result()
    shorter = {"immutabilityDurationDays": 6, "type": "Locked"}
    with pytest.raises(HttpResponseError, match="cannot be reduced"):
        snapshots(sandbox).begin_update_immutability_policy(group, name, shorter).result()
    _, free = snapshot(sandbox, places, disk)
    snapshots(sandbox).begin_delete(group, free).result()


def test_a_region_may_have_no_immutability(sandbox: AzureSandbox) -> None:
    places = Places.new(sandbox)
    _, (disk,) = places.machine("os")
    group, name = snapshot(sandbox, places, disk)
    sandbox.configure(snapshot_immutability=0)
    policy = {"immutabilityDurationDays": 7, "type": "Unlocked"}
    with pytest.raises(HttpResponseError, match="FeatureNotEnabled"):
        snapshots(sandbox).begin_update_immutability_policy(group, name, policy).result()


def test_a_copy_needs_its_disk_and_the_right_to_read_it(sandbox: AzureSandbox) -> None:
    places = Places.new(sandbox)
    _, (disk,) = places.machine("os")
    with pytest.raises(SandboxError, match="NotFound"):
        sandbox.arm(
            "PUT",
            f"{places.group}/providers/Microsoft.Compute/snapshots/s",
            "2024-03-02",
            wanted(f"{disk}x"),
        )
    role = "00000000-0000-0000-0000-00000000ab02"
    definition = {
        "properties": {
            "roleName": "snapshots only",
            "type": "CustomRole",
            "assignableScopes": [places.group],
            "permissions": [{"actions": ["Microsoft.Compute/snapshots/*"]}],
        }
    }
    path = f"{places.group}/providers/Microsoft.Authorization/roleDefinitions/{role}"
    sandbox.arm("PUT", path, "2022-04-01", definition)
    copier = places.identity((role, places.group)).object_id
    group = places.group.rpartition("/")[2]
    with pytest.raises(HttpResponseError, match="disks/beginGetAccess/action"):
        snapshots(sandbox, copier).begin_create_or_update(group, "s", wanted(disk)).result()
