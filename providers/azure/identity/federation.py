"""Federated identity credentials, of user-assigned identities in ARM and of app registrations in Graph."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

from firebreak.model import JsonObject
from providers.azure.answers import already, translated
from providers.azure.resources.identities import ManagedIdentity, ServicePrincipal
from providers.azure.session import AzureAccess

PROBE_CREDENTIAL = "firebreak-probe"
"""Name of the credential by which Firebreak itself becomes the workload, to prove that it no longer can."""
VERSION = "2024-11-30"
"""api-version of ``Microsoft.ManagedIdentity``."""
# What the services add to a credential; everything else is given back as it was.
_SERVER_SIDE = frozenset({"id", "name", "provisioningState"})


class Store(Protocol):
    """The federated credentials of one identity, by name."""

    def read(self) -> dict[str, JsonObject]:
        """Every credential's own fields: issuer, subject, audiences, and whatever else it has."""
        ...

    def remove(self, name: str) -> None:
        """Delete one; harmless where it is gone already."""
        ...

    def write(self, name: str, properties: JsonObject) -> None:
        """Create or replace one."""
        ...


@dataclass(frozen=True)
class ManagedStore:
    """The credentials of a user-assigned identity. ARM takes one change at a time."""

    access: AzureAccess
    ref: str

    def _path(self, name: str = "") -> str:
        return f"{self.ref}/federatedIdentityCredentials/{name}".rstrip("/")

    def read(self) -> dict[str, JsonObject]:
        """Every credential's own fields."""
        with translated(self.ref):
            pages = self.access.arm().pages(self._path(), VERSION)
            return {each["name"]: _own(each["properties"]) for each in pages}

    def remove(self, name: str) -> None:
        """Delete one."""
        with translated(self.ref):
            self.access.arm().delete(self._path(name), VERSION)

    def write(self, name: str, properties: JsonObject) -> None:
        """Create or replace one."""
        with translated(self.ref):
            self.access.arm().put(self._path(name), {"properties": properties}, VERSION)


@dataclass(frozen=True)
class ApplicationStore:
    """The credentials of an app registration. Graph gives a restored one a new id under its old name."""

    access: AzureAccess
    object_id: str

    @property
    def _path(self) -> str:
        return f"/applications/{self.object_id}/federatedIdentityCredentials"

    def read(self) -> dict[str, JsonObject]:
        """Every credential's own fields."""
        with translated(self.object_id):
            return {each["name"]: _own(each) for each in self.access.graph().pages(self._path)}

    def remove(self, name: str) -> None:
        """Delete one, found by its name."""
        with translated(self.object_id):
            found = [each["id"] for each in self.access.graph().pages(self._path) if each["name"] == name]
            for credential in found:
                self.access.graph().delete(f"{self._path}/{credential}")

    def write(self, name: str, properties: JsonObject) -> None:
        """Create one, in place of another of its name."""
        if name in self.read():
            self.remove(name)
        with already(self.object_id, "Request_MultipleObjectsWithSameKeyValue"):
            self.access.graph().post(self._path, {"name": name, **properties})


def _own(properties: Mapping[str, object]) -> JsonObject:
    return {
        name: value
        for name, value in properties.items()
        if name not in _SERVER_SIDE and not name.startswith("@odata") and value is not None
    }


def store_of(access: AzureAccess, identity: ManagedIdentity | ServicePrincipal) -> Store | None:
    """Return where the federated credentials are, None for a service principal without a registration."""
    if isinstance(identity, ManagedIdentity):
        return ManagedStore(access, identity.ref)
    return (
        ApplicationStore(access, identity.application_object_id) if identity.application_object_id else None
    )
