"""OCSF Detection Finding (class 2004): the form of our generic route, and of the new Security Hub."""

from __future__ import annotations

from collections.abc import Iterator

from firebreak.model import JsonObject
from firebreak.web.webhook.alert import Alert, FindingInfo, MalformedError, ResourceRef, State
from firebreak.web.webhook.fields import find, flag, identifier, moment, objects, required, resource, text

_FINDINGS = 2
"""OCSF category_uid of findings."""
_CLOSE = 3
"""OCSF activity_id of a finding that was closed."""
_STATES: dict[int, State] = {2: "updated", 3: "closed", 4: "resolved", 5: "closed", 6: "closed"}
"""OCSF status_id of findings: in progress, suppressed, resolved, archived, deleted."""
_FALSE_POSITIVE, _TRUE_POSITIVE, _BENIGN, _TEST = 1, 2, 5, 6
"""OCSF verdict_id."""


def read(body: JsonObject) -> Alert:
    """``metadata.uid`` names the event; without it the finding with its time."""
    if find(body, "category_uid") not in (None, _FINDINGS):
        raise MalformedError("category_uid is not that of findings (2)")
    finding, verdict = required(body, "finding_info.uid"), find(body, "verdict_id")
    at = moment(body, "time", "time_dt", "finding_info.modified_time", "finding_info.created_time")
    return Alert(
        finding_info=FindingInfo(uid=finding, title=text(body, "finding_info.title", "message")),
        severity_id=_severity(find(body, "severity_id")),
        time=at,
        state="resolved" if verdict in (_FALSE_POSITIVE, _BENIGN) else _state(body),
        resources=tuple(_resources(body)),
        confirmed=verdict == _TRUE_POSITIVE,
        sample=verdict == _TEST or flag(body, "sample", "unmapped.sample"),
        key=f"{finding} {text(body, 'metadata.uid') or (at.isoformat() if at else '')}",
    )


def _state(body: JsonObject) -> State:
    if find(body, "activity_id") == _CLOSE:
        return "closed"
    status = find(body, "status_id")
    return _STATES.get(status, "new") if isinstance(status, int) else "new"


def _severity(value: object) -> int:
    known = isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= 6  # noqa: PLR2004 - OCSF's range
    return int(value) if known else 0  # type: ignore[call-overload]  # narrowed by the line above


def _resources(body: JsonObject) -> Iterator[ResourceRef]:
    cloud_account, cloud_region = text(body, "cloud.account.uid"), text(body, "cloud.region")
    for each in objects(body, "resources"):
        account = text(each, "owner.account.uid") or cloud_account
        yield from resource(identifier(each, "uid"), account, text(each, "region") or cloud_region)
