"""Phase 2 on Azure besides security groups: public addresses, the firewall's policy, private endpoints."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from drills.sandbox.azure.network.build import network_rules, rule
from firebreak.errors import TransientCloudError
from firebreak.model import JsonObject
from firebreak.session import owner_mark
from tests.providers.azure.networks import OUTSIDE, Ground, Steps

ADDRESSES, FIREWALL, ENDPOINTS = (
    "azure.detach-public-ip",
    "azure.firewall-deny",
    "azure.private-endpoint-policies",
)
V = "2025-07-01"


@pytest.fixture(scope="module", autouse=True)
def quick() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("providers.azure.arm.POLL_SECONDS", 0.02)
        yield


@pytest.fixture
def ground(world: Any) -> Ground:
    return Ground.made(world)


def machine(ground: Ground) -> JsonObject:
    return {"kind": "virtual-machine", "ref": ground.machine}


def without_etag(document: JsonObject) -> JsonObject:
    return {name: value for name, value in document.items() if name != "etag"}


def test_public_addresses_leave_every_configuration_and_return_exactly(ground: Ground) -> None:
    other = ground.build.public_address("second")
    nic = ground.get(ground.first)
    nic["properties"]["ipConfigurations"][0]["properties"]["publicIPAddress"] = {"id": other}
    ground.world.admin().put(ground.first, nic, V)
    address = ground.public_address()
    connection = ground.opened("internet", address)
    steps = Steps(ground.world, ADDRESSES, {"network": [machine(ground)]})
    assert [each.ref for each in steps.targets] == [ground.first, ground.second]
    before = [without_etag(ground.get(each)) for each in (ground.first, ground.second)]
    states = steps.snapshot()
    assert states[0].values["addresses"][ground.public] == address
    changes = steps.apply(states)
    assert changes[0].after["detached"] == sorted([ground.public, other])
    assert [each.changed for each in changes] == [True, False]
    assert not ground.delivered(connection)
    assert not ground.allowed("internet", address)
    assert all(each.holds for each in steps.verify(changes))
    assert not any(each.changed for each in steps.apply(states))
    assert all(each.holds for each in steps.revert(changes))
    assert all(each.holds for each in steps.revert(changes))
    assert [without_etag(ground.get(each)) for each in (ground.first, ground.second)] == before
    assert ground.public_address() == address
    assert not steps.verify(changes)[0].holds
    assert ground.allowed("internet", address)


def test_a_dynamic_address_stays_because_it_would_be_lost(ground: Ground) -> None:
    dynamic = ground.build.public_address("dynamic", "Dynamic")
    nic = ground.get(ground.second)
    nic["properties"]["ipConfigurations"][0]["properties"]["publicIPAddress"] = {"id": dynamic}
    ground.world.admin().put(ground.second, nic, V)
    declared = {"network": [{"kind": "network-interface", "ref": ground.second}]}
    steps = Steps(ground.world, ADDRESSES, declared)
    changes = steps.apply(steps.snapshot())
    assert not changes[0].changed
    (finding,) = steps.verify(changes)
    assert finding.holds
    assert finding.detail["kept"] == [dynamic]
    assert "closed by the security group" in finding.observed


def behind_firewall(ground: Ground, policy: str) -> None:
    """Send what the first subnet says to the internet through an Azure Firewall."""
    subnet = ground.build.subnet(ground.watched.network, "AzureFirewallSubnet", "10.42.8.0/26")
    ground.build.firewall("fw", subnet, policy)
    table = ground.build.route_table("to-firewall", ("0.0.0.0/0", "VirtualAppliance", "10.42.8.4"))
    ground.build.subnet(ground.watched.network, "own", "10.42.2.0/24", routeTable=table)


def allow_all() -> JsonObject:
    return network_rules("allow", 200, "Allow", (["*"], ["*"]))


@pytest.mark.parametrize("priorities", [[300], [101, 5000], [200, 201]])
def test_the_firewalls_denials_come_first_and_leave_no_trace(ground: Ground, priorities: list[int]) -> None:
    policy = ground.build.firewall_policy("egress")
    behind_firewall(ground, policy)
    theirs = [
        ground.build.collection_group(policy, f"group-{each}", each, allow_all()) for each in priorities
    ]
    before = [ground.get(each) for each in theirs]
    declared = {"network": [machine(ground), {"kind": "firewall-policy", "ref": policy}]}
    steps = Steps(ground.world, FIREWALL, declared)
    session = ground.opened(ground.second, OUTSIDE)
    states = steps.snapshot()
    assert states[0].values["addresses"] == ["10.42.1.10", "10.42.1.11", "10.42.2.10"]
    changes = steps.apply(states)
    assert ground.get(changes[0].after["group"])["properties"]["priority"] == min(priorities) - 1
    (finding,) = steps.verify(changes)
    assert finding.holds, finding.observed
    assert not ground.allowed(ground.second, OUTSIDE)
    assert not ground.delivered(session)
    assert not steps.apply(states)[0].changed
    assert steps.revert(changes)[0].holds
    assert steps.revert(changes)[0].holds
    assert [ground.get(each) for each in theirs] == before
    assert not steps.verify(changes)[0].holds
    assert ground.allowed(ground.second, OUTSIDE)


@pytest.mark.parametrize(
    ("collection", "holds"),
    [
        (network_rules("one", 100, "Allow", (["10.42.2.0/24"], ["*"])), False),
        (network_rules("range", 100, "Allow", (["10.42.1.1-10.42.1.12"], ["*"])), False),
        (network_rules("tag", 100, "Allow", (["192.0.2.1"], ["AzureCloud"])), False),
        (network_rules("strangers", 100, "Allow", (["192.0.2.0/24"], ["198.51.100.0/24"])), True),
        (network_rules("deny", 100, "Deny", (["*"], ["*"])), True),
    ],
)
def test_where_there_is_no_room_in_front_what_comes_first_is_looked_at(
    ground: Ground, collection: JsonObject, *, holds: bool
) -> None:
    policy = ground.build.firewall_policy("egress")
    ground.build.collection_group(policy, "theirs", 100, collection)
    declared = {"network": [machine(ground), {"kind": "firewall-policy", "ref": policy}]}
    steps = Steps(ground.world, FIREWALL, declared)
    changes = steps.apply(steps.snapshot())
    assert ground.get(changes[0].after["group"])["properties"]["priority"] == 101
    (finding,) = steps.verify(changes)
    assert finding.holds is holds
    assert finding.detail["allowing"] == ([] if holds else ["theirs"])


def test_a_base_policys_allowance_is_noticed(ground: Ground) -> None:
    base = ground.build.firewall_policy("base")
    ground.build.collection_group(base, "company", 400, allow_all())
    policy = ground.build.firewall_policy("egress", basePolicy={"id": base})
    declared = {"network": [machine(ground), {"kind": "firewall-policy", "ref": policy}]}
    steps = Steps(ground.world, FIREWALL, declared)
    (finding,) = steps.verify(steps.apply(steps.snapshot()))
    assert not finding.holds
    assert "company" in finding.observed


def test_two_workloads_have_a_group_each_and_are_released_on_their_own(ground: Ground) -> None:
    policy = ground.build.firewall_policy("egress")
    declared = {"network": [machine(ground), {"kind": "firewall-policy", "ref": policy}]}
    one, other = (Steps(ground.world, FIREWALL, declared, owner=name) for name in ("one", "other"))
    first, second = one.apply(one.snapshot()), other.apply(other.snapshot())
    assert one.verify(first)[0].holds
    assert other.verify(second)[0].holds
    assert one.revert(first)[0].holds
    assert not one.verify(first)[0].holds
    assert other.verify(second)[0].holds


def test_another_change_of_the_policy_is_waited_for(ground: Ground) -> None:
    policy = ground.build.firewall_policy("egress")
    declared = {"network": [machine(ground), {"kind": "firewall-policy", "ref": policy}]}
    steps = Steps(ground.world, FIREWALL, declared)
    states = steps.snapshot()
    sandbox = ground.world.sandbox
    sandbox.configure(lro_seconds=0.8)
    theirs = f"{policy}/ruleCollectionGroups/theirs"
    url = f"https://management.azure.com{theirs}?api-version={V}"
    body = {"properties": {"priority": 500, "ruleCollections": []}}
    sandbox.send("PUT", url, body, token=ground.world.token())
    try:
        with pytest.raises(TransientCloudError, match="AnotherOperationInProgress"):
            steps.apply(states)
    finally:
        sandbox.configure(lro_seconds=0)
    sandbox.advance(1)
    assert steps.apply(states)[0].changed


@pytest.fixture
def endpoint(ground: Ground) -> str:
    group = ground.build.security_group(
        "pe-group", rule("closed", 100, access="Deny", protocol="*", source="10.42.2.0/24")
    )
    subnet = ground.build.subnet(
        ground.watched.network, "endpoints", "10.42.7.0/24", networkSecurityGroup=group
    )
    return ground.build.private_endpoint("pe", subnet, ground.watched.account)


def address_of(ground: Ground, endpoint: str) -> str:
    (nic,) = ground.get(endpoint)["properties"]["networkInterfaces"]
    return str(ground.get(nic["id"])["properties"]["ipConfigurations"][0]["properties"]["privateIPAddress"])


def test_security_groups_apply_to_private_endpoints_and_are_given_back(ground: Ground, endpoint: str) -> None:
    address, network = address_of(ground, endpoint), ground.watched.network
    steps = Steps(ground.world, ENDPOINTS, {"network": [{"kind": "private-endpoint", "ref": endpoint}]})
    (target,) = steps.targets
    assert target.ref == f"{network}/subnets/endpoints"
    assert steps.measure.blast_radius(target) == ()
    neighbour = ground.build.private_endpoint("neighbour", target.ref, ground.watched.account)
    assert steps.measure.blast_radius(target) == (neighbour,)
    assert ground.allowed(ground.second, address)
    before = [without_etag(ground.get(each)) for each in (target.ref,)]
    tags = ground.get(network).get("tags")
    states = steps.snapshot()
    changes = steps.apply(states)
    assert not ground.allowed(ground.second, address)
    assert steps.verify(changes)[0].holds
    assert not steps.apply(states)[0].changed
    assert steps.revert(changes)[0].holds
    assert steps.revert(changes)[0].holds
    assert [without_etag(ground.get(each)) for each in (target.ref,)] == before
    assert (ground.get(network).get("tags") or None) == tags
    assert not steps.verify(changes)[0].holds
    assert ground.allowed(ground.second, address)


def test_the_last_workload_to_be_released_gives_the_policies_back(ground: Ground, endpoint: str) -> None:
    declared = {"network": [{"kind": "private-endpoint", "ref": endpoint}]}
    one, other = (Steps(ground.world, ENDPOINTS, declared, owner=name) for name in ("one", "other"))
    first = one.apply(one.snapshot())
    second = other.apply(other.snapshot())
    assert second[0].before == {"policies": "Disabled"}
    assert owner_mark(one.context.run) != owner_mark(other.context.run)
    kept = one.revert(first)[0]
    assert kept.holds
    assert "another contained workload" in kept.observed
    assert other.verify(second)[0].holds
    assert other.revert(second)[0].holds
    assert not other.verify(second)[0].holds


@pytest.mark.parametrize("name", [ADDRESSES, FIREWALL, ENDPOINTS])
def test_the_printed_role_suffices(ground: Ground, endpoint: str, name: str) -> None:
    policy = ground.build.firewall_policy("egress")
    declared = {
        "network": [
            machine(ground),
            {"kind": "firewall-policy", "ref": policy},
            {"kind": "private-endpoint", "ref": endpoint},
        ]
    }
    workload = ground.world.least(ground.world.workload(**declared), name)
    steps = Steps(ground.world, name, {}, workload=workload)
    changes = steps.apply(steps.snapshot())
    assert all(each.holds for each in steps.verify(changes))
    assert all(each.holds for each in steps.revert(changes))
