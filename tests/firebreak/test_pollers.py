"""A worker counts as there only while it keeps asking for work."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from google.protobuf.timestamp_pb2 import Timestamp
from temporalio.api.taskqueue.v1 import PollerInfo

from firebreak.pollers import living

NOW = datetime(2027, 3, 1, 12, tzinfo=UTC)


def seen(identity: str, ago: timedelta) -> PollerInfo:
    at = Timestamp()
    at.FromDatetime(NOW - ago)
    return PollerInfo(identity=identity, last_access_time=at)


def test_a_worker_that_the_server_only_remembers_is_not_there() -> None:
    remembered = [seen("dead", timedelta(minutes=4)), seen("alive", timedelta(seconds=69))]
    assert living(remembered, NOW) == ["alive"]


def test_a_server_whose_clock_is_ahead_hides_nobody() -> None:
    assert living([seen("alive", timedelta(seconds=-30))], NOW) == ["alive"]
