"""AWS Security Hub CSPM: findings in ASFF as EventBridge delivers them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from firebreak.model import JsonObject
from firebreak.web.webhook.alert import Alert, FindingInfo, MalformedError, ResourceRef, State
from firebreak.web.webhook.fields import flag, identifier, moment, objects, required, resource, severity, text


def read(body: JsonObject) -> Alert:
    """``Id`` with ``UpdatedAt``. An event of several findings is one alert about all their resources."""
    findings = list(objects(body, "detail.findings"))
    if not findings:
        raise MalformedError("detail.findings is missing")
    open_ones = [each for each in findings if _state(each) == "new"] or findings[:1]
    first = open_ones[0]
    return Alert(
        finding_info=FindingInfo(uid=required(first, "Id"), title=text(first, "Title")),
        severity_id=severity(text(first, "Severity.Label")),
        time=moment(first, "UpdatedAt", "CreatedAt"),
        state=_state(first),
        resources=tuple(_resources(open_ones)),
        confirmed=text(first, "VerificationState") == "TRUE_POSITIVE",
        sample=any(flag(each, "Sample") for each in open_ones),
        key=" ".join(f"{required(each, 'Id')} {text(each, 'UpdatedAt')}" for each in findings)[:2048],
    )


def _state(finding: JsonObject) -> State:
    if text(finding, "RecordState") == "ARCHIVED" or text(finding, "Workflow.Status") == "SUPPRESSED":
        return "closed"
    return "resolved" if text(finding, "Workflow.Status") == "RESOLVED" else "new"


def _resources(findings: Sequence[JsonObject]) -> Iterator[ResourceRef]:
    for finding in findings:
        for each in objects(finding, "Resources"):
            account = text(finding, "AwsAccountId")
            yield from resource(identifier(each, "Id"), account, text(each, "Region"))
