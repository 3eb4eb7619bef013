"""Update and filter the Security Hub findings that the emulator imports but cannot update or filter."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from moto.securityhub.models import securityhub_backends

from drills.sandbox.aws.stubs import StubError, StubRequest, stub

SERVICE = "securityhub"
# What BatchUpdateFindings may set (Security Hub API reference).
UPDATABLE = (
    "Severity",
    "VerificationState",
    "Confidence",
    "Criticality",
    "Types",
    "UserDefinedFields",
    "Workflow",
    "RelatedFindings",
)
PAGE = 100
Json = dict[str, Any]


def _findings(request: StubRequest) -> list[Json]:
    backend = securityhub_backends[request.account][request.region]
    if not backend.enabled:
        message = f"Account {request.account} is not subscribed to AWS Security Hub"
        raise StubError("InvalidAccessException", message, 401)
    return [finding.data for finding in backend.findings]


@stub(SERVICE, "BatchUpdateFindings")
def batch_update_findings(request: StubRequest) -> Json:
    """Set the fields that belong to the customer on findings named by id and product."""
    findings = {(item["Id"], item["ProductArn"]): item for item in _findings(request)}
    processed, unprocessed = [], []
    for identifier in request.params["FindingIdentifiers"]:
        finding = findings.get((identifier["Id"], identifier["ProductArn"]))
        if finding is None:
            reason = {"ErrorCode": "FindingNotFound", "ErrorMessage": "Finding not found"}
            unprocessed.append({"FindingIdentifier": identifier, **reason})
            continue
        _update(finding, request.params)
        processed.append(identifier)
    return {"ProcessedFindings": processed, "UnprocessedFindings": unprocessed}


def _update(finding: Json, params: Json) -> None:
    now = datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    finding.update({name: params[name] for name in UPDATABLE if params.get(name) is not None})
    if params.get("Note"):
        finding["Note"] = {**params["Note"], "UpdatedAt": now}
    if params.get("Workflow"):
        finding["WorkflowState"] = params["Workflow"]["Status"]
    finding["UpdatedAt"] = now


@stub(SERVICE, "GetFindings")
def get_findings(request: StubRequest) -> Json:
    """Return one page of the findings that match every string filter."""
    filters = request.params.get("Filters") or {}
    found = [item for item in _findings(request) if all(_matches(item, *pair) for pair in filters.items())]
    start = int(request.params.get("NextToken") or 0)
    end = start + int(request.params.get("MaxResults") or PAGE)
    answer: Json = {"Findings": found[start:end]}
    return answer | {"NextToken": str(end)} if end < len(found) else answer


def _matches(finding: Json, name: str, conditions: list[Json]) -> bool:
    """Apply one attribute's filters: equalities and prefixes join with OR, negations with AND."""
    values = list(_values(finding, name))
    positive = [item for item in conditions if not str(item.get("Comparison", "EQUALS")).startswith("NOT")]
    negative = [item for item in conditions if item not in positive]
    return (not positive or any(_holds(values, item) for item in positive)) and not any(
        _holds(values, item) for item in negative
    )


def _values(finding: Json, name: str) -> list[str]:
    if name == "ResourceId":
        return [str(resource["Id"]) for resource in finding.get("Resources", ())]
    if name == "WorkflowStatus":
        return [str(finding.get("Workflow", {}).get("Status", "NEW"))]
    if name not in ("Id", "ProductArn", "AwsAccountId", "GeneratorId", "RecordState", "Title"):
        raise StubError("InvalidInputException", f"the sandbox cannot filter findings by {name}")
    return [str(finding.get(name, ""))]


def _holds(values: list[str], condition: Json) -> bool:
    wanted, comparison = str(condition.get("Value", "")), str(condition.get("Comparison", "EQUALS"))
    if comparison.endswith("EQUALS"):
        return wanted in values
    if comparison.startswith("PREFIX"):
        return any(value.startswith(wanted) for value in values)
    return any(wanted in value for value in values)
