"""A page as an OCSF event: Incident Finding, class 2005.

https://schema.ocsf.io/classes/incident_finding
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Final

from activities.inputs import Page
from firebreak import __version__
from firebreak.model import JsonObject, Verdict

OCSF_VERSION = "1.5.0"
CATEGORY_FINDINGS: Final = 2
INCIDENT_FINDING: Final = 2005
CREATE, UPDATE, CLOSE = 1, 2, 3
"""activity_id."""
NEW, IN_PROGRESS, RESOLVED, OTHER = 1, 2, 4, 99
"""status_id."""
INFORMATIONAL, MEDIUM, HIGH, CRITICAL = 1, 3, 4, 5
"""severity_id."""

SEVERITIES = {"started": HIGH, "warning": HIGH, "decision_needed": CRITICAL, "breach": CRITICAL}
CLOSING = (Verdict.CONTAINED, Verdict.RELEASED, Verdict.REJECTED)


def event(page: Page) -> JsonObject:
    """The event; the text of a page is the comment, and never names a target of anything."""
    activity, status = _progress(page)
    at = _milliseconds(page.at or datetime.now(UTC))
    return {
        "category_uid": CATEGORY_FINDINGS,
        "class_uid": INCIDENT_FINDING,
        "activity_id": activity,
        "type_uid": INCIDENT_FINDING * 100 + activity,
        "severity_id": SEVERITIES.get(page.kind, INFORMATIONAL if status == RESOLVED else MEDIUM),
        "status_id": status,
        "time": at,
        "comment": page.message,
        "metadata": {
            "version": OCSF_VERSION,
            "product": {"name": "Firebreak", "vendor_name": "Firebreak", "version": __version__},
            "uid": f"{page.incident_id}/{page.kind}/{page.phase or 0}/{at}",
            "correlation_uid": page.incident_id,
        },
        "finding_info_list": [
            {
                "uid": page.incident_id,
                "title": f"Containment of {page.workload_id or 'a workload'}",
                "types": ["containment"],
            }
        ],
        "unmapped": _own_words(page),
    }


def _progress(page: Page) -> tuple[int, int]:
    if page.kind == "started":
        return CREATE, NEW
    if page.kind != "verdict":
        return UPDATE, IN_PROGRESS
    return (CLOSE, RESOLVED) if page.verdict in CLOSING else (UPDATE, OTHER)


def _own_words(page: Page) -> JsonObject:
    return {
        "kind": page.kind,
        "phase": page.phase.title if page.phase else None,
        "verdict": page.verdict.value if page.verdict else None,
        "workload_id": page.workload_id,
        "cloud": page.cloud.value if page.cloud else None,
        "mode": page.mode.value,
    }


def _milliseconds(moment: datetime) -> int:
    return int(moment.timestamp() * 1000)
