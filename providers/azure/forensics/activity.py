"""Preserve the activity log: what anybody did to anything in the workload's subscription."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime

import httpx

from firebreak.capture import Page
from firebreak.declarations import of_kind
from firebreak.measure import now, on_target
from firebreak.model import Cloud, JsonObject, Phase, Target, Workload
from providers.azure.answers import translated
from providers.azure.forensics.capture import AzureCapture
from providers.azure.resources.evidence import ActivityLog
from providers.azure.rest import body_of

_VERSION = "2015-04-01"
"""api-version of ``Microsoft.Insights/eventtypes`` (Azure Monitor REST API, "Activity Logs - List")."""
_VALUES = "providers/Microsoft.Insights/eventtypes/management/values"


class CaptureActivityLog(
    AzureCapture, cloud=Cloud.AZURE, phase=Phase.FORENSIC_CAPTURE, name="capture-activity-log"
):
    """Preserve every activity log event of the window, of the whole subscription.

    Whoever attacks a workload acts through more principals and on more resources than its own, and the API
    filters by time and one resource only. An event arrives 3 to 20 minutes after the act (Azure Monitor,
    "Log data ingestion time"); what is missing now is kept by Azure for 90 days.
    """

    permissions = on_target("Microsoft.Insights/eventtypes/values/Read")
    kind = "activity log"
    acquired_by = "Microsoft.Insights/eventtypes/management/values"

    @classmethod
    def applies_to(cls, workload: Workload) -> list[Target]:
        """The activity log, where there is an identity to look for. It cannot be switched off."""
        if not workload.identities and not of_kind(workload.evidence_sources, ActivityLog):
            return []
        return [
            Target(
                kind="activity-log", ref=workload.account, account=workload.account, region=workload.region
            )
        ]

    @classmethod
    def arns(cls, target: Target) -> tuple[str, ...]:
        """The subscription."""
        return (f"/subscriptions/{target.account}",)

    def source(self, target: Target) -> str:
        """The address of the subscription's activity log."""
        return f"/subscriptions/{target.account}/{_VALUES}"

    def pages(self, target: Target, position: JsonObject) -> Iterator[Page]:
        """Follow the pages of the window, from the newest event to the oldest."""
        until = position.get("until") or _stamp(now())
        link = position.get("link", "")
        if position and not link:
            return
        while True:
            with translated(self.source(target)):
                answer = body_of(self._asked(target, link, until))
            link = answer.get("nextLink") or ""
            yield Page(list(answer.get("value", ())), {"until": until, "link": link})
            if not link:
                return

    def _asked(self, target: Target, link: str, until: str) -> httpx.Response:
        if link:
            return self.access.arm().request("GET", link)
        since = _stamp(self.run.window_started_at)
        wanted = f"eventTimestamp ge '{since}' and eventTimestamp le '{until}'"
        query = {"api-version": _VERSION, "$filter": wanted}
        return self.access.arm().request("GET", self.source(target), query=query)


def _stamp(moment: datetime) -> str:
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
