"""AWS Security Hub: OCSF findings as EventBridge delivers them (``Findings Imported V2``)."""

from __future__ import annotations

from firebreak.model import JsonObject
from firebreak.web.webhook.alert import Alert, MalformedError
from firebreak.web.webhook.fields import objects
from firebreak.web.webhook.sources import ocsf


def read(body: JsonObject) -> Alert:
    """Every event holds one finding; several are one alert about all their resources."""
    alerts = [ocsf.read(each) for each in objects(body, "detail.findings")]
    if not alerts:
        raise MalformedError("detail.findings is missing")
    open_ones = [each for each in alerts if each.state in {"new", "updated"}] or alerts[:1]
    return open_ones[0].model_copy(
        update={
            "resources": tuple(each for alert in open_ones for each in alert.resources),
            "sample": any(alert.sample for alert in open_ones),
            "key": " ".join(alert.key for alert in alerts)[:2048],
        }
    )
