"""Tell whether a request to the blob service may do what it asks.

A bearer token is judged by Azure RBAC at the container. An account key may do everything, unless the account
forbids shared keys; what was signed with a key is refused once that key is another one.

Source: Azure Storage documentation, "Authorize access to blobs using Microsoft Entra ID", "Authorize with
Shared Key", "Prevent Shared Key authorization"; Storage REST API, "Create a user delegation SAS".
"""

from __future__ import annotations

import base64
import hashlib
import hmac
from urllib.parse import quote

from drills.sandbox.azure import tokens
from drills.sandbox.azure.call import Call
from drills.sandbox.azure.errors import ArmError
from drills.sandbox.azure.storage.errors import BlobError
from drills.sandbox.azure.storage.model import Account
from drills.sandbox.azure.storage.service import Asked, Operation

_STANDARD = (
    "content-encoding",
    "content-language",
    "content-length",
    "content-md5",
    "content-type",
    "date",
    "if-modified-since",
    "if-match",
    "if-none-match",
    "if-unmodified-since",
    "range",
)


def authorize(call: Call, asked: Asked, row: Operation) -> None:
    """Refuse a request that is not signed, or whose signer lacks the right."""
    account = asked.store.account(asked.account)
    scheme = call.headers.get("authorization", "").partition(" ")[0].lower()
    if scheme == "sharedkey":
        _check_shared_key(call, account)
        return
    if not scheme:
        raise BlobError(401, "NoAuthenticationInformation", "Server failed to authenticate the request.")
    call.principal = tokens.authenticated(call)
    _check_rights(call, container_id(account, asked.container), row)


def container_id(account: Account, container: str) -> str:
    """The ARM id of a container, the scope of its data actions; the account's where none is named."""
    if not container:
        return account.resource_id
    return f"{account.resource_id}/blobServices/default/containers/{container}"


def _check_rights(call: Call, scope: str, row: Operation) -> None:
    """Any one of the operation's actions suffices."""
    refusal: ArmError | None = None
    for action in row.actions:
        try:
            call.require(action, scope, data=row.data)
        except ArmError as error:
            refusal = error  # another action may allow it
        else:
            return
    if refusal is not None:
        raise refusal


def _check_shared_key(call: Call, account: Account) -> None:
    if not account.shared_keys:
        raise BlobError(
            403,
            "KeyBasedAuthenticationNotPermitted",
            "Key based authentication is not permitted on this account.",
        )
    signature = call.headers["authorization"].rpartition(":")[2]
    text = string_to_sign(call, account.name)
    good = (sign(text, key) for key in account.keys.values())
    if not any(hmac.compare_digest(signature, each) for each in good):
        raise BlobError(
            403,
            "AuthenticationFailed",
            "Server failed to authenticate the request. Make sure the value of Authorization header is formed"
            " correctly including the signature.",
        )


def sign(text: str, key: str) -> str:
    """HMAC-SHA256 of a text with a key in base64."""
    return base64.b64encode(hmac.new(base64.b64decode(key), text.encode(), hashlib.sha256).digest()).decode()


def string_to_sign(call: Call, account: str) -> str:
    """What a shared key signs ("Authorize with Shared Key", Blob service)."""
    standard = [call.headers.get(name, "") for name in _STANDARD]
    if standard[2] == "0":
        standard[2] = ""
    if "x-ms-date" in call.headers:
        standard[5] = ""
    own = sorted((name, value) for name, value in call.headers.items() if name.startswith("x-ms-"))
    lines = [call.method, *standard, *(f"{name}:{value}" for name, value in own)]
    path = quote(call.path, safe="/()$=',~!*@&+;:-_.")
    resource = [f"/{account}{path}"]
    resource += [f"{name.lower()}:{value}" for name, value in sorted(call.query.items())]
    return "\n".join([*lines, *resource])
