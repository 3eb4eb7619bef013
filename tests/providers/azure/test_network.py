"""Phase 2 on Azure, security groups, against the sandbox's packet simulator: real, proved, reverted."""

from __future__ import annotations

import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any

import pytest

from drills.sandbox.azure.network.build import rule
from firebreak.errors import PermanentCloudError
from firebreak.measure import measure
from firebreak.model import Finding, JsonObject, Method
from providers.azure.network.documents import rewrite
from providers.azure.network.quarantinegroup import OWNER_TAG, RULES
from providers.azure.permissions import missing
from tests.providers.azure.networks import DESTRUCTIVE, OUTSIDE, Ground, Steps, merged

NAME = "azure.quarantine-nsg"
IMDS = "169.254.169.254"


@pytest.fixture(scope="module", autouse=True)
def quick(world: Any) -> Iterator[None]:
    world.sandbox.configure(flow_aggregation_seconds=1, flow_delivery_seconds=0.2)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("providers.azure.arm.POLL_SECONDS", 0.02)
        yield
    world.sandbox.configure(flow_aggregation_seconds=60, flow_delivery_seconds=0, nsg_flush_supported=1)


@pytest.fixture
def ground(world: Any) -> Ground:
    world.sandbox.configure(nsg_flush_supported=1)
    return Ground.made(world)


def nic(ref: str) -> dict[str, list[JsonObject]]:
    return {"network": [{"kind": "network-interface", "ref": ref}]}


def machine(ground: Ground) -> dict[str, list[JsonObject]]:
    return {"network": [{"kind": "virtual-machine", "ref": ground.machine}]}


def quarantine(ground: Ground, declared: dict[str, list[JsonObject]], **choices: Any) -> Steps:
    return Steps(ground.world, NAME, merged(declared, ground.watch()), **choices)


def without_etag(document: JsonObject) -> JsonObject:
    return {name: value for name, value in document.items() if name != "etag"}


def rules_of(findings: list[Finding]) -> tuple[Finding, Finding]:
    effective, verified = (each for each in findings if each.method is Method.EFFECTIVE_POLICY)
    return effective, verified


def test_every_interface_is_isolated_proved_and_given_back(ground: Ground) -> None:
    steps = quarantine(ground, machine(ground))
    assert [each.ref for each in steps.targets] == [ground.first, ground.second]
    assert {each.parent for each in steps.targets} == {ground.machine}
    before = [without_etag(ground.get(each)) for each in (ground.first, ground.second, ground.group)]
    open_flows = [
        ground.opened(ground.first, "10.42.1.20"),
        ground.opened(ground.first, OUTSIDE),
        ground.opened(ground.peer, "10.42.2.10"),
        ground.opened("internet", ground.public_address()),
    ]
    since = ground.world.sandbox.calls().next
    states = steps.snapshot()
    changes = steps.apply(states)
    assert all(each.changed for each in changes)
    assert not any(ground.delivered(each) for each in open_flows)
    for address in ("10.42.1.10", "10.42.1.11", "10.42.2.10"):
        assert not ground.allowed(ground.peer, address)
    assert not ground.allowed("internet", ground.public_address())
    assert not ground.allowed(ground.first, OUTSIDE)
    assert not ground.allowed(ground.second, IMDS, 80)
    methods = [each.method for each in steps.proved(changes)]
    assert set(methods) == {
        Method.EFFECTIVE_POLICY,
        Method.CONFIGURATION,
        Method.LIVE_PROBE,
        Method.LOG_EVIDENCE,
    }
    assert not any(each.changed for each in steps.apply(states))
    assert all(each.holds for each in steps.revert(changes))
    assert all(each.holds for each in steps.revert(changes))
    after = [without_etag(ground.get(each)) for each in (ground.first, ground.second, ground.group)]
    assert after == before
    assert not any(ground.get(each.after["group"]) for each in changes)
    assert ground.allowed(ground.first, "10.42.1.20")
    made = ground.world.sandbox.calls(since, mutating=True).calls
    assert not [each for each in made if any(word in str(each) for word in DESTRUCTIVE)]


def test_without_the_change_nothing_is_proved(ground: Ground) -> None:
    steps = quarantine(ground, nic(ground.first))
    (state,) = steps.snapshot()
    spare = ground.build.security_group("spare")
    pretended = steps.measure.done(state.target, state, changed=True, group=spare, flushed=False)
    deadline = time.monotonic() + 4
    findings: tuple[Finding, ...] = ()
    while time.monotonic() < deadline:
        findings = steps.measure.verify(state.target, pretended)
        assert not any(each.holds for each in findings)
    probe = next(each for each in findings if each.method is Method.LIVE_PROBE)
    assert not probe.inconclusive


def test_an_established_flow_that_survives_is_not_proved(ground: Ground) -> None:
    """Where the service does not flush and others share the subnet, nothing cuts it: the proof says so."""
    ground.world.sandbox.configure(nsg_flush_supported=0)
    steps = quarantine(ground, nic(ground.first))
    connection = ground.opened(ground.first, "10.42.1.20")
    changes = steps.apply(steps.snapshot())
    assert changes[0].after["flushed"] is False
    assert steps.measure.blast_radius(steps.targets[0]) == ()
    deadline = time.monotonic() + 15
    findings: list[Finding] = []
    while time.monotonic() < deadline:
        assert ground.delivered(connection)
        findings = steps.verify(changes)
        assert not any(each.holds for each in findings if each.method is Method.LOG_EVIDENCE)
    assert all(each.holds for each in rules_of(findings))
    assert all(each.holds for each in findings if each.method is Method.LIVE_PROBE)
    established = next(each for each in findings if each.method is Method.CONFIGURATION)
    assert not established.holds
    assert ground.peer in established.detail["shared_with"]
    assert not any(each.changed for each in steps.apply(steps.snapshot()))


def test_routes_to_nowhere_cut_what_the_service_does_not_flush(ground: Ground) -> None:
    ground.world.sandbox.configure(nsg_flush_supported=0)
    steps = quarantine(ground, nic(ground.second))
    inbound = ground.opened(ground.peer, "10.42.2.10")
    outbound = ground.opened(ground.second, OUTSIDE)
    before = [without_etag(ground.get(each)) for each in (ground.own, ground.second)]
    states = steps.snapshot()
    changes = steps.apply(states)
    assert not ground.delivered(inbound)
    assert not ground.delivered(outbound)
    findings = steps.proved(changes)
    established = next(each for each in findings if each.method is Method.CONFIGURATION)
    assert established.detail == {"flushed": False, "routed": True, "shared_with": []}
    assert not any(each.changed for each in steps.apply(states))
    assert all(each.holds for each in steps.revert(changes))
    assert all(each.holds for each in steps.revert(changes))
    assert [without_etag(ground.get(each)) for each in (ground.own, ground.second)] == before
    tables = ground.get(f"{ground.build.group}/providers/Microsoft.Network/routeTables")["value"]
    assert tables == []
    assert ground.allowed(ground.peer, "10.42.2.10")


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
    steps = Steps(ground.world, NAME, merged(nic(ground.second), watch))
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
    with pytest.raises(PermanentCloudError, match="no such resource"):
        quarantine(ground, declared)


def test_a_stopped_machine_leaves_it_unproved(ground: Ground) -> None:
    steps = quarantine(ground, nic(ground.second))
    changes = steps.apply(steps.snapshot())
    ground.world.sandbox.arm("POST", f"{ground.machine}/deallocate", "2024-11-01", token=ground.world.token())
    with pytest.raises(PermanentCloudError, match="no running machine"):
        steps.verify(changes)


def test_the_printed_role_suffices_and_each_action_is_missed(ground: Ground) -> None:
    declared = merged(machine(ground), ground.watch())
    workload = ground.world.least(ground.world.workload(**declared), NAME)
    steps = Steps(ground.world, NAME, {}, workload=workload)
    changes = steps.apply(steps.snapshot())
    steps.proved(changes)
    assert all(each.holds for each in steps.revert(changes))
    needs = [(measure(NAME), target) for target in steps.targets]
    assert missing(steps.context.access, needs) == ()
    action = "Microsoft.Network/networkSecurityGroups/write"
    lesser = ground.world.least(ground.world.workload(**declared), NAME, without=action)
    lacking = missing(ground.world.context(lesser).access, needs)
    assert lacking
    assert all(each.startswith(action) for each in lacking)
