"""Play Service Bus entities as Azure Resource Manager shows them, and sending to them by REST.

Source: Service Bus REST ("Queues", "Topics", "Send Message"); "Suspend and reactivate messaging entities".
Who may send, and when an entity is closed, is decided where AMQP decides it too: servicebus_entities.py.
"""

from __future__ import annotations

from typing import Any

from azure.servicebus._pyamqp._encode import encode_payload
from azure.servicebus._pyamqp.message import Message as Sections

from drills.sandbox.azure import clock
from drills.sandbox.azure.call import Answer, Call
from drills.sandbox.azure.errors import ArmError
from drills.sandbox.azure.generic import resource_type
from drills.sandbox.azure.servicebus_entities import RefusedError, counts, find_namespace
from drills.sandbox.azure.servicebus_messages import messages
from drills.sandbox.azure.store import Item
from drills.sandbox.azure.table import operation

Json = dict[str, Any]
VERSIONS = ("2021-11-01", "2022-10-01-preview", "2024-01-01", "2025-05-01-preview")
NAMESPACES = "Microsoft.ServiceBus/namespaces"
TOPICS = f"{NAMESPACES}/topics"
STATUSES = frozenset({"Active", "Disabled", "SendDisabled", "ReceiveDisabled"})
READ_ONLY = ("countDetails", "messageCount", "sizeInBytes", "subscriptionCount", "accessedAt")
CODES = {401: "Unauthorized", 403: "MessagingEntityDisabled", 404: "MessagingEntityNotFound"}


def _put_namespace(_call: Call, item: Item, _before: Item | None) -> None:
    item.properties["serviceBusEndpoint"] = f"https://{item.name}.servicebus.windows.net:443/"
    item.properties.setdefault("status", "Active")
    item.properties.setdefault("disableLocalAuth", False)


def _put_entity(_call: Call, item: Item, before: Item | None) -> None:
    properties, old = item.properties, before.properties if before else {}
    for name in READ_ONLY:
        properties.pop(name, None)
    status = properties.setdefault("status", "Active")
    if status not in STATUSES:
        raise ArmError(400, "BadRequest", f"'{status}' is no status that a caller may set.")
    properties["createdAt"] = old.get("createdAt", clock.stamp())
    properties["updatedAt"] = clock.stamp()
    if item.type.lower() != TOPICS.lower():  # what is delivered and locked waits in queues and subscriptions
        properties.setdefault("maxDeliveryCount", 10)
        properties.setdefault("lockDuration", "PT1M")


def _view_queue(item: Item) -> Json:
    document = item.document()
    details = counts(item.id)
    total = details["activeMessageCount"] + details["deadLetterMessageCount"]
    document["properties"].update(countDetails=details, messageCount=total)
    return document


resource_type(
    NAMESPACES,
    versions=VERSIONS,
    source="Service Bus REST API, Namespaces",
    on_put=_put_namespace,
    needs_location=True,
)
for _kind in ("queues", "topics", "topics/subscriptions"):
    resource_type(
        f"{NAMESPACES}/{_kind}",
        versions=VERSIONS,
        source=f"Service Bus REST API, {_kind}",
        on_put=_put_entity,
        view=Item.document if _kind == "topics" else _view_queue,
    )


def as_message(body: bytes) -> bytes:
    """Return a message of AMQP with this body and nothing else."""
    payload = bytearray()
    encode_payload(payload, Sections(data=[body]))
    return bytes(payload)


@operation("servicebus", "POST", "/{entity}/messages", source="Service Bus REST API, Send Message")
def send_message(call: Call) -> Answer:
    """Take a message in, if the entity is open to senders and the caller is one."""
    namespace = find_namespace(call.hostname)
    if namespace is None:
        raise ArmError(404, "NamespaceNotFound", f"There is no namespace {call.account}.")
    token = call.headers.get("authorization", "").partition(" ")[2]
    try:
        namespace.put_token(token, "jwt")
        entity = namespace.entity(call.params["entity"])
        entity.admit_sender()
    except RefusedError as error:
        raise ArmError(error.status, CODES.get(error.status, "BadRequest"), str(error)) from error
    entity.put(as_message(call.raw), {})
    messages.announce()
    return Answer(201)
