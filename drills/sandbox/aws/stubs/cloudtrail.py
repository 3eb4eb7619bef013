"""Answer cloudtrail:LookupEvents from the calls the sandbox recorded.

Like the service's event history it holds management events only, per account and region, newest first, at
most 50 per page (CloudTrail API reference, LookupEvents). Events appear at once; the service takes minutes.
"""

from __future__ import annotations

import base64
import binascii
import itertools
import json
import threading
import uuid
from bisect import bisect_left, insort
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cached_property
from itertools import islice
from typing import TYPE_CHECKING, Any

from moto.core.utils import get_service_model

from drills.sandbox.aws.calls import on_call
from drills.sandbox.aws.credentials import sessions
from drills.sandbox.aws.state import on_reset
from drills.sandbox.aws.stubs import StubError, StubRequest, stub
from drills.sandbox.calls import KEPT_CALLS

if TYPE_CHECKING:
    from collections.abc import Iterator

    from drills.sandbox.aws.calls import CallFacts, RecordedCall

PAGE = 50
# LookupAttributeKey in the CloudTrail service model.
ATTRIBUTES = frozenset(
    {
        "EventId",
        "EventName",
        "ReadOnly",
        "Username",
        "ResourceType",
        "ResourceName",
        "EventSource",
        "AccessKeyId",
    }
)
EARLIEST = datetime.min.replace(tzinfo=UTC)
LATEST = datetime.max.replace(tzinfo=UTC)
Json = dict[str, Any]
# Data events are no management events: CloudTrail user guide, "Logging data events".
DATA_EVENTS: dict[str, frozenset[str]] = {
    "dynamodb": frozenset(
        {"PutItem", "GetItem", "UpdateItem", "DeleteItem", "Query", "Scan", "BatchGetItem", "BatchWriteItem"}
    ),
    "lambda": frozenset({"Invoke"}),
    "logs": frozenset({"PutLogEvents", "GetLogEvents", "FilterLogEvents"}),
    "sns": frozenset({"Publish", "PublishBatch"}),
    "sqs": frozenset(
        {"SendMessage", "SendMessageBatch", "ReceiveMessage", "DeleteMessage", "DeleteMessageBatch"}
    ),
}
# "Global service events" (CloudTrail user guide, "CloudTrail concepts"): recorded as in us-east-1, wherever
# the caller is. An STS event is one only where the global endpoint was called, which is signed for us-east-1.
GLOBAL_SERVICES = frozenset({"cloudfront", "iam", "route53"})
GLOBAL_REGION = "us-east-1"
S3_DATA_WORDS = ("Object", "MultipartUpload", "UploadPart")
S3_MANAGEMENT = frozenset({"PutObjectLockConfiguration", "GetObjectLockConfiguration"})


Place = tuple[str, str]
EVERYTHING = ("", "")
"""The attribute that every event has, for a lookup that names none."""


@dataclass(frozen=True)
class Event:
    """One management event."""

    call: RecordedCall
    access_key_id: str
    issued_at: datetime | None

    @cached_property
    def at(self) -> datetime:
        """The event's time, to the second as CloudTrail gives it."""
        return datetime.fromisoformat(self.call.at).replace(microsecond=0)

    @property
    def region(self) -> str:
        """The region whose history has the event."""
        return GLOBAL_REGION if self.call.service in GLOBAL_SERVICES else self.call.region

    @property
    def place(self) -> Place:
        """The account and region whose history has the event."""
        return self.call.account, self.region

    @property
    def username(self) -> str:
        """The user name, or the session name of an assumed role."""
        return self.call.principal_arn.rpartition("/")[2].rpartition(":")[2]

    @property
    def id(self) -> str:
        """A stable event id."""
        return str(uuid.uuid5(uuid.NAMESPACE_OID, f"{self.call.at}-{self.call.seq}"))

    @property
    def source(self) -> str:
        """The endpoint of the service that was called."""
        return f"{get_service_model(self.call.service).endpoint_prefix}.amazonaws.com"

    def attributes(self) -> Iterator[tuple[str, str]]:
        """Yield every attribute the event can be looked up by."""
        yield "EventId", self.id
        yield "EventName", self.call.operation
        yield "ReadOnly", str(not self.call.mutating).lower()
        yield "Username", self.username
        yield "EventSource", self.source
        yield "AccessKeyId", self.access_key_id
        for name in self.call.resources:
            names = (name, name.rpartition("/")[2], name.rpartition(":")[2])
            yield from {("ResourceName", each) for each in names}


class History:
    """The newest management events of every account, oldest first, by what they can be looked up by."""

    def __init__(self, kept: int = KEPT_CALLS) -> None:
        """Start empty; keep that many of each account and region."""
        self._kept = kept
        self._lock = threading.Lock()
        self._events: dict[tuple[Place, str, str], list[Event]] = {}

    def add(self, event: Event) -> None:
        """Append an event."""
        with self._lock:
            for key in _keys(event):
                events = self._events.setdefault(key, [])
                insort(events, event, key=_sequence)  # calls that ended together may arrive swapped
            everything = self._events[event.place, *EVERYTHING]
            if len(everything) > self._kept:
                self._drop(everything[0])

    def clear(self) -> None:
        """Forget every event."""
        with self._lock:
            self._events.clear()

    def newest_first(self, place: Place, attribute: tuple[str, str], before: int | None) -> Iterator[Event]:
        """Return the events with an attribute, from the one before the given sequence number on."""
        with self._lock:
            events = self._events.get((place, *attribute), [])
            older = events[: None if before is None else bisect_left(events, before, key=_sequence)]
        return reversed(older)

    def _drop(self, oldest: Event) -> None:
        for key in _keys(oldest):
            del self._events[key][0]
            if not self._events[key]:
                del self._events[key]


def _keys(event: Event) -> set[tuple[Place, str, str]]:
    return {(event.place, *attribute) for attribute in (EVERYTHING, *event.attributes())}


def _sequence(event: Event) -> int:
    return event.call.seq


history = History()
on_reset(history.clear)


@on_call
def _remember(call: RecordedCall, facts: CallFacts) -> None:
    if is_management(call.service, call.operation) and call.principal_arn:
        session = sessions.find(facts.access_key_id)
        history.add(Event(call, facts.access_key_id, session.issued_at if session else None))


def is_management(service: str, operation: str) -> bool:
    """Tell whether the call is a management event rather than a data event."""
    if service == "s3":
        return operation in S3_MANAGEMENT or not any(word in operation for word in S3_DATA_WORDS)
    return operation not in DATA_EVENTS.get(service, frozenset())


@stub("cloudtrail", "LookupEvents")
def lookup_events(request: StubRequest) -> Json:
    """Return one page of matching events, newest first."""
    params = request.params
    size = int(params.get("MaxResults") or PAGE)
    if not 1 <= size <= PAGE:
        raise StubError("InvalidMaxResultsException", "MaxResults must be between 1 and 50")
    found = _matching(request, _position(params.get("NextToken")))
    page = list(islice(found, size + 1))
    answer: Json = {"Events": [_render(event) for event in page[:size]]}
    if len(page) > size:
        answer["NextToken"] = base64.b64encode(str(page[size - 1].call.seq).encode()).decode()
    return answer


def _position(token: str | None) -> int | None:
    if token is None:
        return None
    try:
        return int(base64.b64decode(token, validate=True))
    except (binascii.Error, ValueError) as error:
        raise StubError("InvalidNextTokenException", "Invalid token") from error


def _matching(request: StubRequest, before: int | None) -> Iterator[Event]:
    start, end = request.params.get("StartTime"), request.params.get("EndTime")
    if start and end and _moment(start) > _moment(end):
        raise StubError("InvalidTimeRangeException", "Start time is after end time")
    first = _moment(start).replace(microsecond=0) if start else EARLIEST
    last = _moment(end) if end else LATEST
    found = history.newest_first((request.account, request.region), _attribute(request), before)
    recent = itertools.takewhile(lambda event: event.at >= first, found)
    return (event for event in recent if event.at <= last)


def _moment(value: datetime | float | str) -> datetime:
    if isinstance(value, datetime):
        return value if value.tzinfo else value.replace(tzinfo=UTC)
    if isinstance(value, str):
        return _moment(datetime.fromisoformat(value))
    return datetime.fromtimestamp(value, UTC)


def _attribute(request: StubRequest) -> tuple[str, str]:
    attributes = request.params.get("LookupAttributes") or ()
    if len(attributes) > 1:
        raise StubError("InvalidLookupAttributesException", "Currently the list can contain only one item")
    if not attributes:
        return EVERYTHING
    if attributes[0]["AttributeKey"] not in ATTRIBUTES:
        raise StubError("InvalidLookupAttributesException", f"Unknown key {attributes[0]['AttributeKey']}")
    return str(attributes[0]["AttributeKey"]), str(attributes[0]["AttributeValue"])


def _render(event: Event) -> Json:
    call = event.call
    return {
        "EventId": event.id,
        "EventName": call.operation,
        "ReadOnly": str(not call.mutating).lower(),
        "AccessKeyId": event.access_key_id,
        "EventTime": event.at,
        "EventSource": event.source,
        "Username": event.username,
        "Resources": [{"ResourceName": name} for name in call.resources],
        "CloudTrailEvent": json.dumps(_document(event)),
    }


def _document(event: Event) -> Json:
    """Build the event record (CloudTrail user guide, "CloudTrail record contents")."""
    call = event.call
    document: Json = {
        "eventVersion": "1.11",
        "userIdentity": _identity(event),
        "eventTime": f"{event.at:%Y-%m-%dT%H:%M:%SZ}",
        "eventSource": event.source,
        "eventName": call.operation,
        "awsRegion": event.region,
        "sourceIPAddress": "127.0.0.1",
        "requestParameters": call.params or None,
        "eventID": event.id,
        "readOnly": not call.mutating,
        "eventType": "AwsApiCall",
        "managementEvent": True,
        "recipientAccountId": call.account,
        "eventCategory": "Management",
    }
    if call.error_code:
        document["errorCode"] = call.error_code
    return document


def _identity(event: Event) -> Json:
    arn = event.call.principal_arn
    account = arn.split(":")[4]
    identity: Json = {"arn": arn, "accountId": account, "accessKeyId": event.access_key_id}
    if ":assumed-role/" not in arn:
        return identity | {"type": "IAMUser", "userName": event.username}
    role = arn.partition(":assumed-role/")[2].partition("/")[0]
    issuer = {
        "type": "Role",
        "arn": f"arn:aws:iam::{account}:role/{role}",
        "accountId": account,
        "userName": role,
    }
    attributes = {"mfaAuthenticated": "false"}
    if event.issued_at:
        attributes["creationDate"] = f"{event.issued_at:%Y-%m-%dT%H:%M:%SZ}"
    return identity | {
        "type": "AssumedRole",
        "sessionContext": {"sessionIssuer": issuer, "attributes": attributes},
    }
