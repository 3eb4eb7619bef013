from __future__ import annotations

import dataclasses

import pytest
from temporalio.testing import ActivityEnvironment

from activities.liveness import heartbeating
from firebreak.model import JsonObject


@pytest.mark.parametrize(
    ("details", "begun", "resumed"),
    [
        ([], {}, {}),
        ([], {"page": 3}, {"page": 3}),
        ([{"page": 5}], {"page": 3}, {"page": 5}),
    ],
)
async def test_work_goes_on_where_the_latest_attempt_was(
    details: list[JsonObject], begun: JsonObject, resumed: JsonObject
) -> None:
    async def work() -> JsonObject:
        async with heartbeating(begun) as progress:
            return progress.resume

    environment = ActivityEnvironment()
    environment.info = dataclasses.replace(environment.info, heartbeat_details=details)
    assert await environment.run(work) == resumed
