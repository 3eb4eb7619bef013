"""Play Network Watcher: flow logs, IP flow verify, connection troubleshoot, effective rules and routes.

Source: Network REST, "Network Watchers", "Flow Logs", "Network Interfaces"; "IP flow verify overview",
"Connection troubleshoot overview", "Effective security rules overview". All of them look at running machines.
"""

from __future__ import annotations

from ipaddress import ip_address
from typing import TYPE_CHECKING, Any

from drills.sandbox.azure import lro
from drills.sandbox.azure.errors import ArmError
from drills.sandbox.azure.network import topology
from drills.sandbox.azure.network.flowdelivery import FLOW_LOGS
from drills.sandbox.azure.network.machines import interfaces_of, power_of
from drills.sandbox.azure.network.registration import VERSIONS, network_type
from drills.sandbox.azure.network.runtime import network, start_publishing
from drills.sandbox.azure.network.simulator import judge
from drills.sandbox.azure.store import store
from drills.sandbox.azure.table import operation
from drills.sandbox.packets import Packet, protocol_number

if TYPE_CHECKING:
    from drills.sandbox.azure.call import Answer, Call
    from drills.sandbox.azure.network.groups import Group
    from drills.sandbox.azure.network.topology import Interface
    from drills.sandbox.azure.store import Item

Json = dict[str, Any]
WATCHERS = "Microsoft.Network/networkWatchers"
_NETWORK = "/subscriptions/{subscription}/resourceGroups/{group}/providers/Microsoft.Network"
WATCHER = f"{_NETWORK}/networkWatchers/{{name}}"
NIC = f"{_NETWORK}/networkInterfaces/{{name}}"
LOGGED = {topology.NETWORKS.lower(), topology.SUBNETS.lower(), topology.NICS.lower()}
ISSUES = {
    "security-group-inbound": "NetworkSecurityRule",
    "security-group-outbound": "NetworkSecurityRule",
    "route-none": "UserDefinedRoute",
    "firewall": "UserDefinedRoute",
    "machine-stopped": "VMNotRunning",
}


def _put_flow_log(_call: Call, item: Item, _before: Item | None) -> None:
    target = store.need(item.properties.get("targetResourceId", ""))
    if target.type.lower() not in LOGGED:
        # "Virtual network flow logs": no new flow logs of network security groups since June 30, 2025.
        message = f"Flow logs cannot be created for {target.type}."
        raise ArmError(400, "NsgFlowLogCreationBlocked", message)
    item.properties.setdefault("enabled", True)
    item.properties.setdefault("targetResourceGuid", str(target.properties.get("resourceGuid", "")))
    start_publishing()


network_type(WATCHERS, "Network Watchers", asynchronous=False)
network_type(FLOW_LOGS, "Flow Logs", on_put=_put_flow_log, needs_location=True)


@operation(
    "arm", "POST", f"{WATCHER}/ipFlowVerify", versions=VERSIONS, action=f"{WATCHERS}/ipFlowVerify/action",
    source="IP flow verify overview",
)  # fmt: skip
def ip_flow_verify(call: Call) -> Answer:
    """Say which rule decides about a packet of a machine."""
    body = call.body
    machine = _running(body["targetResourceId"])
    if body["protocol"] not in ("TCP", "UDP"):
        raise ArmError(400, "InvalidRequestFormat", "IP flow verify knows TCP and UDP only.")
    chosen = body.get("targetNicResourceId") or interfaces_of(machine)[0]
    interface = _interface(chosen)
    outbound = body["direction"] == "Outbound"
    verdict = judge(interface, _packet(body, outbound=outbound), outbound=outbound)
    kind, _, name = verdict.rule.partition("_")
    folder = {"UserRule": "securityRules/", "DefaultRule": "defaultSecurityRules/"}.get(kind, "")
    answer = {"access": "Allow" if verdict.allowed else "Deny", "ruleName": f"{folder}{name or kind}"}
    return lro.accept(call, call.resource_id, lambda: answer)


def _packet(body: Json, *, outbound: bool) -> Packet:
    local = (ip_address(body["localIPAddress"]), int(body["localPort"]))
    remote = (ip_address(body["remoteIPAddress"]), int(body["remotePort"]))
    (source, source_port), (target, port) = (local, remote) if outbound else (remote, local)
    return Packet(protocol_number(body["protocol"]), source, source_port, target, port)


@operation(
    "arm", "POST", f"{WATCHER}/connectivityCheck", versions=VERSIONS,
    action=f"{WATCHERS}/connectivityCheck/action", source="Connection troubleshoot overview", mutating=False,
)  # fmt: skip
def connectivity_check(call: Call) -> Answer:
    """Have a machine try a TCP connection, and tell how far it came."""
    machine = _running(call.body["source"]["resourceId"])
    destination = call.body["destination"]
    nic_id = interfaces_of(machine)[0]
    attempt = network.connect(nic_id, str(destination["address"]), int(destination["port"]))
    if attempt.connection_id:
        network.close(attempt.connection_id)
    answer = {
        "connectionStatus": "Reachable" if attempt.allowed else "Unreachable",
        "probesSent": 3,
        "probesFailed": 0 if attempt.allowed else 3,
        "hops": _hops(machine, attempt.source_address, str(destination["address"]), attempt.reason),
    }
    return lro.accept(call, call.resource_id, lambda: answer)


def _hops(machine: Item, source: str, destination: str, reason: str) -> list[Json]:
    issues = [{"origin": "Local", "severity": "Error", "type": ISSUES.get(reason, "Unknown")}]
    return [
        {
            "type": "Source",
            "id": "1",
            "address": source,
            "resourceId": machine.id,
            "nextHopIds": ["2"],
            "issues": [],
        },
        {"type": "VirtualNetwork", "id": "2", "address": destination, "issues": issues if reason else []},
    ]


@operation(
    "arm", "POST", f"{NIC}/effectiveNetworkSecurityGroups", versions=VERSIONS,
    action=f"{topology.NICS}/effectiveNetworkSecurityGroups/action",
    source="Network REST API, List Effective Network Security Groups",
)  # fmt: skip
def effective_groups(call: Call) -> Answer:
    """Show the rules of every group in force on an interface."""
    interface = _attached(call.resource_id)
    entries = [
        {
            "networkSecurityGroup": {"id": group.id},
            "association": {name: {"id": holder}},
            "effectiveSecurityRules": [_effective(rule) for rule in group.rules],
        }
        for name, holder, group in _in_force(interface)
    ]
    return lro.accept(call, call.resource_id, lambda: {"value": entries})


def _in_force(interface: Interface) -> list[tuple[str, str, Group]]:
    found = [
        ("networkInterface", interface.id, interface.nic_group),
        ("subnet", interface.subnet_id, interface.subnet_group),
    ]
    return [(name, holder, group) for name, holder, group in found if group is not None]


def _effective(rule: Json) -> Json:
    """Return a rule as it is shown when in force: everything is a range."""
    properties = rule["properties"]
    folder = "defaultSecurityRules" if "/defaultSecurityRules/" in rule["id"] else "securityRules"
    shown = {name: value for name, value in properties.items() if name != "provisioningState"}
    for name, value in shown.items():
        if value == "*":
            shown[name] = "All" if name == "protocol" else "0-65535" if "Port" in name else "0.0.0.0/0"
    return {**shown, "name": f"{folder}/{rule['name']}"}


@operation(
    "arm", "POST", f"{NIC}/effectiveRouteTable", versions=VERSIONS,
    action=f"{topology.NICS}/effectiveRouteTable/action",
    source="Network REST API, Get Effective Route Table",
)  # fmt: skip
def effective_routes(call: Call) -> Answer:
    """Show the routes in force on an interface."""
    interface = _attached(call.resource_id)
    entries = [
        {
            "source": each.source,
            "state": "Active",
            "addressPrefix": [str(each.prefix)],
            "nextHopType": each.next_hop,
            "nextHopIpAddress": [each.appliance] if each.appliance else [],
            **({"name": each.name} if each.name else {}),
        }
        for each in interface.routes
    ]
    return lro.accept(call, call.resource_id, lambda: {"value": entries})


def _running(machine_id: str) -> Item:
    machine = store.need(machine_id)
    if power_of(machine) != topology.RUNNING:
        raise ArmError(400, "TargetVmNotRunning", f"Virtual machine {machine.name} is not running.")
    return machine


def _interface(nic_id: str) -> Interface:
    found = topology.interface(nic_id)
    if found is None:
        raise ArmError(404, "ResourceNotFound", f"The Resource '{nic_id}' was not found.")
    return found


def _attached(nic_id: str) -> Interface:
    found = _interface(nic_id)
    if not found.machine_id or not found.running:
        message = f"Network interface {nic_id} is not attached to a running virtual machine."
        raise ArmError(400, "NetworkInterfaceNotAttachedToRunningVm", message)
    return found
