from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from azure.core.exceptions import HttpResponseError
from azure.mgmt.monitor import MonitorManagementClient

from drills.sandbox.azure.client import HOME_SUBSCRIPTION, AzureSandbox
from tests.drills.sandbox.azure.places import Bearer, Places


def client(sandbox: AzureSandbox, principal: str = "") -> Any:
    return MonitorManagementClient(Bearer(sandbox, principal), HOME_SUBSCRIPTION, retry_total=0)


def since(minutes: float = 10) -> str:
    return f"eventTimestamp ge '{(datetime.now(UTC) - timedelta(minutes=minutes)).isoformat()}'".replace(
        "+00:00", "Z"
    )


def test_every_write_is_an_event_newest_first(sandbox: AzureSandbox) -> None:
    places = Places.new(sandbox)
    places.workspace()
    found = list(client(sandbox).activity_logs.list(filter=since()))
    names = [each.operation_name.value for each in found]
    assert names[0] == "Microsoft.OperationalInsights/workspaces/write"
    assert "Microsoft.Resources/subscriptions/resourceGroups/write" in names
    stamps = [each.event_timestamp for each in found]
    assert stamps == sorted(stamps, reverse=True)
    wanted = f"{since()} and resourceUri eq '{places.group}'"
    (event,) = client(sandbox).activity_logs.list(filter=wanted)
    assert event.resource_id == places.group


def test_long_lists_come_in_pages(sandbox: AzureSandbox) -> None:
    places = Places.new(sandbox)
    for _ in range(205):
        sandbox.arm("PUT", places.group, "2021-04-01", {"location": "westeurope"})
    pages = list(client(sandbox).activity_logs.list(filter=since()).by_page())
    assert len(pages) > 1
    wanted = f"{since()} and resourceUri eq '{places.group}'"
    assert len(list(client(sandbox).activity_logs.list(filter=wanted))) == 206


def test_the_period_and_the_caller_are_respected(sandbox: AzureSandbox) -> None:
    places = Places.new(sandbox)
    actor = places.identity(("Contributor", places.group))
    sandbox.arm("PUT", places.group, "2021-04-01", {"location": "x"}, token=sandbox.mint(actor.object_id))
    mine = list(client(sandbox).activity_logs.list(filter=f"{since()} and caller eq '{actor.client_id}'"))
    assert [each.caller for each in mine] == [actor.object_id]
    assert not list(client(sandbox).activity_logs.list(filter=since(-1)))


@pytest.mark.parametrize("wanted", ["", "level eq 'Error'", "eventTimestamp ge 'yesterday'"])
def test_a_filter_needs_its_time(sandbox: AzureSandbox, wanted: str) -> None:
    with pytest.raises(HttpResponseError, match="BadRequest"):
        list(client(sandbox).activity_logs.list(filter=wanted))


def test_reading_needs_the_permission(sandbox: AzureSandbox) -> None:
    places = Places.new(sandbox)
    reader = places.identity(("Monitoring Reader", f"/subscriptions/{HOME_SUBSCRIPTION}"))
    stranger = places.identity(("Monitoring Reader", places.group))
    assert list(client(sandbox, reader.object_id).activity_logs.list(filter=since()))
    with pytest.raises(HttpResponseError, match="AuthorizationFailed"):
        list(client(sandbox, stranger.object_id).activity_logs.list(filter=since()))
