"""Preserve what the workload and the network logged."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from firebreak.capture import Page
from firebreak.declarations import of_kind, targets_of
from firebreak.measure import found, now, on_target
from firebreak.model import Change, Cloud, Finding, JsonObject, Method, Phase, Target, Workload
from providers.aws.answers import translated
from providers.aws.artifacts.hashing import split_s3_arn
from providers.aws.forensics.capture import AwsCapture
from providers.aws.forensics.copies import copied_page
from providers.aws.keys import READ_KEYS
from providers.aws.network.flowrecords import folders, group_of
from providers.aws.resources import FlowLog, LogGroup
from providers.aws.session import AwsAccess

if TYPE_CHECKING:
    from types_boto3_logs import CloudWatchLogsClient

_PAGE_EVENTS = 10_000  # CloudWatch Logs API reference, FilterLogEvents: up to 10,000 events or 1 MB


def log_pages(access: AwsAccess, group_arn: str, position: JsonObject, since_ms: int) -> Iterator[Page]:
    """Read a log group's events from an instant to the first reading, every stream, in the API's order."""
    until = int(position.get("until_ms") or now().timestamp() * 1000)
    token = position.get("token", "")
    if position and not token:
        return
    while True:
        client: CloudWatchLogsClient = access.client("logs")
        request: dict[str, Any] = {"nextToken": token} if token else {}
        with translated(group_arn):
            answer = client.filter_log_events(
                logGroupName=group_of(group_arn),
                startTime=since_ms,
                endTime=until,
                limit=_PAGE_EVENTS,
                **request,
            )
        token = answer.get("nextToken", "")
        yield Page(list(answer["events"]), {"until_ms": until, "token": token})
        if not token:
            return


def log_group_arns(target: Target) -> tuple[str, ...]:
    """How policies name a log group (Service authorization reference, Amazon CloudWatch Logs)."""
    plain = target.ref.removesuffix(":*")
    return (plain, f"{plain}:*")


class CaptureWorkloadLogs(
    AwsCapture, cloud=Cloud.AWS, phase=Phase.FORENSIC_CAPTURE, name="capture-workload-logs"
):
    """Preserve the workload's inference, agent and application logs of the window."""

    permissions = on_target("logs:FilterLogEvents")
    kind = "workload log"
    acquired_by = "logs:FilterLogEvents"

    @classmethod
    def applies_to(cls, workload: Workload) -> list[Target]:
        """Every declared log group."""
        return targets_of(workload, of_kind(workload.evidence_sources, LogGroup))

    @classmethod
    def arns(cls, target: Target) -> tuple[str, ...]:
        """The log group."""
        return log_group_arns(target)

    def pages(self, target: Target, position: JsonObject) -> Iterator[Page]:
        """Read the group's events of the window."""
        since = int(self.run.window_started_at.timestamp() * 1000)
        return log_pages(self.access, target.ref, position, since)


class CaptureFlowLogs(AwsCapture, cloud=Cloud.AWS, phase=Phase.FORENSIC_CAPTURE, name="capture-flow-logs"):
    """Preserve the VPC's flow log records of the window, raw, from log group or bucket."""

    permissions = (
        *on_target("logs:FilterLogEvents", "s3:GetEncryptionConfiguration", "s3:ListBucket", "s3:GetObject"),
        *READ_KEYS,
    )
    kind = "flow log"
    acquired_by = "logs:FilterLogEvents or s3:GetObject"

    @classmethod
    def applies_to(cls, workload: Workload) -> list[Target]:
        """Every declared flow log destination."""
        return targets_of(workload, of_kind(workload.network, FlowLog))

    @classmethod
    def arns(cls, target: Target) -> tuple[str, ...]:
        """The log group, or the bucket and its objects."""
        if ":s3:::" not in target.ref:
            return log_group_arns(target)
        bucket = target.ref.partition("/")[0]
        return (bucket, f"{bucket}/*")

    def pages(self, target: Target, position: JsonObject) -> Iterator[Page]:
        """Read events or copy files, whichever the destination has."""
        if ":s3:::" in target.ref:
            return self._files(target, position)
        since = int(self.run.window_started_at.timestamp() * 1000)
        return log_pages(self.access, target.ref, position, since)

    def verify(self, target: Target, change: Change) -> tuple[Finding, ...]:
        """Prove the copies, and that there is any: even an idle interface is recorded.

        (VPC user guide, "Flow log record examples", no data.)
        """
        captured = change.after["records"]
        there = found(
            Method.CONFIGURATION,
            f"{captured} records or files of the window captured",
            holds=captured > 0,
            inconclusive=not captured,
        )
        return (*super().verify(target, change), there)

    def _files(self, target: Target, position: JsonObject) -> Iterator[Page]:
        """Copy the files of each day of the window, whichever of its two layouts the flow log has."""
        bucket, prefix = split_s3_arn(target.ref)
        since = self.run.window_started_at
        each_day = [f for hive in (False, True) for f in folders(self.access, prefix, since, hive=hive)]
        place = {"folders": each_day, "index": 0, "after": "", "number": 0, **position}
        while place["index"] < len(place["folders"]):
            folder = place["folders"][place["index"]]
            page = copied_page(self.context, bucket, folder, place, kind=self.kind)
            yield page
            place = page.position
