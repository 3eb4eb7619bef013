"""Open the key that signs evidence packages: a PEM file, or a key that never leaves AWS KMS."""

from __future__ import annotations

from hashlib import sha256
from typing import TYPE_CHECKING, Any, Literal

from cryptography.hazmat.primitives.asymmetric.ec import (
    SECP256R1,
    EllipticCurvePublicKey,
)
from cryptography.hazmat.primitives.serialization import load_der_public_key
from securesystemslib.signer import Key, SecretsHandler, Signature, Signer, SSlibKey

from firebreak.errors import SettingsError
from firebreak.evidence.sign import FILE_SCHEME, checked, key_for, open_p256
from firebreak.model import Cloud, Mode
from firebreak.settings import Settings
from providers.aws.answers import translated
from providers.aws.vault import evidence_client

if TYPE_CHECKING:
    from types_boto3_kms import KMSClient

SIGN_ACTIONS = ("kms:GetPublicKey", "kms:Sign")
"""What the evidence role needs on the signing key."""

# KMS API reference, Sign: a RAW message may have up to 4096 bytes; longer ones are sent as their digest.
_RAW_LIMIT = 4096
_ALGORITHM: Literal["ECDSA_SHA_256"] = "ECDSA_SHA_256"


class KmsSigner(Signer):
    """Signs with an ECDSA P-256 key in KMS; the signature is checked here before it is handed out."""

    SCHEME = "awskms"

    def __init__(self, arn: str, access: dict[str, str]) -> None:
        self.arn = arn
        self._access = access
        self._public_key = self._fetch()

    @property
    def public_key(self) -> Key:
        """The public part, read from KMS once."""
        return self._public_key

    @classmethod
    def from_priv_key_uri(
        cls,
        priv_key_uri: str,
        public_key: Key,
        secrets_handler: SecretsHandler | None = None,  # noqa: ARG003 - KMS needs no further secret
    ) -> KmsSigner:
        """Open ``awskms:KEY_ARN`` with the SDK's own credentials; raises ValueError for another key."""
        signer = cls(priv_key_uri.removeprefix(f"{cls.SCHEME}:"), {})
        if signer.public_key != public_key:
            raise ValueError(f"{priv_key_uri} is not the private part of key {public_key.keyid}")
        return signer

    def sign(self, payload: bytes) -> Signature:
        """Sign the bytes; raises EvidenceError when the signature does not verify with the public key."""
        message: dict[str, Any] = (
            {"Message": payload, "MessageType": "RAW"}
            if len(payload) <= _RAW_LIMIT
            else {"Message": sha256(payload).digest(), "MessageType": "DIGEST"}
        )
        with translated(self.arn):
            answer = self._client().sign(KeyId=self.arn, SigningAlgorithm=_ALGORITHM, **message)
        signature = Signature(self._public_key.keyid, answer["Signature"].hex())
        return checked(signature, payload, self._public_key, maker="KMS", resource=self.arn)

    def _client(self) -> KMSClient:
        client: KMSClient = evidence_client(self._access, "kms", self.arn.split(":")[3])
        return client

    def _fetch(self) -> SSlibKey:
        with translated(self.arn):
            answer = self._client().get_public_key(KeyId=self.arn)
        key = load_der_public_key(answer["PublicKey"])
        if not isinstance(key, EllipticCurvePublicKey) or not isinstance(key.curve, SECP256R1):
            raise SettingsError("the signing key is not an ECC_NIST_P256 key", remedy=f"replace {self.arn}")
        return SSlibKey.from_crypto(key)


def open_signer(settings: Settings, mode: Mode) -> Signer:
    """Open the key of this mode; raises SettingsError when it has none. A drill never gets the live key."""
    evidence = settings.evidence_of(Cloud.AWS)
    variable = f"FIREBREAK_EVIDENCE__{'DRILL_' if mode is Mode.DRILL else ''}SIGNING_KEY"
    uri = key_for(evidence, mode, variable)
    scheme, _, rest = uri.partition(":")
    if uri.startswith(FILE_SCHEME) and rest:
        return open_p256(uri, variable)
    if scheme == KmsSigner.SCHEME and rest.startswith("arn:"):
        return KmsSigner(rest, evidence.access)
    raise SettingsError(f"{variable} names no key for a {mode} run", remedy="use file:PATH or awskms:KEY_ARN")
