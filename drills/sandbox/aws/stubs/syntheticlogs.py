"""Serve log groups named `/firebreak/synthetic/<N>MiB` whose events are computed page by page.

They let a capture read any amount of log without this process holding it. Page limits: CloudWatch Logs API
reference, FilterLogEvents (1 MB or 10,000 events). Every other log group is left to the emulator.
"""

from __future__ import annotations

import re
import time
from typing import Any

from moto.core.exceptions import JsonRESTError
from moto.logs.models import logs_backends

from drills.sandbox.aws.stubs import StubError, StubRequest, stub

GROUP = re.compile(r"/firebreak/synthetic/(\d{1,6})MiB")
STREAM = "synthetic"
MESSAGE_BYTES = 16 * 1024
PAGE_EVENTS = 1024 * 1024 // MESSAGE_BYTES
EVENTS_PER_MIB = 1024 * 1024 // MESSAGE_BYTES
# One event per millisecond, the last one when the sandbox started: always inside an incident's window.
LAST_AT_MS = int(time.time() * 1000)
_FILLER = "abcdefghijklmnopqrstuvwxyz0123456789" * (MESSAGE_BYTES // 36 + 1)
Json = dict[str, Any]


def message(index: int) -> str:
    """Return the text of one event: always MESSAGE_BYTES long and different for every index."""
    head = f'{{"event":{index},"kind":"inference","text":"'
    return f'{head}{_FILLER[: MESSAGE_BYTES - len(head) - 2]}"}}'


def _first_at(total: int) -> int:
    return LAST_AT_MS - total + 1


def _event(index: int, total: int) -> Json:
    at = _first_at(total) + index
    return {
        "logStreamName": STREAM,
        "timestamp": at,
        "message": message(index),
        "ingestionTime": at,
        "eventId": f"{total}-{index:036d}",
    }


def _group_name(params: Json) -> str:
    name = str(params.get("logGroupName") or params.get("logGroupIdentifier") or "")
    return name.partition(":log-group:")[2].removesuffix(":*") if name.startswith("arn:") else name


def _group_arn(request: StubRequest) -> str:
    return f"arn:aws:logs:{request.region}:{request.account}:log-group:{_group_name(request.params)}"


def _stream_arn(request: StubRequest) -> str:
    return f"{_group_arn(request)}:log-stream:{request.params.get('logStreamName', '*')}"


def _total(params: Json) -> int | None:
    """Return the number of events of a synthetic group, or None for any other group."""
    match = GROUP.fullmatch(_group_name(params))
    return int(match.group(1)) * EVENTS_PER_MIB if match else None


def _window(params: Json, total: int) -> range:
    """Return the indexes inside the asked time range (both ends inclusive)."""
    start, end = params.get("startTime"), params.get("endTime")
    beginning = _first_at(total)
    first = max(0, int(start) - beginning) if start is not None else 0
    last = min(total - 1, int(end) - beginning) if end is not None else total - 1
    return range(first, last + 1)


def _index(token: str, prefix: str) -> int:
    if not re.fullmatch(rf"{prefix}\d+", token):
        raise StubError("InvalidParameterException", "The specified nextToken is invalid.")
    return int(token.removeprefix(prefix))


@stub("logs", "FilterLogEvents", resource=_group_arn)
def filter_log_events(request: StubRequest) -> Json:
    """Return one page of a synthetic group, or let the emulator answer."""
    params, total = request.params, _total(request.params)
    if total is None:
        return _emulated_filter(request)
    window = _window(params, total)
    start = _index(params["nextToken"], "s/") if params.get("nextToken") else window.start
    end = min(window.stop, start + min(int(params.get("limit") or PAGE_EVENTS), PAGE_EVENTS))
    answer: Json = {"events": [_event(index, total) for index in range(start, end)], "searchedLogStreams": []}
    return answer | {"nextToken": f"s/{end}"} if end < window.stop else answer


@stub("logs", "GetLogEvents", resource=_stream_arn)
def get_log_events(request: StubRequest) -> Json:
    """Return one page of a synthetic stream, or let the emulator answer."""
    params, total = request.params, _total(request.params)
    if total is None:
        return _emulated_get(request)
    window = _window(params, total)
    size = min(int(params.get("limit") or PAGE_EVENTS), PAGE_EVENTS)
    token = str(params.get("nextToken") or "")
    if token.startswith("b/") or not (token or params.get("startFromHead")):
        end = _index(token, "b/") if token else window.stop
        chosen = range(max(window.start, end - size), end)
    else:
        start = _index(token, "f/") if token else window.start
        chosen = range(start, min(window.stop, start + size))
    events = [
        {key: _event(index, total)[key] for key in ("timestamp", "message", "ingestionTime")}
        for index in chosen
    ]
    # The same forward token coming back marks the end (API reference, GetLogEvents).
    return {
        "events": events,
        "nextForwardToken": f"f/{chosen.stop}",
        "nextBackwardToken": f"b/{chosen.start}",
    }


@stub("logs", "DescribeLogStreams", resource=_group_arn)
def describe_log_streams(request: StubRequest) -> Json:
    """Return the one stream of a synthetic group, or let the emulator answer."""
    total = _total(request.params)
    if total is None:
        return _emulated_streams(request)
    arn = f"{_group_arn(request)}:log-stream:{STREAM}"
    first = _first_at(total)
    stream = {"logStreamName": STREAM, "arn": arn, "creationTime": first, "firstEventTimestamp": first}
    return {"logStreams": [stream | {"lastEventTimestamp": LAST_AT_MS, "lastIngestionTime": LAST_AT_MS}]}


def _emulated_filter(request: StubRequest) -> Json:
    params = request.params
    events, token, streams = _asked(
        request,
        "filter_log_events",
        log_group_name=_group_name(params),
        log_stream_names=_stream_names(request),
        start_time=params.get("startTime"),
        end_time=params.get("endTime"),
        limit=params.get("limit"),
        next_token=params.get("nextToken"),
        filter_pattern=params.get("filterPattern"),
        # "This parameter is deprecated ... the default is true" (API reference, FilterLogEvents).
        interleaved=True,
    )
    answer = {"events": events, "searchedLogStreams": streams}
    return answer | {"nextToken": token} if token else answer


def _stream_names(request: StubRequest) -> list[str]:
    names, prefix = (
        list(request.params.get("logStreamNames") or ()),
        request.params.get("logStreamNamePrefix"),
    )
    group = logs_backends[request.account][request.region].groups.get(_group_name(request.params))
    if not prefix or group is None:
        return names
    # An empty list would mean every stream, so a prefix without a match asks for a stream that cannot exist.
    return [name for name in group.streams if name.startswith(prefix)] or [""]


def _emulated_get(request: StubRequest) -> Json:
    params = request.params
    events, backward, forward = _asked(
        request,
        "get_log_events",
        log_group_name=_group_name(params),
        log_group_id=None,
        log_stream_name=params["logStreamName"],
        start_time=params.get("startTime"),
        end_time=params.get("endTime"),
        limit=params.get("limit"),
        next_token=params.get("nextToken"),
        start_from_head=params.get("startFromHead", False),
    )
    return {"events": events, "nextBackwardToken": backward, "nextForwardToken": forward}


def _emulated_streams(request: StubRequest) -> Json:
    params = request.params
    streams, token = _asked(
        request,
        "describe_log_streams",
        descending=params.get("descending", False),
        limit=params.get("limit") or 50,
        log_group_name=_group_name(params),
        log_group_id=None,
        log_stream_name_prefix=params.get("logStreamNamePrefix", ""),
        next_token=params.get("nextToken"),
        order_by=params.get("orderBy", "LogStreamName"),
    )
    return {"logStreams": streams} | ({"nextToken": token} if token else {})


def _asked(request: StubRequest, operation: str, **arguments: Any) -> Any:
    backend = logs_backends[request.account][request.region]
    try:
        return getattr(backend, operation)(**arguments)
    except JsonRESTError as error:
        raise StubError(error.relative_error_type, str(error.message), int(error.code)) from error
