"""Storage accounts as Azure Resource Manager shows them.

Source: Azure Storage resource provider REST API, "Storage Accounts" and "Blob Services".
"""

from __future__ import annotations

import base64
import os
from collections.abc import Callable
from typing import Any

from drills.sandbox.azure import clock, ids
from drills.sandbox.azure.call import Answer, Call, JsonObject
from drills.sandbox.azure.errors import ArmError
from drills.sandbox.azure.generic import resource_type
from drills.sandbox.azure.storage.blobs import blob_store
from drills.sandbox.azure.storage.model import Account
from drills.sandbox.azure.store import Item
from drills.sandbox.azure.table import Handler, operation

VERSIONS = ("2023-05-01", "2024-01-01", "2025-06-01", "2026-04-01", "2026-09-01")
PROVIDER = "/subscriptions/{subscription}/resourceGroups/{group}/providers/Microsoft.Storage"
ACCOUNT = f"{PROVIDER}/storageAccounts/{{account}}"
BLOBS = f"{ACCOUNT}/blobServices/default"
_ACTION = "Microsoft.Storage/storageAccounts"
ACCOUNTS_SOURCE = "Azure Storage resource provider REST API, Storage Accounts"
SERVICES_SOURCE = "Azure Storage resource provider REST API, Blob Services"


def account_of(call: Call) -> Account:
    """The account that a call is about, by id and not by name alone."""
    account = blob_store.accounts.get(call.params["account"].lower())
    if account is None or not ids.within(call.resource_id, account.resource_id):
        raise ArmError(
            404,
            "ResourceNotFound",
            f"The Resource 'Microsoft.Storage/storageAccounts/{call.params['account']}' under resource group"
            f" '{call.params['group']}' was not found.",
        )
    return account


def _put(_call: Call, item: Item, _before: Item | None) -> None:
    name = item.name.lower()
    known = blob_store.accounts.get(name)
    if known is not None and ids.key(known.resource_id) != ids.key(item.id):
        raise ArmError(
            409, "StorageAccountAlreadyTaken", f"The storage account named {name} is already taken."
        )
    account = known or blob_store.accounts.setdefault(name, Account(name, item.id, keys=_new_keys()))
    wanted = item.properties
    account.shared_keys = wanted.get("allowSharedKeyAccess", True)
    worm = wanted.get("immutableStorageWithVersioning") or {}
    account.version_level = account.version_level or bool(worm.get("enabled"))
    account.versioning = account.versioning or account.version_level
    account.network_default = (wanted.get("networkAcls") or {}).get("defaultAction", "Allow")


def _delete(_call: Call, item: Item) -> None:
    account = blob_store.accounts.get(item.name.lower())
    if account is None:
        return
    kept = [each for each in account.containers.values() if _keeps_the_account(each)]
    if kept:
        raise ArmError(
            409,
            "AccountProtectedFromDeletion",
            f"The storage account {account.name} cannot be deleted: container {kept[0].name} is protected by"
            " an immutability policy or legal hold.",
        )
    del blob_store.accounts[account.name]


def _keeps_the_account(container: Any) -> bool:
    """Source: "Container-level WORM policies for immutable blob data", account protection."""
    under_policy = container.holds or container.policy is not None or container.version_level
    return bool(under_policy and container.blobs)


def _view(item: Item) -> JsonObject:
    """The document with the properties that the service adds."""
    document = item.document()
    name = item.name.lower()
    document["properties"] = {
        "provisioningState": "Succeeded",
        "primaryEndpoints": {"blob": f"https://{name}.blob.core.windows.net/"},
        "primaryLocation": item.location,
        "statusOfPrimary": "available",
        "allowSharedKeyAccess": True,
        "supportsHttpsTrafficOnly": True,
        "publicNetworkAccess": "Enabled",
        "networkAcls": {"defaultAction": "Allow", "bypass": "AzureServices", "ipRules": []},
        **document.get("properties", {}),
    }
    return document


resource_type(
    "Microsoft.Storage/storageAccounts",
    versions=VERSIONS,
    source=ACCOUNTS_SOURCE,
    on_put=_put,
    on_delete=_delete,
    view=_view,
)


def _new_key() -> str:
    return base64.b64encode(os.urandom(64)).decode()


def _new_keys() -> dict[str, str]:
    return {"key1": _new_key(), "key2": _new_key()}


def _account_action(verb: str) -> Callable[[Handler], Handler]:
    """Register what an account is asked to do."""
    return operation(
        "arm",
        "POST",
        f"{ACCOUNT}/{verb}",
        versions=VERSIONS,
        action=f"{_ACTION}/{verb}/action",
        source=ACCOUNTS_SOURCE,
    )


@_account_action("listKeys")
def list_keys(call: Call) -> JsonObject:
    """Return the account's keys."""
    return _keys(account_of(call))


@_account_action("regenerateKey")
def regenerate_key(call: Call) -> JsonObject:
    """Replace one key: what was signed with it is refused from now on."""
    account, name = account_of(call), str(call.body.get("keyName", ""))
    if name not in account.keys:
        raise ArmError(
            400, "InvalidValuesForRequestParameters", "Values for request parameters are invalid: keyName."
        )
    account.keys[name] = _new_key()
    return _keys(account)


def _keys(account: Account) -> JsonObject:
    return {
        "keys": [
            {"keyName": name, "value": value, "permissions": "FULL"} for name, value in account.keys.items()
        ]
    }


@_account_action("revokeUserDelegationKeys")
def revoke_user_delegation_keys(call: Call) -> Answer:
    """Note the moment; shared access signatures are not played, so that none is accepted before either."""
    account_of(call).delegation_revoked_at = clock.now()
    return Answer(200)


@operation(
    "arm",
    "GET",
    BLOBS,
    versions=VERSIONS,
    action=f"{_ACTION}/blobServices/read",
    source=SERVICES_SOURCE,
)
def get_blob_service(call: Call) -> JsonObject:
    """Return the settings of the blob service."""
    return _service(account_of(call))


@operation(
    "arm",
    "PUT",
    BLOBS,
    versions=VERSIONS,
    action=f"{_ACTION}/blobServices/write",
    source=SERVICES_SOURCE,
)
def set_blob_service(call: Call) -> JsonObject:
    """Switch versioning on or off; version-level immutability needs it on."""
    account = account_of(call)
    wanted = call.body.get("properties", {}).get("isVersioningEnabled")
    if wanted is not None:
        if not wanted and any(each.version_level for each in account.containers.values()):
            message = "Versioning cannot be disabled while a container has immutable storage with versioning."
            raise ArmError(409, "VersioningRequiredForImmutability", message)
        account.versioning = bool(wanted)
    return _service(account)


def _service(account: Account) -> JsonObject:
    return {
        "id": f"{account.resource_id}/blobServices/default",
        "name": "default",
        "type": "Microsoft.Storage/storageAccounts/blobServices",
        "properties": {
            "isVersioningEnabled": account.versioning,
            "deleteRetentionPolicy": {"enabled": False},
        },
    }
