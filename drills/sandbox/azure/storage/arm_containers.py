"""Containers and their legal holds as Azure Resource Manager shows them.

Source: Azure Storage resource provider REST API, "Blob Containers"; limits of a hold's tags: "Legal holds for
immutable blob data".
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

from drills.sandbox.azure import paging
from drills.sandbox.azure.call import Answer, Call, JsonObject
from drills.sandbox.azure.errors import ArmError
from drills.sandbox.azure.storage.blobs import blob_store
from drills.sandbox.azure.storage.model import Account, Container, HoldTag, Policy
from drills.sandbox.azure.storage.resource import BLOBS, VERSIONS, account_of
from drills.sandbox.azure.table import Handler, operation

SOURCE = "Azure Storage resource provider REST API, Blob Containers"
CONTAINER = f"{BLOBS}/containers/{{container}}"
CONTAINERS_ACTION = "Microsoft.Storage/storageAccounts/blobServices/containers"
MOST_TAGS = 10
_TAG = re.compile(r"^[A-Za-z0-9]{3,23}$")
_NAME = re.compile(r"^(?!.*--)[a-z0-9$][a-z0-9-]{2,62}$")


def container_of(call: Call) -> Container:
    """The container that a call is about."""
    container = account_of(call).containers.get(call.params["container"])
    if container is None:
        raise ArmError(404, "ContainerNotFound", "The specified container does not exist.")
    return container


def document(account: Account, container: Container) -> JsonObject:
    """The container as ARM shows it."""
    place = f"{account.resource_id}/blobServices/default/containers/{container.name}"
    return {
        "id": place,
        "name": container.name,
        "type": CONTAINERS_ACTION,
        "etag": container.etag,
        "properties": {
            "publicAccess": "None",
            "leaseStatus": "Unlocked",
            "leaseState": "Available",
            "lastModifiedTime": container.modified_at.isoformat(),
            "metadata": dict(container.metadata),
            "hasLegalHold": bool(container.holds),
            "hasImmutabilityPolicy": container.policy is not None,
            "legalHold": _hold_properties(container),
            "deleted": False,
            **(_policy_property(container.policy) if container.policy else {}),
            **({"immutableStorageWithVersioning": {"enabled": True}} if container.version_level else {}),
        },
    }


def _hold_properties(container: Container) -> JsonObject:
    tags = [
        {
            "tag": each.tag.lower(),
            "timestamp": each.at.isoformat(),
            "objectIdentifier": each.object_id,
            "tenantId": each.tenant_id,
        }
        for each in container.holds
    ]
    appends = {"protectedAppendWritesHistory": {"allowProtectedAppendWritesAll": container.hold_appends}}
    return {"hasLegalHold": bool(tags), "tags": tags, **(appends if tags else {})}


def _policy_property(policy: Policy) -> JsonObject:
    return {"immutabilityPolicy": {"etag": policy.etag, "properties": policy_properties(policy)}}


def policy_properties(policy: Policy) -> JsonObject:
    """A policy's properties."""
    return {
        "immutabilityPeriodSinceCreationInDays": policy.days,
        "state": policy.state,
        "allowProtectedAppendWrites": policy.append,
        "allowProtectedAppendWritesAll": policy.append_all,
    }


@operation(
    "arm",
    "GET",
    f"{BLOBS}/containers",
    versions=VERSIONS,
    action=f"{CONTAINERS_ACTION}/read",
    source=SOURCE,
)
def list_containers(call: Call) -> JsonObject:
    """List the containers of an account."""
    account = account_of(call)
    return paging.page(call, [document(account, each) for each in account.containers.values()])


def _on_container(method: str, action: str, below: str = "") -> Callable[[Handler], Handler]:
    """Register an operation on one container."""
    return operation(
        "arm",
        method,
        f"{CONTAINER}{below}",
        versions=VERSIONS,
        action=f"{CONTAINERS_ACTION}/{action}",
        source=SOURCE,
    )


@_on_container("GET", "read")
def get_container(call: Call) -> JsonObject:
    """Return a container."""
    return document(account_of(call), container_of(call))


@_on_container("PUT", "write")
def put_container(call: Call) -> Answer:
    """Create a container, or update its metadata."""
    account, name = account_of(call), call.params["container"]
    wanted = call.body.get("properties") or {}
    before = account.containers.get(name)
    if before is not None:
        _update(before, wanted)
        return Answer(200, document(account, before))
    if not _NAME.match(name):
        raise ArmError(
            400, "ContainerOperationFailure", "The specifed resource name contains invalid characters."
        )
    version_level = bool((wanted.get("immutableStorageWithVersioning") or {}).get("enabled"))
    if version_level and not account.versioning:
        message = (
            "Blob versioning must be enabled on the account to enable immutable storage with versioning."
        )
        raise ArmError(409, "VersioningMustBeEnabled", message)
    metadata = dict(wanted.get("metadata") or {})
    made = blob_store.create_container(account.name, name, metadata=metadata, version_level=version_level)
    return Answer(201, document(account, made))


@_on_container("PATCH", "write")
def patch_container(call: Call) -> JsonObject:
    """Update a container's metadata."""
    container = container_of(call)
    _update(container, call.body.get("properties") or {})
    return document(account_of(call), container)


def _update(container: Container, wanted: JsonObject) -> None:
    worm = wanted.get("immutableStorageWithVersioning")
    if worm is not None and bool(worm.get("enabled")) != container.version_level:
        message = "Immutable storage with versioning is set when a container is made, or by its migration."
        raise ArmError(409, "ImmutableStorageWithVersioningIsImmutable", message)
    if "metadata" in wanted:
        container.metadata = dict(wanted["metadata"] or {})
        container.touch()


@_on_container("DELETE", "delete")
def delete_container(call: Call) -> Answer:
    """Delete a container; one under a policy or hold only when it is empty."""
    account = account_of(call)
    if call.params["container"] not in account.containers:
        return Answer(204)
    blob_store.delete_container(account.name, call.params["container"], by_resource_manager=True)
    return Answer(200)


@_on_container("POST", "setLegalHold/action", "/setLegalHold")
def set_legal_hold(call: Call) -> JsonObject:
    """Add tags to the hold; a tag that is there stays as it is."""
    container, wanted = container_of(call), _tags(call)
    if container.version_level:
        message = "A legal hold cannot be set on a container with immutable storage with versioning enabled."
        raise ArmError(409, "ContainerImmutableStorageWithVersioningEnabled", message)
    present = {each.tag for each in container.holds}
    caller = call.caller
    made = [HoldTag(tag, caller.object_id, caller.tenant_id) for tag in wanted if tag not in present]
    if len(container.holds) + len(made) > MOST_TAGS:
        raise ArmError(
            409, "LegalHoldTagsLimitExceeded", f"A container has at most {MOST_TAGS} legal hold tags."
        )
    container.holds = (*container.holds, *made)
    if call.body.get("allowProtectedAppendWritesAll") is not None:
        container.hold_appends = bool(call.body["allowProtectedAppendWritesAll"])
    return _held(container)


@_on_container("POST", "clearLegalHold/action", "/clearLegalHold")
def clear_legal_hold(call: Call) -> JsonObject:
    """Remove tags from the hold; the hold ends with its last tag."""
    container, unwanted = container_of(call), _tags(call)
    container.holds = tuple(each for each in container.holds if each.tag not in unwanted)
    container.hold_appends = container.hold_appends and bool(container.holds)
    return _held(container)


def _held(container: Container) -> JsonObject:
    return {
        "hasLegalHold": bool(container.holds),
        "tags": [each.tag for each in container.holds],
        "allowProtectedAppendWritesAll": container.hold_appends,
    }


def _tags(call: Call) -> list[str]:
    """Tags are kept in lower case ("LegalHold": "Each tag should be 3 to 23 alphanumeric characters")."""
    tags: Any = call.body.get("tags")
    valid = (
        isinstance(tags, list) and tags and all(isinstance(each, str) and _TAG.match(each) for each in tags)
    )
    if not valid:
        message = "Each tag should be 3 to 23 alphanumeric characters."
        raise ArmError(400, "InvalidValuesForRequestParameters", message)
    return list(dict.fromkeys(each.lower() for each in tags))
