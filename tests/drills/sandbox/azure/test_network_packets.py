"""The Azure packet simulator: which flows survive what, who is denied by whom, and what is logged of it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest

from drills.sandbox.azure import clock, modules, state
from drills.sandbox.azure.call import Call
from drills.sandbox.azure.network import topology
from drills.sandbox.azure.network.build import Builder, network_rules, rule
from drills.sandbox.azure.network.flowdelivery import CONTAINER
from drills.sandbox.azure.network.runtime import flow_table, network, publish_due
from drills.sandbox.azure.storage.blobs import blob_store
from drills.sandbox.azure.store import store
from drills.sandbox.azure.table import table
from drills.sandbox.packets import UDP

SUBSCRIPTION = "/subscriptions/f1aeb1a0-0000-4000-8000-000000000001"
IMDS, HOST = "169.254.169.254", "168.63.129.16"
OUTSIDE = "198.51.100.10"


class Admin:
    """Calls the resource provider's handlers as somebody who may do everything."""

    def put(self, ref: str, body: dict[str, Any], version: str) -> Any:
        return self.call("PUT", ref, body, version)

    def call(
        self, method: str, path: str, body: dict[str, Any] | None = None, version: str = "2025-07-01"
    ) -> Any:
        raw = json.dumps(body).encode() if body is not None else b""
        call = Call("arm", "management.azure.com", method, path, {"api-version": version}, {}, raw)
        found = table.find(call)
        assert found is not None
        call.operation, call.params = found
        call.require = lambda *_args, **_more: None  # type: ignore[method-assign]
        answer = found[0].handler(call)
        return getattr(answer, "body", answer)


@pytest.fixture
def build() -> Iterator[Builder]:
    modules.load()
    state.reset()
    yield Builder(Admin().put, f"{SUBSCRIPTION}/resourceGroups/g", "westeurope")
    state.reset()


@pytest.fixture
def subnet(build: Builder) -> str:
    vnet = build.virtual_network("v", "10.42.0.0/16")
    build.subnet(vnet, "near", "10.42.2.0/24")
    return build.subnet(vnet, "s", "10.42.1.0/24")


def attached(build: Builder, name: str, subnet: str, *addresses: str, **more: Any) -> str:
    nic = build.interface(name, subnet, *addresses, **more)
    build.machine(name, nic)
    return nic


def allowed(source: str, destination: str, port: int = 443, **more: Any) -> bool:
    return network.connect(source, destination, port, **more).allowed


def reason(source: str, destination: str, port: int = 443, **more: Any) -> str:
    return network.connect(source, destination, port, **more).reason


def opened(source: str, destination: str, port: int = 443) -> str:
    attempt = network.connect(source, destination, port)
    assert attempt.connection_id, attempt.reason
    return attempt.connection_id


def alive(connection: str) -> bool:
    delivery = network.send(connection)
    return delivery is not None and delivery.delivered and delivery.acknowledged


def regroup(nic: str, group: str) -> None:
    Admin().call(
        "PUT",
        nic,
        {
            **store.need(nic).body,
            "properties": {**store.need(nic).properties, "networkSecurityGroup": {"id": group}},
        },
    )


DENY_ALL = (
    rule("in", 100, access="Deny", protocol="*"),
    rule("out", 100, access="Deny", direction="Outbound", protocol="*"),
)


def test_default_rules_let_the_network_talk_and_the_internet_out(build: Builder, subnet: str) -> None:
    group, public = build.security_group("g"), build.public_address("p")
    one = attached(build, "one", subnet, "10.42.1.10", group=group, public={"10.42.1.10": public})
    two = attached(build, "two", subnet, "10.42.1.20", group=group)
    assert allowed(one, "10.42.1.20")
    assert allowed(two, OUTSIDE)
    assert reason("internet", str(store.need(public).properties["ipAddress"])) == "security-group-inbound"
    assert reason(one, "10.42.1.99") == "unreachable"


def test_without_any_group_everything_passes(build: Builder, subnet: str) -> None:
    public = build.public_address("p")
    attached(build, "one", subnet, "10.42.1.10", public={"10.42.1.10": public})
    assert allowed("internet", str(store.need(public).properties["ipAddress"]))


def test_both_groups_must_allow(build: Builder, subnet: str) -> None:
    open_group, closed = (
        build.security_group("open", rule("a", 100, protocol="*")),
        build.security_group("closed", *DENY_ALL),
    )
    vnet = subnet.rsplit("/", 2)[0]
    near = build.subnet(vnet, "near", "10.42.2.0/24", networkSecurityGroup=closed)
    peer = attached(build, "peer", subnet, "10.42.1.20")
    guarded = attached(build, "guarded", near, "10.42.2.10", group=open_group)
    assert reason(peer, "10.42.2.10") == "security-group-inbound"
    assert reason(guarded, "10.42.1.20") == "security-group-outbound"
    build.subnet(vnet, "near", "10.42.2.0/24", networkSecurityGroup=open_group)
    assert allowed(peer, "10.42.2.10")


def test_the_lowest_number_decides_and_two_of_a_kind_are_refused(build: Builder, subnet: str) -> None:
    group = build.security_group(
        "g", rule("yes", 200, port="80"), rule("no", 150, access="Deny", port="80-90")
    )
    peer = attached(build, "peer", subnet, "10.42.1.20")
    attached(build, "one", subnet, "10.42.1.10", group=group)
    assert reason(peer, "10.42.1.10", 80) == "security-group-inbound"
    assert allowed(peer, "10.42.1.10", 91)
    for wrong in ((rule("a", 100), rule("b", 100)), (rule("a", 99),), (rule("a", 100, source="Nonsense"),)):
        with pytest.raises(Exception, match=r"priority|Priority|prefix"):
            build.security_group("g", *wrong)


def test_established_flows_outlive_rules_and_another_group(build: Builder, subnet: str) -> None:
    group, closed = build.security_group("g"), build.security_group("closed", *DENY_ALL)
    one = attached(build, "one", subnet, "10.42.1.10", group=group)
    peer = attached(build, "peer", subnet, "10.42.1.20")
    outward, inward = opened(one, "10.42.1.20"), opened(peer, "10.42.1.10")
    build.security_group("g", *DENY_ALL)
    assert alive(outward)
    assert alive(inward)
    regroup(one, closed)
    assert alive(outward)
    assert alive(inward)
    assert not allowed(one, "10.42.1.20")
    assert not allowed(peer, "10.42.1.10")


def flush(group: str, value: bool = True, *more: dict[str, Any]) -> None:
    body = store.need(group).body
    rules = [*body["properties"]["securityRules"], *more]
    Admin().call("PUT", group, {**body, "properties": {"securityRules": rules, "flushConnection": value}})


def test_enabling_the_flush_judges_established_flows_anew(build: Builder, subnet: str) -> None:
    closed = build.security_group("closed", *DENY_ALL)
    one, peer = attached(build, "one", subnet, "10.42.1.10"), attached(build, "peer", subnet, "10.42.1.20")
    kept, cut = opened(peer, "10.42.1.20", 80), opened(one, "10.42.1.20")
    regroup(one, closed)
    assert alive(cut)
    flush(closed)
    assert not alive(cut)
    assert alive(kept)
    late = attached(build, "late", subnet, "10.42.1.30")
    newer = opened(late, "10.42.1.20")
    regroup(late, closed)
    assert alive(newer)  # association alone triggers nothing
    flush(closed, False)
    flush(closed)
    assert not alive(newer)


def test_a_changed_rule_is_flushed_where_that_is_enabled(build: Builder, subnet: str) -> None:
    group = build.security_group("g")
    one = attached(build, "one", subnet, "10.42.1.10", group=group)
    attached(build, "peer", subnet, "10.42.1.20")
    flush(group)
    connection = opened(one, "10.42.1.20")
    flush(group, True, DENY_ALL[1])
    assert not alive(connection)


def test_the_platforms_addresses_pass_unless_a_tag_names_them(build: Builder, subnet: str) -> None:
    group = build.security_group("g", *DENY_ALL)
    one = attached(build, "one", subnet, "10.42.1.10", group=group)
    assert allowed(one, IMDS, 80)
    assert allowed(one, HOST, 53, protocol=UDP)
    tags = [
        rule(tag, 101 + number, access="Deny", direction="Outbound", protocol="*", destination=tag)
        for number, tag in enumerate(("AzurePlatformIMDS", "AzurePlatformDNS", "AzurePlatformLKM"))
    ]
    build.security_group("g", *DENY_ALL, tags[0])
    assert not allowed(one, IMDS, 80)
    assert allowed(one, HOST, 53, protocol=UDP)
    build.security_group("g", *DENY_ALL, *tags)
    assert not allowed(one, HOST, 53, protocol=UDP)


def test_a_route_to_none_drops_established_flows_and_spares_the_platform(build: Builder, subnet: str) -> None:
    one, peer = attached(build, "one", subnet, "10.42.1.10"), attached(build, "peer", subnet, "10.42.1.20")
    web, inside, platform = opened(one, OUTSIDE), opened(peer, "10.42.1.10"), opened(one, IMDS, 80)
    vnet = subnet.rsplit("/", 2)[0]
    default = build.route_table("t", ("0.0.0.0/0", "None", ""))
    build.subnet(vnet, "s", "10.42.1.0/24", routeTable=default)
    assert not alive(web)
    assert alive(inside)
    everything = build.route_table("t2", ("0.0.0.0/0", "None", ""), ("10.42.0.0/16", "None", ""))
    build.subnet(vnet, "s", "10.42.1.0/24", routeTable=everything)
    assert not alive(inside)
    assert alive(platform)
    assert reason(one, "10.42.1.20") == "route-none"


def test_a_flow_ends_with_its_public_address(build: Builder, subnet: str) -> None:
    public = build.public_address("p")
    one = attached(build, "one", subnet, "10.42.1.10", public={"10.42.1.10": public})
    address = str(store.need(public).properties["ipAddress"])
    inward, outward = opened("internet", address), opened(one, OUTSIDE)
    body = store.need(one).body
    del body["properties"]["ipConfigurations"][0]["properties"]["publicIPAddress"]
    assert not alive(inward)
    assert not alive(outward)
    assert reason("internet", address) == "unreachable"


def test_a_firewall_denies_by_default_and_drops_what_a_rule_denies_later(build: Builder, subnet: str) -> None:
    vnet = subnet.rsplit("/", 2)[0]
    policy = build.firewall_policy("policy")
    build.firewall("fw", build.subnet(vnet, "AzureFirewallSubnet", "10.42.8.0/26"), policy)
    table_id = build.route_table("t", ("0.0.0.0/0", "VirtualAppliance", "10.42.8.4"))
    build.subnet(vnet, "s", "10.42.1.0/24", routeTable=table_id)
    one = attached(build, "one", subnet, "10.42.1.10")
    assert reason(one, OUTSIDE) == "firewall"
    build.collection_group(policy, "allow", 300, network_rules("a", 200, "Allow", (["10.42.0.0/16"], ["*"])))
    connection = opened(one, OUTSIDE)
    build.collection_group(policy, "deny", 200, network_rules("d", 100, "Deny", (["10.42.1.10"], ["*"])))
    assert not alive(connection)
    with pytest.raises(Exception, match="priority 200"):
        build.collection_group(policy, "same", 200)


def test_answers_that_take_another_way_are_lost_in_the_firewall(build: Builder, subnet: str) -> None:
    vnet, policy = subnet.rsplit("/", 2)[0], build.firewall_policy("policy")
    build.firewall("fw", build.subnet(vnet, "AzureFirewallSubnet", "10.42.8.0/26"), policy)
    public = build.public_address("p")
    attached(build, "one", subnet, "10.42.1.10", public={"10.42.1.10": public})
    table_id = build.route_table("t", ("0.0.0.0/0", "VirtualAppliance", "10.42.8.4"))
    build.subnet(vnet, "s", "10.42.1.0/24", routeTable=table_id)
    assert reason("internet", str(store.need(public).properties["ipAddress"])) == "asymmetric"


def test_groups_and_routes_reach_private_endpoints_only_where_policies_say_so(
    build: Builder, subnet: str
) -> None:
    vnet, closed = subnet.rsplit("/", 2)[0], build.security_group("closed", *DENY_ALL)
    ends = build.subnet(vnet, "ends", "10.42.7.0/24", networkSecurityGroup=closed)
    endpoint = build.private_endpoint(
        "pe", ends, f"{build.group}/providers/Microsoft.Storage/storageAccounts/a"
    )
    nic = store.need(endpoint).properties["networkInterfaces"][0]["id"]
    address = store.need(nic).properties["ipConfigurations"][0]["properties"]["privateIPAddress"]
    one = attached(build, "one", subnet, "10.42.1.10")
    assert allowed(one, address)
    routes = build.route_table("t", ("0.0.0.0/0", "None", ""), ("10.42.0.0/16", "None", ""))
    build.subnet(vnet, "s", "10.42.1.0/24", routeTable=routes)
    assert allowed(one, address)
    more = {"networkSecurityGroup": closed, "privateEndpointNetworkPolicies": "RouteTableEnabled"}
    build.subnet(vnet, "ends", "10.42.7.0/24", **more)
    assert reason(one, address) == "route-none"
    build.subnet(vnet, "s", "10.42.1.0/24")
    assert allowed(one, address)
    build.subnet(
        vnet,
        "ends",
        "10.42.7.0/24",
        **{**more, "privateEndpointNetworkPolicies": "NetworkSecurityGroupEnabled"},
    )
    assert reason(one, address) == "security-group-inbound"


def test_peered_networks_reach_each_other_and_strangers_do_not(build: Builder, subnet: str) -> None:
    other = build.virtual_network("w", "10.50.0.0/16")
    far = build.subnet(other, "s", "10.50.1.0/24")
    one = attached(build, "one", subnet, "10.42.1.10")
    attached(build, "two", far, "10.50.1.10")
    assert not allowed(one, "10.50.1.10")
    for here, there in ((subnet.rsplit("/", 2)[0], other), (other, subnet.rsplit("/", 2)[0])):
        build.put(
            f"{here}/virtualNetworkPeerings/p",
            {"properties": {"remoteVirtualNetwork": {"id": there}}},
            "2025-07-01",
        )
    assert allowed(one, "10.50.1.10")


def test_application_groups_name_their_members(build: Builder, subnet: str) -> None:
    asg = f"{build.group}/providers/Microsoft.Network/applicationSecurityGroups/agents"
    build.put(asg, {"location": "westeurope", "properties": {}}, "2025-07-01")
    deny = rule("no-agents", 100, access="Deny", protocol="*")
    deny["properties"].pop("sourceAddressPrefix")
    deny["properties"]["sourceApplicationSecurityGroups"] = [{"id": asg}]
    attached(build, "one", subnet, "10.42.1.10", group=build.security_group("g", deny))
    peer = attached(build, "peer", subnet, "10.42.1.20")
    assert allowed(peer, "10.42.1.10")
    store.need(peer).properties["ipConfigurations"][0]["properties"]["applicationSecurityGroups"] = [
        {"id": asg}
    ]
    assert not allowed(peer, "10.42.1.10")


def logged(nic: str) -> list[list[str]]:
    """The tuples of an interface, oldest first, after everything that is due was written."""
    clock.clock.advance(61)
    publish_due()
    found = topology.interface(nic)
    assert found is not None
    mac = f"macAddress={found.mac.replace('-', '')}/"
    blobs = blob_store.container("flows", CONTAINER).blobs
    texts = [blob_store.read(b.current) for name, b in sorted(blobs.items()) if mac in name and b.current]
    return [
        line.split(",")
        for text in texts
        for record in json.loads(text)["records"]
        for flows in record["flowRecords"]["flows"]
        for group in flows["flowGroups"]
        for line in group["flowTuples"]
    ]


def test_flows_are_logged_when_they_begin_go_on_end_and_are_denied(build: Builder, subnet: str) -> None:
    account = build.storage_account("flows")
    build.flow_log("w", "f", subnet.rsplit("/", 2)[0], account)
    closed = build.security_group("closed", *DENY_ALL)
    one, peer = attached(build, "one", subnet, "10.42.1.10"), attached(build, "peer", subnet, "10.42.1.20")
    connection = opened(peer, "10.42.1.10")
    assert [each[7] for each in logged(one)] == ["B"]
    states: list[str] = []
    for _ in range(5):
        assert alive(connection)
        states = [each[7] for each in logged(one)]
    assert states == ["B", "C"]
    counted = logged(one)[1]
    assert (counted[6], counted[8]) == ("I", "NX")
    assert int(counted[9]) > 1
    regroup(one, closed)
    assert not allowed(peer, "10.42.1.10")
    flush(closed)
    assert [each[7] for each in logged(one)] == ["B", "C", "D", "E"]
    assert next(each[6] for each in logged(peer)) == "O"
    assert "D" not in [each[7] for each in logged(peer)]


def test_an_idle_flow_is_forgotten(build: Builder, subnet: str) -> None:
    account = build.storage_account("flows")
    build.flow_log("w", "f", subnet, account)
    one = attached(build, "one", subnet, "10.42.1.10")
    attached(build, "peer", subnet, "10.42.1.20")
    opened(one, "10.42.1.20")
    states: list[str] = []
    for _ in range(5):
        states = [each[7] for each in logged(one)]
    assert states == ["B", "E"]
    assert list(flow_table.advance(clock.seconds(), 0)) == []
