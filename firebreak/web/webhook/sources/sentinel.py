"""Microsoft Sentinel: an incident, sent by an automation rule through a Logic App."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator

from firebreak.model import JsonObject
from firebreak.web.webhook.alert import Alert, FindingInfo, ResourceRef
from firebreak.web.webhook.fields import (
    find,
    identifier,
    moment,
    objects,
    required,
    resource,
    severity,
    state,
    text,
)

_ENTITY_IDS = ("resourceId", "azureID", "aadUserId", "objectGuid", "appId")
"""Of the entities AzureResource, Host, Account and CloudApplication (Sentinel entity types reference)."""


def read(body: JsonObject) -> Alert:
    """The incident with all of it that counts here names the event.

    ``eventUniqueId`` would not do: each comment on an incident is an update of it with an id of its own, and
    our own comments would ask for containments.
    """
    incident = required(body, "object.id")
    about = find(body, "object.properties")
    return Alert(
        finding_info=FindingInfo(uid=incident, title=text(about, "title")),
        severity_id=severity(text(about, "severity")),
        time=moment(about, "lastModifiedTimeUtc", "createdTimeUtc", "lastActivityTimeUtc"),
        state=state(text(about, "status")),
        resources=tuple(_resources(about)),
        confirmed=text(about, "classification").lower() == "truepositive",
        key=f"{incident} {_digest(about)}",
    )


def _digest(about: object) -> str:
    told = [
        *(
            text(about, name)
            for name in ("status", "severity", "classification", "additionalData.alertsCount")
        ),
        str(len(list(objects(about, "alerts")))),
        *sorted(f"{each.uid} {each.account} {each.region}" for each in set(_resources(about))),
    ]
    return hashlib.sha256(json.dumps(told).encode()).hexdigest()


def _resources(about: object) -> Iterator[ResourceRef]:
    for entity in objects(about, "relatedEntities"):
        for name in _ENTITY_IDS:
            yield from resource(identifier(entity, f"properties.{name}"))
    for alert in objects(about, "alerts"):
        for each in objects(alert, "properties.resourceIdentifiers"):
            yield from resource(identifier(each, "resourceId", "azureResourceId"))
