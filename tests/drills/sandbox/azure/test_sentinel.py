from __future__ import annotations

from typing import Any
from uuid import uuid4

import pytest

from drills.sandbox.azure.client import AzureSandbox, SandboxError
from tests.drills.sandbox.azure.places import Places

VERSION = "2024-09-01"


def at(workspace: str, path: str) -> str:
    return f"{workspace}/providers/Microsoft.SecurityInsights/{path}"


def incident(sandbox: AzureSandbox, workspace: str, **properties: Any) -> Any:
    body = {"title": "t", "severity": "High", "status": "New", **properties}
    return sandbox.arm("PUT", at(workspace, f"incidents/{uuid4()}"), VERSION, {"properties": body})


def test_an_incident_with_comment_bookmark_and_relation(sandbox: AzureSandbox) -> None:
    workspace = Places.new(sandbox).sentinel()
    made = incident(sandbox, workspace)
    assert made["properties"]["incidentNumber"] == 1
    assert incident(sandbox, workspace)["properties"]["incidentNumber"] == 2
    comment = f"{made['id']}/comments/{uuid4()}"
    sandbox.arm("PUT", comment, VERSION, {"properties": {"message": "contained"}})
    assert sandbox.arm("GET", comment, VERSION)["properties"]["message"] == "contained"
    bookmark = at(workspace, f"bookmarks/{uuid4()}")
    sandbox.arm("PUT", bookmark, VERSION, {"properties": {"displayName": "b", "query": "AzureActivity"}})
    relation = {"properties": {"relatedResourceId": bookmark}}
    sandbox.arm("PUT", f"{made['id']}/relations/r", VERSION, relation)
    listed = sandbox.arm("GET", f"{made['id']}/relations", VERSION)["value"]
    assert [each["properties"]["relatedResourceId"] for each in listed] == [bookmark]
    assert len(sandbox.arm("GET", at(workspace, "incidents"), VERSION)["value"]) == 2
    assert sandbox.arm("POST", f"{made['id']}/alerts", VERSION, {}) == {"value": []}


def test_a_workspace_has_to_be_onboarded(sandbox: AzureSandbox) -> None:
    workspace, _ = Places.new(sandbox).workspace()
    with pytest.raises(SandboxError, match="404"):
        sandbox.arm("GET", at(workspace, "onboardingStates/default"), VERSION)
    with pytest.raises(SandboxError, match="not onboarded"):
        incident(sandbox, workspace)


@pytest.mark.parametrize(
    "wrong", [{"title": ""}, {"severity": "Terrible"}, {"status": "Closed"}, {"status": "Open"}]
)
def test_a_bad_incident_is_refused(sandbox: AzureSandbox, wrong: dict[str, str]) -> None:
    workspace = Places.new(sandbox).sentinel()
    with pytest.raises(SandboxError, match="Invalid data model"):
        incident(sandbox, workspace, **wrong)


def test_relations_and_comments_need_what_they_belong_to(sandbox: AzureSandbox) -> None:
    workspace = Places.new(sandbox).sentinel()
    made = incident(sandbox, workspace)
    related = {"properties": {"relatedResourceId": at(workspace, "bookmarks/none")}}
    with pytest.raises(SandboxError, match="ResourceNotFound"):
        sandbox.arm("PUT", f"{made['id']}/relations/r", VERSION, related)
    orphan = at(workspace, f"incidents/{uuid4()}/comments/c")
    with pytest.raises(SandboxError, match="ResourceNotFound"):
        sandbox.arm("PUT", orphan, VERSION, {"properties": {"message": "m"}})
    comment = f"{made['id']}/comments/c"
    with pytest.raises(SandboxError, match="too long"):
        sandbox.arm("PUT", comment, VERSION, {"properties": {"message": "m" * 30_001}})
