"""Phase 2 on Azure, security groups: what is changed, by whom, for whom, and given back."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any

import pytest

from drills.sandbox.azure.network.build import rule
from firebreak.errors import PermanentCloudError
from firebreak.model import JsonObject
from providers.azure.network.documents import rewrite
from providers.azure.network.quarantinegroup import OWNER_TAG, RULES
from tests.providers.azure.networks import (
    QUARANTINE,
    Ground,
    Steps,
    merged,
    nic,
    quarantine,
    rules_of,
    without_etag,
)


@pytest.fixture
def ground(world: Any) -> Iterator[Ground]:
    yield Ground.made(world)
    world.sandbox.configure(nsg_flush_supported=1)


def test_routes_are_given_back_as_they_were(ground: Ground) -> None:
    ground.world.sandbox.configure(nsg_flush_supported=0)
    table = ground.build.route_table("egress", ("0.0.0.0/0", "Internet", ""))
    ground.build.subnet(ground.watched.network, "own", "10.42.2.0/24", routeTable=table)
    steps = quarantine(ground, nic(ground.second))
    changes = steps.apply(steps.snapshot())
    assert ground.get(ground.own)["properties"]["routeTable"]["id"] != table
    assert steps.revert(changes)[0].holds
    assert ground.get(ground.own)["properties"]["routeTable"]["id"] == table


def test_a_dedicated_subnet_names_whom_its_routes_would_cut(ground: Ground) -> None:
    declared = merged(
        nic(ground.first), {"network": [{"kind": "subnet", "ref": ground.shared, "dedicated": True}]}
    )
    steps = quarantine(ground, declared)
    assert steps.measure.blast_radius(steps.targets[0]) == (ground.peer,)


def test_both_groups_stay_in_force_and_the_owners_group_is_not_touched(ground: Ground) -> None:
    subnet_group = ground.build.security_group("subnet", rule("all", 100, protocol="*"))
    ground.build.subnet(ground.watched.network, "shared", "10.42.1.0/24", networkSecurityGroup=subnet_group)
    steps = quarantine(ground, nic(ground.first))
    before = without_etag(ground.get(ground.group))
    changes = steps.apply(steps.snapshot())
    effective, verified = rules_of(steps.verify(changes))
    assert effective.holds
    assert verified.holds
    assert [each["group"] for each in effective.detail["groups"]] == [changes[0].after["group"], subnet_group]
    assert ground.get(ground.shared)["properties"]["networkSecurityGroup"]["id"] == subnet_group
    after = ground.get(ground.group)
    assert after["properties"]["securityRules"] == before["properties"]["securityRules"]
    assert [each["properties"]["priority"] for each in after["properties"]["securityRules"]] == [100]


@pytest.mark.parametrize(
    "left_out", ["azureplatformimds", "azureplatformdns", "azureplatformlkm", "deny-in", "deny-out"]
)
def test_a_group_that_lacks_one_of_our_rules_is_noticed_and_mended(ground: Ground, left_out: str) -> None:
    steps = quarantine(ground, nic(ground.second))
    states = steps.snapshot()
    (change,) = steps.apply(states)
    group = ground.get(change.after["group"])
    kept = [each for each in group["properties"]["securityRules"] if not each["name"].endswith(left_out)]
    assert len(kept) == len(RULES) - 1
    ground.world.admin().put(
        group["id"], {**group, "properties": {**group["properties"], "securityRules": kept}}, "2025-07-01"
    )
    effective, _ = rules_of(steps.verify([change]))
    assert not effective.holds
    assert steps.apply(states)[0].changed
    effective, verified = rules_of(steps.verify([change]))
    assert effective.holds
    assert verified.holds


def test_a_rule_that_somebody_adds_is_noticed_and_removed(ground: Ground) -> None:
    steps = quarantine(ground, nic(ground.second))
    states = steps.snapshot()
    (change,) = steps.apply(states)
    group = ground.get(change.after["group"])
    rules = [*group["properties"]["securityRules"], rule("back-door", 4000, port="22")]
    ground.world.admin().put(
        group["id"], {**group, "properties": {**group["properties"], "securityRules": rules}}, "2025-07-01"
    )
    assert not rules_of(steps.verify([change]))[0].holds
    assert steps.apply(states)[0].changed
    assert rules_of(steps.verify([change]))[0].holds


def test_a_strangers_group_of_our_name_is_not_used(ground: Ground) -> None:
    steps = quarantine(ground, nic(ground.second))
    (change,) = steps.apply(steps.snapshot())
    name = change.after["group"].rsplit("/", 1)[1]
    assert steps.revert([change])[0].holds
    stranger = ground.build.security_group(name, rule("all", 100, protocol="*"))
    (again,) = steps.apply(steps.snapshot())
    assert again.after["group"] != stranger
    assert rules_of(steps.verify([again]))[0].holds
    assert steps.revert([again])[0].holds
    assert ground.get(stranger)["properties"]["securityRules"][0]["name"] == "all"


def test_a_crash_before_the_swap_is_completed(ground: Ground) -> None:
    steps = quarantine(ground, nic(ground.second))
    states = steps.snapshot()
    fault = {"host": "arm", "operation": "Microsoft.Network/networkInterfaces/write", "times": 1}
    ground.world.sandbox.inject("denied", **fault)
    with pytest.raises(PermanentCloudError, match="AuthorizationFailed"):
        steps.apply(states)
    (change,) = steps.apply(states)
    assert change.before["group"] == ground.group
    assert ground.group_of(ground.second) == change.after["group"]
    assert steps.revert([change])[0].holds
    assert ground.group_of(ground.second) == ground.group


def test_a_second_incident_finds_the_interface_isolated_and_gives_it_back(ground: Ground) -> None:
    first = quarantine(ground, nic(ground.second))
    (state,) = first.snapshot()
    (change,) = first.apply([state])
    second = quarantine(ground, nic(ground.second))
    since = ground.world.sandbox.calls().next
    carried = second.snapshot()[0].model_copy(update={"values": {**state.values}})
    (again,) = second.apply([carried])
    assert not again.changed
    assert again.after["group"] == change.after["group"]
    writes = [
        each for each in ground.world.sandbox.calls(since, mutating=True).calls if each["method"] != "POST"
    ]
    assert writes == []
    assert second.revert([again])[0].holds
    assert ground.group_of(ground.second) == ground.group
    assert ground.get(change.after["group"]) == {}


def test_two_workloads_do_not_share_a_group(ground: Ground) -> None:
    one = quarantine(ground, nic(ground.first), owner="one")
    other = quarantine(ground, nic(ground.second), owner="other")
    (mine,), (theirs,) = one.apply(one.snapshot()), other.apply(other.snapshot())
    tags = {ground.get(each.after["group"])["tags"][OWNER_TAG] for each in (mine, theirs)}
    assert len(tags) == 2
    assert one.revert([mine])[0].holds
    assert rules_of(other.verify([theirs]))[0].holds


def test_a_writer_who_comes_between_is_not_overwritten(ground: Ground) -> None:
    steps = quarantine(ground, nic(ground.second))
    tagged: list[str] = []

    def edit(document: JsonObject) -> None:
        if not tagged:  # somebody else writes between our reading and our writing
            theirs = ground.get(ground.second)
            ground.world.admin().put(ground.second, {**theirs, "tags": {"theirs": "kept"}}, "2025-07-01")
        tagged.append("tried")
        document["properties"]["enableIPForwarding"] = True

    written, changed = rewrite(steps.context.access, ground.second, edit)
    assert changed
    assert len(tagged) == 2
    assert written["tags"] == {"theirs": "kept"}
    assert written["properties"]["enableIPForwarding"] is True


def test_measures_that_change_one_interface_at_one_time_do_not_lose_each_others_change(
    ground: Ground,
) -> None:
    declared = nic(ground.first)
    both = [quarantine(ground, declared), Steps(ground.world, "azure.detach-public-ip", declared)]
    states = [each.snapshot() for each in both]
    with ThreadPoolExecutor(2) as pool:
        changes = list(pool.map(lambda pair: pair[0].apply(pair[1]), zip(both, states, strict=True)))
    assert ground.group_of(ground.first) == changes[0][0].after["group"]
    assert both[1].verify(changes[1])[0].holds
    with ThreadPoolExecutor(2) as pool:
        reverted = list(pool.map(lambda pair: pair[0].revert(pair[1]), zip(both, changes, strict=True)))
    assert all(each.holds for each in (*reverted[0], *reverted[1]))
    assert ground.group_of(ground.first) == ground.group
    assert ground.allowed("internet", ground.public_address())


@pytest.mark.parametrize(
    ("kept", "missing_one"),
    [("network", "no flow-log"), ("evidence_sources", "no canary"), ("", "no flow-log")],
)
def test_missing_instruments_are_named_and_leave_it_unproved(
    ground: Ground, kept: str, missing_one: str
) -> None:
    automatic = replace(ground.build, group=ground.world.group("NetworkWatcherRG"))
    automatic.watcher("NetworkWatcher_westeurope")
    watch = {name: value for name, value in ground.watch().items() if name == kept}
    steps = Steps(ground.world, QUARANTINE, merged(nic(ground.second), watch))
    findings = steps.verify(steps.apply(steps.snapshot()))
    assert all(each.holds for each in rules_of(findings))
    assert any(each.inconclusive and missing_one in each.observed for each in findings)


@pytest.mark.parametrize(
    ("properties", "reason"),
    [
        ({"recordTypes": "D"}, "records D only"),
        ({"enabledFilteringCriteria": "dstPort=80"}, "leaves flows out"),
        ({"enabled": False}, "not enabled"),
    ],
)
def test_a_flow_log_that_hides_traffic_does_not_serve(
    ground: Ground, properties: JsonObject, reason: str
) -> None:
    watched = ground.watched
    watcher = watched.flow_log.split("/")[-3]
    ground.build.flow_log(watcher, "flows", watched.network, watched.account, **properties)
    steps = quarantine(ground, nic(ground.second))
    *_, records = steps.verify(steps.apply(steps.snapshot()))
    assert records.inconclusive
    assert reason in records.observed


def test_a_private_endpoints_interface_is_refused(ground: Ground) -> None:
    endpoint = ground.build.private_endpoint("pe", ground.shared, ground.watched.account)
    (found,) = ground.get(endpoint)["properties"]["networkInterfaces"]
    with pytest.raises(PermanentCloudError, match="privateEndpoints/pe"):
        quarantine(ground, nic(found["id"])).snapshot()


def test_unknown_machines_are_refused(ground: Ground) -> None:
    declared = {"network": [{"kind": "virtual-machine", "ref": f"{ground.machine}-not"}]}
    with pytest.raises(PermanentCloudError, match="the resource does not exist"):
        quarantine(ground, declared)


def test_a_stopped_machine_leaves_it_unproved(ground: Ground) -> None:
    steps = quarantine(ground, nic(ground.second))
    changes = steps.apply(steps.snapshot())
    ground.world.sandbox.arm("POST", f"{ground.machine}/deallocate", "2024-11-01", token=ground.world.token())
    with pytest.raises(PermanentCloudError, match="no running machine"):
        steps.verify(changes)
