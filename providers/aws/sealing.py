"""Encrypt short-lived secrets under a KMS key, so that the store alone does not reveal them.

A session can be longer than the 4096 bytes that kms:Encrypt takes, hence a data key (KMS API reference,
GenerateDataKey). The encryption context and the associated data bind a secret to its place.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from firebreak.errors import SettingsError
from firebreak.evidence.envelope import Envelope

if TYPE_CHECKING:
    from types_boto3_kms import KMSClient

SEAL_ACTIONS = ("kms:GenerateDataKey", "kms:Decrypt")
"""What the evidence role needs on the seal key."""


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
    envelope = Envelope.seal(secret, place, data_key=issued["Plaintext"], wrapped=issued["CiphertextBlob"])
    return envelope.json()


def unseal(kms: KMSClient, key_arn: str, place: str, document: bytes) -> bytes:
    """Decrypt what was sealed for that place; raises EvidenceError when it was altered."""
    envelope = Envelope.read(document)
    opened = kms.decrypt(CiphertextBlob=envelope.data_key, KeyId=key_arn, EncryptionContext=_context(place))
    return envelope.open(opened["Plaintext"], place)


def _context(place: str) -> dict[str, str]:
    return {"firebreak:key": place}
