"""Deliver flow log records to the CloudWatch log group or S3 prefix that the account configured."""

from __future__ import annotations

import gzip
import secrets
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from moto.logs.models import logs_backends
from moto.s3.models import s3_backends

from drills.sandbox.aws.ec2state import all_interfaces, backends, describe_interface
from drills.sandbox.aws.flowlogs import DEFAULT_FORMAT, FlowLog
from drills.sandbox.aws.state import PARTITION

if TYPE_CHECKING:
    from collections.abc import Iterator

    from drills.sandbox.aws.flowlogs import Record
    from drills.sandbox.aws.packets import Interface


class AccountDestinations:
    """The flow logs of the emulated accounts. The caller holds the emulator's lock."""

    def flow_logs(self, interface: Interface) -> Iterator[FlowLog]:
        """Return the active configurations on the interface, its subnet and its VPC."""
        covering = {interface.id, interface.subnet_id, interface.vpc_id}
        for backend in backends():
            if (backend.account_id, backend.region_name) == (interface.account_id, interface.region):
                yield from (
                    _flow_log(backend, item)
                    for item in list(backend.flow_logs.values())
                    if item.resource_id in covering
                )

    def logged_interfaces(self) -> Iterator[Interface]:
        """Return every interface that at least one configuration covers."""
        covered = {item.resource_id for backend in backends() for item in list(backend.flow_logs.values())}
        if not covered:
            return
        for backend, eni in all_interfaces():
            if covered & {eni.id, eni.subnet.id, eni.vpc_id}:
                yield describe_interface(backend, eni)

    def deliver(self, flow_log: FlowLog, interface: Interface, records: list[Record], at: float) -> None:
        """Publish records of one interface."""
        if flow_log.destination_type == "s3":
            _to_bucket(flow_log, records, at)
        else:
            _to_log_group(flow_log, interface, records)


def _flow_log(backend: Any, item: Any) -> FlowLog:
    return FlowLog(
        id=item.id,
        account_id=backend.account_id,
        region=backend.region_name,
        traffic_type=item.traffic_type or "ALL",
        destination_type=item.log_destination_type,
        log_group=item.log_group_name or _group_of(item.log_destination),
        destination_arn=item.log_destination or "",
        format=item.log_format or DEFAULT_FORMAT,
    )


def _group_of(arn: str | None) -> str:
    return (arn or "").partition(":log-group:")[2].removesuffix(":*")


def _to_log_group(flow_log: FlowLog, interface: Interface, records: list[Record]) -> None:
    backend = logs_backends[flow_log.account_id][flow_log.region]
    if flow_log.log_group not in backend.groups:
        return  # AWS keeps such a flow log with DeliverLogsStatus FAILED and drops its records
    # Stream names: VPC user guide, "Publish flow logs to CloudWatch Logs".
    stream = f"{interface.id}-{flow_log.traffic_type.lower()}"
    backend.ensure_log_stream(flow_log.log_group, stream)
    events = [{"timestamp": record.start * 1000, "message": record.line} for record in records]
    backend.groups[flow_log.log_group].put_log_events(stream, events)


def _to_bucket(flow_log: FlowLog, records: list[Record], at: float) -> None:
    bucket, _, prefix = flow_log.destination_arn.rpartition(":::")[2].partition("/")
    backend = s3_backends[flow_log.account_id][PARTITION]
    header = " ".join(part.strip("${}") for part in flow_log.format.split())
    content = "\n".join([header, *(record.line for record in records), ""])
    backend.put_object(bucket, _object_key(flow_log, prefix, at), gzip.compress(content.encode()))


def _object_key(flow_log: FlowLog, prefix: str, at: float) -> str:
    """Name the log file (VPC user guide, "Flow log files")."""
    when = datetime.fromtimestamp(at, UTC)
    folder = f"AWSLogs/{flow_log.account_id}/vpcflowlogs/{flow_log.region}/{when:%Y/%m/%d}"
    name = f"{flow_log.account_id}_vpcflowlogs_{flow_log.region}_{flow_log.id}_{when:%Y%m%dT%H%MZ}"
    path = f"{folder}/{name}_{secrets.token_hex(4)}.log.gz"
    return f"{prefix.strip('/')}/{path}" if prefix.strip("/") else path
