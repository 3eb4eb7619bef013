"""Keep the directory of each tenant: applications, service principals, users and groups.

Objects are documents as Microsoft Graph v1.0 shows them; secrets are kept apart and never shown again.
"""

from __future__ import annotations

import hashlib
import secrets
import uuid
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from drills.sandbox.azure import clock
from drills.sandbox.azure.graphroles import APP_ROLES, GRAPH_APP_ID
from drills.sandbox.azure.state import on_reset
from drills.sandbox.azure.timeline import Timeline

JsonObject = dict[str, Any]
_SECRET_DAYS = 180


@dataclass
class DirectoryObject:
    """One object: `kind` is the collection of Graph it is in; `hashes` are of its secrets, by key id."""

    kind: str
    tenant_id: str
    document: JsonObject
    hashes: dict[str, str] = field(default_factory=dict)
    federated: dict[str, JsonObject] = field(default_factory=dict)

    @property
    def id(self) -> str:
        """The object id."""
        return str(self.document["id"])

    @property
    def app_id(self) -> str:
        """The client id of an application or service principal."""
        return str(self.document.get("appId", ""))


@dataclass(frozen=True)
class Membership:
    """A principal's place in a group."""

    group_id: str
    member_id: str


class Directory:
    """The objects of all tenants by id."""

    def __init__(self) -> None:
        """Start empty."""
        self._objects: dict[str, DirectoryObject] = {}
        self._memberships: Timeline[Membership] = Timeline()

    def add(self, kind: str, tenant_id: str, document: JsonObject) -> DirectoryObject:
        """Add an object, under a new id when it brings none."""
        shown = {"id": str(uuid.uuid4()), "createdDateTime": clock.stamp(), **document}
        made = DirectoryObject(kind, tenant_id, shown)
        self._objects[made.id] = made
        return made

    def get(self, object_id: str, kind: str | None = None) -> DirectoryObject | None:
        """Return an object by id."""
        found = self._objects.get(object_id.lower())
        return found if found and kind in {None, found.kind} else None

    def by_app(self, tenant_id: str, app_id: str, kind: str) -> DirectoryObject | None:
        """Return the application or service principal of a client id."""
        wanted = app_id.lower()
        return next((one for one in self.list(tenant_id, kind) if one.app_id.lower() == wanted), None)

    def list(self, tenant_id: str, kind: str) -> Iterator[DirectoryObject]:
        """Yield the objects of a kind in a tenant."""
        for one in list(self._objects.values()):
            if one.kind == kind and one.tenant_id == tenant_id:
                yield one

    def delete(self, object_id: str) -> None:
        """Remove an object; its role assignments stay behind, as in the real directory."""
        self._objects.pop(object_id.lower(), None)

    def add_application(self, tenant_id: str, name: str) -> tuple[DirectoryObject, DirectoryObject]:
        """Register an application and its service principal."""
        app_id = str(uuid.uuid4())
        application = self.add(
            "applications", tenant_id, {**_APPLICATION, "displayName": name, "appId": app_id}
        )
        principal = {**_PRINCIPAL, "displayName": name, "appDisplayName": name, "appId": app_id}
        return application, self.add("servicePrincipals", tenant_id, principal)

    def add_managed_identity(self, tenant_id: str, name: str, resource_id: str) -> DirectoryObject:
        """Add the service principal of a managed identity; `resource_id` is the identity or its host."""
        document = {
            **_PRINCIPAL,
            "displayName": name,
            "appId": str(uuid.uuid4()),
            "servicePrincipalType": "ManagedIdentity",
            "alternativeNames": [f"isExplicit={_is_user_assigned(resource_id)}", resource_id],
        }
        return self.add("servicePrincipals", tenant_id, document)

    def add_secret(self, holder: DirectoryObject, name: str = "", days: float = _SECRET_DAYS) -> JsonObject:
        """Give an application or service principal a secret; its text is shown this once."""
        text, key_id = secrets.token_urlsafe(30), str(uuid.uuid4())
        holder.hashes[key_id] = _digest(text)
        shown = {
            "customKeyIdentifier": None,
            "displayName": name,
            "endDateTime": _later(days),
            "hint": text[:3],
            "keyId": key_id,
            "startDateTime": clock.stamp(),
        }
        holder.document["passwordCredentials"] = [*holder.document["passwordCredentials"], shown]
        return {**shown, "secretText": text}

    def remove_secret(self, holder: DirectoryObject, key_id: str) -> bool:
        """Remove a secret and tell whether it was there."""
        kept = [one for one in holder.document["passwordCredentials"] if one["keyId"] != key_id]
        holder.document["passwordCredentials"] = kept
        return holder.hashes.pop(key_id, None) is not None

    def accepts_secret(self, holder: DirectoryObject, text: str) -> bool:
        """Tell whether this is a secret of the holder that has not ended."""
        wanted = _digest(text)
        return any(
            holder.hashes.get(one["keyId"]) == wanted and one["endDateTime"] > clock.stamp()
            for one in holder.document["passwordCredentials"]
        )

    def join(self, group_id: str, member_id: str) -> None:
        """Make a principal a member of a group."""
        self._memberships.set(f"{group_id}/{member_id}", Membership(group_id, member_id))

    def leave(self, group_id: str, member_id: str) -> bool:
        """End a membership and tell whether there was one."""
        return self._memberships.delete(f"{group_id}/{member_id}")

    def members(self, group_id: str) -> Sequence[str]:
        """Return the direct members of a group."""
        return [one.member_id for one in self._memberships.values() if one.group_id == group_id]

    def groups_of(self, member_id: str, *, effective: bool = False, direct: bool = False) -> Sequence[str]:
        """Return the groups a principal is in, through other groups too; those in effect if asked."""
        memberships = list(self._memberships.effective() if effective else self._memberships.values())
        found: list[str] = []
        waiting = [member_id]
        while waiting:
            member = waiting.pop()
            new = [
                one.group_id for one in memberships if one.member_id == member and one.group_id not in found
            ]
            found += new
            waiting += [] if direct else new
        return found

    def reset(self) -> None:
        """Forget all objects."""
        self._objects.clear()


def _is_user_assigned(resource_id: str) -> bool:
    return "/microsoft.managedidentity/userassignedidentities/" in resource_id.lower()


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def _later(days: float) -> str:
    moment = clock.datetime_in(days * 86400)
    return moment.strftime("%Y-%m-%dT%H:%M:%SZ")


_APPLICATION: JsonObject = {
    "displayName": "",
    "identifierUris": [],
    "isDisabled": None,
    "keyCredentials": [],
    "passwordCredentials": [],
    "signInAudience": "AzureADMyOrg",
}
_PRINCIPAL: JsonObject = {
    "accountEnabled": True,
    "alternativeNames": [],
    "appRoleAssignmentRequired": False,
    "appRoles": [],
    "isDisabled": None,
    "keyCredentials": [],
    "passwordCredentials": [],
    "servicePrincipalType": "Application",
    "tags": [],
}

directory = Directory()
on_reset(directory.reset)


def graph_principal(tenant_id: str) -> DirectoryObject:
    """Return the service principal of Microsoft Graph in a tenant."""
    found = directory.by_app(tenant_id, GRAPH_APP_ID, "servicePrincipals")
    if found is not None:
        return found
    roles = [
        {"id": role_id, "value": value, "allowedMemberTypes": ["Application"], "isEnabled": True}
        for value, role_id in APP_ROLES.items()
    ]
    document = {**_PRINCIPAL, "displayName": "Microsoft Graph", "appId": GRAPH_APP_ID, "appRoles": roles}
    return directory.add("servicePrincipals", tenant_id, document)
