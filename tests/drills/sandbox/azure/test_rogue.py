"""The Azure rogue agent: every way of it works until what it rests on is cut."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import httpx
import pytest

from drills.sandbox.azure.client import start_sandbox
from drills.sandbox.azure.rogue import MODULE, AzureRepertoire, code_of, failure_of
from drills.sandbox.azure.sample import seed
from drills.sandbox.azure.sample.admin import Admin
from drills.sandbox.rogue import InconclusiveError, RefusedError, Rogue, running_rogue
from tests.drills.sandbox.rogues import alive, channels, wait_for

if TYPE_CHECKING:
    from collections.abc import Iterator

    from drills.sandbox.azure.client import AzureSandbox
    from drills.sandbox.azure.sample import Sample

NETWORK = {
    f"{name}{suffix}"
    for name in ("egress", "egress-firewall", "ingress", "lateral", "private-endpoint")
    for suffix in ("", "-new")
}
FRESH = {"token-metadata", "token-federated", "token-secret", "token-certificate"}
APPLICATION = {"tools-api", "token-secret", "token-certificate"}
ROLES = {
    *("api", "ai-token", "queue", "topic", "event", "model-promote", "image-push", "image-delete"),
    *("memory", "prompt-overwrite", "memory-overwrite", "model-overwrite", "blob-delete", "blob-read"),
}
OTHERS = {
    *("queue-from-peer", "topic-from-peer", "event-from-peer", "image-push-held", "pipeline"),
    *("prompt-overwrite-ci", "memory-overwrite-ci", "model-overwrite-ci", "blob-delete-ci"),
    *("image-push-ci", "image-delete-ci", "model-promote-ci", "pipeline-ci", "workflow-ci"),
}
DISPATCH = "Cannot trigger a 'workflow_dispatch'"
EVERY_CHANNEL = {"ai-key"} | NETWORK | FRESH | APPLICATION | ROLES | OTHERS


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[AzureSandbox, Sample]]:
    with start_sandbox() as sandbox:
        yield sandbox, seed(sandbox, tmp_path_factory.mktemp("rogue") / "workloads.yaml")


@pytest.mark.slow
def test_every_channel_works_until_what_it_rests_on_is_cut(world: tuple[AzureSandbox, Sample]) -> None:
    sandbox, sample = world
    assert sample.rogue_config_path
    admin = Admin(sandbox, sample.workload_account)
    identities = {each["name"]: each for each in _identities(admin)}
    agent = identities["claims-agent-identity"]["properties"]["principalId"]
    with running_rogue(MODULE, sandbox.url, sample.rogue_config_path):
        wait_for(lambda: set(channels(sandbox)) == EVERY_CHANNEL, "a first report")
        assert alive(sandbox) == EVERY_CHANNEL
        _remove_roles(admin, agent)
        assert EVERY_CHANNEL - alive(sandbox) == ROLES
        assert channels(sandbox)["api"]["last_error"] == "AuthorizationFailed"
        # A disabled principal gets no fresh token; what it holds already goes on working.
        admin.graph("PATCH", f"/servicePrincipals/{agent}", {"accountEnabled": False})
        left = alive(sandbox)
        assert EVERY_CHANNEL - left == ROLES | {"token-metadata", "token-federated"}
        assert {"image-push-held", "pipeline"} <= left
        assert channels(sandbox)["token-metadata"]["last_error"] == "AADSTS7000112"
    admin.close()
    final = sandbox.request("GET", "/rogue")
    time.sleep(1)
    assert sandbox.request("GET", "/rogue") == final


def _identities(admin: Admin) -> list[dict[str, Any]]:
    kind = "Microsoft.ManagedIdentity/userAssignedIdentities"
    return list(admin.arm("GET", f"{admin.scope}/providers/{kind}", "2024-11-30")["value"])


def _remove_roles(admin: Admin, principal: str) -> None:
    """Its own roles, those in Cosmos DB, and the membership by which it has others."""
    kind = "Microsoft.Authorization/roleAssignments"
    query = f"2022-04-01&$filter=principalId eq '{principal}'"
    for each in admin.arm("GET", f"{admin.scope}/providers/{kind}", query)["value"]:
        admin.arm("DELETE", each["id"], "2022-04-01")
    cosmos = "Microsoft.DocumentDB/databaseAccounts"
    for account in admin.arm("GET", f"{admin.scope}/providers/{cosmos}", "2024-05-15")["value"]:
        for each in admin.arm("GET", f"{account['id']}/sqlRoleAssignments", "2024-05-15")["value"]:
            if each["properties"]["principalId"] == principal:
                admin.arm("DELETE", each["id"], "2024-05-15")
    for group in admin.graph("GET", f"/servicePrincipals/{principal}/memberOf")["value"]:
        admin.graph("DELETE", f"/groups/{group['id']}/members/{principal}/$ref")


@pytest.mark.parametrize(
    ("answer", "code"),
    [
        (httpx.Response(403, json={"error": {"code": "AuthorizationFailed"}}), "AuthorizationFailed"),
        (httpx.Response(409, headers={"x-ms-error-code": "BlobImmutable"}, text="<x/>"), "BlobImmutable"),
        (httpx.Response(401, json={"error": "invalid_client", "error_codes": [7000112]}), "AADSTS7000112"),
        (httpx.Response(405, json={"errors": [{"code": "UNSUPPORTED"}]}), "UNSUPPORTED"),
        (httpx.Response(400, json={"typeKey": "BuildException"}), "BuildException"),
        (httpx.Response(422, json={"message": f"{DISPATCH} on a disabled workflow"}), "WorkflowDisabled"),
        (httpx.Response(422, json={"message": "no"}), "Http422"),
        (httpx.Response(502, text="no"), "Http502"),
    ],
)
def test_a_refusal_bears_the_code_that_its_host_gave(answer: httpx.Response, code: str) -> None:
    assert code_of(answer) == code


@pytest.mark.parametrize(
    "code",
    [
        *("AuthorizationFailed", "AADSTS7000112", "BlobImmutableDueToLegalHold", "WorkflowDisabled"),
        *("MessagingEntityDisabled", "REGISTRY_DISALLOWED_OPERATION", "ScopeLocked", "PermissionDenied"),
    ],
)
def test_a_cloud_that_says_no_refuses(code: str) -> None:
    assert isinstance(failure_of(code), RefusedError)


@pytest.mark.parametrize(
    "code",
    [
        *("TooManyRequests", "ServerBusy", "InternalServerError", "Http502", "Http422", "NoToken", ""),
        *("ExpiredAuthenticationToken", "AADSTS7000222", "AADSTS90033", "AuthenticationFailed", "Http404"),
    ],
)
def test_what_decides_nothing_is_no_refusal(code: str) -> None:
    assert isinstance(failure_of(code), InconclusiveError)


@pytest.mark.parametrize("name", ["blob-delete-ci", "image-delete-ci"])
def test_what_is_gone_decides_nothing_and_comes_back(world: tuple[AzureSandbox, Sample], name: str) -> None:
    sandbox, sample = world
    assert sample.rogue_config
    channel = next(each for each in sample.rogue_config["channels"] if each["name"] == name)
    once = {**channel, "name": "once", "steps": channel["steps"][:1]}
    once.pop("restore", None)
    rogue = Rogue(sandbox.url, {**sample.rogue_config, "channels": [once, channel]}, AzureRepertoire)
    for each in rogue.channels:
        each.attempt_once()
    told = rogue.report()["channels"]
    assert told["once"]["successes"] == 1
    assert (told[name]["successes"], told[name]["refused_at"]) == (0, [])
    rogue.channels[1].attempt_once()
    assert rogue.report()["channels"][name]["successes"] == 1


def test_no_answer_is_no_refusal(world: tuple[AzureSandbox, Sample]) -> None:
    sandbox, _ = world
    steps = [{"method": "GET", "url": "https://management.azure.com/subscriptions"}]
    channel = {"name": "api", "phase": 1, "kind": "call", "steps": steps}
    config = {"agent": "a", "proxy": "http://127.0.0.1:9", "ca_file": str(sandbox.ca_file), "tokens": {}}
    rogue = Rogue(sandbox.url, {**config, "channels": [channel]}, AzureRepertoire)
    rogue.channels[0].attempt_once()
    told = rogue.report()["channels"]["api"]
    assert (told["last_error"], told["refused_at"]) == ("ConnectError", [])
