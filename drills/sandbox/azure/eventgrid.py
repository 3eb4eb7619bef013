"""Play Event Grid: topics, event subscriptions with their filters, and publishing.

Source: Event Grid REST ("Topics", "Event Subscriptions", "Publish Events"); "Event filtering for Event Grid
subscriptions" (every advanced filter must match); "Event Subscriptions - Get" (the full URL of a webhook is
not shown).
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from drills.sandbox.azure import hosts, ids, paging
from drills.sandbox.azure.call import Answer, Call
from drills.sandbox.azure.channels import as_message
from drills.sandbox.azure.control import ControlError, ControlRequest, route
from drills.sandbox.azure.errors import ArmError
from drills.sandbox.azure.generic import resource_type
from drills.sandbox.azure.servicebus_messages import messages
from drills.sandbox.azure.store import Item, store
from drills.sandbox.azure.table import operation

Json = dict[str, Any]
VERSIONS = ("2022-06-15", "2025-02-15")
TOPICS = "Microsoft.EventGrid/topics"
KIND = "Microsoft.EventGrid/eventSubscriptions"
SUBSCRIPTIONS = f"{{scope}}/providers/{KIND}"
SUBSCRIPTION = f"{SUBSCRIPTIONS}/{{name}}"
SOURCE = "Event Grid REST API, Event Subscriptions"
REGIONS = ("westeurope", "northeurope", "germanywestcentral", "eastus")
SEND = "Microsoft.EventGrid/events/send/action"
MOST_FILTERS = 25
hosts.register(
    "eventgrid",
    tuple(f".{region}-1.eventgrid.azure.net" for region in REGIONS),
    ("https://eventgrid.azure.net",),
)


def _put_topic(_call: Call, item: Item, _before: Item | None) -> None:
    item.properties["endpoint"] = f"https://{item.name}.{item.location}-1.eventgrid.azure.net/api/events"
    item.properties.setdefault("inputSchema", "EventGridSchema")


resource_type(
    TOPICS,
    versions=VERSIONS,
    source="Event Grid REST API, Topics",
    on_put=_put_topic,
    needs_location=True,
)


def _view(item: Item) -> Json:
    """Show a subscription as the service does: a webhook only by its beginning."""
    document = item.document()
    del document["etag"]
    destination = document["properties"].get("destination", {}).get("properties", {})
    url = destination.pop("endpointUrl", None)
    if url:
        destination["endpointBaseUrl"] = str(url).partition("?")[0]
    return document


def _checked(item: Item) -> None:
    wanted = item.properties.setdefault("filter", {})
    for name in ("subjectBeginsWith", "subjectEndsWith"):
        wanted.setdefault(name, "")
    filters = wanted.get("advancedFilters") or []
    if len(filters) > MOST_FILTERS:
        raise ArmError(400, "InvalidRequest", f"There can be {MOST_FILTERS} advanced filters at most.")
    for each in filters:
        if each.get("operatorType") not in OPERATORS:
            raise ArmError(400, "InvalidRequest", f"Unknown operator {each.get('operatorType')!r}.")


@operation("arm", "PUT", SUBSCRIPTION, versions=VERSIONS, action=f"{KIND}/write", source=SOURCE)
def put_subscription(call: Call) -> Answer:
    """Create or replace an event subscription of any resource."""
    store.need(call.params["scope"])
    item = store.put(call.path, call.body)
    _checked(item)
    item.properties.update(topic=call.params["scope"], provisioningState="Succeeded")
    return Answer(201, _view(item))


@operation("arm", "PATCH", SUBSCRIPTION, versions=VERSIONS, action=f"{KIND}/write", source=SOURCE)
def patch_subscription(call: Call) -> Answer:
    """Replace the parts that are given; a filter is one part."""
    item = store.need(call.path)
    before = dict(item.properties)
    item.properties.update(call.body)
    try:
        _checked(item)
    except ArmError:
        item.body["properties"] = before
        raise
    store.touch(item)
    return Answer(201, _view(item))


@operation("arm", "GET", SUBSCRIPTION, versions=VERSIONS, action=f"{KIND}/read", source=SOURCE)
def get_subscription(call: Call) -> Json:
    """Show an event subscription."""
    return _view(store.need(call.path))


@operation("arm", "GET", SUBSCRIPTIONS, versions=VERSIONS, action=f"{KIND}/read", source=SOURCE)
def list_subscriptions(call: Call) -> Json:
    """List the event subscriptions of a resource."""
    return paging.page(call, (_view(each) for each in _of(call.params["scope"])))


@operation("arm", "DELETE", SUBSCRIPTION, versions=VERSIONS, action=f"{KIND}/delete", source=SOURCE)
def delete_subscription(call: Call) -> Answer:
    """Remove an event subscription."""
    return Answer(200 if store.delete(call.path) else 204)


def _of(resource_id: str) -> Iterator[Item]:
    for item in store.list(resource_id, KIND):
        if ids.key(ids.split(item.id)[0]) == ids.key(resource_id):
            yield item


def _topic(call: Call) -> Item:
    for item in store.list(resource_type=TOPICS):
        if item.name.lower() == call.account.lower():
            return item
    raise ArmError(404, "NotFound", f"There is no topic {call.account}.")


@operation(
    "eventgrid",
    "POST",
    "/api/events",
    action=SEND,
    data=True,
    scope=lambda call: _topic(call).id,
    source="Event Grid REST API, Publish Events",
)
def publish(call: Call) -> Answer:
    """Take events in and hand each to the subscriptions whose filter it passes."""
    events = json.loads(call.raw)
    for subscription in _of(_topic(call).id):
        for event in events:
            if passes(subscription.properties["filter"], event):
                _deliver(subscription, event)
    return Answer(200)


def _deliver(subscription: Item, event: Json) -> None:
    subscription.extra["delivered"] = int(subscription.extra.get("delivered", 0)) + 1
    destination = subscription.properties.get("destination", {})
    if destination.get("endpointType") == "ServiceBusQueue":
        body = as_message(json.dumps(event).encode())
        messages.of(destination["properties"]["resourceId"]).add(body, {})
        messages.announce()


def passes(wanted: Json, event: Json) -> bool:
    """Tell whether an event is what a subscription asks for; every part of the filter must match."""
    subject = str(event.get("subject", "")).lower()
    types = wanted.get("includedEventTypes")
    return (
        subject.startswith(str(wanted.get("subjectBeginsWith") or "").lower())
        and subject.endswith(str(wanted.get("subjectEndsWith") or "").lower())
        and (not types or "All" in types or event.get("eventType") in types)
        and all(_matches(each, event) for each in wanted.get("advancedFilters") or ())
    )


def _matches(condition: Json, event: Json) -> bool:
    value: Any = event
    for part in condition["key"].split("."):
        value = value.get(part) if isinstance(value, dict) else None
    text = None if value is None else str(value).lower()
    values = [str(each).lower() for each in condition.get("values", ())]
    return bool(OPERATORS[condition["operatorType"]](text, values))


def _any(test: Any) -> Any:
    return lambda text, values: text is not None and any(test(text, each) for each in values)


OPERATORS: dict[str, Any] = {
    "StringIn": lambda text, values: text in values,
    "StringNotIn": lambda text, values: text not in values,
    "StringBeginsWith": _any(str.startswith),
    "StringEndsWith": _any(str.endswith),
    "StringContains": _any(lambda text, each: each in text),
}


@route("POST", "/events/delivered")
def delivered(request: ControlRequest) -> Json:
    """Tell how many events a subscription has been handed."""
    item = store.get(request.text("subscription"))
    if item is None:
        raise ControlError("no such event subscription", 404)
    return {"delivered": int(item.extra.get("delivered", 0))}
