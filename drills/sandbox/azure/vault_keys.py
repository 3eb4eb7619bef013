"""Keep Key Vault keys that sign, wrap and encrypt but never leave, and secrets that are read by permission.

Source: Azure Key Vault REST API 7.4, "Keys" and "Secrets"; permissions: "Azure RBAC for Key Vault data plane
operations"; the challenge of an unauthenticated request: "Authentication, requests and responses".
"""

from __future__ import annotations

import base64
import uuid
from collections.abc import Callable
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Any

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.asymmetric.utils import (
    Prehashed,
    decode_dss_signature,
    encode_dss_signature,
)

from drills.sandbox.azure import clock, ids
from drills.sandbox.azure.call import Answer, Call, JsonObject
from drills.sandbox.azure.errors import ArmError, envelope
from drills.sandbox.azure.generic import resource_type
from drills.sandbox.azure.state import on_reset
from drills.sandbox.azure.store import store
from drills.sandbox.azure.table import operation

KEYS_SOURCE = "Azure Key Vault REST API 7.4, Keys"
SECRETS_SOURCE = "Azure Key Vault REST API 7.4, Secrets"
VAULTS = "Microsoft.KeyVault/vaults"
_COORDINATE = 32
_OAEP = padding.OAEP(padding.MGF1(hashes.SHA256()), hashes.SHA256(), None)
_PREHASHED = Prehashed(hashes.SHA256())
_EC_OPERATIONS = ["sign", "verify"]
_RSA_OPERATIONS = ["sign", "verify", "wrapKey", "unwrapKey", "encrypt", "decrypt"]


@dataclass
class KeyVersion:
    """One version of a key; the private part is never shown."""

    version: str
    private: ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey
    operations: list[str]
    created: int


@dataclass
class SecretVersion:
    """One version of a secret."""

    version: str
    value: str
    content_type: str
    created: int


@dataclass
class Contents:
    """What all vaults hold, by vault and name."""

    keys: dict[tuple[str, str], list[KeyVersion]] = field(default_factory=dict)
    secrets: dict[tuple[str, str], list[SecretVersion]] = field(default_factory=dict)

    def clear(self) -> None:
        """Forget everything."""
        self.keys.clear()
        self.secrets.clear()


contents = Contents()
on_reset(contents.clear)


resource_type(
    VAULTS,
    versions=("2023-07-01", "2022-07-01", "2024-11-01"),
    source="Azure Key Vault resource provider, Vaults",
)


@envelope("vault")
def worded(_call: Call, error: ArmError) -> Answer:
    """Word an error as Key Vault does ("Azure Key Vault REST API error codes")."""
    code, inner = error.code, ""
    if error.status == HTTPStatus.UNAUTHORIZED:  # the one status with a challenge
        code = "Unauthorized"
    elif error.code == "AuthorizationFailed":
        code, inner = "Forbidden", "ForbiddenByRbac"
    told: JsonObject = {"code": code, "message": error.message}
    return Answer(
        error.status,
        {"error": {**told, **({"innererror": {"code": inner}} if inner else {})}},
        error.headers,
    )


def _vault_id(call: Call) -> str:
    """Return the ARM id of the vault whose host was called."""
    found = next(
        (item.id for item in store.list(resource_type=VAULTS) if item.name.lower() == call.account.lower()),
        None,
    )
    if found is None:
        raise ArmError(404, "VaultNotFound", f"There is no vault {call.account}.")
    return found


def _key_scope(call: Call) -> str:
    return f"{_vault_id(call)}/keys/{call.params['name']}"


def _secret_scope(call: Call) -> str:
    return f"{_vault_id(call)}/secrets/{call.params['name']}"


def _on_key(method: str, template: str, action: str) -> Callable[[Any], Any]:
    """Register a row about keys."""
    return operation(
        "vault",
        method,
        f"/keys/{{name}}{template}",
        action=f"{VAULTS}/keys/{action}",
        data=True,
        scope=_key_scope,
        mutating=action == "create/action",
        source=KEYS_SOURCE,
    )


def _on_secret(method: str, template: str, action: str) -> Callable[[Any], Any]:
    """Register a row about secrets."""
    return operation(
        "vault",
        method,
        f"/secrets/{{name}}{template}",
        action=f"{VAULTS}/secrets/{action}",
        data=True,
        scope=_secret_scope,
        source=SECRETS_SOURCE,
    )


@_on_key("POST", "/create", "create/action")
def create_key(call: Call) -> JsonObject:
    """Make a new version of a key."""
    made = KeyVersion(uuid.uuid4().hex, _generated(call.body), _operations(call.body), int(clock.seconds()))
    contents.keys.setdefault(_place(call), []).append(made)
    return _shown(call, made)


def _operations(body: JsonObject) -> list[str]:
    every = _EC_OPERATIONS if body.get("kty") == "EC" else _RSA_OPERATIONS
    return [str(each) for each in body.get("key_ops") or every]


def _generated(body: JsonObject) -> ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey:
    match body.get("kty"), body.get("crv", "P-256"):
        case "EC", "P-256":
            return ec.generate_private_key(ec.SECP256R1())
        case "RSA", _:
            return rsa.generate_private_key(65537, int(body.get("key_size") or 2048))
        case _:
            raise _bad(f"Property has invalid value: kty {body.get('kty')} crv {body.get('crv')}")


@_on_key("GET", "", "read")
def get_key(call: Call) -> JsonObject:
    """Show the newest version of a key."""
    return _shown(call, _key(call))


@_on_key("GET", "/{version}", "read")
def get_key_version(call: Call) -> JsonObject:
    """Show one version of a key."""
    return _shown(call, _key(call))


@_on_key("POST", "/{version}/sign", "sign/action")
def sign(call: Call) -> JsonObject:
    """Sign a digest: ES256 as two integers side by side, RS256 as PKCS #1 v1.5."""
    key = _for(call, "sign")
    digest = _value(call, "value")
    match key.private, call.body.get("alg"):
        case ec.EllipticCurvePrivateKey() as private, "ES256":
            r, s = decode_dss_signature(private.sign(digest, ec.ECDSA(_PREHASHED)))
            signature = r.to_bytes(_COORDINATE) + s.to_bytes(_COORDINATE)
        case rsa.RSAPrivateKey() as private, "RS256":
            signature = private.sign(digest, padding.PKCS1v15(), _PREHASHED)
        case _:
            raise _bad(f"Key and signing algorithm are incompatible: {call.body.get('alg')}")
    return _result(call, key, signature)


@_on_key("POST", "/{version}/verify", "verify/action")
def verify(call: Call) -> JsonObject:
    """Tell whether a signature is of a digest."""
    public = _for(call, "verify").private.public_key()
    digest, signature = _value(call, "digest"), _value(call, "value")
    try:
        match public, call.body.get("alg"):
            case ec.EllipticCurvePublicKey(), "ES256":
                numbers = (
                    int.from_bytes(signature[:_COORDINATE]),
                    int.from_bytes(signature[_COORDINATE:]),
                )
                public.verify(encode_dss_signature(*numbers), digest, ec.ECDSA(_PREHASHED))
            case rsa.RSAPublicKey(), "RS256":
                public.verify(signature, digest, padding.PKCS1v15(), _PREHASHED)
            case _:
                raise _bad(f"Key and signing algorithm are incompatible: {call.body.get('alg')}")
    except InvalidSignature:
        return {"value": False}
    return {"value": True}


@_on_key("POST", "/{version}/wrapkey", "wrap/action")
def wrap(call: Call) -> JsonObject:
    """Encrypt a key."""
    return _encrypted(call, "wrapKey")


@_on_key("POST", "/{version}/encrypt", "encrypt/action")
def encrypt(call: Call) -> JsonObject:
    """Encrypt a short text."""
    return _encrypted(call, "encrypt")


@_on_key("POST", "/{version}/unwrapkey", "unwrap/action")
def unwrap(call: Call) -> JsonObject:
    """Decrypt a key."""
    return _decrypted(call, "unwrapKey")


@_on_key("POST", "/{version}/decrypt", "decrypt/action")
def decrypt(call: Call) -> JsonObject:
    """Decrypt a short text."""
    return _decrypted(call, "decrypt")


def _encrypted(call: Call, operation_name: str) -> JsonObject:
    key = _for(call, operation_name)
    return _result(call, key, _rsa(call, key).public_key().encrypt(_value(call, "value"), _OAEP))


def _decrypted(call: Call, operation_name: str) -> JsonObject:
    key = _for(call, operation_name)
    try:
        opened = _rsa(call, key).decrypt(_value(call, "value"), _OAEP)
    except ValueError as error:
        raise _bad("The parameter is incorrect.") from error
    return _result(call, key, opened)


@_on_secret("PUT", "", "setSecret/action")
def set_secret(call: Call) -> JsonObject:
    """Make a new version of a secret."""
    made = SecretVersion(
        uuid.uuid4().hex,
        str(call.body.get("value", "")),
        str(call.body.get("contentType", "")),
        int(clock.seconds()),
    )
    contents.secrets.setdefault(_place(call), []).append(made)
    return _told(call, made)


@_on_secret("GET", "", "getSecret/action")
def get_secret(call: Call) -> JsonObject:
    """Read the newest version of a secret."""
    return _told(call, _secret(call))


@_on_secret("GET", "/{version}", "getSecret/action")
def get_secret_version(call: Call) -> JsonObject:
    """Read one version of a secret."""
    return _told(call, _secret(call))


def _place(call: Call) -> tuple[str, str]:
    return ids.key(_vault_id(call)), call.params["name"].lower()


def _key(call: Call) -> KeyVersion:
    versions, wanted = contents.keys.get(_place(call), []), call.params.get("version", "")
    found = next((each for each in reversed(versions) if not wanted or each.version == wanted), None)
    if found is None:
        raise ArmError(404, "KeyNotFound", f"A key with (name/id) {call.params['name']} was not found.")
    return found


def _secret(call: Call) -> SecretVersion:
    versions, wanted = contents.secrets.get(_place(call), []), call.params.get("version", "")
    found = next((each for each in reversed(versions) if not wanted or each.version == wanted), None)
    if found is None:
        message = f"A secret with (name/id) {call.params['name']} was not found in this key vault."
        raise ArmError(404, "SecretNotFound", message)
    return found


def _for(call: Call, operation_name: str) -> KeyVersion:
    found = _key(call)
    if operation_name not in found.operations:
        raise ArmError(403, "Forbidden", f"Operation {operation_name} is not permitted on this key.")
    return found


def _rsa(call: Call, key: KeyVersion) -> rsa.RSAPrivateKey:
    if call.body.get("alg") != "RSA-OAEP-256" or not isinstance(key.private, rsa.RSAPrivateKey):
        raise _bad(f"Key and encryption algorithm are incompatible: {call.body.get('alg')}")
    return key.private


def _kid(call: Call, key: KeyVersion) -> str:
    return f"https://{call.hostname}/keys/{call.params['name']}/{key.version}"


def _result(call: Call, key: KeyVersion, value: bytes) -> JsonObject:
    return {"kid": _kid(call, key), "value": _text(value)}


def _shown(call: Call, key: KeyVersion) -> JsonObject:
    return {
        "key": {"kid": _kid(call, key), "key_ops": key.operations, **_public(key)},
        "attributes": {"enabled": True, "created": key.created, "updated": key.created},
    }


def _public(key: KeyVersion) -> JsonObject:
    if isinstance(key.private, rsa.RSAPrivateKey):
        rsa_numbers = key.private.public_key().public_numbers()
        size = (rsa_numbers.n.bit_length() + 7) // 8
        return {"kty": "RSA", "n": _text(rsa_numbers.n.to_bytes(size)), "e": _text(rsa_numbers.e.to_bytes(3))}
    numbers = key.private.public_key().public_numbers()
    x, y = numbers.x.to_bytes(_COORDINATE), numbers.y.to_bytes(_COORDINATE)
    return {"kty": "EC", "crv": "P-256", "x": _text(x), "y": _text(y)}


def _told(call: Call, secret: SecretVersion) -> JsonObject:
    return {
        "value": secret.value,
        "id": f"https://{call.hostname}/secrets/{call.params['name']}/{secret.version}",
        **({"contentType": secret.content_type} if secret.content_type else {}),
        "attributes": {"enabled": True, "created": secret.created, "updated": secret.created},
    }


def _text(value: bytes) -> str:
    return base64.urlsafe_b64encode(value).decode().rstrip("=")


def _value(call: Call, name: str) -> bytes:
    text = str(call.body.get(name, ""))
    try:
        return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))
    except ValueError as error:
        raise _bad(f"Property has invalid value: {name}") from error


def _bad(message: str) -> ArmError:
    return ArmError(400, "BadParameter", message)
