from __future__ import annotations

from typing import Any

import pytest
from azure.cosmos import CosmosClient
from azure.cosmos.exceptions import CosmosHttpResponseError

from drills.sandbox.azure.client import AzureSandbox
from tests.drills.sandbox.azure.places import CONTRIBUTOR, Bearer, Places


def opened(sandbox: AzureSandbox, container: str, principal: str) -> Any:
    account = container.split("/")[8]
    client = CosmosClient(
        f"https://{account}.documents.azure.com:443/", Bearer(sandbox, principal), retry_total=0
    )
    return client.get_database_client("agent").get_container_client("memory")


@pytest.fixture
def writer(sandbox: AzureSandbox) -> tuple[Places, str, str]:
    places = Places.new(sandbox)
    container, principal = places.cosmos(), places.identity().object_id
    places.cosmos_role(container, principal, CONTRIBUTOR)
    return places, container, principal


def test_the_unmodified_sdk_writes_and_reads(sandbox: AzureSandbox, writer: tuple[Places, str, str]) -> None:
    _, container, principal = writer
    memory = opened(sandbox, container, principal)
    for number in range(25):
        memory.upsert_item({"id": f"{number}", "session": f"s{number % 7}", "text": "ü"})
    assert memory.read_item("3", partition_key="s3")["text"] == "ü"
    assert len(list(memory.query_items("SELECT * FROM c", enable_cross_partition_query=True))) == 25
    assert len(list(memory.query_items("SELECT * FROM c", partition_key="s3"))) == 4
    assert len(list(memory.read_all_items())) == 25
    memory.replace_item("3", {"id": "3", "session": "s3", "text": "poisoned"})
    memory.delete_item("4", partition_key="s4")
    assert memory.read_item("3", partition_key="s3")["text"] == "poisoned"
    with pytest.raises(CosmosHttpResponseError, match="NotFound"):
        memory.read_item("4", partition_key="s4")
    with pytest.raises(CosmosHttpResponseError, match="Conflict"):
        memory.create_item({"id": "3", "session": "s3"})


def test_each_range_is_read_in_pages(sandbox: AzureSandbox, writer: tuple[Places, str, str]) -> None:
    _, container, principal = writer
    memory = opened(sandbox, container, principal)
    for number in range(25):
        memory.upsert_item({"id": f"{number}", "session": f"s{number}"})
    ranges = list(memory.read_feed_ranges())
    assert len(ranges) == 2
    seen: list[str] = []
    for each in ranges:
        token: str | None = None
        while True:
            pages = memory.query_items("SELECT * FROM c", feed_range=each, max_item_count=4).by_page(token)
            page = list(next(pages))
            assert len(page) <= 4
            seen += [item["id"] for item in page]
            token = pages.continuation_token
            if not token:
                break
    assert sorted(seen, key=int) == [f"{n}" for n in range(25)]


def test_rights_are_the_accounts_own(sandbox: AzureSandbox, writer: tuple[Places, str, str]) -> None:
    """Owner of the subscription's resource is nobody in the data plane; a reader may not write."""
    places, container, principal = writer
    opened(sandbox, container, principal).upsert_item({"id": "1", "session": "s"})
    owner = places.identity(("Owner", places.group)).object_id
    with pytest.raises(CosmosHttpResponseError, match="does not have required RBAC permissions"):
        opened(sandbox, container, owner)
    reader = places.identity().object_id
    assignment = places.cosmos_role(container, reader)
    memory = opened(sandbox, container, reader)
    assert memory.read_item("1", partition_key="s")["id"] == "1"
    with pytest.raises(CosmosHttpResponseError, match="items/upsert"):
        memory.upsert_item({"id": "2", "session": "s"})
    sandbox.arm("DELETE", assignment, "2024-05-15")
    with pytest.raises(CosmosHttpResponseError, match="does not have required RBAC permissions"):
        memory.read_item("1", partition_key="s")


def test_a_role_reaches_as_far_as_its_scope(sandbox: AzureSandbox, writer: tuple[Places, str, str]) -> None:
    places, container, _ = writer
    account = container.partition("/sqlDatabases/")[0]
    here, elsewhere = places.identity().object_id, places.identity().object_id
    places.cosmos_role(container, here, CONTRIBUTOR, f"{account}/dbs/agent/colls/memory")
    places.cosmos_role(container, elsewhere, CONTRIBUTOR, f"{account}/dbs/agent/colls/other")
    opened(sandbox, container, here).upsert_item({"id": "1", "session": "s"})
    with pytest.raises(CosmosHttpResponseError, match="does not have required RBAC permissions"):
        opened(sandbox, container, elsewhere).upsert_item({"id": "1", "session": "s"})


def test_a_key_is_no_way_in(writer: tuple[Places, str, str]) -> None:
    _, container, _ = writer
    account = container.split("/")[8]
    with pytest.raises(CosmosHttpResponseError, match="Local Authorization is disabled"):
        CosmosClient(f"https://{account}.documents.azure.com:443/", "a2V5", retry_total=0)
