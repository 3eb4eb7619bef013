"""Reading fields from a body that somebody else wrote: whatever it holds, no error but MalformedError."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

from firebreak.model import JsonObject
from firebreak.web.webhook.alert import MalformedError, ResourceRef, State

MAX_ID = 1024
MAX_TEXT = 512

SEVERITIES = {
    "informational": 1,
    "info": 1,
    "notice": 1,
    "debug": 1,
    "low": 2,
    "warning": 3,
    "medium": 3,
    "moderate": 3,
    "error": 4,
    "high": 4,
    "critical": 5,
    "alert": 5,
    "emergency": 6,
    "fatal": 6,
}
"""OCSF severity_id of the words that sources use; Falco's priorities are syslog's."""

STATES: dict[str, State] = {
    **dict.fromkeys(("resolved", "recovered", "ok", "inactive", "rejected", "false_positive"), "resolved"),
    **dict.fromkeys(("closed", "archived", "suppressed", "dismissed", "deleted", "muted"), "closed"),
    **dict.fromkeys(("updated", "in_progress", "re-triggered"), "updated"),
}
"""Any other word counts as new: an alert must not be lost to a word that nobody foresaw."""

_MILLISECONDS = 100_000_000_000
"""Larger numbers are milliseconds: as seconds they would lie beyond the year 5138."""


def parsed(raw: bytes) -> JsonObject:
    """The JSON object of a body; raises MalformedError for anything else."""
    try:
        value = json.loads(raw.decode("utf-8"))
    except (ValueError, RecursionError) as error:
        raise MalformedError("the body is not JSON in UTF-8") from error
    if not isinstance(value, dict):
        raise MalformedError("the body is not a JSON object")
    return value


def find(value: Any, path: str) -> Any:
    """The value at a dotted path, or None; each name also with its first letter in the other case.

    GuardDuty's events are published in both spellings, lowerCamel and the API's PascalCase.
    """
    for name in path.split("."):
        if not isinstance(value, dict):
            return None
        value = value.get(name, value.get(name[:1].swapcase() + name[1:]))
    return value


def text(value: Any, *paths: str, limit: int = MAX_TEXT) -> str:
    """The first of these fields that holds text or a number, as clean text; empty when there is none."""
    for path in paths:
        found = find(value, path)
        if isinstance(found, int | float) and not isinstance(found, bool):
            found = str(found)
        if isinstance(found, str) and found.strip():
            return clean(found)[:limit]
    return ""


def identifier(value: Any, *paths: str) -> str:
    """An id that has to be whole: one that is too long is none."""
    found = text(value, *paths, limit=MAX_ID + 1)
    return found if len(found) <= MAX_ID else ""


def required(value: Any, *paths: str) -> str:
    """Text that must be there; raises MalformedError naming the first field."""
    found = text(value, *paths)
    if not found:
        raise MalformedError(f"{paths[0]} is missing")
    return found


def objects(value: Any, path: str) -> Iterator[JsonObject]:
    """The objects of a list, or the one object that stands in its place."""
    found = find(value, path)
    for each in found if isinstance(found, list) else [found]:
        if isinstance(each, dict):
            yield each


def texts(value: Any, path: str) -> Iterator[str]:
    """The usable ids of a list of text."""
    found = find(value, path)
    for each in found if isinstance(found, list) else [found]:
        if isinstance(each, str) and 0 < len(each.strip()) <= MAX_ID:
            yield clean(each)


def moment(value: Any, *paths: str) -> datetime | None:
    """The first of these fields that holds a time: ISO 8601, or seconds or milliseconds since 1970."""
    for path in paths:
        found = _moment(find(value, path))
        if found is not None:
            return found
    return None


def flag(value: Any, *paths: str) -> bool:
    """Whether one of these fields says yes; templates write it as text."""
    return any(str(find(value, path)).strip().lower() in {"true", "yes", "1"} for path in paths)


def severity(word: str) -> int:
    """The OCSF severity_id of a word; unknown is 0."""
    return SEVERITIES.get(word.strip().lower(), 0)


def state(word: str) -> State:
    """The state of a finding in its source's word."""
    return STATES.get(word.strip().lower().replace(" ", "_"), "new")


def resource(uid: str, account: str = "", region: str = "") -> tuple[ResourceRef, ...]:
    """A reference, or none where the id is missing."""
    return (ResourceRef(uid=uid, account=account, region=region),) if uid else ()


def clean(found: str) -> str:
    """Text without control characters or broken encodings: it goes to logs, pages and evidence."""
    whole = found.encode("utf-8", "replace").decode("utf-8")
    return "".join(c if c.isprintable() else " " for c in whole).strip()


def _moment(found: Any) -> datetime | None:
    if isinstance(found, bool):
        return None
    try:
        if isinstance(found, str) and not _numeric(found):
            at = datetime.fromisoformat(found.strip())
            return (at if at.tzinfo else at.replace(tzinfo=UTC)).astimezone(UTC)
        seconds = float(found)
        return datetime.fromtimestamp(seconds / 1000 if seconds > _MILLISECONDS else seconds, UTC)
    except (TypeError, ValueError, OverflowError, OSError):  # no time after all
        return None


def _numeric(found: str) -> bool:
    try:
        return math.isfinite(float(found))
    except ValueError:  # it is words, or a date
        return False
