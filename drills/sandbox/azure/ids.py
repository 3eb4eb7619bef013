"""Read ARM resource ids: compared without case, kept in the caller's casing.

Source: "Resource naming and ids", Azure Resource Manager documentation; extension resources carry the id of
what they extend in front of their own "/providers/".
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import lru_cache

ROOT = "/"
MANAGEMENT_GROUPS = "/providers/microsoft.management/managementgroups/"
_PROVIDERS = "/providers/"
_SUBSCRIPTION = re.compile(r"^/subscriptions/([^/]+)", re.IGNORECASE)
_GROUP = re.compile(r"^/subscriptions/[^/]+/resourcegroups/([^/]+)", re.IGNORECASE)


@lru_cache(maxsize=65_536)
def key(resource_id: str) -> str:
    """Return the id in the form in which ids are compared."""
    return "/" + re.sub("/+", "/", resource_id).strip("/").lower()


def subscription_of(resource_id: str) -> str | None:
    """Return the subscription of an id."""
    found = _SUBSCRIPTION.match(resource_id)
    return found[1].lower() if found else None


def group_of(resource_id: str) -> str | None:
    """Return the resource group of an id."""
    found = _GROUP.match(resource_id)
    return found[1] if found else None


def name_of(resource_id: str) -> str:
    """Return the last segment of an id."""
    return resource_id.rstrip("/").rsplit("/", 1)[-1]


def split(resource_id: str) -> tuple[str, list[str]]:
    """Return what an id extends or lives in, and the segments after its last "/providers/"."""
    plain = "/" + resource_id.strip("/")
    cut = plain.lower().rfind(_PROVIDERS)
    if cut < 0:
        return resource_id, []
    return plain[:cut] or ROOT, plain[cut + len(_PROVIDERS) :].split("/")


@lru_cache(maxsize=65_536)
def type_of(resource_id: str) -> str:
    """Return the full type of an id, such as Microsoft.Network/virtualNetworks/subnets."""
    _, segments = split(resource_id)
    if not segments:
        return _CONTAINER_TYPES.get(len(resource_id.strip("/").split("/")), "")
    return "/".join([segments[0], *segments[1::2]])


_CONTAINER_TYPES = {2: "Microsoft.Resources/subscriptions", 4: "Microsoft.Resources/resourceGroups"}


def without_action(path: str) -> str:
    """Return the resource that a path addresses: a collection or an action drops its last segment."""
    head, segments = split(path)
    if not segments:
        plain = path.strip("/").split("/")
        return "/" + "/".join(plain[: len(plain) // 2 * 2])
    if len(segments) % 2:
        return "/" + path.strip("/")
    # an even count ends in a collection's type or an action's name
    kept = segments[:-1]
    return head if len(kept) == 1 else _joined(head, kept)


def _joined(head: str, segments: list[str]) -> str:
    return "/".join([head.rstrip("/"), "providers", *segments])


def lineage(resource_id: str) -> Iterator[str]:
    """Yield the comparable id itself and everything above it inside its subscription or management group."""
    current = key(resource_id)
    while current != ROOT:
        yield current
        current = _above(current)


def _above(current: str) -> str:
    head, segments = split(current)
    if not segments:
        return "/" + "/".join(current.strip("/").split("/")[:-2])
    return head if len(segments) <= len(("namespace", "type", "name")) else _joined(head, segments[:-2])


def within(resource_id: str, scope: str) -> bool:
    """Tell whether an id is a scope or below it, by whole segments."""
    inner, outer = key(resource_id), key(scope)
    return outer in {ROOT, inner} or inner.startswith(outer + "/")
