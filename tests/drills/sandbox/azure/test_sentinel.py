from __future__ import annotations

from collections.abc import Iterator
from typing import Any
from uuid import uuid4

import pytest

from drills.sandbox.azure.client import AzureSandbox, SandboxError, start_sandbox
from tests.drills.sandbox.azure.places import Places

VERSION = "2024-09-01"


@pytest.fixture(scope="module")
def cloud() -> Iterator[AzureSandbox]:
    with start_sandbox() as running:
        yield running


def at(workspace: str, path: str) -> str:
    return f"{workspace}/providers/Microsoft.SecurityInsights/{path}"


def incident(cloud: AzureSandbox, workspace: str, **properties: Any) -> Any:
    body = {"title": "t", "severity": "High", "status": "New", **properties}
    return cloud.arm("PUT", at(workspace, f"incidents/{uuid4()}"), VERSION, {"properties": body})


def test_an_incident_with_comment_bookmark_and_relation(cloud: AzureSandbox) -> None:
    workspace = Places.new(cloud).sentinel()
    made = incident(cloud, workspace)
    assert made["properties"]["incidentNumber"] == 1
    assert incident(cloud, workspace)["properties"]["incidentNumber"] == 2
    comment = f"{made['id']}/comments/{uuid4()}"
    cloud.arm("PUT", comment, VERSION, {"properties": {"message": "contained"}})
    assert cloud.arm("GET", comment, VERSION)["properties"]["message"] == "contained"
    bookmark = at(workspace, f"bookmarks/{uuid4()}")
    cloud.arm("PUT", bookmark, VERSION, {"properties": {"displayName": "b", "query": "AzureActivity"}})
    relation = {"properties": {"relatedResourceId": bookmark}}
    cloud.arm("PUT", f"{made['id']}/relations/r", VERSION, relation)
    listed = cloud.arm("GET", f"{made['id']}/relations", VERSION)["value"]
    assert [each["properties"]["relatedResourceId"] for each in listed] == [bookmark]
    assert len(cloud.arm("GET", at(workspace, "incidents"), VERSION)["value"]) == 2
    assert cloud.arm("POST", f"{made['id']}/alerts", VERSION, {}) == {"value": []}


def test_a_workspace_has_to_be_onboarded(cloud: AzureSandbox) -> None:
    workspace, _ = Places.new(cloud).workspace()
    with pytest.raises(SandboxError, match="404"):
        cloud.arm("GET", at(workspace, "onboardingStates/default"), VERSION)
    with pytest.raises(SandboxError, match="not onboarded"):
        incident(cloud, workspace)


@pytest.mark.parametrize(
    "wrong", [{"title": ""}, {"severity": "Terrible"}, {"status": "Closed"}, {"status": "Open"}]
)
def test_a_bad_incident_is_refused(cloud: AzureSandbox, wrong: dict[str, str]) -> None:
    workspace = Places.new(cloud).sentinel()
    with pytest.raises(SandboxError, match="Invalid data model"):
        incident(cloud, workspace, **wrong)


def test_relations_and_comments_need_what_they_belong_to(cloud: AzureSandbox) -> None:
    workspace = Places.new(cloud).sentinel()
    made = incident(cloud, workspace)
    with pytest.raises(SandboxError, match="ResourceNotFound"):
        body = {"properties": {"relatedResourceId": at(workspace, "bookmarks/none")}}
        cloud.arm("PUT", f"{made['id']}/relations/r", VERSION, body)
    with pytest.raises(SandboxError, match="ResourceNotFound"):
        path = at(workspace, f"incidents/{uuid4()}/comments/c")
        cloud.arm("PUT", path, VERSION, {"properties": {"message": "m"}})
    with pytest.raises(SandboxError, match="too long"):
        path = f"{made['id']}/comments/c"
        cloud.arm("PUT", path, VERSION, {"properties": {"message": "m" * 30_001}})
