"""Encrypt a secret under a data key of its own, which a cloud's key wraps.

The associated data bind a secret to its place, so that nobody moves it to another.
"""

from __future__ import annotations

import json
import os
from base64 import b64decode, b64encode
from dataclasses import dataclass

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from firebreak.errors import EvidenceError

_NONCE_BYTES = 12  # AES-GCM (NIST SP 800-38D, 8.2)


@dataclass(frozen=True)
class Envelope:
    """A sealed secret as it is stored."""

    data_key: bytes
    """Wrapped by the cloud's key."""
    nonce: bytes
    sealed: bytes
    key: str = ""
    """The wrapping key, where what is wrapped does not say it itself."""

    @classmethod
    def seal(cls, secret: bytes, place: str, *, data_key: bytes, wrapped: bytes, key: str = "") -> Envelope:
        """Encrypt a secret for one place."""
        nonce = os.urandom(_NONCE_BYTES)
        return cls(wrapped, nonce, AESGCM(data_key).encrypt(nonce, secret, place.encode()), key)

    @classmethod
    def read(cls, document: bytes) -> Envelope:
        """Read back what ``json`` wrote."""
        parts = json.loads(document)
        data_key, nonce, sealed = (b64decode(parts[name]) for name in ("data_key", "nonce", "sealed"))
        return cls(data_key, nonce, sealed, str(parts.get("key", "")))

    def json(self) -> bytes:
        """The document to store."""
        parts = {"data_key": self.data_key, "nonce": self.nonce, "sealed": self.sealed}
        named = {"key": self.key} if self.key else {}
        return json.dumps(named | {name: b64encode(value).decode() for name, value in parts.items()}).encode()

    def open(self, data_key: bytes, place: str) -> bytes:
        """Decrypt with the unwrapped data key; raises EvidenceError when the secret was altered or moved."""
        try:
            return AESGCM(data_key).decrypt(self.nonce, self.sealed, place.encode())
        except InvalidTag as error:
            raise EvidenceError("a hidden secret was altered", resource=place) from error
