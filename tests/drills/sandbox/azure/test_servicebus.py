from __future__ import annotations

import os
from datetime import timedelta
from typing import Any
from urllib.parse import urlsplit

import pytest
from azure.servicebus import ServiceBusClient, ServiceBusMessage, ServiceBusSubQueue, TransportType
from azure.servicebus.exceptions import (
    MessagingEntityDisabledError,
    MessagingEntityNotFoundError,
    ServiceBusAuthorizationError,
    ServiceBusError,
)

from drills.sandbox.azure.client import AzureSandbox
from tests.drills.sandbox.azure.places import Bearer, Places

# a group, a namespace in it, and the name of a queue
Made = tuple[Places, str, str]


def connected(sandbox: AzureSandbox, namespace: str, principal: str = "") -> Any:
    proxy = urlsplit(os.environ["HTTPS_PROXY"])
    return ServiceBusClient(
        f"{namespace.rpartition('/')[2]}.servicebus.windows.net",
        Bearer(sandbox, principal),
        transport_type=TransportType.AmqpOverWebsocket,
        http_proxy={"proxy_hostname": proxy.hostname, "proxy_port": proxy.port},
        connection_verify=str(sandbox.ca_file),
        keep_alive=0,  # closing would wait for its thread
        retry_total=0,
    )


def send(client: Any, queue: str, *texts: str) -> None:
    with client.get_queue_sender(queue) as sender:
        sender.send_messages([ServiceBusMessage(text, application_properties={"n": text}) for text in texts])


def peeked(client: Any, queue: str, **more: Any) -> list[tuple[str, int]]:
    with client.get_queue_receiver(queue, **more) as receiver:
        return [(str(each), each.delivery_count) for each in receiver.peek_messages(100)]


@pytest.fixture
def queue(sandbox: AzureSandbox) -> tuple[Places, str, str]:
    places = Places.new(sandbox)
    namespace = places.namespace()
    return places, namespace, places.queue(namespace).rpartition("/")[2]


def test_send_peek_receive_and_settle(sandbox: AzureSandbox, queue: Made) -> None:
    _, namespace, name = queue
    with connected(sandbox, namespace) as client:
        send(client, name, "one", "two", "three")
        assert peeked(client, name) == [("one", 0), ("two", 0), ("three", 0)]
        with client.get_queue_receiver(name) as receiver:
            first, second, third = receiver.receive_messages(3, max_wait_time=5)
            assert [str(first), first.delivery_count, first.application_properties] == [
                "one",
                0,
                {b"n": b"one"},
            ]
            receiver.complete_message(first)
            receiver.abandon_message(second)
            receiver.dead_letter_message(third)
        assert peeked(client, name) == [("two", 1)]
        assert peeked(client, name, sub_queue=ServiceBusSubQueue.DEAD_LETTER) == [("three", 0)]


def test_a_waiting_receiver_gets_what_comes_in(sandbox: AzureSandbox, queue: Made) -> None:
    _, namespace, name = queue
    with connected(sandbox, namespace) as waiting, connected(sandbox, namespace) as other:
        with waiting.get_queue_receiver(name, receive_mode="receiveanddelete") as receiver:
            assert not receiver.receive_messages(1, max_wait_time=0.5)
            send(other, name, "late")
            assert [str(each) for each in receiver.receive_messages(1, max_wait_time=10)] == ["late"]
        assert peeked(other, name) == []


def test_locks_run_out_and_count(sandbox: AzureSandbox, queue: Made) -> None:
    _, namespace, name = queue
    with connected(sandbox, namespace) as client:
        send(client, name, "one")
        with client.get_queue_receiver(name) as receiver:
            (message,) = receiver.receive_messages(1, max_wait_time=5)
            assert message.locked_until_utc - message.enqueued_time_utc < timedelta(seconds=70)
        sandbox.advance(61)
        assert peeked(client, name) == [("one", 1)]


def test_large_messages_come_in_several_frames(sandbox: AzureSandbox, queue: Made) -> None:
    _, namespace, name = queue
    with connected(sandbox, namespace) as client:
        send(client, name, "x" * 200_000, "y" * 100_000)
        assert [len(text) for text, _ in peeked(client, name)] == [200_000]
        with client.get_queue_receiver(name) as receiver:
            assert [len(str(m)) for m in receiver.receive_messages(2, max_wait_time=5)] == [200_000, 100_000]


def test_a_topic_hands_each_subscription_a_copy(sandbox: AzureSandbox, queue: Made) -> None:
    places, namespace, _ = queue
    topic = places.put(f"{namespace}/topics/news", "2024-01-01", {"properties": {}})["id"]
    for name in ("a", "b"):
        places.put(f"{topic}/subscriptions/{name}", "2024-01-01", {"properties": {}})
    with connected(sandbox, namespace) as client:
        with client.get_topic_sender("news") as sender:
            sender.send_messages(ServiceBusMessage("hello"))
        for name in ("a", "b"):
            with client.get_subscription_receiver("news", name) as receiver:
                assert [str(each) for each in receiver.peek_messages(5)] == ["hello"]


@pytest.mark.parametrize(
    ("status", "sends", "receives"),
    [
        ("Active", True, True),
        ("SendDisabled", False, True),
        ("ReceiveDisabled", True, False),
        ("Disabled", False, False),
    ],
)
def test_the_entitys_status_decides(sandbox: AzureSandbox, status: str, sends: bool, receives: bool) -> None:
    places = Places.new(sandbox)
    namespace = places.namespace()
    place = places.queue(namespace)
    name = place.rpartition("/")[2]
    with connected(sandbox, namespace) as client:
        send(client, name, "before")
        sandbox.arm("PUT", place, "2024-01-01", {"properties": {"status": status}})
        if sends:
            send(client, name, "after")
        else:
            with pytest.raises(MessagingEntityDisabledError):
                send(client, name, "after")
        if receives:
            assert peeked(client, name)[0] == ("before", 0)
        else:
            with pytest.raises(MessagingEntityDisabledError):
                peeked(client, name)


def test_an_open_link_is_cut_when_sending_is_disabled(sandbox: AzureSandbox, queue: Made) -> None:
    _, namespace, name = queue
    with connected(sandbox, namespace) as client, client.get_queue_sender(name) as sender:
        sender.send_messages(ServiceBusMessage("before"))
        sandbox.arm(
            "PUT", f"{namespace}/queues/{name}", "2024-01-01", {"properties": {"status": "SendDisabled"}}
        )
        with pytest.raises(ServiceBusError):
            sender.send_messages(ServiceBusMessage("after"))
        assert [text for text, _ in peeked(client, name)] == ["before"]


def test_rights_are_judged_when_a_link_attaches(sandbox: AzureSandbox, queue: Made) -> None:
    places, namespace, name = queue
    place = f"{namespace}/queues/{name}"
    agent = places.identity(("Azure Service Bus Data Sender", place)).object_id
    with connected(sandbox, namespace, agent) as client:
        send(client, name, "allowed")
        with pytest.raises(ServiceBusAuthorizationError, match="Listen"):
            peeked(client, name)
    stranger = places.identity().object_id
    with (
        connected(sandbox, namespace, stranger) as client,
        pytest.raises(ServiceBusAuthorizationError, match="Send"),
    ):
        send(client, name, "refused")


def test_an_unknown_queue_and_an_unknown_namespace(sandbox: AzureSandbox, queue: Made) -> None:
    _, namespace, _ = queue
    with connected(sandbox, namespace) as client, pytest.raises(MessagingEntityNotFoundError):
        peeked(client, "nothing")
    with connected(sandbox, f"{namespace}x") as client, pytest.raises(ServiceBusError):
        peeked(client, "nothing")


def test_counts_are_shown_by_the_resource_manager(sandbox: AzureSandbox, queue: Made) -> None:
    _, namespace, name = queue
    with connected(sandbox, namespace) as client:
        send(client, name, "one", "two")
    shown = sandbox.arm("GET", f"{namespace}/queues/{name}", "2024-01-01")
    assert shown["properties"]["messageCount"] == 2
    assert shown["properties"]["countDetails"]["activeMessageCount"] == 2
