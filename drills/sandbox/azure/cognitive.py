"""Play Azure AI services accounts: their keys, and the data plane that takes a key or a token.

Source: Azure AI services REST API, "Accounts" (listKeys, regenerateKey); "Disable local authentication in
Azure AI Services": keys are neither shown nor accepted then; Azure OpenAI REST API reference (data plane).
"""

from __future__ import annotations

import hmac
import secrets

from drills.sandbox.azure import rbac, tokens
from drills.sandbox.azure.call import Answer, Call, JsonObject
from drills.sandbox.azure.errors import ArmError
from drills.sandbox.azure.generic import resource_type
from drills.sandbox.azure.store import Item, store
from drills.sandbox.azure.table import operation

ACCOUNTS = "Microsoft.CognitiveServices/accounts"
VERSIONS = ("2023-05-01", "2024-10-01", "2025-06-01", "2025-09-01")
SOURCE = "Azure AI services REST API, Accounts"
KEYS_SOURCE = "Disable local authentication in Azure AI Services"
DATA_SOURCE = "Azure OpenAI in Azure AI Foundry Models REST API reference"
_ACCOUNT = "/subscriptions/{subscription}/resourceGroups/{group}/providers/" + ACCOUNTS + "/{account}"
_KEY_NAMES = ("key1", "key2")
_KEY_BYTES = 16


def _put(_call: Call, item: Item, before: Item | None) -> None:
    if before is None:
        item.extra["keys"] = {name: secrets.token_hex(_KEY_BYTES) for name in _KEY_NAMES}


def _view(item: Item) -> JsonObject:
    document = item.document()
    document["properties"] = {
        "provisioningState": "Succeeded",
        "endpoint": f"https://{_subdomain(item)}.openai.azure.com/",
        "disableLocalAuth": False,
        "publicNetworkAccess": "Enabled",
        **document.get("properties", {}),
    }
    return document


def _subdomain(item: Item) -> str:
    return str(item.properties.get("customSubDomainName") or item.name).lower()


def _disabled(item: Item) -> bool:
    return bool(item.properties.get("disableLocalAuth", False))


resource_type(ACCOUNTS, versions=VERSIONS, source=SOURCE, on_put=_put, view=_view)


@operation(
    "arm",
    "POST",
    f"{_ACCOUNT}/listKeys",
    versions=VERSIONS,
    action=f"{ACCOUNTS}/listKeys/action",
    source=KEYS_SOURCE,
)
def list_keys(call: Call) -> JsonObject:
    """Show both keys, unless keys are switched off."""
    return dict(_with_keys(call, "list key").extra["keys"])


@operation(
    "arm",
    "POST",
    f"{_ACCOUNT}/regenerateKey",
    versions=VERSIONS,
    action=f"{ACCOUNTS}/regenerateKey/action",
    source=KEYS_SOURCE,
)
def regenerate_key(call: Call) -> JsonObject:
    """Make one key anew; the old one is refused from then on."""
    item, name = _with_keys(call, "regenerate key"), str(call.body.get("keyName", "")).lower()
    if name not in _KEY_NAMES:
        raise ArmError(400, "InvalidKeyName", "The key name must be Key1 or Key2.")
    item.extra["keys"] = {**item.extra["keys"], name: secrets.token_hex(_KEY_BYTES)}
    return dict(item.extra["keys"])


def _with_keys(call: Call, what: str) -> Item:
    item = store.need(call.resource_id)
    if _disabled(item):
        raise ArmError(400, "BadRequest", f"Failed to {what}. disableLocalAuth is set to be true")
    return item


@operation("ai", "GET", "/openai/models", authenticated=False, source=DATA_SOURCE)
def list_models(call: Call) -> JsonObject:
    """List the models that the account offers."""
    _authenticated(call, f"{ACCOUNTS}/OpenAI/models/read")
    return {"object": "list", "data": [{"id": "gpt-4o", "object": "model", "status": "succeeded"}]}


@operation(
    "ai",
    "POST",
    "/openai/deployments/{deployment}/chat/completions",
    authenticated=False,
    source=DATA_SOURCE,
)
def chat(call: Call) -> Answer | JsonObject:
    """Answer a chat with a fixed sentence."""
    _authenticated(call, f"{ACCOUNTS}/OpenAI/deployments/chat/completions/action")
    message = {"role": "assistant", "content": "I am played by a sandbox."}
    choice = {"index": 0, "finish_reason": "stop", "message": message}
    return {"object": "chat.completion", "model": call.params["deployment"], "choices": [choice]}


def _authenticated(call: Call, action: str) -> None:
    """Let a valid key do everything, and a token what its principal's roles allow."""
    item = _account(call)
    key = call.headers.get("api-key") or call.headers.get("ocp-apim-subscription-key")
    if key:
        _check_key(item, key)
        return
    principal = tokens.authenticated(call)
    if not rbac.allowed(principal.object_id, action, item.id, data=True):
        message = (
            f"The principal `{principal.object_id}` lacks the required data action `{action}` to perform "
            f"`{call.method} {call.path}` operation."
        )
        raise ArmError(401, "PermissionDenied", message)


def _account(call: Call) -> Item:
    """Return the account that this host name belongs to."""
    for item in store.list(resource_type=ACCOUNTS):
        if _subdomain(item) == call.account.lower():
            return item
    raise ArmError(404, "ResourceNotFound", f"There is no account named {call.account}.")


def _check_key(item: Item, key: str) -> None:
    if _disabled(item):
        message = "Key based authentication is disabled for this resource."
        raise ArmError(403, "AuthenticationTypeDisabled", message)
    if not any(hmac.compare_digest(key.encode(), known.encode()) for known in item.extra["keys"].values()):
        message = "Access denied due to invalid subscription key or wrong API endpoint."
        raise ArmError(401, "401", message)
