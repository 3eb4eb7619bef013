"""Make KMS refuse keys that are disabled, sign digests as digests, and tell AWS's own keys apart.

Sources: KMS developer guide, "Key states of AWS KMS keys"; KMS API reference, Sign and Verify (MessageType),
KeyMetadata (KeyManager).
"""

from __future__ import annotations

from typing import Any

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.asymmetric.utils import Prehashed
from moto.kms.models import Key, kms_backends

from drills.sandbox.aws.corrections import guard
from drills.sandbox.aws.errors import ApiError
from drills.sandbox.aws.keyuse import aws_managed
from drills.sandbox.aws.owners import kms_key_arn
from drills.sandbox.aws.stubs import StubRequest, stub

_HASHES: dict[str, hashes.HashAlgorithm] = {
    "256": hashes.SHA256(),
    "384": hashes.SHA384(),
    "512": hashes.SHA512(),
}
_MAX_RAW_BYTES = 4096
_CIPHERTEXT_KEY_LENGTH = 36


def _key(request: StubRequest) -> Any:
    identifier = request.params.get("KeyId") or _ciphertext_key(request.params.get("CiphertextBlob"))
    if not identifier:
        return None
    arn = kms_key_arn(request.account, request.region, identifier)
    parts = arn.split(":")
    return kms_backends[parts[4]][parts[3]].keys.get(arn.rpartition("/")[2])


def _ciphertext_key(blob: bytes | None) -> str | None:
    """Return the key id that moto puts in front of its ciphertexts."""
    return blob[:_CIPHERTEXT_KEY_LENGTH].decode(errors="replace") if blob else None


@guard(
    "kms",
    "Decrypt",
    "Encrypt",
    "GenerateDataKey",
    "GenerateDataKeyPair",
    "GenerateDataKeyWithoutPlaintext",
    "GenerateMac",
    "ReEncrypt",
    "Sign",
    "Verify",
    "VerifyMac",
)
def key_usable(request: StubRequest) -> None:
    """Refuse cryptographic use of a key that is disabled or about to be deleted."""
    key = _key(request)
    if key is None:
        return
    if key.key_state == "PendingDeletion":
        raise ApiError("KMSInvalidStateException", f"{key.arn} is pending deletion.")
    if key.key_state != "Enabled":
        raise ApiError("DisabledException", f"{key.arn} is disabled.")


def apply() -> None:
    """Let a key say whether AWS manages it."""
    plain: Any = Key.to_dict

    def told(self: Any) -> dict[str, Any]:
        answer: dict[str, Any] = plain(self)
        answer["KeyMetadata"]["KeyManager"] = "AWS" if aws_managed(self) else "CUSTOMER"
        return answer

    setattr(Key, "to_dict", told)  # noqa: B010 - mypy forbids assigning methods


def _signing_key(request: StubRequest) -> Any:
    key = _key(request)
    if key is None:
        raise ApiError("NotFoundException", f"Key '{request.params['KeyId']}' does not exist")
    algorithm = request.params["SigningAlgorithm"]
    if key.key_usage != "SIGN_VERIFY":
        raise ApiError("InvalidKeyUsageException", f"{key.arn} key usage is {key.key_usage}")
    if algorithm not in key.signing_algorithms:
        raise ApiError("InvalidKeyUsageException", f"Algorithm {algorithm} is incompatible with {key.arn}")
    return key


def _message(request: StubRequest) -> tuple[bytes, Any]:
    """Return the bytes and the hash to sign them with: a digest is not hashed again."""
    message = request.params["Message"]
    algorithm = _HASHES[request.params["SigningAlgorithm"][-3:]]
    if request.params.get("MessageType", "RAW") != "DIGEST":
        if len(message) > _MAX_RAW_BYTES:
            raise ApiError(
                "ValidationException", "Value at 'message' must have length less than or equal to 4096"
            )
        return message, algorithm
    if len(message) != algorithm.digest_size:
        raise ApiError("ValidationException", "Digest is invalid length for algorithm")
    return message, Prehashed(algorithm)


def _padding(request: StubRequest) -> Any:
    algorithm = _HASHES[request.params["SigningAlgorithm"][-3:]]
    if request.params["SigningAlgorithm"].startswith("RSASSA_PSS"):
        return padding.PSS(mgf=padding.MGF1(algorithm), salt_length=algorithm.digest_size)
    return padding.PKCS1v15()


@stub("kms", "Sign")
def sign(request: StubRequest) -> dict[str, Any]:
    """Sign a message or a digest."""
    key, (message, algorithm) = _signing_key(request), _message(request)
    private = key.private_key.private_key
    if isinstance(private, rsa.RSAPrivateKey):
        signature = private.sign(message, _padding(request), algorithm)
    else:
        signature = private.sign(message, ec.ECDSA(algorithm))
    return {"KeyId": key.arn, "Signature": signature, "SigningAlgorithm": request.params["SigningAlgorithm"]}


@stub("kms", "Verify")
def verify(request: StubRequest) -> dict[str, Any]:
    """Verify a signature of a message or a digest."""
    key, (message, algorithm) = _signing_key(request), _message(request)
    public, signature = key.private_key.private_key.public_key(), request.params["Signature"]
    try:
        if isinstance(public, rsa.RSAPublicKey):
            public.verify(signature, message, _padding(request), algorithm)
        else:
            public.verify(signature, message, ec.ECDSA(algorithm))
    except InvalidSignature as error:
        raise ApiError("KMSInvalidSignatureException", "The signature is invalid") from error
    return {"KeyId": key.arn, "SignatureValid": True, "SigningAlgorithm": request.params["SigningAlgorithm"]}
