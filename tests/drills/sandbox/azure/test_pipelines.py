from __future__ import annotations

from typing import Any

import pytest

from drills.sandbox.azure.client import HOME_SUBSCRIPTION, AzureSandbox

ML = "2024-10-01"
DEVOPS = "499b84ac-1321-427f-aa17-267ca6975798"
BUILD = "https://dev.azure.com/acme/agents/_apis/build"


@pytest.fixture
def devops(sandbox: AzureSandbox) -> Any:
    """Call Azure DevOps as a principal with some rights in the project."""

    def caller(*rights: str) -> Any:
        who = sandbox.create_principal("builder")
        body = {"org": "acme", "project": "agents", "definitions": {"7": "promote"}}
        sandbox.request("POST", "/devops/project", {**body, "rights": {who.object_id: list(rights)}})
        token = sandbox.mint(who.object_id, DEVOPS)

        def call(method: str, path: str, document: Any = None) -> Any:
            return sandbox.send(method, f"{BUILD}/{path}", document, token=token)

        return call

    return caller


def test_a_disabled_definition_takes_no_build_and_a_paused_one_starts_none(devops: Any) -> None:
    call = devops("view", "edit", "queue")
    for status, answered, started in (
        ("enabled", 200, "inProgress"),
        ("paused", 200, "notStarted"),
        ("disabled", 400, ""),
    ):
        document = call("GET", "definitions/7").body
        assert call("PUT", "definitions/7", {**document, "queueStatus": status}).status == 200
        answer = call("POST", "builds", {"definition": {"id": 7}})
        assert answer.status == answered
        assert answer.body.get("status", "") == started
    assert call("GET", "builds?definitions=7&statusFilter=inProgress").body["count"] == 1
    assert call("GET", "builds?definitions=7&$top=1").body["value"][0]["id"] == 2


def test_a_definition_that_somebody_else_changed_is_not_overwritten(devops: Any) -> None:
    call = devops("view", "edit")
    document = call("GET", "definitions/7").body
    assert call("PUT", "definitions/7", document).body["revision"] == 2
    assert call("PUT", "definitions/7", document).status == 409
    assert call("PUT", "definitions/7/tags/mine").body["value"] == ["mine"]
    assert call("GET", "definitions/7").body["revision"] == 2
    assert call("DELETE", "definitions/7/tags/mine").body["value"] == []


def test_azure_devops_has_rights_of_its_own(devops: Any) -> None:
    assert devops()("GET", "definitions/7").status == 404
    viewer = devops("view")
    document = viewer("GET", "definitions/7").body
    assert viewer("PUT", "definitions/7", document).status == 403
    assert viewer("POST", "builds", {"definition": {"id": 7}}).status == 403
    assert viewer("GET", "definitions/8").status == 404


def test_a_token_for_another_service_is_refused(sandbox: AzureSandbox) -> None:
    assert sandbox.send("GET", f"{BUILD}/definitions/7", token=sandbox.admin_token()).status == 401


def test_a_disabled_workflow_is_not_dispatched(sandbox: AzureSandbox) -> None:
    body = {"owner": "acme", "repo": "agents", "workflows": ["promote.yml"]}
    tokens = {"writer": ["actions:write"], "reader": ["actions:read"]}
    sandbox.request("POST", "/github/repository", {**body, "tokens": tokens})
    base = "https://api.github.com/repos/acme/agents/actions"
    workflow = f"{base}/workflows/promote.yml"

    def call(token: str, method: str, url: str, document: Any = None) -> Any:
        return sandbox.send(method, url, document, token=token)

    assert call("writer", "POST", f"{workflow}/dispatches", {"ref": "main"}).status == 204
    assert call("reader", "PUT", f"{workflow}/disable").status == 403
    assert call("nobody", "GET", workflow).status == 401
    assert call("writer", "PUT", f"{workflow}/disable").status == 204
    assert call("reader", "GET", workflow).body["state"] == "disabled_manually"
    assert call("writer", "POST", f"{workflow}/dispatches", {"ref": "main"}).status == 422
    assert call("reader", "GET", f"{workflow}/runs?status=in_progress").body["total_count"] == 1
    assert call("writer", "GET", f"{base}/variables").status == 403
    assert call("writer", "PUT", f"{workflow}/enable").status == 204
    assert call("writer", "POST", f"{workflow}/dispatches", {"ref": "main"}).status == 204


def test_an_archived_model_version_is_hidden_and_can_still_be_deployed(sandbox: AzureSandbox) -> None:
    group = f"/subscriptions/{HOME_SUBSCRIPTION}/resourceGroups/Ai"
    sandbox.arm("PUT", group, "2021-04-01", {"location": "westeurope"})
    home = f"{group}/providers/Microsoft.MachineLearningServices/workspaces/home"
    sandbox.arm("PUT", home, ML, {"location": "westeurope"})
    sandbox.arm("PUT", f"{home}/models/ranker", ML, {"properties": {}})
    version = f"{home}/models/ranker/versions/3"
    properties = {"modelUri": "https://a.blob.core.windows.net/c/p/", "modelType": "custom_model"}
    sandbox.arm("PUT", version, ML, {"properties": properties})

    def listed(view: str) -> list[str]:
        url = f"https://management.azure.com{home}/models/ranker/versions"
        answer = sandbox.send(
            "GET", f"{url}?api-version={ML}&listViewType={view}", token=sandbox.admin_token()
        )
        return [each["name"] for each in answer.body["value"]]

    assert listed("ActiveOnly") == ["3"]
    sandbox.arm("PUT", version, ML, {"properties": {**properties, "isArchived": True}})
    assert (listed("ActiveOnly"), listed("ArchivedOnly"), listed("All")) == ([], ["3"], ["3"])
    endpoint = f"{home}/onlineEndpoints/live"
    sandbox.arm("PUT", endpoint, ML, {"location": "westeurope"})
    deployment = {"location": "westeurope", "properties": {"model": version}}
    sandbox.arm("PUT", f"{endpoint}/deployments/blue", ML, deployment)
    changed = {"properties": {**properties, "modelUri": "https://b.blob.core.windows.net/c/p/"}}
    answer = sandbox.send(
        "PUT", f"https://management.azure.com{version}?api-version={ML}", changed, token=sandbox.admin_token()
    )
    assert answer.status == 400
