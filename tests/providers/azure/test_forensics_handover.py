"""What phase 4 takes beside logs and memory: messages, disks, and the investigation."""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import Any
from urllib.parse import urlsplit
from uuid import uuid4

import pytest
from azure.servicebus import ServiceBusClient, ServiceBusMessage, TransportType

from drills.sandbox.azure.client import AzureSandbox
from firebreak import capture
from firebreak.errors import Irreversible, PermanentCloudError
from firebreak.measure import measure
from firebreak.model import Workload
from providers.azure.permissions import missing
from providers.azure.session import AzureAccess
from tests.drills.sandbox.azure.places import Bearer
from tests.providers.azure.evidenceground import Ground, killed_at
from tests.providers.capturing import Step
from tests.providers.driving import holds

MESSAGES, DISKS, SENTINEL = (
    f"azure.{name}" for name in ("capture-channel-messages", "snapshot-disks", "open-investigation")
)


@pytest.fixture
def ground(world: Any) -> Ground:
    return Ground(world)


@pytest.fixture(autouse=True)
def defaults(sandbox: AzureSandbox) -> Iterator[None]:
    yield
    sandbox.clear_faults()
    sandbox.configure(snapshot_immutability=1, lro_seconds=0)


# messages


def connected(ground: Ground, entity: str) -> ServiceBusClient:
    proxy = urlsplit(os.environ["HTTPS_PROXY"])
    return ServiceBusClient(
        f"{entity.split('/')[8]}.servicebus.windows.net",
        Bearer(ground.sandbox),
        transport_type=TransportType.AmqpOverWebsocket,
        http_proxy={"proxy_hostname": proxy.hostname, "proxy_port": proxy.port},
        connection_verify=str(ground.sandbox.ca_file),
        keep_alive=0,  # closing would wait for its thread
    )


def queue(ground: Ground, messages: int, size: int = 10) -> dict[str, Any]:
    place = ground.places.queue(ground.places.namespace())
    with connected(ground, place) as client, client.get_queue_sender(place.rpartition("/")[2]) as sender:
        for number in range(messages):
            body = f"message {number}".ljust(size).encode()
            sender.send_messages(ServiceBusMessage(body, application_properties={"from": "planner"}))
    return {"kind": "service-bus-queue", "ref": place}


def receive(ground: Ground, place: str, count: int, *, settle: str) -> None:
    name = place.rpartition("/")[2]
    with connected(ground, place) as client, client.get_queue_receiver(name) as receiver:
        for message in receiver.receive_messages(count, max_wait_time=10):
            getattr(receiver, f"{settle}_message")(message)


def test_messages_are_peeked_and_stay_as_they_are(ground: Ground) -> None:
    declared = queue(ground, 30)
    receive(ground, declared["ref"], 1, settle="dead_letter")
    step = Step(ground, MESSAGES, channels=(declared,))
    change = step.apply()
    records = step.records(change)
    name = declared["ref"].rpartition("/")[2]
    assert [each["sequence_number"] for each in records if each["place"] == name] == list(range(2, 31))
    assert [each["place"] for each in records if each["place"] != name] == [f"{name}/$DeadLetterQueue"]
    assert records[0]["application_properties"] == {"from": "planner"}
    assert {"enqueued_at", "delivery_count", "body_base64", "annotations"} <= set(records[0])
    findings = step.verify(change)
    assert holds(findings)
    assert findings[2].observed == "30 of 30 messages wait, 0 delivered meanwhile"
    assert findings[2].detail["counts_before"] == findings[2].detail["counts_now"]
    assert Step(ground, MESSAGES, channels=(declared,)).apply().after["records"] == 30


def test_a_delivery_instead_of_a_look_is_seen(ground: Ground) -> None:
    declared = queue(ground, 3)
    step = Step(ground, MESSAGES, channels=(declared,))
    change = step.apply()
    receive(ground, declared["ref"], 1, settle="complete")
    taken = step.verify(change)[2]
    assert taken.holds
    assert len(taken.detail["taken_by_their_receivers"]) == 1
    receive(ground, declared["ref"], 1, settle="abandon")
    assert not step.verify(change)[2].holds


@pytest.mark.slow
def test_the_sdks_own_receiver_would_have_locked_a_message(ground: Ground) -> None:
    """Why the capture has a receiver of its own: opening the SDK's takes a message, and dying keeps it."""
    declared = queue(ground, 1)
    place, name = declared["ref"], declared["ref"].rpartition("/")[2]
    step = Step(ground, MESSAGES, channels=(declared,))
    step.apply()
    with connected(ground, place) as client, client.get_queue_receiver(name) as receiver:
        assert len(receiver.receive_messages(1, max_wait_time=5)) == 1  # nobody has it locked
    holder = connected(ground, place)
    held = holder.get_queue_receiver(name)
    held.receive_messages(1, max_wait_time=5)
    with connected(ground, place) as client, client.get_queue_receiver(name) as receiver:
        assert not receiver.receive_messages(1, max_wait_time=0.5)
    holder.close()


@pytest.mark.parametrize("crash_at", [1, 2, 4])
def test_a_killed_message_capture_resumes(
    ground: Ground, crash_at: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("providers.azure.forensics.channels._BATCH", 8)
    monkeypatch.setattr(capture, "PART_BYTES", 4_000)
    step = Step(ground, MESSAGES, channels=(queue(ground, 30),))
    killed_at(step, crash_at)
    numbers = [each["sequence_number"] for each in step.records(step.apply())]
    assert sorted(numbers) == list(range(1, 31))


def test_every_subscription_of_a_topic_is_peeked(ground: Ground) -> None:
    namespace = ground.places.namespace()
    topic = ground.places.put(f"{namespace}/topics/news", "2024-01-01", {"properties": {}})["id"]
    for name in ("auditor", "executor"):
        ground.places.put(f"{topic}/subscriptions/{name}", "2024-01-01", {"properties": {}})
    with connected(ground, topic) as client, client.get_topic_sender("news") as sender:
        sender.send_messages([ServiceBusMessage(f"{n}") for n in range(3)])
    step = Step(ground, MESSAGES, channels=({"kind": "service-bus-topic", "ref": topic},))
    change = step.apply()
    places = [each["place"] for each in step.records(change)]
    assert places == ["news/Subscriptions/auditor"] * 3 + ["news/Subscriptions/executor"] * 3
    assert holds(step.verify(change))


@pytest.mark.slow
def test_the_entitys_status_decides_whether_it_can_be_read(ground: Ground) -> None:
    """Sending disabled, as the cut of channels does it, leaves the messages readable."""
    declared = queue(ground, 2)
    step = Step(ground, MESSAGES, channels=(declared,))
    for status, readable in (("SendDisabled", True), ("Disabled", False)):
        body = {"properties": {"status": status}}
        ground.sandbox.arm("PUT", declared["ref"], "2024-01-01", body)
        step.last = {}
        if readable:
            assert step.apply().after["records"] == 2
        else:
            with pytest.raises(PermanentCloudError, match="disabled"):
                step.apply()


def test_messages_need_the_right_to_receive(ground: Ground) -> None:
    declared = queue(ground, 1)
    workload = ground.workload(channels=(declared,))
    right = "data:Microsoft.ServiceBus/namespaces/messages/receive/action"
    bound, lacking = without(ground, workload, MESSAGES, right)
    assert any(each.startswith(right) for each in lacking)
    kind: Any = measure(MESSAGES)
    target = kind.applies_to(workload)[0]
    with pytest.raises(PermanentCloudError, match="Listen"):
        list(kind(ground.context(bound)).pages(target, {}))


def test_an_unknown_queue_is_refused_before_the_first_change(ground: Ground) -> None:
    place = f"{ground.places.namespace()}/queues/nothing"
    with pytest.raises(PermanentCloudError, match="queue or topic does not exist"):
        Step(ground, MESSAGES, channels=({"kind": "service-bus-queue", "ref": place},))


def without(ground: Ground, workload: Workload, name: str, right: str) -> tuple[Workload, tuple[str, ...]]:
    """The workload behind a responder that lacks one right, and what the plan says about it."""
    bound = ground.world.least(workload, name, without=right)
    needs = [(measure(name), target) for target in measure(name).applies_to(workload)]
    return bound, missing(AzureAccess(ground.world.run(bound), ground.world.settings), needs)


# disks


def machine(ground: Ground, *disks: str) -> tuple[dict[str, Any], list[str]]:
    place, made = ground.places.machine(*disks)
    return {"kind": "virtual-machine", "ref": place}, made


def test_every_disk_is_snapshotted_once_closed_and_locked(ground: Ground) -> None:
    declared, disks = machine(ground, "os", "data", "models")
    ground.sandbox.configure(lro_seconds=0.2)
    step = Step(ground, DISKS, network=(declared,))
    assert step.state.values["disks"] == sorted(disks)
    change = step.apply()
    assert change.changed
    assert sorted(change.after["snapshots"]) == sorted(disks)
    findings = step.verify(change)
    assert holds(findings)
    assert [each.observed for each in findings] == [
        "3 of 3 disks have a sound, closed snapshot",
        "3 of 3 snapshots are immutable",
    ]
    again = step.apply()
    assert not again.changed
    assert again.after["snapshots"] == change.after["snapshots"]
    with pytest.raises(Irreversible):
        step.attempt().revert(change)
    shown = ground.sandbox.arm("GET", next(iter(change.after["snapshots"].values())), "2024-03-02")
    assert shown["tags"]["firebreak:incident"] == step.context.run.incident_id


@pytest.mark.parametrize(
    "wrong",
    [
        {"properties": {"networkAccessPolicy": "AllowAll"}},
        {"properties": {"publicNetworkAccess": "Enabled"}},
        {"tags": {"firebreak:incident": "INC-other"}},
    ],
)
def test_an_opened_snapshot_is_seen(ground: Ground, wrong: dict[str, Any]) -> None:
    declared, _ = machine(ground, "os")
    step = Step(ground, DISKS, network=(declared,))
    change = step.apply()
    (place,) = change.after["snapshots"].values()
    ground.sandbox.arm("PATCH", place, "2024-03-02", wrong)
    assert not holds(step.verify(change))


def test_a_missing_snapshot_is_seen_and_made_again(ground: Ground) -> None:
    ground.sandbox.configure(snapshot_immutability=0)
    declared, _ = machine(ground, "os")
    step = Step(ground, DISKS, network=(declared,))
    change = step.apply()
    (place,) = change.after["snapshots"].values()
    assert change.after["locks"] == {place: "not locked: FeatureNotEnabled"}
    assert len(step.verify(change)) == 1
    assert holds(step.verify(change))
    ground.sandbox.arm("DELETE", place, "2024-03-02")
    assert not holds(step.verify(change))
    assert step.apply().changed
    assert holds(step.verify(change))


def test_a_failed_copy_is_an_error_and_repeatable(ground: Ground) -> None:
    declared, _ = machine(ground, "os")
    step = Step(ground, DISKS, network=(declared,))
    ground.sandbox.inject("throttle", host="arm", operation="*snapshots/write", times=1, retry_after=0)
    assert step.apply().changed


def test_two_workloads_with_one_machine_have_snapshots_of_their_own(ground: Ground) -> None:
    declared, _ = machine(ground, "os")
    one = Step(ground, DISKS, network=(declared,))
    other = type(one.context)(
        run=one.context.run.model_copy(
            update={"workload": one.workload.model_copy(update={"id": "other-agent"})}
        ),
        access=one.context.access,
        vault=one.context.vault,
        folder=one.context.folder,
    )
    kind: Any = one.kind
    places = [kind(context)._place(one.target, "disk") for context in (one.context, other)]
    assert len(set(places)) == 2


def test_a_machine_without_disks_and_one_with_foreign_disks(ground: Ground) -> None:
    declared, _ = machine(ground)
    step = Step(ground, DISKS, network=(declared,))
    assert step.verify(step.apply())[0].detail["skipped"] is True
    profile = {"osDisk": {"vhd": {"uri": "https://x.blob.core.windows.net/vhds/os.vhd"}}}
    ground.places.put(declared["ref"], "2024-07-01", {"properties": {"storageProfile": profile}})
    step = Step(ground, DISKS, network=(declared,))
    assert not holds(step.verify(step.apply()))


def test_disks_need_the_right_to_read_them(ground: Ground) -> None:
    declared, _ = machine(ground, "os")
    workload = ground.workload(network=(declared,))
    bound, lacking = without(ground, workload, DISKS, "Microsoft.Compute/disks/beginGetAccess/action")
    assert lacking
    step = Step(ground, DISKS, network=(declared,))
    context = ground.context(bound)
    with pytest.raises(PermanentCloudError, match="the responder may not do this"):
        step.kind(context).apply(step.target, step.state)


# the investigation


def sentinel(ground: Ground, workspace: str) -> Step:
    identity = {
        "kind": "managed-identity",
        "ref": f"{ground.places.group}/providers/Microsoft.ManagedIdentity/userAssignedIdentities/agent",
        "principal_id": str(uuid4()),
        "client_id": str(uuid4()),
        "tenant_id": str(uuid4()),
    }
    sources = ({"kind": "sentinel", "ref": workspace}, ground.logs("Agent_CL", [{}]))
    return Step(ground, SENTINEL, identities=(identity,), evidence_sources=sources)


def test_an_investigation_is_opened_once(ground: Ground) -> None:
    workspace = ground.places.sentinel()
    step = sentinel(ground, workspace)
    change = step.apply()
    assert change.changed
    (finding,) = step.verify(change)
    assert finding.holds
    assert finding.observed == "Sentinel incident 1: 6 of 6 records"
    assert not step.apply().changed
    provider = f"{workspace}/providers/Microsoft.SecurityInsights"
    (incident,) = ground.sandbox.arm("GET", f"{provider}/incidents", "2024-09-01")["value"]
    assert step.context.run.incident_id in incident["properties"]["title"]
    bookmarks = ground.sandbox.arm("GET", f"{provider}/bookmarks", "2024-09-01")["value"]
    assert {each["properties"]["query"].split(" ")[0] for each in bookmarks} == {"AzureActivity", "Agent_CL"}
    relations = ground.sandbox.arm("GET", f"{incident['id']}/relations", "2024-09-01")["value"]
    assert len(relations) == 2
    with pytest.raises(Irreversible):
        step.attempt().revert(change)
    ground.sandbox.arm("DELETE", relations[0]["id"], "2024-09-01")
    assert not step.verify(change)[0].holds


def test_an_investigation_is_skipped_with_a_reason(ground: Ground) -> None:
    workspace, _ = ground.places.workspace()
    step = sentinel(ground, workspace)
    change = step.apply()
    assert not change.changed
    (finding,) = step.verify(change)
    assert finding.observed == "skipped: Sentinel is not enabled"
    assert finding.detail["skipped"] is True


def test_a_denied_look_at_sentinel_is_no_reason_to_skip(ground: Ground) -> None:
    workspace = ground.places.sentinel()
    workload = ground.workload(evidence_sources=({"kind": "sentinel", "ref": workspace},))
    right = "Microsoft.SecurityInsights/onboardingStates/read"
    bound, lacking = without(ground, workload, SENTINEL, right)
    assert any(each.startswith(right) for each in lacking)
    with pytest.raises(PermanentCloudError, match="the responder may not do this"):
        measure(SENTINEL)(ground.context(bound)).snapshot(measure(SENTINEL).applies_to(workload)[0])
