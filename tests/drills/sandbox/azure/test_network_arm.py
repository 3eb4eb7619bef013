"""Microsoft.Network and Network Watcher as the unmodified SDK sees them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from azure.mgmt.compute import ComputeManagementClient
from azure.mgmt.network import NetworkManagementClient

from drills.sandbox.azure.client import HOME_SUBSCRIPTION, AzureSandbox, SandboxError
from drills.sandbox.azure.network.build import Builder, rule

REGION = "westeurope"
Refused = Callable[..., tuple[int | None, str]]


@pytest.fixture
def build(tenant: Any, sandbox: AzureSandbox) -> Builder:
    def put(ref: str, body: dict[str, Any], version: str) -> Any:
        return sandbox.arm("PUT", ref, version, body)

    return Builder(put, tenant.group("net"), REGION)


@pytest.fixture
def owner(tenant: Any, credential: Any) -> Any:
    return credential(tenant.principal("Owner"))


@pytest.fixture
def client(owner: Any) -> NetworkManagementClient:
    options: dict[str, Any] = {"polling_interval": 0.02, "retry_total": 0, "api_version": "2025-07-01"}
    return NetworkManagementClient(owner, HOME_SUBSCRIPTION, **options)


@pytest.fixture
def nic(build: Builder) -> str:
    network = build.virtual_network("v", "10.42.0.0/16")
    subnet = build.subnet(network, "s", "10.42.1.0/24")
    made = build.interface("one", subnet, "10.42.1.10", group=build.security_group("g", rule("in", 100)))
    build.machine("one", made)
    build.watcher("w")
    return made


def test_a_group_is_made_with_its_default_rules_and_read_back(
    client: NetworkManagementClient, build: Builder
) -> None:
    del build
    wanted: Any = {
        "location": REGION,
        "properties": {"flushConnection": True, "securityRules": [rule("in", 100, port="443")]},
    }
    poller = client.network_security_groups.begin_create_or_update("net", "fresh", wanted)
    made = poller.result()
    assert made.flush_connection is True
    assert [each.priority for each in made.default_security_rules or ()] == [65000, 65001, 65500] * 2
    assert client.network_security_groups.get("net", "fresh").etag == made.etag


def test_flush_is_left_out_where_it_is_not_available(
    client: NetworkManagementClient, build: Builder, sandbox: AzureSandbox
) -> None:
    del build
    sandbox.configure(nsg_flush_supported=0)
    wanted: Any = {"location": REGION, "properties": {"flushConnection": True, "securityRules": []}}
    made = client.network_security_groups.begin_create_or_update("net", "fresh", wanted).result()
    assert made.flush_connection is None


def test_a_stale_write_of_an_interface_is_refused(
    client: NetworkManagementClient, nic: str, refused: Refused
) -> None:
    assert nic
    read = client.network_interfaces.get("net", "one")
    stale = {"If-Match": str(read.etag)}
    read.enable_ip_forwarding = True
    client.network_interfaces.begin_create_or_update("net", "one", read, headers=stale).result()
    begin = client.network_interfaces.begin_create_or_update
    assert refused(begin, "net", "one", read, headers=stale) == (412, "PreconditionFailed")


def test_effective_rules_and_routes_are_those_in_force(client: NetworkManagementClient, nic: str) -> None:
    assert nic
    groups = client.network_interfaces.begin_list_effective_network_security_groups("net", "one").result()
    first = next(one for each in groups.value or () for one in each.effective_security_rules or ())
    assert (first.name, first.protocol, first.source_address_prefix) == (
        "securityRules/in",
        "Tcp",
        "0.0.0.0/0",
    )
    routes = client.network_interfaces.begin_get_effective_route_table("net", "one").result()
    hops = {str((each.address_prefix or [""])[0]): each.next_hop_type for each in routes.value or ()}
    assert hops["10.42.0.0/16"] == "VnetLocal"
    assert hops["0.0.0.0/0"] == "Internet"


@pytest.mark.parametrize(
    ("direction", "remote", "access", "rule_name"),
    [
        ("Inbound", "198.51.100.10", "Allow", "securityRules/in"),
        ("Outbound", "198.51.100.10", "Allow", "defaultSecurityRules/AllowInternetOutBound"),
        ("Outbound", "10.42.1.99", "Allow", "defaultSecurityRules/AllowVnetOutBound"),
        ("Outbound", "192.168.1.1", "Deny", "defaultSecurityRules/DenyAllOutBound"),
    ],
)
def test_ip_flow_verify_names_the_rule(
    client: NetworkManagementClient, nic: str, direction: str, remote: str, access: str, rule_name: str
) -> None:
    group = nic.split("/providers/", maxsplit=1)[0]
    asked: Any = {
        "targetResourceId": f"{group}/providers/Microsoft.Compute/virtualMachines/one",
        "targetNicResourceId": nic,
        "direction": direction,
        "protocol": "TCP",
        "localIPAddress": "10.42.1.10",
        "localPort": "443",
        "remoteIPAddress": remote,
        "remotePort": "443",
    }
    answer = client.network_watchers.begin_verify_ip_flow("net", "w", asked).result()
    assert (answer.access, answer.rule_name) == (access, rule_name)


def test_interfaces_stay_on_a_running_machine_and_watchers_look_at_no_other(
    client: NetworkManagementClient, owner: Any, nic: str, refused: Refused, sandbox: AzureSandbox
) -> None:
    assert refused(client.network_interfaces.begin_delete, "net", "one") == (400, "NicInUse")
    compute = ComputeManagementClient(
        owner, HOME_SUBSCRIPTION, polling_interval=0.02, api_version="2024-11-01"
    )
    machine = compute.virtual_machines.get("net", "one")
    profile = machine.network_profile
    assert profile is not None
    profile.network_interfaces = []
    begin = compute.virtual_machines.begin_create_or_update
    assert refused(begin, "net", "one", machine) == (409, "OperationNotAllowed")
    compute.virtual_machines.begin_deallocate("net", "one").result()
    effective = client.network_interfaces.begin_list_effective_network_security_groups
    assert refused(effective, "net", "one") == (400, "NetworkInterfaceNotAttachedToRunningVm")
    group = nic.split("/providers/", maxsplit=1)[0]
    view = sandbox.arm(
        "GET",
        f"{group}/providers/Microsoft.Compute/virtualMachines/one/instanceView",
        "2024-11-01",
    )
    assert [each["code"] for each in view["statuses"]][1] == "PowerState/deallocated"


def test_a_writer_of_an_interface_must_be_allowed_to_join_what_it_refers_to(
    tenant: Any, nic: str, credential: Any, refused: Refused
) -> None:
    weak = credential(tenant.principal("Reader", scope=nic))
    options: dict[str, Any] = {"polling_interval": 0.02, "retry_total": 0, "api_version": "2025-07-01"}
    client = NetworkManagementClient(weak, HOME_SUBSCRIPTION, **options)
    read = client.network_interfaces.get("net", "one")
    status, code = refused(client.network_interfaces.begin_create_or_update, "net", "one", read)
    assert (status, code) == (403, "AuthorizationFailed")


def test_what_is_in_use_is_not_deleted(client: NetworkManagementClient, nic: str, refused: Refused) -> None:
    assert nic
    code = refused(client.network_security_groups.begin_delete, "net", "g")
    assert code == (400, "InUseNetworkSecurityGroupCannotBeDeleted")
    assert refused(client.subnets.begin_delete, "net", "v", "s") == (400, "InUseSubnetCannotBeDeleted")


def test_new_flow_logs_of_security_groups_are_refused(build: Builder, nic: str) -> None:
    assert nic
    group = f"{build.group}/providers/Microsoft.Network/networkSecurityGroups/g"
    with pytest.raises(SandboxError, match="NsgFlowLogCreationBlocked"):
        build.flow_log("w", "f", group, build.storage_account("flows"))


def test_tags_are_merged_and_deleted_one_by_one(sandbox: AzureSandbox, nic: str) -> None:
    path, version = f"{nic}/providers/Microsoft.Resources/tags/default", "2021-04-01"

    def patch(operation: str, **tags: str) -> dict[str, str]:
        body = {"operation": operation, "properties": {"tags": tags}}
        return dict(sandbox.arm("PATCH", path, version, body)["properties"]["tags"])

    assert patch("Merge", a="1", b="2") == {"a": "1", "b": "2"}
    assert patch("Delete", a="other") == {"a": "1", "b": "2"}
    assert patch("Delete", a="1") == {"b": "2"}
    assert sandbox.arm("GET", nic, "2025-07-01")["tags"] == {"b": "2"}
