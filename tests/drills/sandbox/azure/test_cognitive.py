"""AI accounts: keys that work until they are switched off or made anew, and tokens judged by data actions."""

from __future__ import annotations

from typing import Any

import pytest

from drills.sandbox.azure.client import ArmAnswer, AzureSandbox, SandboxError

VERSION = "2024-10-01"
AUDIENCE = "https://cognitiveservices.azure.com"
URL = "https://gpt.openai.azure.com"
MODELS = f"{URL}/openai/models?api-version=2024-10-21"
CHAT = f"{URL}/openai/deployments/gpt-4o/chat/completions?api-version=2024-10-21"


@pytest.fixture
def account(sandbox: AzureSandbox, tenant: Any) -> str:
    ref = f"{tenant.group()}/providers/Microsoft.CognitiveServices/accounts/GPT"
    sandbox.arm("PUT", ref, VERSION, {"location": "westeurope", "kind": "OpenAI", "properties": {}})
    return ref


def keys(sandbox: AzureSandbox, account: str) -> dict[str, str]:
    return dict(sandbox.arm("POST", f"{account}/listKeys", VERSION))


def with_key(sandbox: AzureSandbox, key: str) -> ArmAnswer:
    return sandbox.send("GET", MODELS, headers={"api-key": key})


def switch(sandbox: AzureSandbox, account: str, *, off: bool) -> None:
    sandbox.arm("PATCH", account, VERSION, {"properties": {"disableLocalAuth": off}})


def test_an_account_tells_where_it_is(sandbox: AzureSandbox, account: str) -> None:
    properties = sandbox.arm("GET", account, VERSION)["properties"]
    assert properties["endpoint"] == f"{URL}/"
    assert properties["disableLocalAuth"] is False
    assert "keys" not in properties


def test_either_key_works_and_any_other_does_not(sandbox: AzureSandbox, account: str) -> None:
    assert [with_key(sandbox, each).status for each in keys(sandbox, account).values()] == [200, 200]
    assert with_key(sandbox, "guessed").status == 401
    assert sandbox.send("GET", MODELS).status == 401


def test_a_key_made_anew_ends_the_old_one_alone(sandbox: AzureSandbox, account: str) -> None:
    old = keys(sandbox, account)
    new = sandbox.arm("POST", f"{account}/regenerateKey", VERSION, {"keyName": "Key1"})
    assert new["key2"] == old["key2"]
    assert [with_key(sandbox, each).status for each in (old["key1"], new["key1"], old["key2"])] == [
        401,
        200,
        200,
    ]
    with pytest.raises(SandboxError, match="InvalidKeyName"):
        sandbox.arm("POST", f"{account}/regenerateKey", VERSION, {"keyName": "Key3"})


def test_keys_that_are_off_are_neither_accepted_nor_shown(sandbox: AzureSandbox, account: str) -> None:
    known = keys(sandbox, account)
    switch(sandbox, account, off=True)
    refused = with_key(sandbox, known["key1"])
    assert (refused.status, refused.body["error"]["code"]) == (403, "AuthenticationTypeDisabled")
    for action in ("listKeys", "regenerateKey"):
        with pytest.raises(SandboxError, match="disableLocalAuth is set to be true"):
            sandbox.arm("POST", f"{account}/{action}", VERSION, {"keyName": "Key1"})
    switch(sandbox, account, off=False)
    assert keys(sandbox, account) == known


def test_a_token_needs_the_data_action(sandbox: AzureSandbox, account: str, tenant: Any) -> None:
    user, stranger = tenant.principal("Cognitive Services OpenAI User"), tenant.principal("Reader")
    for principal, status in ((user, 200), (stranger, 401)):
        token = sandbox.mint(principal.object_id, AUDIENCE)
        assert sandbox.send("POST", CHAT, {"messages": []}, token=token).status == status
    refused = sandbox.send("GET", MODELS, token=sandbox.mint(stranger.object_id, AUDIENCE))
    assert refused.body["error"]["code"] == "PermissionDenied"
    switch(sandbox, account, off=True)
    assert sandbox.send("GET", MODELS, token=sandbox.mint(user.object_id, AUDIENCE)).status == 200


@pytest.mark.usefixtures("account")
def test_a_token_for_another_service_is_refused(sandbox: AzureSandbox, tenant: Any) -> None:
    owner = tenant.principal("Owner")
    assert sandbox.send("GET", MODELS, token=sandbox.mint(owner.object_id)).status == 401


@pytest.mark.usefixtures("account")
def test_an_unknown_host_has_no_account(sandbox: AzureSandbox) -> None:
    answer = sandbox.send("GET", MODELS.replace("gpt.", "other."), headers={"api-key": "x"})
    assert answer.status == 404


def test_showing_keys_is_a_permission_of_its_own(sandbox: AzureSandbox, account: str, tenant: Any) -> None:
    reader = tenant.principal("Reader")
    with pytest.raises(SandboxError, match="AuthorizationFailed"):
        sandbox.arm("POST", f"{account}/listKeys", VERSION, token=sandbox.mint(reader.object_id))
