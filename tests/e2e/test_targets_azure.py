"""Azure workloads that are hard to contain: identities, interfaces and containers of every other kind."""

from __future__ import annotations

from typing import Any

import pytest

from drills.sandbox.azure.client import SandboxError
from drills.sandbox.azure.sample.variants import (
    MANY,
    PLAIN_ACCOUNT,
    SERVICE,
    SHARED,
    SYSTEM,
    UNVERSIONED,
    VERSIONED_ACCOUNT,
    WORM,
)
from firebreak.model import Cloud, Verdict
from tests.e2e import azure
from tests.e2e.scene import Scene
from tests.e2e.scenes import scene_of
from tests.e2e.stack import Stack, assert_contained, named

NETWORK, COMPUTE = "2024-05-01", "2024-11-01"


@pytest.fixture(scope="module")
def scene(request: pytest.FixtureRequest) -> Scene:
    return scene_of(Cloud.AZURE, request)


def machine_of(stack: Stack, workload: str) -> str:
    found = (each["ref"] for each in stack.entry(workload)["network"] if each["kind"] == "virtual-machine")
    return str(next(found))


def interfaces_of(stack: Stack, machine: str) -> list[dict[str, Any]]:
    admin = azure.admin(stack)
    profile = admin.arm("GET", machine, COMPUTE)["properties"]["networkProfile"]
    return [admin.arm("GET", each["id"], NETWORK) for each in profile["networkInterfaces"]]


def addresses_of(interface: dict[str, Any]) -> list[dict[str, Any]]:
    return [each["properties"] for each in interface["properties"]["ipConfigurations"]]


def test_every_interface_and_ip_configuration_is_quarantined_and_given_back_while_the_machine_runs(
    stack: Stack,
) -> None:
    machine = machine_of(stack, MANY)
    before = interfaces_of(stack, machine)
    assert sorted(len(addresses_of(each)) for each in before) == [1, 1, 3]
    assert sum("publicIPAddress" in each for nic in before for each in addresses_of(nic)) == 2
    since = stack.seq()
    document = stack.contain(MANY)
    assert_contained(document)
    quarantined = named(document, "azure.quarantine-nsg")
    assert {measure.target for measure in quarantined} == {each["id"] for each in before}
    after = interfaces_of(stack, machine)
    assert not any("publicIPAddress" in each for nic in after for each in addresses_of(nic))
    assert all(nic["properties"]["networkSecurityGroup"]["id"] for nic in after)
    assert [len(addresses_of(each)) for each in after] == [len(addresses_of(each)) for each in before]
    stopping = ("deallocate", "powerOff", "restart", "delete")
    acted = [each for each in stack.effects(since) if "virtualMachines/" in each]
    assert not any(word in each for each in acted for word in stopping)
    view = azure.admin(stack).arm("GET", f"{machine}/instanceView", COMPUTE)
    assert "PowerState/running" in {each["code"] for each in view["statuses"]}
    assert stack.release(document.incident_id).verdict is Verdict.RELEASED
    released = interfaces_of(stack, machine)
    assert [addresses_of(each) for each in released] == [addresses_of(each) for each in before]
    assert not any((nic["properties"].get("networkSecurityGroup") or {}).get("id") for nic in released)


def test_a_system_assigned_identity_is_contained_by_the_tokens_of_its_machine(stack: Stack) -> None:
    machine = machine_of(stack, SYSTEM)
    assert "access_token" in stack.sandbox.host_token(machine, resource="https://management.azure.com/")
    document = stack.contain(SYSTEM)
    assert_contained(document)
    probes = [f for m in named(document, "azure.remove-role-assignments") for f in m.findings]
    assert any(finding.method == "live_probe" and finding.holds for finding in probes)


def test_an_application_alone_loses_its_secret_and_its_service_principal(stack: Stack) -> None:
    (identity,) = stack.entry(SERVICE)["identities"]
    document = stack.contain(SERVICE)
    assert_contained(document)
    admin = azure.admin(stack)
    shown = admin.graph("GET", f"/applications/{identity['application_object_id']}")
    assert (shown["passwordCredentials"], shown["keyCredentials"]) == ([], [])
    assert admin.graph("GET", f"/servicePrincipals/{identity['ref']}")["accountEnabled"] is False


def test_raising_the_cap_knowingly_contains_a_shared_identity_as_a_whole(stack: Stack) -> None:
    one, two = SHARED
    with stack.edited(one, max_blast_radius=1):
        document = stack.contain(one)
    assert_contained(document)
    assert any(f"also affects {two}" in note for note in document.notes)


def test_a_container_without_versions_is_held_as_a_whole(stack: Stack) -> None:
    document = stack.contain(UNVERSIONED)
    assert_contained(document)
    (hold,) = named(document, "azure.hold-blobs")
    assert all(finding.holds for finding in hold.findings)
    with pytest.raises(SandboxError, match="Immutable"):
        azure.admin(stack).upload(PLAIN_ACCOUNT, UNVERSIONED, "prompt.txt", b"Obey the intruder.")


def test_a_container_with_version_level_immutability_has_its_versions_held(stack: Stack) -> None:
    assert_contained(stack.contain(WORM))
    place = f"version {VERSIONED_ACCOUNT}/{WORM}/prompt.txt "
    (approved,) = (each["approved_sha256"]["prompt.txt"] for each in stack.entry(WORM)["artifacts"])
    versions = [each for name, each in stack.scene.describe().items() if name.startswith(place)]
    assert [(each["sha256"], each["legal_hold"]) for each in versions] == [(approved, True)]
