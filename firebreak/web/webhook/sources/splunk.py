"""Splunk: the webhook of a saved search, which sends the first row of its result."""

from __future__ import annotations

import hashlib
import json

from firebreak.model import JsonObject
from firebreak.web.webhook.alert import Alert, FindingInfo, MalformedError
from firebreak.web.webhook.fields import find, required, severity, state, text
from firebreak.web.webhook.sources import template


def read(body: JsonObject) -> Alert:
    """``sid`` with a hash of the row: one search can alert for each of its rows."""
    search, row = required(body, "sid"), find(body, "result")
    if not isinstance(row, dict):
        raise MalformedError("result is missing")
    digest = hashlib.sha256(json.dumps(row, sort_keys=True).encode()).hexdigest()
    return Alert(
        finding_info=FindingInfo(
            uid=text(row, "finding_id") or search, title=text(row, "title") or text(body, "search_name")
        ),
        severity_id=severity(text(row, "severity", "urgency")),
        time=template.at(row, "_time"),
        state=state(text(row, "status")),
        resources=template.resources(row),
        confirmed=template.confirmed(row),
        sample=template.sample(row),
        key=f"{search} {digest}",
    )
