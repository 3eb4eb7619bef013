"""The packet simulator: security groups with tracking, ACLs, public addresses and firewalls."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from ipaddress import ip_address, ip_network
from typing import TYPE_CHECKING

import pytest

from drills.sandbox.aws.firewall import Firewall, RuleSyntaxError, parse_suricata
from drills.sandbox.aws.network import Network
from drills.sandbox.aws.packets import AclEntry, GroupRule, Interface, acl_allows
from drills.sandbox.connections import UnknownSourceError
from drills.sandbox.packets import ANY_PROTOCOL, ICMP, TCP, UDP, Observation, Packet

if TYPE_CHECKING:
    from drills.sandbox.packets import IPAddress

EVERYONE = (ip_network("0.0.0.0/0"),)
INSIDE = (ip_network("10.0.0.0/16"),)
ANY_RULE = GroupRule(ANY_PROTOCOL, None, None, EVERYONE)
OPEN_ACL = (AclEntry(100, ANY_PROTOCOL, allow=True, network=EVERYONE[0]),)
OUTSIDE = "203.0.113.9"


def interface(name: str, address: str, subnet: str, public: str | None = None) -> Interface:
    return Interface(
        id=name,
        account_id="222222222222",
        region="eu-central-1",
        vpc_id="vpc-1",
        subnet_id=subnet,
        address=ip_address(address),
        addresses=frozenset({ip_address(address)}),
        public_address=ip_address(public) if public else None,
        ingress=(GroupRule(TCP, 443, 443, INSIDE),),
        egress=(ANY_RULE,),
        acl_ingress=OPEN_ACL,
        acl_egress=OPEN_ACL,
    )


@dataclass
class World:
    """A tiny VPC whose rules a test edits in place, and everything its interfaces saw."""

    interfaces: dict[str, Interface] = field(default_factory=dict)
    firewalls: dict[str, Firewall] = field(default_factory=dict)
    seen: list[Observation[Interface]] = field(default_factory=list)
    now: float = 1_000.0

    def interface(self, interface_id: str) -> Interface | None:
        return self.interfaces.get(interface_id)

    def interface_at(self, address: IPAddress, vpc_id: str | None) -> Interface | None:
        for item in self.interfaces.values():
            if item.public_address == address or (item.vpc_id == vpc_id and address in item.addresses):
                return item
        return None

    def firewall(self, vpc_id: str) -> Firewall | None:
        return self.firewalls.get(vpc_id)

    def change(self, name: str, **values: object) -> None:
        self.interfaces[name] = replace(self.interfaces[name], **values)  # type: ignore[arg-type]

    def actions(self, name: str) -> list[str]:
        return ["ACCEPT" if item.accepted else "REJECT" for item in self.seen if item.interface.id == name]


@pytest.fixture
def world() -> World:
    agent = interface("eni-agent", "10.0.1.10", "subnet-public", "203.0.113.50")
    peer = interface("eni-peer", "10.0.1.20", "subnet-public")
    store = interface("eni-store", "10.0.2.30", "subnet-private")
    return World({item.id: item for item in (agent, peer, store)})


@pytest.fixture
def network(world: World) -> Network:
    return Network(world, world.seen.append, clock=lambda: world.now)


def established(network: Network, source: str = "eni-agent", to: str = OUTSIDE) -> str:
    attempt = network.connect(source, to, 443)
    assert attempt.connection_id, attempt.reason
    return attempt.connection_id


def delivered(network: Network, connection_id: str) -> bool:
    delivery = network.send(connection_id)
    assert delivery is not None
    return delivery.delivered


def quarantine(world: World, network: Network, name: str, *, through_open_group: bool) -> None:
    if through_open_group:
        world.change(name, ingress=(ANY_RULE,), egress=(ANY_RULE,))
        network.rules_changed()
    world.change(name, ingress=(), egress=())
    network.rules_changed()


def test_group_without_rules_rejects_new_connections_and_records_it(world: World, network: Network) -> None:
    assert network.connect("eni-agent", OUTSIDE, 443).allowed
    quarantine(world, network, "eni-agent", through_open_group=False)
    attempt = network.connect("eni-agent", OUTSIDE, 443)
    assert (attempt.allowed, attempt.reason) == (False, "security-group-egress")
    assert world.actions("eni-agent") == ["ACCEPT", "ACCEPT", "REJECT"]


def test_tracked_connection_survives_a_direct_swap(world: World, network: Network) -> None:
    connection_id = established(network)
    quarantine(world, network, "eni-agent", through_open_group=False)
    assert delivered(network, connection_id)
    assert world.actions("eni-agent")[-2:] == ["ACCEPT", "ACCEPT"]


def test_two_step_swap_cuts_a_tracked_connection(world: World, network: Network) -> None:
    connection_id = established(network)
    quarantine(world, network, "eni-agent", through_open_group=True)
    assert not delivered(network, connection_id)
    assert world.actions("eni-agent")[-1] == "REJECT"


def test_two_step_swap_cuts_inbound_connections_too(world: World, network: Network) -> None:
    connection_id = established(network, "eni-peer", "10.0.1.10")
    quarantine(world, network, "eni-agent", through_open_group=True)
    assert not delivered(network, connection_id)


def test_flow_open_both_ways_is_untracked_and_cut_by_a_direct_swap(world: World, network: Network) -> None:
    world.change("eni-agent", ingress=(ANY_RULE,))
    connection_id = established(network)
    quarantine(world, network, "eni-agent", through_open_group=False)
    assert not delivered(network, connection_id)


def test_inbound_port_open_to_everyone_is_untracked(world: World, network: Network) -> None:
    """The example of the user guide: inbound TCP 80 from 0.0.0.0/0 with all outbound traffic."""
    world.change("eni-agent", ingress=(GroupRule(TCP, 443, 443, EVERYONE),))
    inbound = network.connect("internet", "203.0.113.50", 443)
    outbound = established(network)
    quarantine(world, network, "eni-agent", through_open_group=False)
    assert inbound.connection_id
    assert not delivered(network, inbound.connection_id)
    assert delivered(network, outbound)


def test_icmp_is_always_tracked(world: World, network: Network) -> None:
    world.change("eni-agent", ingress=(ANY_RULE,))
    attempt = network.connect("eni-agent", OUTSIDE, 0, protocol=ICMP)
    quarantine(world, network, "eni-agent", through_open_group=True)
    assert attempt.connection_id
    assert delivered(network, attempt.connection_id)


def test_answers_need_no_rule_of_their_own(world: World, network: Network) -> None:
    world.change("eni-peer", egress=())
    assert network.connect("eni-agent", "10.0.1.20", 443).allowed


def test_acl_deny_cuts_at_once_in_both_directions(world: World, network: Network) -> None:
    connection_id = established(network)
    world.change("eni-agent", acl_egress=())
    assert not delivered(network, connection_id)
    world.change("eni-agent", acl_egress=OPEN_ACL, acl_ingress=())
    delivery = network.send(connection_id)
    assert delivery is not None
    assert (delivery.delivered, delivery.acknowledged, delivery.reason) == (
        True,
        False,
        "network-acl-ingress",
    )


def test_acl_does_not_apply_within_a_subnet(world: World, network: Network) -> None:
    world.change("eni-peer", acl_ingress=())
    world.change("eni-store", acl_ingress=())
    assert network.connect("eni-agent", "10.0.1.20", 443).allowed
    attempt = network.connect("eni-agent", "10.0.2.30", 443)
    assert attempt.reason == "network-acl-ingress"
    assert world.actions("eni-store") == ["REJECT"]
    assert world.actions("eni-agent")[-1] == "ACCEPT"


def test_lowest_numbered_acl_entry_decides() -> None:
    deny = AclEntry(10, TCP, allow=False, network=ip_network("10.0.0.0/8"), from_port=443, to_port=443)
    entries = (*OPEN_ACL, deny)
    assert not acl_allows(entries, TCP, 443, ip_address("10.1.1.1"))
    assert acl_allows(entries, TCP, 80, ip_address("10.1.1.1"))
    assert acl_allows(entries, UDP, 443, ip_address("10.1.1.1"))
    assert not acl_allows((), TCP, 80, ip_address("10.1.1.1"))


@pytest.mark.parametrize("now_public", [None, "203.0.113.77"])
def test_losing_or_changing_the_public_address_cuts_internet_flows(
    world: World, network: Network, now_public: str | None
) -> None:
    outbound = established(network)
    inside = established(network, "eni-agent", "10.0.1.20")
    world.change("eni-agent", public_address=ip_address(now_public) if now_public else None)
    assert not delivered(network, outbound)
    assert delivered(network, inside)


def test_interface_without_internet_path_cannot_connect_out(world: World, network: Network) -> None:
    assert network.connect("eni-store", OUTSIDE, 443).reason == "no-internet-path"
    world.change("eni-agent", internet_route=False)
    assert network.connect("eni-agent", OUTSIDE, 443).reason == "no-internet-path"


def test_nat_address_lets_out_and_not_in(world: World, network: Network) -> None:
    world.change("eni-store", nat_address=ip_address("203.0.113.99"), ingress=(ANY_RULE,))
    assert network.connect("eni-store", OUTSIDE, 443).allowed
    assert network.connect("internet", "203.0.113.99", 443).reason == "unreachable"


def test_connection_through_nat_stays_tracked_until_a_network_acl_cuts_it(
    world: World, network: Network
) -> None:
    """EC2 user guide, "Automatically tracked connections"."""
    world.change("eni-store", nat_address=ip_address("203.0.113.99"), ingress=(ANY_RULE,))
    connection_id = established(network, "eni-store")
    inside = established(network, "eni-store", "10.0.1.20")
    quarantine(world, network, "eni-store", through_open_group=True)
    assert delivered(network, connection_id)
    assert not delivered(network, inside)
    assert not network.connect("eni-store", OUTSIDE, 443).allowed
    world.change("eni-store", acl_egress=())
    assert not delivered(network, connection_id)


def test_inbound_from_the_internet_is_recorded_with_the_private_address(
    world: World, network: Network
) -> None:
    network.connect("internet", "203.0.113.50", 22, source_address="198.51.100.77")
    packet = world.seen[-1].packet
    assert (str(packet.source), str(packet.destination)) == ("198.51.100.77", "10.0.1.10")
    assert world.actions("eni-agent") == ["REJECT"]


def test_reaching_a_neighbour_by_its_public_address_goes_through_the_internet(
    world: World, network: Network
) -> None:
    world.change("eni-peer", public_address=ip_address("203.0.113.60"), ingress=(ANY_RULE,))
    attempt = network.connect("eni-agent", "203.0.113.60", 443)
    arrived = next(item.packet for item in world.seen if item.interface.id == "eni-peer")
    assert attempt.allowed
    assert (str(arrived.source), str(arrived.destination)) == ("203.0.113.50", "10.0.1.20")


def test_unowned_private_address_and_unknown_interface(network: Network) -> None:
    assert network.connect("eni-agent", "10.0.1.200", 443).reason == "unreachable"
    with pytest.raises(UnknownSourceError):
        network.connect("eni-gone", OUTSIDE, 443)


def test_stopped_instance_and_deleted_interface_send_nothing(world: World, network: Network) -> None:
    connection_id = established(network)
    world.change("eni-agent", running=False)
    delivery = network.send(connection_id)
    assert delivery is not None
    assert delivery.reason == "instance-stopped"
    del world.interfaces["eni-agent"]
    delivery = network.send(connection_id)
    assert delivery is not None
    assert delivery.reason == "interface-missing"


def test_unknown_connection_and_reset(network: Network) -> None:
    connection_id = established(network)
    network.reset()
    assert network.send(connection_id) is None


GROUP = "arn:aws:network-firewall:eu-central-1:222222222222:stateful-rulegroup/drop"


def firewall(rules: dict[str, object], **policy: object) -> Firewall:
    reference = {"StatefulRuleGroupReferences": [{"ResourceArn": GROUP, "Priority": 1}]}
    return Firewall({**reference, **policy}, {GROUP: rules})


def suricata(text: str) -> dict[str, object]:
    return {"RulesSource": {"RulesString": text}}


DROP_AGENT = suricata('drop ip 10.0.1.10 any -> any any (msg:"contain"; sid:1; rev:1;)')


def test_firewall_drop_blocks_new_flows_and_leaves_no_reject(world: World, network: Network) -> None:
    world.firewalls["vpc-1"] = firewall(DROP_AGENT)
    assert network.connect("eni-agent", OUTSIDE, 443).reason == "firewall"
    assert world.actions("eni-agent") == ["ACCEPT"]


def test_traffic_inside_the_vpc_takes_the_local_route_past_the_firewall(
    world: World, network: Network
) -> None:
    world.firewalls["vpc-1"] = firewall(DROP_AGENT)
    assert network.connect("eni-agent", "10.0.2.30", 443).allowed


def test_stateful_rules_spare_established_flows_and_stateless_rules_do_not(
    world: World, network: Network
) -> None:
    connection_id = established(network)
    world.firewalls["vpc-1"] = firewall(DROP_AGENT)
    assert delivered(network, connection_id)
    stateless = "arn:aws:network-firewall:eu-central-1:222222222222:stateless-rulegroup/drop"
    rule = {
        "Priority": 1,
        "RuleDefinition": {
            "MatchAttributes": {"Sources": [{"AddressDefinition": "10.0.1.10/32"}]},
            "Actions": ["aws:drop"],
        },
    }
    groups = {stateless: {"RulesSource": {"StatelessRulesAndCustomActions": {"StatelessRules": [rule]}}}}
    references = {"StatelessRuleGroupReferences": [{"ResourceArn": stateless, "Priority": 1}]}
    world.firewalls["vpc-1"] = Firewall(references, groups)
    assert not delivered(network, connection_id)


def packet(source: str, destination: str, port: int = 443) -> Packet:
    return Packet(TCP, ip_address(source), 40_000, ip_address(destination), port)


@pytest.mark.parametrize(
    ("rules", "policy", "passes"),
    [
        (suricata("drop tcp any any -> 198.51.100.0/24 443 (sid:1;)"), {}, False),
        (suricata("drop tcp any any -> 198.51.100.0/24 !443 (sid:1;)"), {}, True),
        (suricata("drop tcp any any -> any 1:442 (sid:1;)"), {}, True),
        (suricata("drop tcp any any -> any [80,443] (sid:1;)"), {}, False),
        (suricata("drop udp any any -> any any (sid:1;)"), {}, True),
        (suricata("drop ip 198.51.100.10 any <> any any (sid:1;)"), {}, False),
        (suricata("drop ip 198.51.100.10 any -> any any (sid:1;)"), {}, True),
        (suricata("alert ip any any -> any any (sid:1;)"), {}, True),
        (suricata("drop ip any any -> any any (sid:1;)\npass ip any any -> any any (sid:2;)"), {}, True),
        (
            suricata("drop ip any any -> any any (sid:1;)\npass ip any any -> any any (sid:2;)"),
            {"StatefulEngineOptions": {"RuleOrder": "STRICT_ORDER"}},
            False,
        ),
        (
            suricata("alert ip any any -> any any (sid:1;)"),
            {
                "StatefulEngineOptions": {"RuleOrder": "STRICT_ORDER"},
                "StatefulDefaultActions": ["aws:drop_strict"],
            },
            False,
        ),
        (
            {
                "RulesSource": {"RulesString": "drop ip $BAD any -> any any (sid:1;)"},
                "RuleVariables": {"IPSets": {"BAD": {"Definition": ["10.0.1.0/24"]}}},
            },
            {},
            False,
        ),
        (
            {
                "RulesSource": {
                    "StatefulRules": [
                        {
                            "Action": "DROP",
                            "Header": {
                                "Protocol": "IP",
                                "Source": "10.0.1.10/32",
                                "SourcePort": "ANY",
                                "Direction": "ANY",
                                "Destination": "ANY",
                                "DestinationPort": "ANY",
                            },
                            "RuleOptions": [{"Keyword": "sid", "Settings": ["1"]}],
                        }
                    ]
                }
            },
            {},
            False,
        ),
    ],
)
def test_firewall_rules(rules: dict[str, object], policy: dict[str, object], *, passes: bool) -> None:
    judged = firewall(rules, **policy)
    assert judged.passes(packet("10.0.1.10", "198.51.100.10"), established=False) is passes


def test_illegal_suricata_rule_is_refused() -> None:
    with pytest.raises(RuleSyntaxError):
        parse_suricata("drop everything")
