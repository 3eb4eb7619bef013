"""Preserve the audit log: what the workload's principals did, and what was done to them."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

from firebreak.capture import Page
from firebreak.declarations import of_kind
from firebreak.measure import now, on_any
from firebreak.model import Cloud, JsonObject, Phase, Target, Workload
from providers.aws.answers import translated
from providers.aws.forensics.capture import AwsCapture
from providers.aws.resources import CloudTrail, IamRole, IamUser
from providers.aws.session import partition

if TYPE_CHECKING:
    from types_boto3_cloudtrail import CloudTrailClient

_LONGEST_SESSION = timedelta(hours=12)
"""A session may be that much older than its use (STS API reference, AssumeRole, DurationSeconds)."""
_MOST_SESSIONS = 200
"""Names looked up one by one: the API answers two lookups a second (CloudTrail user guide, "Quotas")."""

_GLOBAL_EVENTS_IN = {
    "aws": "us-east-1",
    "aws-cn": "cn-north-1",
    "aws-us-gov": "us-gov-west-1",
    "aws-eusc": "eusc-de-east-1",
}
"""Where each partition records the events of IAM, CloudFront, Route 53 and the global STS endpoint
(CloudTrail user guide, "CloudTrail concepts", global service events; IAM user guide, "Logging IAM and STS API
calls"), which is where IAM's endpoint is (AWS General Reference, "IAM endpoints and quotas")."""

Search = list[str]
"""Attribute and value of one lookup."""


class CaptureAuditLog(AwsCapture, cloud=Cloud.AWS, phase=Phase.FORENSIC_CAPTURE, name="capture-audit-log"):
    """Preserve the CloudTrail events of the workload's identities, in its region and that of global services.

    Also those of every session found for them. What an identity did in a third region is not in the exhibit.
    An event arrives up to some 15 minutes after the call (CloudTrail user guide, "How CloudTrail works");
    what is missing now stays in the trail.
    """

    permissions = on_any("cloudtrail:LookupEvents")
    kind = "audit log"
    acquired_by = "cloudtrail:LookupEvents"

    @classmethod
    def applies_to(cls, workload: Workload) -> list[Target]:
        """The account's event history, where there is an identity to look for. It cannot be switched off."""
        identities = [*of_kind(workload.identities, IamRole), *of_kind(workload.identities, IamUser)]
        if not identities and not of_kind(workload.evidence_sources, CloudTrail):
            return []
        return [Target(kind="cloudtrail", ref="account", account=workload.account, region=workload.region)]

    def source(self, target: Target) -> str:
        """The account's event history, of each region that is searched."""
        return " ".join(
            f"arn:{partition(each)}:cloudtrail:{each}:{target.account}:eventhistory"
            for each in regions(target.region)
        )

    def pages(self, target: Target, position: JsonObject) -> Iterator[Page]:
        """Look up one principal or session after the other, in every region of the search.

        Sessions are learnt from the first answers; one region may tell of a session that acted in another.
        """
        place: JsonObject = {
            "searches": self._searches(),
            "regions": regions(target.region),
            "index": 0,
            "region": 0,
            "token": "",
            "until": now().isoformat(),
            "too_many": False,
            **position,
        }
        while place["index"] < len(place["searches"]):
            answer = self._lookup(place)
            seen = [Search(each) for each in place["searches"][: place["index"]]]
            events = [each for each in answer["Events"] if not any(_matches(each, s) for s in seen)]
            place = _next(place, answer)
            yield Page(events, place)

    def notes(self, target: Target, position: JsonObject) -> JsonObject:
        """Which lookups were made, and where."""
        return {
            "regions_searched": regions(target.region),
            "other_regions": "not searched: event history is kept per region",
            "searches": position.get("searches", self._searches()),
            "more_sessions_than_looked_up": position.get("too_many", False),
        }

    def _searches(self) -> list[Search]:
        searches: list[Search] = []
        for role in of_kind(self.run.workload.identities, IamRole):
            searches += [["ResourceName", role.ref], ["ResourceName", role.ref.rpartition("/")[2]]]
            searches += [["Username", name] for name in role.session_names if not set("*?") & set(name)]
        for user in of_kind(self.run.workload.identities, IamUser):
            name = user.ref.rpartition("/")[2]
            searches += [["ResourceName", user.ref], ["ResourceName", name], ["Username", name]]
        return searches

    def _lookup(self, place: JsonObject) -> Any:
        attribute, value = place["searches"][place["index"]]
        start = self.run.window_started_at
        request: dict[str, Any] = {"NextToken": place["token"]} if place["token"] else {}
        region = place["regions"][place["region"]]
        client: CloudTrailClient = self.access.client("cloudtrail", region)
        with translated(f"cloudtrail event history of {region}"):
            return client.lookup_events(
                LookupAttributes=[{"AttributeKey": attribute, "AttributeValue": value}],
                # Assumptions before the window started sessions that were used in it.
                StartTime=start - _LONGEST_SESSION if attribute == "ResourceName" else start,
                EndTime=datetime.fromisoformat(place["until"]),
                MaxResults=50,
                **request,
            )


def regions(region: str) -> list[str]:
    """Where events of a workload in that region are recorded."""
    return list(dict.fromkeys((region, _GLOBAL_EVENTS_IN[partition(region)])))


def _next(place: JsonObject, answer: Any) -> JsonObject:
    """Where to go on: the next page, region or search, with the sessions that this answer named."""
    searches = [Search(each) for each in place["searches"]]
    if searches[place["index"]][0] == "ResourceName":
        for name in _sessions(answer["Events"]):
            if ["Username", name] not in searches:
                searches.append(["Username", name])
    kept = searches[:_MOST_SESSIONS]
    token = answer.get("NextToken", "")
    done, region = divmod(place["region"] + (0 if token else 1), len(place["regions"]))
    return {
        **place,
        "searches": kept,
        "index": place["index"] + done,
        "region": region,
        "token": token,
        "too_many": place["too_many"] or len(searches) > len(kept),
    }


def _sessions(events: list[Any]) -> Iterator[str]:
    """The session names of successful role assumptions, in the order of the answer."""
    for event in events:
        if event.get("EventName", "").startswith("AssumeRole"):
            document = json.loads(event.get("CloudTrailEvent") or "{}")
            parameters = document.get("requestParameters") or {}
            name = next((v for k, v in parameters.items() if k.lower() == "rolesessionname"), "")
            if name and not document.get("errorCode"):
                yield str(name)


def _matches(event: Any, search: Search) -> bool:
    """Whether an earlier search has returned this event already."""
    attribute, value = search
    if attribute == "Username":
        return bool(event.get("Username") == value)
    return any(each.get("ResourceName") == value for each in event.get("Resources", []))
