"""ARM ids are compared by whole segments and without regard to case."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from providers.azure.ids import ResourceId, same
from providers.azure.resources.declared import arm_id

SUBSCRIPTION = "11111111-1111-4111-8111-111111111111"
GROUP = f"/subscriptions/{SUBSCRIPTION}/resourceGroups/rg-agents"
NIC = f"{GROUP}/providers/Microsoft.Network/networkInterfaces/nic1"
SUBNET = f"{GROUP}/providers/Microsoft.Network/virtualNetworks/vnet/subnets/default"
LOCK = f"{NIC}/providers/Microsoft.Authorization/locks/firebreak"


def test_the_parts_of_a_nested_resource() -> None:
    found = ResourceId.parse(SUBNET)
    assert (found.subscription, found.group, found.provider) == (
        SUBSCRIPTION,
        "rg-agents",
        "Microsoft.Network",
    )
    assert (found.type, found.name) == ("Microsoft.Network/virtualNetworks/subnets", "default")
    assert found.part("virtualnetworks") == "vnet"
    assert str(found) == SUBNET


def test_parents_lead_to_the_subscription() -> None:
    parents = []
    place: ResourceId | None = ResourceId.parse(SUBNET)
    while place is not None:
        parents.append(str(place))
        place = place.parent
    assert parents == [SUBNET, SUBNET.rpartition("/subnets/")[0], GROUP, f"/subscriptions/{SUBSCRIPTION}"]


def test_an_extension_resource_belongs_to_what_it_extends() -> None:
    lock = ResourceId.parse(LOCK)
    assert (lock.type, lock.name) == ("Microsoft.Authorization/locks", "firebreak")
    assert lock.parent == ResourceId.parse(NIC)


def test_casing_makes_no_difference() -> None:
    assert same(NIC, NIC.upper())
    assert len({ResourceId.parse(NIC), ResourceId.parse(NIC.lower())}) == 1


@pytest.mark.parametrize("other", [f"{NIC}0", NIC[:-1], f"{NIC}/ipConfigurations/a", GROUP, "", "nic1"])
def test_what_merely_begins_or_ends_alike_is_another_resource(other: str) -> None:
    assert not same(NIC, other)


def test_scope_is_by_segment() -> None:
    assert ResourceId.parse(NIC).is_under(GROUP.lower())
    assert ResourceId.parse(NIC).is_under(NIC)
    assert not ResourceId.parse(NIC).is_under(GROUP[:-1])
    assert not ResourceId.parse(GROUP).is_under(NIC)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "/",
        "nic",
        "subscriptions/x/y",
        "//subscriptions/x",
        f"{NIC}/..",
        f"{NIC}?x=1",
        f"{NIC} a",
        f"{NIC}\n",
        f"{GROUP}//x/y",
    ],
)
def test_what_is_no_id_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="is not an ARM resource id"):
        ResourceId.parse(text)


def test_the_pattern_of_a_type_is_strict_about_everything_but_casing() -> None:
    pattern = re.compile(f"^{arm_id('Microsoft.Network/networkInterfaces')}$")
    assert pattern.match(NIC)
    assert pattern.match(NIC.replace("networkInterfaces", "NETWORKINTERFACES"))
    assert not pattern.match(f"{NIC}/x")
    assert not pattern.match(NIC.replace("Microsoft.Network", "MicrosoftXNetwork"))
    assert not pattern.match(SUBNET)


names = st.text("abcXYZ019-_.", min_size=1, max_size=12).filter(lambda text: text not in {".", ".."})


@given(st.lists(names, min_size=1, max_size=4), st.lists(names, min_size=1, max_size=4))
def test_two_ids_are_the_same_exactly_when_their_segments_are(mine: list[str], theirs: list[str]) -> None:
    one, other = (f"{GROUP}/{'/'.join(each)}" for each in (mine, theirs))
    assert same(one, other) == ([x.lower() for x in mine] == [x.lower() for x in theirs])
