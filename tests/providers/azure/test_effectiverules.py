"""Effective rules and IP flow verify, judged: only our group on the very interface, denying everything."""

from __future__ import annotations

from typing import Any

import pytest

from firebreak.model import JsonObject
from providers.azure.network.effectiverules import admitted_ports, judge_flows, judge_rules
from providers.azure.network.quarantinegroup import RULES

BASE = "/subscriptions/00000000-0000-4000-8000-000000000001/resourceGroups/g/providers/Microsoft.Network"
NIC, GROUP = f"{BASE}/networkInterfaces/n", f"{BASE}/networkSecurityGroups/q"


def shown(rule: JsonObject, **changes: Any) -> JsonObject:
    return {"name": f"securityRules/{rule['name']}", **rule["properties"], **changes}


def answer(
    *rules: JsonObject, nic: str = NIC, group: str = GROUP, at: str = "networkInterface"
) -> JsonObject:
    entry = {
        "networkSecurityGroup": {"id": group},
        "association": {at: {"id": nic}},
        "effectiveSecurityRules": list(rules),
    }
    return {"value": [entry]}


OURS = [shown(each) for each in RULES]
DEFAULT_ALLOW = {**OURS[0], "name": "defaultSecurityRules/AllowVnet", "access": "Allow", "priority": 65000}


def test_our_rules_hold_however_the_service_writes_them() -> None:
    ranges: JsonObject = {
        "protocol": "All",
        "sourceAddressPrefix": "0.0.0.0/0",
        "sourcePortRange": "0-65535",
        "destinationPortRange": "0-65535",
    }
    written = [shown(each, **ranges) for each in RULES]
    for rule in written:
        if rule["destinationAddressPrefix"] == "*":
            rule["destinationAddressPrefix"] = None
            rule["destinationAddressPrefixes"] = ["0.0.0.0/0", "::/0"]
    assert judge_rules(answer(*OURS, DEFAULT_ALLOW), NIC, GROUP).holds
    assert judge_rules(answer(*written), NIC.upper(), GROUP.lower()).holds


@pytest.mark.parametrize(
    "found",
    [
        {},
        {"value": []},
        answer(*OURS, at="subnet"),
        answer(*OURS, nic=f"{NIC}2"),
        answer(*OURS, group=f"{GROUP}2"),
        *(answer(*(each for each in OURS if each is not left_out)) for left_out in OURS),
        answer(*OURS, {**OURS[0], "access": "Allow", "priority": 4096}),
        answer({**OURS[0], "protocol": "Tcp"}, *OURS[1:]),
        answer({**OURS[0], "sourceAddressPrefix": "10.0.0.0/8"}, *OURS[1:]),
        answer({**OURS[0], "destinationPortRange": "0-1023"}, *OURS[1:]),
    ],
)
def test_anything_less_does_not_hold(found: JsonObject) -> None:
    assert not judge_rules(found, NIC, GROUP).holds


def test_ports_that_rules_let_in_are_found() -> None:
    open_rules: list[JsonObject] = [
        {"access": "Allow", "direction": "Inbound", "protocol": "Tcp", "destinationPortRange": "8080-8080"},
        {
            "access": "Allow",
            "direction": "Inbound",
            "protocol": "Tcp",
            "destinationPortRanges": ["22", "1-9"],
        },
        {"access": "Deny", "direction": "Inbound", "protocol": "Tcp", "destinationPortRange": "80"},
        {"access": "Allow", "direction": "Outbound", "protocol": "Tcp", "destinationPortRange": "81"},
        {"access": "Allow", "direction": "Inbound", "protocol": "Udp", "destinationPortRange": "53"},
    ]
    assert admitted_ports(answer(*open_rules)) == [8080, 22]


def test_every_packet_must_be_denied() -> None:
    deny, allow = {"access": "Deny", "ruleName": "x"}, {"access": "Allow", "ruleName": "y"}
    assert judge_flows([("a", deny), ("b", deny)]).holds
    assert not judge_flows([]).holds
    assert not judge_flows([("a", {})]).holds
    refuted = judge_flows([("to a", deny), ("to b", allow)])
    assert not refuted.holds
    assert "to b" in refuted.observed
