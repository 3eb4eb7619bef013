"""Read the raw flow log records of one interface, from CloudWatch Logs or from S3."""

from __future__ import annotations

import gzip
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import IO, TYPE_CHECKING, cast

from botocore.exceptions import ClientError

from firebreak.declarations import of_kind
from firebreak.measure import now, on_any
from providers.aws.answers import error_code, translated
from providers.aws.network.flowproof import Record, fields_of, parse
from providers.aws.network.interfaces import Interface
from providers.aws.resources import FlowLog
from providers.aws.session import AwsAccess

if TYPE_CHECKING:
    from botocore.response import StreamingBody
    from types_boto3_ec2.type_defs import FlowLogTypeDef

# The longest aggregation interval (VPC user guide, "Create a flow log"): how long before a flow may begin.
LONGEST_INTERVAL = timedelta(minutes=10)
READ_FLOW_LOGS = on_any("ec2:DescribeFlowLogs", "logs:FilterLogEvents", "s3:ListBucket", "s3:GetObject")


@dataclass(frozen=True)
class Reading:
    """The records since a time, and how many lines were no records."""

    records: tuple[Record, ...]
    unreadable: int = 0


@dataclass(frozen=True)
class Source:
    """A flow log that covers an interface and writes where the inventory says."""

    declared: FlowLog
    fields: tuple[str, ...]
    id: str
    hive: bool
    interval: int
    """Its longest aggregation interval in seconds."""


def source_of(access: AwsAccess, interface: Interface) -> Source | str:
    """Find the active flow log that records everything the interface sees; else say what is missing."""
    declared = of_kind(access.run.workload.network, FlowLog)
    if not declared:
        return "the inventory declares no flow-log for this workload"
    reasons = []
    for configured in _configured(access, interface):
        for each in declared:
            problem = _problem(configured, each)
            if not problem:
                options = configured.get("DestinationOptions", {})
                fields = fields_of(configured.get("LogFormat", ""))
                hive = bool(options.get("HiveCompatiblePartitions", False))
                interval = int(configured.get("MaxAggregationInterval", LONGEST_INTERVAL.total_seconds()))
                return Source(each, fields, configured["FlowLogId"], hive, interval)
            reasons.append(f"{configured['FlowLogId']}: {problem}")
    return "no flow log of the interface, its subnet or its VPC serves: " + (
        "; ".join(reasons) or "there is none"
    )


def read(access: AwsAccess, source: Source, interface: str, since: datetime) -> Reading:
    """Read what has arrived about an interface since a time."""
    oldest = since - LONGEST_INTERVAL
    lines = (
        _from_bucket(access, source, oldest)
        if ":s3:::" in source.declared.ref
        else _from_log_group(access, source, interface, oldest)
    )
    records, unreadable = [], 0
    for line, arrived in lines:
        if interface not in line:
            continue
        record = parse(line, source.fields, arrived)
        unreadable += record is None
        if record is not None:
            records.append(record)
    return Reading(tuple(records), unreadable)


def _configured(access: AwsAccess, interface: Interface) -> list[FlowLogTypeDef]:
    covering = [interface.id, interface.subnet, interface.vpc]
    with translated(interface.id):
        answer = access.client("ec2").describe_flow_logs(
            Filters=[{"Name": "resource-id", "Values": covering}]
        )
    return answer["FlowLogs"]


def _problem(configured: FlowLogTypeDef, declared: FlowLog) -> str:
    """Say why a flow log does not serve, or nothing."""
    if not _writes_to(configured, declared.ref):
        return f"it does not write to {declared.ref}"
    if (
        configured.get("FlowLogStatus", "ACTIVE") != "ACTIVE"
        or configured.get("DeliverLogsStatus") == "FAILED"
    ):
        return f"it does not deliver ({configured.get('DeliverLogsErrorMessage', 'not active')})"
    if configured.get("TrafficType") != "ALL":
        return f"it records {configured.get('TrafficType')} only, the proof needs ALL"
    if configured.get("DestinationOptions", {}).get("FileFormat", "plain-text") != "plain-text":
        return "its files are Parquet, the proof reads plain text"
    return ""


def _writes_to(configured: FlowLogTypeDef, ref: str) -> bool:
    destination = configured.get("LogDestination", "").removesuffix(":*").rstrip("/")
    if destination:
        return destination == ref.removesuffix(":*").rstrip("/")
    return configured.get("LogGroupName", "") == group_of(ref)


def group_of(ref: str) -> str:
    """Return the name in a log group's ARN."""
    return ref.partition(":log-group:")[2].removesuffix(":*")


def _from_log_group(
    access: AwsAccess, source: Source, interface: str, oldest: datetime
) -> Iterator[tuple[str, float]]:
    # VPC user guide, "Publish flow logs to CloudWatch Logs": one stream per interface, named after it; an
    # event's timestamp is its record's start.
    pages = access.client("logs").get_paginator("filter_log_events").paginate(
        logGroupName=group_of(source.declared.ref),
        logStreamNames=[f"{interface}-all"],
        startTime=int(oldest.timestamp() * 1000),
    )  # fmt: skip
    with translated(source.declared.ref):
        try:
            for page in pages:
                yield from ((event["message"], event["ingestionTime"] / 1000) for event in page["events"])
        except ClientError as error:
            if error_code(error) != "ResourceNotFoundException":
                raise  # else the stream appears with the first delivery: so far nothing has arrived


def _from_bucket(access: AwsAccess, source: Source, oldest: datetime) -> Iterator[tuple[str, float]]:
    s3 = access.client("s3")
    bucket, _, prefix = source.declared.ref.rpartition(":::")[2].partition("/")
    with translated(source.declared.ref):
        for folder in folders(access, prefix, oldest, hive=source.hive):
            for page in s3.get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=folder):
                for each in page.get("Contents", []):
                    if source.id in each["Key"] and each["LastModified"] >= oldest:
                        body = s3.get_object(Bucket=bucket, Key=each["Key"])["Body"]
                        yield from _lines(body, each["LastModified"].timestamp())


def folders(access: AwsAccess, prefix: str, oldest: datetime, *, hive: bool) -> Iterator[str]:
    """Name the day folders from then to now, plain or Hive-compatible (VPC user guide, "Flow log files")."""
    account, region = access.account, access.region
    root = f"{prefix.strip('/')}/AWSLogs".lstrip("/")
    day = oldest.astimezone(UTC).date()
    while day <= now().date():
        if hive:
            place = f"aws-account-id={account}/aws-service=vpcflowlogs/aws-region={region}"
            yield f"{root}/{place}/year={day:%Y}/month={day:%m}/day={day:%d}/"
        else:
            yield f"{root}/{account}/vpcflowlogs/{region}/{day:%Y/%m/%d}/"
        day += timedelta(days=1)


def _lines(body: StreamingBody, arrived: float) -> Iterator[tuple[str, float]]:
    """Read a file as it streams in: it holds the whole VPC's records."""
    with gzip.open(cast("IO[bytes]", body), "rt", encoding="utf-8") as lines:
        next(lines, "")  # the first line names the fields
        yield from ((line.rstrip("\n"), arrived) for line in lines)
