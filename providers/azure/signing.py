"""Open the key that signs evidence packages: a PEM file, or a key that never leaves Key Vault."""

from __future__ import annotations

from hashlib import sha256
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ec import (
    SECP256R1,
    EllipticCurvePublicKey,
    EllipticCurvePublicNumbers,
)
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature
from securesystemslib.signer import Key, SecretsHandler, Signature, Signer, SSlibKey

from firebreak.errors import SettingsError
from firebreak.evidence.sign import FILE_SCHEME, checked, key_for, open_p256
from firebreak.model import Cloud, Mode
from firebreak.settings import Settings
from providers.azure.answers import translated
from providers.azure.credentials import Credential
from providers.azure.keys import SCHEME, cryptography, key_url, read_key
from providers.azure.vault import evidence_credential

SIGN_DATA_ACTIONS = ("Microsoft.KeyVault/vaults/keys/read", "Microsoft.KeyVault/vaults/keys/sign/action")
"""What the evidence identity needs on the signing key."""

_COORDINATE_BYTES = 32  # of P-256; a JWS signature is the two integers side by side (RFC 7518, 3.4)
_ALGORITHM = "ES256"


class KeyVaultSigner(Signer):
    """Signs with an ECDSA P-256 key in Key Vault; the signature is checked here before it is handed out."""

    SCHEME = SCHEME

    def __init__(self, url: str, credential: Credential) -> None:
        self.url = url
        self._credential = credential
        self._public_key = self._fetch()

    @property
    def public_key(self) -> Key:
        """The public part, read from Key Vault once."""
        return self._public_key

    @classmethod
    def from_priv_key_uri(
        cls,
        priv_key_uri: str,
        public_key: Key,
        secrets_handler: SecretsHandler | None = None,  # noqa: ARG003 - Key Vault needs no further secret
    ) -> KeyVaultSigner:
        """Open ``azurekms:KEY_URL`` with the SDK's own credentials; raises ValueError for another key."""
        signer = cls(key_url(priv_key_uri, priv_key_uri), evidence_credential({}))
        if signer.public_key != public_key:
            raise ValueError(f"{priv_key_uri} is not the private part of key {public_key.keyid}")
        return signer

    def sign(self, payload: bytes) -> Signature:
        """Sign the bytes; raises EvidenceError when the signature does not verify with the public key."""
        from azure.keyvault.keys.crypto import SignatureAlgorithm  # noqa: PLC0415

        with translated(self.url):
            answer = cryptography(self.url, self._credential).sign(
                SignatureAlgorithm(_ALGORITHM), sha256(payload).digest()
            )
        signature = Signature(self._public_key.keyid, _der(answer.signature).hex())
        return checked(signature, payload, self._public_key, maker="Key Vault", resource=self.url)

    def _fetch(self) -> SSlibKey:
        with translated(self.url):
            found: Any = read_key(self.url, self._credential).key  # the SDK sets its fields by name
        if found.crv != "P-256" or not found.x or not found.y:
            raise SettingsError("the signing key is not an EC P-256 key", remedy=f"replace {self.url}")
        return SSlibKey.from_crypto(_public(found))


def open_signer(settings: Settings, mode: Mode) -> Signer:
    """Open the key of this mode; raises SettingsError when it has none. A drill never gets the live key."""
    evidence = settings.evidence_of(Cloud.AZURE)
    name = "DRILL_SIGNING_KEY" if mode is Mode.DRILL else "SIGNING_KEY"
    variable = f"FIREBREAK_EVIDENCE_BY_CLOUD__AZURE__{name}"
    uri = key_for(evidence, mode, variable)
    if uri.startswith(FILE_SCHEME) and uri != FILE_SCHEME:
        return open_p256(uri, variable)
    if uri.startswith(f"{SCHEME}:"):
        return KeyVaultSigner(key_url(uri, variable), evidence_credential(evidence.access))
    raise SettingsError(
        f"{variable} (or FIREBREAK_EVIDENCE__{name}) names no key for a {mode} run",
        remedy=f"use file:PATH or {SCHEME}:KEY_URL",
    )


def _public(key: Any) -> EllipticCurvePublicKey:
    numbers = EllipticCurvePublicNumbers(int.from_bytes(key.x), int.from_bytes(key.y), SECP256R1())
    return numbers.public_key()


def _der(signature: bytes) -> bytes:
    """Turn the two integers side by side into the DER that everybody else verifies."""
    r, s = signature[:_COORDINATE_BYTES], signature[_COORDINATE_BYTES:]
    return encode_dss_signature(int.from_bytes(r), int.from_bytes(s))
