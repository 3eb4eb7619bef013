"""Look at how the evidence store's account is set up: what its container alone does not say. Read-only."""

from __future__ import annotations

from collections.abc import Mapping

from firebreak.model import JsonObject
from providers.azure.answers import translated
from providers.azure.arm import Arm
from providers.azure.credentials import Credential
from providers.azure.ids import ResourceId

VERSION = "2025-06-01"
"""api-version of Microsoft.Storage."""
UNKNOWN = "access.account_id (ARM id of the store's account) is not set: its exposure cannot be checked"


def exposure(credential: Credential, access: Mapping[str, str], account_url: str) -> tuple[str, ...]:
    """Name what else could reach or keep what the store holds: keys, the public, soft delete."""
    place = access.get("account_id", "")
    if not place:
        return (UNKNOWN,)
    if ResourceId.parse(place).name.lower() != account_url.removeprefix("https://").split(".")[0]:
        return (f"access.account_id {place} is not the account of {account_url}",)
    at = credential.at
    arm = Arm(at.arm, lambda: credential.token(at.arm_scope))
    with translated(place):
        account = arm.get(place, VERSION) or {}
        service = arm.get(f"{place}/blobServices/default", VERSION) or {}
    return (*_of_account(_properties(account)), *_of_service(_properties(service)))


def _of_account(account: JsonObject) -> list[str]:
    problems = []
    # Both are on unless the account says otherwise (Storage resource provider, StorageAccounts).
    if account.get("allowSharedKeyAccess", True):
        problems.append("the account's keys open the store (allowSharedKeyAccess)")
    if account.get("allowBlobPublicAccess", False):
        problems.append("the account allows public containers (allowBlobPublicAccess)")
    return problems


def _of_service(service: JsonObject) -> list[str]:
    problems = []
    if not service.get("isVersioningEnabled", False):
        problems.append("blob versioning is not enabled on the account")
    if service.get("deleteRetentionPolicy", {}).get("enabled", False):
        problems.append("soft delete would keep the secrets that must be deletable")
    return problems


def _properties(resource: JsonObject) -> JsonObject:
    found = resource.get("properties")
    return found if isinstance(found, dict) else {}
