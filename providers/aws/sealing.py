"""Encrypt short-lived secrets under a KMS key, so that the store alone does not reveal them.

A session can be longer than the 4096 bytes that kms:Encrypt takes, hence a data key (KMS API reference,
GenerateDataKey). The encryption context and the associated data bind a secret to its place.
"""

from __future__ import annotations

import json
import os
from base64 import b64decode, b64encode
from typing import TYPE_CHECKING

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from firebreak.errors import EvidenceError, SettingsError

if TYPE_CHECKING:
    from types_boto3_kms import KMSClient

SEAL_ACTIONS = ("kms:GenerateDataKey", "kms:Decrypt")
"""What the evidence role needs on the seal key."""

_NONCE_BYTES = 12  # AES-GCM (NIST SP 800-38D, 8.2)


def seal_key_arn(setting: str) -> str:
    """Read the key's ARN from the setting; raises SettingsError when there is none."""
    scheme, _, arn = setting.partition(":")
    if scheme != "awskms" or not arn.startswith("arn:"):
        raise SettingsError(
            "FIREBREAK_EVIDENCE__SEAL_KEY is needed to keep probe sessions", remedy="use awskms:KEY_ARN"
        )
    return arn


def seal(kms: KMSClient, key_arn: str, place: str, secret: bytes) -> bytes:
    """Encrypt a secret for one place under a fresh data key."""
    issued = kms.generate_data_key(KeyId=key_arn, KeySpec="AES_256", EncryptionContext=_context(place))
    nonce = os.urandom(_NONCE_BYTES)
    document = {
        "data_key": issued["CiphertextBlob"],
        "nonce": nonce,
        "sealed": AESGCM(issued["Plaintext"]).encrypt(nonce, secret, place.encode()),
    }
    return json.dumps({name: b64encode(value).decode() for name, value in document.items()}).encode()


def unseal(kms: KMSClient, key_arn: str, place: str, document: bytes) -> bytes:
    """Decrypt what was sealed for that place; raises EvidenceError when it was altered."""
    parts = {name: b64decode(value) for name, value in json.loads(document).items()}
    data_key = kms.decrypt(
        CiphertextBlob=parts["data_key"], KeyId=key_arn, EncryptionContext=_context(place)
    )["Plaintext"]
    try:
        return AESGCM(data_key).decrypt(parts["nonce"], parts["sealed"], place.encode())
    except InvalidTag as error:
        raise EvidenceError("a hidden secret was altered", resource=place) from error


def _context(place: str) -> dict[str, str]:
    return {"firebreak:key": place}
