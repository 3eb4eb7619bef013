"""Managed identities: user-assigned ones with their federated credentials, and the tokens their hosts get.

Sources: Managed Identity REST; "Managed identity best practice recommendations": the back end caches a token
per resource for around 24 hours, and there is no way to refresh it early.
"""

from __future__ import annotations

from typing import Any

from drills.sandbox.azure import clock, ids, paging, tokens
from drills.sandbox.azure.call import Answer, Call, JsonObject
from drills.sandbox.azure.control import ControlError, ControlRequest, route
from drills.sandbox.azure.directory import DirectoryObject, directory
from drills.sandbox.azure.errors import ArmError
from drills.sandbox.azure.generic import resource_type
from drills.sandbox.azure.state import on_reset, settings
from drills.sandbox.azure.store import Item, store
from drills.sandbox.azure.table import operation
from drills.sandbox.azure.tenancy import tenancy

TYPE = "Microsoft.ManagedIdentity/userAssignedIdentities"
_VERSIONS = ("2024-11-30", "2023-01-31")
_SOURCE = "Managed Identity REST: User Assigned Identities"
_FEDERATED_SOURCE = "Managed Identity REST: Federated Identity Credentials"
_FEDERATED = f"{TYPE}/federatedIdentityCredentials"
_MAX_FEDERATED = 20
_EARLY_SECONDS = 300.0


def _on_put(_call: Call, item: Item, before: Item | None) -> None:
    if before is not None:
        item.properties.update(before.properties)
        return
    tenant = tenancy.tenant_of(item.id) or ""
    principal = directory.add_managed_identity(tenant, item.name, item.id)
    item.body["properties"] = {
        "tenantId": tenant,
        "principalId": principal.id,
        "clientId": principal.app_id,
    }


def _on_delete(_call: Call, item: Item) -> None:
    directory.delete(item.properties["principalId"])


def _view(item: Item) -> JsonObject:
    document = item.document()
    del document["etag"]
    document["properties"].pop("provisioningState", None)
    return document


_identity = resource_type(
    TYPE,
    versions=_VERSIONS,
    source=_SOURCE,
    on_put=_on_put,
    on_delete=_on_delete,
    view=_view,
    needs_location=True,
)
_ONE = f"{_identity.template()}/federatedIdentityCredentials/{{credential}}"


@operation("arm", "PUT", _ONE, versions=_VERSIONS, action=f"{_FEDERATED}/write", source=_FEDERATED_SOURCE)
def put_credential(call: Call) -> Answer:
    """Trust an external issuer's subject."""
    wanted = call.body.get("properties") or {}
    for name in ("issuer", "subject", "audiences"):
        if not wanted.get(name):
            raise ArmError(400, "BadRequest", f"The property '{name}' of the credential must not be empty.")
    parent = _parent(call)
    others = [one for one in _credentials(parent) if ids.key(one.id) != ids.key(call.path)]
    _refuse_twin(wanted, others)
    existed = store.get(call.path) is not None
    properties = {name: wanted[name] for name in ("issuer", "subject", "audiences")}
    item = store.put(call.path, {"properties": properties})
    return Answer(200 if existed else 201, _view(item))


def _refuse_twin(wanted: JsonObject, others: list[Item]) -> None:
    pair = (wanted["issuer"], wanted["subject"])
    if any((one.properties["issuer"], one.properties["subject"]) == pair for one in others):
        message = "Issuer and subject combination already exists for this Managed Identity."
        raise ArmError(409, "Conflict", message)
    if len(others) >= _MAX_FEDERATED:
        raise ArmError(400, "BadRequest", "Too many Federated Identity Credentials.")


@operation("arm", "GET", _ONE, versions=_VERSIONS, action=f"{_FEDERATED}/read", source=_FEDERATED_SOURCE)
def get_credential(call: Call) -> JsonObject:
    """Show a federated credential."""
    return _view(store.need(call.path))


@operation("arm", "DELETE", _ONE, versions=_VERSIONS, action=f"{_FEDERATED}/delete", source=_FEDERATED_SOURCE)
def delete_credential(call: Call) -> Answer:
    """End the trust; 204 when there was none."""
    _parent(call)
    return Answer(200 if store.delete(call.path) else 204)


@operation(
    "arm",
    "GET",
    _ONE.rsplit("/", 1)[0],
    versions=_VERSIONS,
    action=f"{_FEDERATED}/read",
    source=_FEDERATED_SOURCE,
)
def list_credentials(call: Call) -> JsonObject:
    """List the federated credentials of an identity."""
    return paging.page(call, (_view(one) for one in _credentials(store.need(call.resource_id))))


def _parent(call: Call) -> Item:
    return store.need(call.path.rstrip("/").rsplit("/", 2)[0])


def _credentials(identity: Item) -> list[Item]:
    return list(store.list(identity.id, _FEDERATED))


def federated_credentials(principal: DirectoryObject) -> list[JsonObject]:
    """Return what the user-assigned identity of a service principal trusts."""
    found = (one for one in store.list(resource_type=TYPE) if one.properties["principalId"] == principal.id)
    return [credential.properties for one in found for credential in _credentials(one)]


class TokenCache:
    """The back end's tokens per identity and audience: handed out until shortly before they end."""

    def __init__(self) -> None:
        """Start empty."""
        self._tokens: dict[tuple[str, str], str] = {}

    def token(self, principal: DirectoryObject, audience: str) -> str:
        """Return the cached token, or a new one."""
        key = (principal.id, audience)
        cached = self._tokens.get(key)
        if cached is None or tokens.claims_of(cached)["exp"] - _EARLY_SECONDS <= clock.seconds():
            cached = tokens.issue(principal, audience, settings["managed_identity_token_seconds"])
            self._tokens[key] = cached
        return cached

    def clear(self) -> None:
        """Forget all tokens."""
        self._tokens.clear()


cache = TokenCache()
on_reset(cache.clear)


@route("POST", "/managed-identity/token")
def host_token(request: ControlRequest) -> dict[str, Any]:
    """Return what the metadata endpoint of `host` gives code on it for `resource`.

    `identity` is a user-assigned identity (ARM id or client id); without it, the host's only one or its own.
    """
    from drills.sandbox.azure import entra  # noqa: PLC0415 - the token service reads managed identities

    host = store.get(request.text("host"))
    if host is None:
        raise ControlError("no such host", 404)
    principal = _principal_on(host, request.text("identity", ""))
    audience = request.text("resource", "https://management.azure.com/")
    try:
        entra.refuse_disabled(principal)
        token = cache.token(principal, entra.audience_of(f"{audience}/.default"))
    except ArmError as error:
        return {"refused": error.code, "message": error.message}
    return {
        "access_token": token,
        "client_id": principal.app_id,
        "expires_on": tokens.claims_of(token)["exp"],
    }


def _principal_on(host: Item, wanted: str) -> DirectoryObject:
    identity = host.body.get("identity") or {}
    assigned = {ids.key(one): store.get(one) for one in identity.get("userAssignedIdentities") or {}}
    chosen = _chosen(assigned, wanted)
    principal_id = chosen.properties["principalId"] if chosen else _own_principal(identity, wanted)
    found = directory.get(str(principal_id))
    if found is None:
        # "Acquire a token": the metadata endpoint answers 400 invalid_request, Identity not found
        raise ControlError("Identity not found", 400)
    return found


def _own_principal(identity: JsonObject, wanted: str) -> str:
    return (
        "" if wanted or "SystemAssigned" not in identity.get("type", "") else str(identity.get("principalId"))
    )


def _chosen(assigned: dict[str, Item | None], wanted: str) -> Item | None:
    present = {key: item for key, item in assigned.items() if item is not None}
    if not wanted:
        return next(iter(present.values())) if len(present) == 1 else None
    by_client = {str(item.properties["clientId"]): item for item in present.values()}
    return present.get(ids.key(wanted)) or by_client.get(wanted)


def assign_system_identity(item: Item) -> None:
    """Give a host with `identity.type` SystemAssigned its own principal; call it from `on_put`."""
    identity = item.body.get("identity") or {}
    if "SystemAssigned" not in identity.get("type", "") or identity.get("principalId"):
        return
    tenant = tenancy.tenant_of(item.id) or ""
    known = directory.get(str(item.extra.get("system_principal", "")))
    principal = known or directory.add_managed_identity(tenant, item.name, item.id)
    item.extra["system_principal"] = principal.id
    item.body["identity"] = {**identity, "principalId": principal.id, "tenantId": tenant}
