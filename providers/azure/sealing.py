"""Encrypt short-lived secrets under a Key Vault key, so that the store alone does not reveal them.

A token is longer than what an RSA key encrypts, hence a data key of its own, wrapped by the Key Vault key
(Key Vault, "About keys": key wrapping). The associated data bind a secret to its place.
"""

from __future__ import annotations

from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from firebreak.errors import EvidenceError
from firebreak.evidence.envelope import Envelope
from providers.azure.answers import translated
from providers.azure.credentials import Credential
from providers.azure.keys import cryptography, key_url

SEAL_DATA_ACTIONS = (
    "Microsoft.KeyVault/vaults/keys/read",
    "Microsoft.KeyVault/vaults/keys/wrap/action",
    "Microsoft.KeyVault/vaults/keys/unwrap/action",
)
"""What the evidence identity needs on the seal key."""

_DATA_KEY_BITS = 256
_WRAPPING = "RSA-OAEP-256"
_VARIABLE = "FIREBREAK_EVIDENCE_BY_CLOUD__AZURE__SEAL_KEY, which keeps probe tokens,"


def seal_key_url(setting: str) -> str:
    """Read the key's URL from the setting; raises SettingsError when there is none."""
    return key_url(setting, _VARIABLE)


def seal(url: str, credential: Credential, place: str, secret: bytes) -> bytes:
    """Encrypt a secret for one place under a fresh data key."""
    from azure.keyvault.keys.crypto import KeyWrapAlgorithm  # noqa: PLC0415

    data_key = AESGCM.generate_key(_DATA_KEY_BITS)
    with translated(url):
        wrapped = cryptography(url, credential).wrap_key(KeyWrapAlgorithm(_WRAPPING), data_key)
    envelope = Envelope.seal(secret, place, data_key=data_key, wrapped=wrapped.encrypted_key, key=url)
    return envelope.json()


def unseal(credential: Credential, place: str, document: bytes, *, wanted: str) -> bytes:
    """Decrypt what was sealed for that place; raises EvidenceError when it was altered."""
    from azure.keyvault.keys.crypto import KeyWrapAlgorithm  # noqa: PLC0415

    envelope = Envelope.read(document)
    if envelope.key != wanted:
        raise EvidenceError("a hidden secret was sealed under another key", resource=place)
    with translated(wanted):
        opened = cryptography(wanted, credential).unwrap_key(KeyWrapAlgorithm(_WRAPPING), envelope.data_key)
    return envelope.open(opened.key, place)
