from __future__ import annotations

from collections.abc import Iterator
from typing import Any
from uuid import uuid4

import pytest
from azure.core.exceptions import HttpResponseError
from azure.mgmt.compute import ComputeManagementClient

from drills.sandbox.azure.client import HOME_SUBSCRIPTION, AzureSandbox, SandboxError, start_sandbox
from tests.drills.sandbox.azure.places import LOCATION, Bearer, Places


@pytest.fixture(scope="module")
def cloud() -> Iterator[AzureSandbox]:
    with start_sandbox() as running, pytest.MonkeyPatch.context() as patch:
        for name, value in running.environment().items():
            patch.setenv(name, value)
        yield running


def wanted(disk: str, policy: str = "DenyAll") -> dict[str, Any]:
    return {
        "location": LOCATION,
        "properties": {
            "creationData": {"createOption": "Copy", "sourceResourceId": disk},
            "incremental": True,
            "networkAccessPolicy": policy,
        },
    }


def snapshots(cloud: AzureSandbox, principal: str = "") -> Any:
    client = ComputeManagementClient(
        Bearer(cloud, principal), HOME_SUBSCRIPTION, retry_total=0, polling_interval=0.05
    )
    return client.snapshots


def snapshot(cloud: AzureSandbox, places: Places, disk: str, policy: str = "DenyAll") -> tuple[str, str]:
    group, name = places.group.rpartition("/")[2], f"s-{uuid4().hex[:8]}"
    made = snapshots(cloud).begin_create_or_update(group, name, wanted(disk, policy)).result()
    assert made.properties.provisioning_state == "Succeeded"
    return group, name


def test_a_closed_snapshot_is_not_exported(cloud: AzureSandbox) -> None:
    cloud.configure(lro_seconds=0.1)
    places = Places.new(cloud)
    _, (disk,) = places.machine("os")
    group, closed = snapshot(cloud, places, disk)
    _, opened = snapshot(cloud, places, disk, "AllowAll")
    asked = {"access": "Read", "durationInSeconds": 60}
    with pytest.raises(HttpResponseError, match="network access policy is DenyAll"):
        snapshots(cloud).begin_grant_access(group, closed, asked).result()
    assert snapshots(cloud).begin_grant_access(group, opened, asked).result()
    cloud.configure(lro_seconds=0)


def test_an_immutable_snapshot_is_not_deleted(cloud: AzureSandbox) -> None:
    places = Places.new(cloud)
    _, (disk,) = places.machine("os")
    group, name = snapshot(cloud, places, disk)
    policy = {"immutabilityDurationDays": 7, "type": "Locked"}
    snapshots(cloud).begin_update_immutability_policy(group, name, policy).result()
    shown = snapshots(cloud).get(group, name)
    assert shown.properties.immutability_policy.type == "Locked"
    with pytest.raises(HttpResponseError, match="immutability policy"):
        snapshots(cloud).begin_delete(group, name).result()
    shorter = {"immutabilityDurationDays": 6, "type": "Locked"}
    with pytest.raises(HttpResponseError, match="cannot be reduced"):
        snapshots(cloud).begin_update_immutability_policy(group, name, shorter).result()
    _, free = snapshot(cloud, places, disk)
    snapshots(cloud).begin_delete(group, free).result()


def test_a_region_may_have_no_immutability(cloud: AzureSandbox) -> None:
    places = Places.new(cloud)
    _, (disk,) = places.machine("os")
    group, name = snapshot(cloud, places, disk)
    cloud.configure(snapshot_immutability=0)
    policy = {"immutabilityDurationDays": 7, "type": "Unlocked"}
    with pytest.raises(HttpResponseError, match="FeatureNotEnabled"):
        snapshots(cloud).begin_update_immutability_policy(group, name, policy).result()
    cloud.configure(snapshot_immutability=1)


def test_a_copy_needs_its_disk_and_the_right_to_read_it(cloud: AzureSandbox) -> None:
    places = Places.new(cloud)
    _, (disk,) = places.machine("os")
    with pytest.raises(SandboxError, match="NotFound"):
        cloud.arm(
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
    cloud.arm("PUT", path, "2022-04-01", definition)
    copier = places.identity((role, places.group)).object_id
    group = places.group.rpartition("/")[2]
    with pytest.raises(HttpResponseError, match="disks/beginGetAccess/action"):
        snapshots(cloud, copier).begin_create_or_update(group, "s", wanted(disk)).result()
