"""Microsoft Graph: service principals, applications, their credentials, and groups.

Source: Microsoft Graph REST API v1.0, one page per operation; the permissions are those of each page's
"Permissions" table for applications.
"""

from __future__ import annotations

import copy
import re
from functools import partial
from http import HTTPStatus
from uuid import uuid4

from drills.sandbox.azure import paging
from drills.sandbox.azure.call import Answer, Call, JsonObject
from drills.sandbox.azure.directory import DirectoryObject, directory
from drills.sandbox.azure.errors import ArmError, envelope
from drills.sandbox.azure.table import operation

READ = (
    "Application.Read.All",
    "Application.ReadWrite.All",
    "Application.ReadWrite.OwnedBy",
    "Directory.Read.All",
    "Directory.ReadWrite.All",
)
WRITE = ("Application.ReadWrite.All", "Application.ReadWrite.OwnedBy", "Directory.ReadWrite.All")
_MEMBERSHIP = (
    "GroupMember.Read.All",
    "GroupMember.ReadWrite.All",
    "Group.Read.All",
    "Group.ReadWrite.All",
    "Directory.Read.All",
    "Directory.ReadWrite.All",
    "Application.Read.All",
    "Application.ReadWrite.All",
)
_MEMBERS_WRITE = ("GroupMember.ReadWrite.All", "Group.ReadWrite.All", "Directory.ReadWrite.All")
_SOURCE = "Microsoft Graph REST API v1.0"
_EQUALS = re.compile(r"^\s*(\w+)\s+eq\s+'([^']*)'\s*$")
_WRITABLE = {
    "servicePrincipals": (
        "accountEnabled displayName tags appRoleAssignmentRequired keyCredentials isDisabled notes"
    ),
    "applications": "displayName tags identifierUris keyCredentials isDisabled signInAudience notes",
}
_PATHS = (
    ("servicePrincipals", "/v1.0/servicePrincipals/{id}"),
    ("servicePrincipals", "/v1.0/servicePrincipals(appId='{app}')"),
    ("applications", "/v1.0/applications/{id}"),
    ("applications", "/v1.0/applications(appId='{app}')"),
)


@envelope("graph")
def worded(call: Call, error: ArmError) -> Answer:
    """Word an error as Graph does."""
    inner = {"date": "", "request-id": call.id, "client-request-id": call.id}
    codes = {
        "ResourceNotFound": "Request_ResourceNotFound",
        "AuthorizationFailed": "Authorization_RequestDenied",
    }
    code = codes.get(error.code, error.code)
    if error.status == HTTPStatus.UNAUTHORIZED:  # Graph has one code for every bad token
        code = "InvalidAuthenticationToken"
    body = {"error": {"code": code, "message": error.message, "innerError": inner}}
    return Answer(error.status, body, error.headers)


def missing(object_id: str) -> ArmError:
    """Return the refusal of an object that does not exist."""
    message = f"Resource '{object_id}' does not exist or one of its queried references is not present."
    return ArmError(404, "Request_ResourceNotFound", message)


def need(call: Call, kind: str) -> DirectoryObject:
    """Return the object a call is about, of the caller's tenant."""
    tenant = call.caller.tenant_id
    if "app" in call.params:
        found = directory.by_app(tenant, call.params["app"], kind)
    else:
        found = directory.get(call.params["id"], kind)
    if found is None or found.tenant_id != tenant:
        raise missing(call.params.get("id") or call.params.get("app", ""))
    return found


def picked(call: Call, document: JsonObject) -> JsonObject:
    """Return a copy of a document with the fields that `$select` asks for."""
    names = [name for name in call.query.get("$select", "").split(",") if name]
    chosen = {name: document[name] for name in names if name in document} if names else document
    return copy.deepcopy(chosen)


def changed(holder: DirectoryObject, changes: JsonObject) -> None:
    """Take over the changes of a PATCH, all or none."""
    allowed = {*_WRITABLE[holder.kind].split(), "passwordCredentials"}
    unknown = sorted(set(changes) - allowed)
    if unknown:
        message = f"Property '{unknown[0]}' is read-only and cannot be set."
        raise ArmError(400, "Request_BadRequest", message)
    removed = _removed_secrets(holder, changes.pop("passwordCredentials", None))
    # "Update application", example "Update the keyCredentials": a certificate without id is given one
    for key in changes.get("keyCredentials", ()):
        key.setdefault("keyId", str(uuid4()))
    holder.document.update(copy.deepcopy(changes))
    for key_id in removed:
        directory.remove_secret(holder, key_id)


def _removed_secrets(holder: DirectoryObject, wanted: list[JsonObject] | None) -> set[str]:
    """Return the secrets that a PATCH leaves out; it cannot add any ("Update application")."""
    known = {one["keyId"] for one in holder.document["passwordCredentials"]}
    kept = known if wanted is None else {one.get("keyId") for one in wanted}
    if not kept <= known:
        message = "New password credentials must be generated with service actions."
        raise ArmError(400, "CannotUpdateLockedServicePrincipalProperty", message)
    return known - kept


def _get(kind: str, call: Call) -> JsonObject:
    return picked(call, need(call, kind).document)


def _patch(kind: str, call: Call) -> None:
    changed(need(call, kind), dict(call.body))


def _add_password(kind: str, call: Call) -> JsonObject:
    wanted = call.body.get("passwordCredential") or {}
    return directory.add_secret(need(call, kind), str(wanted.get("displayName") or ""))


def _remove_password(kind: str, call: Call) -> None:
    key_id = str(call.body.get("keyId", ""))
    if not directory.remove_secret(need(call, kind), key_id):
        raise ArmError(400, "Request_BadRequest", f"No credentials found to be removed with id {key_id}.")


def _list(kind: str, call: Call) -> JsonObject:
    query = call.query.get("$filter", "")
    found = _EQUALS.match(query)
    if query and not found:
        raise ArmError(400, "Request_UnsupportedQuery", f"Unsupported or invalid query filter: {query}")
    everything = (one.document for one in directory.list(call.caller.tenant_id, kind))
    chosen = (one for one in everything if not found or str(one.get(found[1], "")) == found[2])
    return paging.page(call, (picked(call, one) for one in chosen))


for _kind, _path in _PATHS:
    operation("graph", "GET", _path, graph=READ, source=_SOURCE)(partial(_get, _kind))
    operation("graph", "PATCH", _path, graph=WRITE, source=_SOURCE)(partial(_patch, _kind))
    operation("graph", "POST", f"{_path}/addPassword", graph=WRITE, source=_SOURCE)(
        partial(_add_password, _kind)
    )
    operation("graph", "POST", f"{_path}/removePassword", graph=WRITE, source=_SOURCE)(
        partial(_remove_password, _kind)
    )
for _kind in ("servicePrincipals", "applications"):
    operation("graph", "GET", f"/v1.0/{_kind}", graph=READ, source=_SOURCE)(partial(_list, _kind))
for _kind in ("groups", "users"):
    operation("graph", "GET", f"/v1.0/{_kind}", graph=_MEMBERSHIP, source=_SOURCE)(partial(_list, _kind))


@operation("graph", "GET", "/v1.0/applications/{id}/federatedIdentityCredentials", graph=READ, source=_SOURCE)
def list_federated(call: Call) -> JsonObject:
    """List what an application trusts."""
    return paging.page(call, list(need(call, "applications").federated.values()))


@operation(
    "graph", "POST", "/v1.0/applications/{id}/federatedIdentityCredentials", graph=WRITE, source=_SOURCE
)
def add_federated(call: Call) -> Answer:
    """Trust an external issuer's subject."""
    holder, given = need(call, "applications"), call.body
    for name in ("name", "issuer", "subject", "audiences"):
        if not given.get(name):
            raise ArmError(400, "Request_BadRequest", f"Property '{name}' is required.")
    names = ("name", "issuer", "subject")
    if any(one["name"] == given["name"] or _pair(one) == _pair(given) for one in holder.federated.values()):
        message = "FederatedIdentityCredential with the name or the issuer and subject already exists."
        raise ArmError(409, "Request_MultipleObjectsWithSameKeyValue", message)
    made = {
        "id": str(uuid4()),
        **{name: given[name] for name in names},
        "audiences": list(given["audiences"]),
    }
    made["description"] = given.get("description")
    holder.federated[made["id"]] = made
    return Answer(201, made)


def _pair(credential: JsonObject) -> tuple[str, str]:
    return credential["issuer"], credential["subject"]


_FEDERATED = "/v1.0/applications/{id}/federatedIdentityCredentials/{credential}"


@operation("graph", "GET", _FEDERATED, graph=READ, source=_SOURCE)
def get_federated(call: Call) -> JsonObject:
    """Show a federated credential, by id or name."""
    return _federated(call)


@operation("graph", "PATCH", _FEDERATED, graph=WRITE, source=_SOURCE)
def patch_federated(call: Call) -> None:
    """Change what is trusted."""
    changes = {name: value for name, value in call.body.items() if name not in {"id", "name"}}
    _federated(call).update(changes)


@operation("graph", "DELETE", _FEDERATED, graph=WRITE, source=_SOURCE)
def delete_federated(call: Call) -> None:
    """End the trust."""
    del need(call, "applications").federated[_federated(call)["id"]]


def _federated(call: Call) -> JsonObject:
    wanted = call.params["credential"]
    for one in need(call, "applications").federated.values():
        if wanted in {one["id"], one["name"]}:
            return one
    raise missing(wanted)


def _groups(call: Call, *, direct: bool) -> JsonObject:
    subject = directory.get(call.params["id"])
    if subject is None or subject.tenant_id != call.caller.tenant_id:
        raise missing(call.params["id"])
    found = (directory.get(one) for one in directory.groups_of(subject.id, direct=direct))
    typed = ({"@odata.type": "#microsoft.graph.group", **one.document} for one in found if one)
    return paging.page(call, typed)


def _member_of(call: Call) -> JsonObject:
    return _groups(call, direct=True)


def _transitive_member_of(call: Call) -> JsonObject:
    return _groups(call, direct=False)


for _kind in ("servicePrincipals", "users", "groups"):
    for _name, _handler in (("memberOf", _member_of), ("transitiveMemberOf", _transitive_member_of)):
        for _cast in ("", "/microsoft.graph.group"):
            _path = f"/v1.0/{_kind}/{{id}}/{_name}{_cast}"
            operation("graph", "GET", _path, graph=_MEMBERSHIP, source=_SOURCE)(_handler)


@operation("graph", "GET", "/v1.0/groups/{id}/members", graph=_MEMBERSHIP, source=_SOURCE)
def list_members(call: Call) -> JsonObject:
    """List the direct members of a group."""
    group = need(call, "groups")
    found = (directory.get(one) for one in directory.members(group.id))
    return paging.page(call, (one.document for one in found if one))


@operation("graph", "POST", "/v1.0/groups/{id}/members/$ref", graph=_MEMBERS_WRITE, source=_SOURCE)
def add_member(call: Call) -> None:
    """Make an object a member of a group."""
    group, member = need(call, "groups"), str(call.body.get("@odata.id", "")).rsplit("/", 1)[-1]
    if directory.get(member) is None:
        raise missing(member)
    if member in directory.members(group.id):
        message = "One or more added object references already exist for: 'members'."
        raise ArmError(400, "Request_BadRequest", message)
    directory.join(group.id, member)


@operation("graph", "DELETE", "/v1.0/groups/{id}/members/{member}/$ref", graph=_MEMBERS_WRITE, source=_SOURCE)
def remove_member(call: Call) -> None:
    """End a membership."""
    if not directory.leave(need(call, "groups").id, call.params["member"]):
        raise missing(call.params["member"])
