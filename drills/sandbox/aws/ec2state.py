"""Read the emulator's EC2 and Network Firewall state as the rules the packet simulator applies."""

from __future__ import annotations

from ipaddress import ip_address, ip_network
from typing import TYPE_CHECKING, Any

from moto.ec2.models import ec2_backends

from drills.sandbox.aws.packets import AclEntry, GroupRule, Interface
from drills.sandbox.packets import protocol_number

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from drills.sandbox.aws.firewall import Firewall
    from drills.sandbox.packets import IPAddress, IPNetwork


class Ec2Rules:
    """The `Rules` of the simulator, read from the emulator at every call. The caller holds its lock."""

    def __init__(self, firewall_of: Callable[[str], Firewall | None]) -> None:
        """Take network interfaces from the emulator and firewalls from `firewall_of(vpc_id)`."""
        self._firewall_of = firewall_of

    def interface(self, interface_id: str) -> Interface | None:
        """Return the interface as it is now, or None when it does not exist."""
        for backend in backends():
            eni = backend.enis.get(interface_id)
            if eni is not None:
                return describe_interface(backend, eni)
        return None

    def interface_at(self, address: IPAddress, vpc_id: str | None) -> Interface | None:
        """Return the owner of a private address in the VPC, or of a public address anywhere."""
        text = str(address)
        for backend, eni in all_interfaces():
            inside = eni.vpc_id == vpc_id and text in _private_texts(eni)
            if inside or eni.public_ip == text or text in (eni.ipv6_addresses or ()):
                return describe_interface(backend, eni)
        return None

    def firewall(self, vpc_id: str) -> Firewall | None:
        """Return the firewall that inspects the VPC's traffic, if there is one."""
        return self._firewall_of(vpc_id)


def backends() -> Iterator[Any]:
    """Yield the EC2 backend of every account and region in use."""
    for _account_id, _region, backend in ec2_backends.iter_backends():
        yield backend


def all_interfaces() -> Iterator[tuple[Any, Any]]:
    """Yield every (backend, network interface) of the emulator."""
    for backend in backends():
        for eni in list(backend.enis.values()):
            yield backend, eni


def describe_interface(backend: Any, eni: Any) -> Interface:
    """Return one network interface with its groups, ACLs and internet path as they are now."""
    acl = _acl_of(backend, eni.subnet.id)
    internet, nat = _internet_path(backend, eni.subnet)
    groups = list(eni.group_set)
    return Interface(
        id=eni.id,
        account_id=backend.account_id,
        region=backend.region_name,
        vpc_id=eni.vpc_id,
        subnet_id=eni.subnet.id,
        address=ip_address(eni.private_ip_address),
        addresses=frozenset(ip_address(text) for text in _private_texts(eni)),
        public_address=ip_address(eni.public_ip) if eni.public_ip else None,
        nat_address=nat,
        internet_route=internet,
        running=eni.instance is None or eni.instance._state.name == "running",
        ingress=tuple(_group_rule(backend, rule) for group in groups for rule in group.ingress_rules),
        egress=tuple(_group_rule(backend, rule) for group in groups for rule in group.egress_rules),
        acl_ingress=tuple(_acl_entry(entry) for entry in acl if not _is_egress(entry)),
        acl_egress=tuple(_acl_entry(entry) for entry in acl if _is_egress(entry)),
    )


def _private_texts(eni: Any) -> list[str]:
    return [item["PrivateIpAddress"] for item in eni.private_ip_addresses] + list(eni.ipv6_addresses or ())


def _group_rule(backend: Any, rule: Any) -> GroupRule:
    return GroupRule(
        protocol_number(rule.ip_protocol), rule.from_port, rule.to_port, tuple(_peers(backend, rule))
    )


def _peers(backend: Any, rule: Any) -> Iterator[IPNetwork]:
    for cidr in (rule.cidr_ipv4, rule.cidr_ipv6):
        if cidr:
            yield ip_network(cidr, strict=False)
    group_id = (rule.source_group or {}).get("GroupId")
    if group_id:
        yield from _members(backend, group_id)


def _members(backend: Any, group_id: str) -> Iterator[IPNetwork]:
    for eni in list(backend.enis.values()):
        if any(group.id == group_id for group in eni.group_set):
            yield from (ip_network(text) for text in _private_texts(eni))


def _acl_of(backend: Any, subnet_id: str) -> list[Any]:
    for acl in list(backend.network_acls.values()):
        if any(item.subnet_id == subnet_id for item in acl.associations):
            return list(acl.network_acl_entries)
    return []


def _is_egress(entry: Any) -> bool:
    return str(entry.egress).lower() == "true"


def _acl_entry(entry: Any) -> AclEntry:
    return AclEntry(
        number=int(entry.rule_number),
        protocol=protocol_number(entry.protocol),
        allow=entry.rule_action == "allow",
        network=ip_network(entry.cidr_block or entry.ipv6_cidr_block, strict=False),
        from_port=_port(entry.port_range_from),
        to_port=_port(entry.port_range_to),
    )


def _port(value: Any) -> int | None:
    return None if value is None else int(value)


def _internet_path(backend: Any, subnet: Any) -> tuple[bool, IPAddress | None]:
    """Tell whether the subnet's default route leads out, and through which NAT address."""
    table = _route_table(backend, subnet)
    route = (
        table.routes and next((item for item in table.routes if _is_default_route(item)), None)
        if table
        else None
    )
    if not route:
        # AWS creates a default VPC with an internet gateway and a route to it; the emulator does not.
        return _in_default_vpc(backend, subnet), None
    if route.nat_gateway is not None:
        return True, _nat_address(route.nat_gateway)
    return str(route.gateway_id or "").startswith("igw-"), None


def _is_default_route(route: Any) -> bool:
    return bool(route.destination_cidr_block == "0.0.0.0/0")


def _in_default_vpc(backend: Any, subnet: Any) -> bool:
    vpc = backend.vpcs.get(subnet.vpc_id)
    return vpc is not None and str(vpc.is_default).lower() == "true"


def _route_table(backend: Any, subnet: Any) -> Any:
    tables = [table for table in list(backend.route_tables.values()) if table.vpc_id == subnet.vpc_id]
    explicit = next(
        (table for table in tables if any(a.get("SubnetId") == subnet.id for a in table.associations)), None
    )
    return explicit or next((table for table in tables if table.main_association_id), None)


def _nat_address(gateway: Any) -> IPAddress | None:
    public = gateway._eni.public_ip
    return ip_address(public) if public else None
