"""Azure Monitor: the common alert schema of an action group."""

from __future__ import annotations

from firebreak.model import JsonObject
from firebreak.web.webhook.alert import Alert, FindingInfo, ResourceRef
from firebreak.web.webhook.fields import find, flag, moment, required, state, text, texts

_SEVERITIES = {"sev0": 5, "sev1": 4, "sev2": 3, "sev3": 2, "sev4": 1}


def read(body: JsonObject) -> Alert:
    """``alertId`` with ``monitorCondition``: fired and resolved are two events of one alert."""
    about = find(body, "data.essentials")
    alert, condition = required(about, "alertId"), text(about, "monitorCondition")
    return Alert(
        finding_info=FindingInfo(uid=alert, title=text(about, "alertRule", "description")),
        severity_id=_SEVERITIES.get(text(about, "severity").lower(), 0),
        time=moment(about, "resolvedDateTime", "firedDateTime"),
        state=state(condition),
        resources=tuple(ResourceRef(uid=uid) for uid in texts(about, "alertTargetIDs")),
        confirmed=flag(body, "data.customProperties.confirmed"),
        sample=flag(body, "data.customProperties.sample"),
        key=f"{alert} {condition}",
    )
