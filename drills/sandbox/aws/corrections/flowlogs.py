"""Let flow logs be delivered under a prefix of a bucket, which the emulator takes for the bucket's name."""

from __future__ import annotations

from typing import Any

from moto.ec2.models.flow_logs import FlowLogsBackend

_create = FlowLogsBackend.create_flow_logs


def apply() -> None:
    """Replace the emulator's creation of flow logs."""
    FlowLogsBackend.create_flow_logs = _create_under_prefix  # type: ignore[method-assign]


def _create_under_prefix(self: Any, *args: Any, **kwargs: Any) -> Any:
    destination = str(kwargs.get("log_destination") or "")
    bucket_arn, separator, _prefix = destination.partition("/")
    if not separator or kwargs.get("log_destination_type") != "s3":
        return _create(self, *args, **kwargs)
    # The bucket must exist and the configuration be new; both are checked by the bucket's own ARN, which is
    # stricter than AWS: there two prefixes of one bucket are two destinations of the same resource.
    created, unsuccessful = _create(self, *args, **{**kwargs, "log_destination": bucket_arn})
    for flow_log in created:
        flow_log.log_destination = destination
    return created, unsuccessful
