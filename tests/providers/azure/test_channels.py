"""Phase 2 on Azure, channels between agents: cut for senders, restored exactly, shared with care."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any
from uuid import uuid4

import pytest

from firebreak.model import JsonObject
from tests.providers.azure.networks import Steps

NAME = "azure.cut-channels"
BUS, GRID = "2024-01-01", "2025-02-15"
BUS_AUDIENCE, GRID_AUDIENCE = "https://servicebus.azure.net", "https://eventgrid.azure.net"


@pytest.fixture(scope="module", autouse=True)
def quick() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("providers.azure.arm.POLL_SECONDS", 0.02)
        yield


@dataclass
class Bus:
    """A namespace with queue and topic, an event topic with a subscription, and an agent that uses them."""

    world: Any
    namespace: str
    queue: str
    topic: str
    events: str
    subscription: str
    agent: Any

    @classmethod
    def made(cls, world: Any) -> Bus:
        name, group = f"bus-{uuid4().hex[:8]}", world.group()

        def put(ref: str, body: JsonObject, version: str) -> str:
            world.sandbox.arm("PUT", ref, version, body, token=world.token())
            return ref

        namespace = put(
            f"{group}/providers/Microsoft.ServiceBus/namespaces/{name}",
            {"location": "westeurope", "sku": {"name": "Standard"}, "tags": {"team": "agents"}},
            BUS,
        )
        queue = put(f"{namespace}/queues/tasks", {"properties": {"maxSizeInMegabytes": 2048}}, BUS)
        topic = put(f"{namespace}/topics/news", {"properties": {}}, BUS)
        put(f"{topic}/subscriptions/planner", {"properties": {}}, BUS)
        events = put(f"{group}/providers/Microsoft.EventGrid/topics/{name}", {"location": "westeurope"}, GRID)
        destination = {
            "endpointType": "WebHook",
            "properties": {"endpointUrl": "https://agent.example/hook?code=secret"},
        }
        wanted = {"subjectBeginsWith": "/jobs", "includedEventTypes": ["Job.Done"]}
        subscription = put(
            f"{events}/providers/Microsoft.EventGrid/eventSubscriptions/wake",
            {"properties": {"destination": destination, "filter": wanted}},
            GRID,
        )
        agent = world.principal(f"agent-{uuid4().hex[:6]}")
        world.grant(agent, "Azure Service Bus Data Owner", namespace)
        world.grant(agent, "EventGrid Data Sender", events)
        return cls(world, namespace, queue, topic, events, subscription, agent)

    def get(self, ref: str, version: str) -> JsonObject:
        found = dict(self.world.admin().get(ref, version))
        values = found["properties"]
        for name in ("updatedAt", "accessedAt"):
            values.pop(name, None)
        return {name: value for name, value in found.items() if name != "etag"}

    def token(self, audience: str) -> str:
        return str(self.world.sandbox.mint(self.agent.object_id, audience))

    def send(self, entity: str) -> int:
        host = f"{self.namespace.rsplit('/', 1)[1]}.servicebus.windows.net"
        url = f"https://{host}/{entity}/messages"
        answer = self.world.sandbox.send("POST", url, b"do it", token=self.token(BUS_AUDIENCE))
        return int(answer.status)

    def publish(self, subject: str = "/jobs/1") -> bool:
        """Publish an event, and tell whether it woke the agent."""
        before = self._delivered()
        host = f"{self.events.rsplit('/', 1)[1]}.westeurope-1.eventgrid.azure.net"
        event = {"id": "1", "subject": subject, "eventType": "Job.Done", "data": {}, "dataVersion": "1"}
        answer = self.world.sandbox.send(
            "POST",
            f"https://{host}/api/events",
            json.dumps([event]).encode(),
            token=self.token(GRID_AUDIENCE),
        )
        assert answer.status == 200
        return self._delivered() > before

    def _delivered(self) -> int:
        body = {"subscription": self.subscription}
        return int(self.world.sandbox.request("POST", "/events/delivered", body)["delivered"])

    def declared(self) -> dict[str, list[JsonObject]]:
        return {
            "channels": [
                {"kind": "service-bus-queue", "ref": self.queue},
                {"kind": "service-bus-topic", "ref": self.topic},
                {"kind": "event-grid-subscription", "ref": self.subscription},
            ]
        }

    def documents(self) -> list[JsonObject]:
        return [
            self.get(self.namespace, BUS),
            self.get(self.queue, BUS),
            self.get(self.topic, BUS),
            self.get(self.subscription, GRID),
        ]


@pytest.fixture
def bus(world: Any) -> Bus:
    return Bus.made(world)


def test_every_channel_is_cut_and_given_back_exactly(bus: Bus) -> None:
    assert bus.send("tasks") == bus.send("news") == 201
    assert bus.publish()
    before = bus.documents()
    steps = Steps(bus.world, NAME, bus.declared())
    states = steps.snapshot()
    changes = steps.apply(states)
    assert all(each.changed for each in changes)
    assert all(each.holds for each in steps.verify(changes))
    assert bus.send("tasks") == bus.send("news") == 403
    assert not bus.publish()
    assert not bus.publish("/jobs/firebreak")
    assert not any(each.changed for each in steps.apply(states))
    assert all(each.holds for each in steps.revert(changes))
    assert all(each.holds for each in steps.revert(changes))
    assert bus.documents() == before
    assert not any(each.holds for each in steps.verify(changes))
    assert bus.send("tasks") == bus.send("news") == 201
    assert bus.publish()


def test_without_the_change_nothing_is_proved(bus: Bus) -> None:
    steps = Steps(bus.world, NAME, bus.declared())
    pretended = [steps.measure.done(each.target, each, changed=True) for each in steps.snapshot()]
    assert not any(each.holds for each in steps.verify(pretended))


def test_messages_that_wait_can_still_be_browsed_and_counted(bus: Bus) -> None:
    assert bus.send("tasks") == 201
    steps = Steps(bus.world, NAME, bus.declared())
    changes = steps.apply(steps.snapshot())
    found = bus.get(bus.queue, BUS)["properties"]
    assert found["status"] == "SendDisabled"
    assert found["countDetails"]["activeMessageCount"] == 1
    assert found["maxSizeInMegabytes"] == 2048
    assert all(each.holds for each in steps.revert(changes))


def test_an_inventory_may_ask_to_stop_receivers_as_well(bus: Bus) -> None:
    declared = {"channels": [{"kind": "service-bus-queue", "ref": bus.queue, "cut": "Disabled"}]}
    steps = Steps(bus.world, NAME, declared)
    changes = steps.apply(steps.snapshot())
    assert bus.get(bus.queue, BUS)["properties"]["status"] == "Disabled"
    assert steps.verify(changes)[0].holds
    assert steps.revert(changes)[0].holds
    assert bus.get(bus.queue, BUS)["properties"]["status"] == "Active"


@pytest.mark.parametrize("status", ["Disabled", "ReceiveDisabled", "SendDisabled"])
def test_what_its_owner_had_closed_is_never_opened(bus: Bus, status: str) -> None:
    body = bus.get(bus.queue, BUS)
    body["properties"]["status"] = status
    bus.world.admin().put(bus.queue, body, BUS)
    declared = {"channels": [{"kind": "service-bus-queue", "ref": bus.queue}]}
    steps = Steps(bus.world, NAME, declared)
    changes = steps.apply(steps.snapshot())
    expected = "SendDisabled" if status == "SendDisabled" else "Disabled"
    assert bus.get(bus.queue, BUS)["properties"]["status"] == expected
    assert steps.verify(changes)[0].holds
    assert steps.revert(changes)[0].holds
    assert bus.get(bus.queue, BUS)["properties"]["status"] == status


def test_two_workloads_on_one_channel_are_released_on_their_own(bus: Bus) -> None:
    before = bus.documents()
    one, other = (Steps(bus.world, NAME, bus.declared(), owner=name) for name in ("one", "other"))
    first = one.apply(one.snapshot())
    second = other.apply(other.snapshot())
    assert all(each.holds for each in one.revert(first))
    assert bus.send("tasks") == bus.send("news") == 403
    assert not bus.publish()
    assert all(each.holds for each in other.verify(second))
    assert all(each.holds for each in other.revert(second))
    assert bus.documents() == before


def test_what_others_change_of_a_filter_meanwhile_stays(bus: Bus) -> None:
    declared = {"channels": [{"kind": "event-grid-subscription", "ref": bus.subscription}]}
    steps = Steps(bus.world, NAME, declared)
    changes = steps.apply(steps.snapshot())
    current = bus.get(bus.subscription, GRID)["properties"]["filter"]
    bus.world.admin().patch(bus.subscription, {"filter": {**current, "subjectEndsWith": "9"}}, GRID)
    assert steps.verify(changes)[0].holds
    assert steps.revert(changes)[0].holds
    assert bus.publish("/jobs/9")
    assert not bus.publish("/jobs/8")


def test_a_message_is_refused_without_the_right_to_send(bus: Bus) -> None:
    bus.agent = bus.world.principal(f"stranger-{uuid4().hex[:6]}")
    assert bus.send("tasks") == 401


def test_sharing_is_told(bus: Bus) -> None:
    declared = {"channels": [{"kind": "service-bus-queue", "ref": bus.queue, "shared_with": ["billing"]}]}
    steps = Steps(bus.world, NAME, declared)
    assert steps.measure.blast_radius(steps.targets[0]) == ("billing",)


def test_the_printed_role_suffices(bus: Bus) -> None:
    workload = bus.world.least(bus.world.workload(**bus.declared()), NAME)
    steps = Steps(bus.world, NAME, {}, workload=workload)
    changes = steps.apply(steps.snapshot())
    assert all(each.holds for each in steps.verify(changes))
    assert all(each.holds for each in steps.revert(changes))
