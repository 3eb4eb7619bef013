"""Change one ARM resource without losing what others wrote: read, edit, write on the condition of the ETag.

A PUT of Microsoft.Network replaces the whole resource, so every change goes out from a fresh reading.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

from firebreak.errors import TransientCloudError
from firebreak.model import JsonObject
from providers.azure.answers import PRECONDITION_FAILED, RestError, translated
from providers.azure.clients import VERSIONS
from providers.azure.existence import existing
from providers.azure.ids import same
from providers.azure.session import AzureAccess

NETWORK = VERSIONS["NetworkManagementClient"]
"""api-version of Microsoft.Network; bodies are read and written whole, so that no field is lost."""
COMPUTE = "2024-11-01"
"""api-version of Microsoft.Compute/virtualMachines."""
ATTEMPTS = 4


def read(access: AzureAccess, ref: str, version: str = NETWORK) -> JsonObject:
    """Read a resource; raises PermanentCloudError when there is none."""
    return existing(access, ref, version, "the resource")


def find(access: AzureAccess, ref: str, version: str = NETWORK) -> JsonObject | None:
    """Read a resource, or None when there is none."""
    with translated(ref):
        return access.arm().get(ref, version)


def rewrite(
    access: AzureAccess, ref: str, edit: Callable[[JsonObject], None], version: str = NETWORK
) -> tuple[JsonObject, bool]:
    """Edit a resource and write it back; returns it as it is then, and whether anything was written.

    A writer who came first is no failure: the edit is made again on what that one wrote.
    """
    for _ in range(ATTEMPTS):
        current = read(access, ref, version)
        wanted = copy.deepcopy(current)
        edit(wanted)
        if wanted == current:
            return current, False
        try:
            with translated(ref):
                return access.arm().put(ref, wanted, version, etag=str(current.get("etag", ""))), True
        except TransientCloudError as error:
            cause = error.__cause__
            if not isinstance(cause, RestError) or cause.status != PRECONDITION_FAILED:
                raise
    raise TransientCloudError("others keep changing the resource at the same time", resource=ref)


def properties(document: JsonObject) -> JsonObject:
    """Return a document's properties."""
    found: JsonObject = document.get("properties") or {}
    return found


def reference(document: JsonObject, name: str) -> str:
    """Return the id that a property refers to, empty where it refers to nothing."""
    found: Any = properties(document).get(name) or {}
    return str(found.get("id") or "")


def refer(document: JsonObject, name: str, ref: str) -> None:
    """Let a property refer to a resource, or to nothing; what refers there already stays as it is written."""
    if same(reference(document, name), ref):
        return
    if ref:
        document["properties"][name] = {"id": ref}
    else:
        document["properties"].pop(name, None)


def same_or_neither(one: str, other: str) -> bool:
    """Tell whether two references are to the same resource, or both to none."""
    return one == other or same(one, other)
