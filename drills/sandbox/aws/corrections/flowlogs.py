"""Let flow logs be delivered under a prefix of a bucket, which the emulator takes for the bucket's name."""

from __future__ import annotations

from typing import Any

from moto.ec2.exceptions import FlowLogAlreadyExists
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
    if any((item.resource_id, item.log_destination) in _asked(kwargs) for item in self.flow_logs.values()):
        raise FlowLogAlreadyExists
    created, unsuccessful = _create(self, *args, **{**kwargs, "log_destination": bucket_arn})
    for flow_log in created:
        flow_log.log_destination = destination
    return created, unsuccessful


def _asked(kwargs: dict[str, Any]) -> set[tuple[str, str]]:
    return {(resource_id, kwargs["log_destination"]) for resource_id in kwargs["resource_ids"]}
