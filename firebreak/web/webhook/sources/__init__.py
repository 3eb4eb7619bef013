"""One thin adapter per kind of source: a body in, an Alert out, MalformedError for anything else."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from firebreak.model import JsonObject
from firebreak.web.webhook.alert import Alert
from firebreak.web.webhook.sources import (
    azure_monitor,
    datadog,
    elastic,
    falcosidekick,
    gcp_monitoring,
    guardduty,
    ocsf,
    pagerduty,
    scc,
    security_hub,
    security_hub_v2,
    sentinel,
    splunk,
    splunk_observability,
    wiz,
)

ADAPTERS: Mapping[str, Callable[[JsonObject], Alert]] = {
    "azure_monitor": azure_monitor.read,
    "datadog": datadog.read,
    "elastic": elastic.read,
    "falcosidekick": falcosidekick.read,
    "gcp_monitoring": gcp_monitoring.read,
    "guardduty": guardduty.read,
    "ocsf": ocsf.read,
    "pagerduty": pagerduty.read,
    "scc": scc.read,
    "security_hub": security_hub.read,
    "security_hub_v2": security_hub_v2.read,
    "sentinel": sentinel.read,
    "splunk": splunk.read,
    "splunk_observability": splunk_observability.read,
    "wiz": wiz.read,
}
