"""Signed statements: in-toto Statement v1 in a DSSE envelope, checked with keys from outside the bag."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import rfc8785
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    PublicFormat,
    load_pem_private_key,
    load_pem_public_key,
)
from google.protobuf import json_format
from in_toto_attestation.v1 import statement_pb2
from in_toto_attestation.v1.statement import STATEMENT_TYPE_URI, Statement
from pydantic import ValidationError
from securesystemslib.dsse import Envelope
from securesystemslib.exceptions import UnverifiedSignatureError
from securesystemslib.signer import CryptoSigner, Key, Signature, Signer, SSlibKey

from firebreak.errors import EvidenceError, SettingsError
from firebreak.evidence.layout import printable
from firebreak.evidence.predicate import Predicate
from firebreak.model import JsonObject, Mode
from firebreak.settings import EvidenceSettings

PAYLOAD_TYPE = "application/vnd.in-toto+json"
"""in-toto attestation specification, envelope v1."""

PREDICATE_TYPE = "https://firebreak.invalid/containment/v1"
"""Names the predicate's schema (docs: evidence). It identifies and is never fetched; the top-level name
``.invalid`` is reserved (RFC 2606), so that nobody else can publish under it."""

FILE_SCHEME = "file:"


class Timestamper(Protocol):
    """The seam to a time-stamp authority (RFC 3161). Without one, a package says ``untimestamped``."""

    def token(self, envelope: bytes) -> bytes:
        """Obtain a time-stamp token over the SHA-256 of the envelope."""
        ...


@dataclass(frozen=True)
class TrustedKey:
    """A public key that the verifying person chose to trust, and for what."""

    key: Key
    mode: Mode
    name: str
    """Where it came from, for messages."""


def generate_key(path: Path) -> SSlibKey:
    """Write a new ECDSA P-256 private key, readable for its owner only, and ``<path>.pub`` beside it."""
    signer = CryptoSigner.generate_ecdsa()
    _write_new(path, signer.private_bytes, 0o600)
    key = signer.public_key
    public = load_pem_public_key(key.keyval["public"].encode())
    pem = public.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    _write_new(path.with_name(f"{path.name}.pub"), pem, 0o644)
    return key


def open_signer(reference: str, name: str = "the signing key") -> Signer:
    """Open ``file:PATH`` of a PEM private key; other schemes belong to the clouds' providers."""
    if not reference.startswith(FILE_SCHEME):
        raise SettingsError(
            f"no signer for {printable(reference.split(':', 1)[0])!r}",
            remedy="use file:PATH of a PEM private key",
        )
    path = Path(reference.removeprefix(FILE_SCHEME))
    try:
        private: Any = load_pem_private_key(path.read_bytes(), None)
        return CryptoSigner(private)
    except (OSError, ValueError, TypeError, UnsupportedAlgorithm) as error:
        raise SettingsError(f"{name} cannot be used: {error}", resource=str(path)) from error


def open_p256(reference: str, variable: str) -> Signer:
    """Open ``file:PATH`` of an ECDSA P-256 key; raises SettingsError, naming the setting, for any other."""
    signer = open_signer(reference, variable)
    if signer.public_key.scheme != "ecdsa-sha2-nistp256":
        raise SettingsError(f"{variable} is not an ECDSA P-256 key")
    return signer


def checked(signature: Signature, payload: bytes, key: Key, *, maker: str, resource: str) -> Signature:
    """Hand out what a remote key made of a payload; raises EvidenceError when it does not verify."""
    try:
        key.verify_signature(signature, payload)
    except UnverifiedSignatureError as error:
        said = f"{maker} returned a signature that does not verify"
        raise EvidenceError(said, resource=resource) from error
    return signature


def key_for(evidence: EvidenceSettings, mode: Mode, variable: str) -> str:
    """The setting of a mode's key, empty for none; a drill never gets the live key (SettingsError)."""
    reference = evidence.signing_key_of(mode)
    if mode is Mode.DRILL and reference and reference == evidence.signing_key:
        raise SettingsError("drills may not sign with the live key", remedy=f"give {variable} its own key")
    return reference


def load_public_keys(paths: Iterable[Path], mode: Mode = Mode.LIVE) -> tuple[TrustedKey, ...]:
    """Read PEM public keys to trust for packages of one mode."""
    return tuple(_load_public_key(Path(path), mode) for path in paths)


def statement(subjects: Mapping[str, str], predicate: JsonObject) -> bytes:
    """Write the in-toto Statement over named SHA-256 digests, as canonical JSON."""
    body = {
        "_type": STATEMENT_TYPE_URI,
        "subject": [{"name": name, "digest": {"sha256": subjects[name]}} for name in sorted(subjects)],
        "predicateType": PREDICATE_TYPE,
        "predicate": predicate,
    }
    try:
        raw = rfc8785.dumps(body)
    except rfc8785.CanonicalizationError as error:
        raise EvidenceError(f"the predicate is not JSON that can be signed: {error}") from error
    read_statement(raw)
    return raw


def read_statement(raw: bytes) -> JsonObject:
    """Parse a Statement with the in-toto library's schema; raises EvidenceError when it is none."""
    try:
        parsed: JsonObject = json.loads(raw)
        message = json_format.Parse(raw, statement_pb2.Statement())
        Statement.copy_from_pb(message).validate()
    except (ValueError, RecursionError, json_format.ParseError) as error:
        raise EvidenceError(f"not an in-toto Statement v1: {printable(str(error))}") from error
    if parsed.keys() != {"_type", "subject", "predicateType", "predicate"}:
        raise EvidenceError("not an in-toto Statement v1: it has other fields")
    if parsed["predicateType"] != PREDICATE_TYPE:
        raise EvidenceError(f"the statement is of another type: {printable(str(parsed['predicateType']))}")
    return parsed


def read_predicate(parsed: JsonObject) -> Predicate:
    """Parse the predicate of a statement; raises EvidenceError when a field is missing or unknown."""
    try:
        return Predicate.model_validate_json(json.dumps(parsed["predicate"]))
    except ValidationError as error:
        raise EvidenceError(f"not a containment predicate: {printable(str(error))}") from error


def sign(payload: bytes, signer: Signer) -> bytes:
    """Sign a statement; returns the DSSE envelope as canonical JSON with a final line end."""
    envelope = Envelope(payload, PAYLOAD_TYPE, {})
    envelope.sign(signer)
    return _envelope_bytes(envelope)


def read_envelope(raw: bytes) -> Envelope:
    """Parse a DSSE envelope; raises EvidenceError when a byte differs from how we write it.

    Strict, because JSON and base64 have several spellings of one value, and a spelling that nobody
    signed is an alteration.
    """
    try:
        envelope = Envelope.from_dict(json.loads(raw))
        spelled_as_written = raw == _envelope_bytes(envelope)
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise EvidenceError(f"not a DSSE envelope: {printable(repr(error))}") from error
    if not spelled_as_written:
        raise EvidenceError("the envelope was edited: it is not in the form in which it is written")
    if envelope.payload_type != PAYLOAD_TYPE:
        raise EvidenceError(f"the envelope's payload type was edited: {printable(envelope.payload_type)}")
    return envelope


def check_signatures(envelope: Envelope, trusted: Iterable[TrustedKey]) -> tuple[list[TrustedKey], list[str]]:
    """Find the trusted keys that signed, and list every signature that is foreign or false."""
    keys = {each.key.keyid: each for each in trusted}
    signed: list[TrustedKey] = []
    problems = [] if envelope.signatures else ["the envelope carries no signature"]
    for keyid, signature in envelope.signatures.items():
        known = keys.get(keyid)
        if known is None:
            problems.append(
                f"signed by the foreign key {printable(keyid)}, which is not among the trusted keys"
            )
            continue
        try:
            known.key.verify_signature(signature, envelope.pae())
        except UnverifiedSignatureError:
            problems.append(f"the signature by {known.name} ({keyid}) is false for this statement")
        else:
            signed.append(known)
    return signed, problems


def _envelope_bytes(envelope: Envelope) -> bytes:
    signatures = [{"keyid": s["keyid"], "sig": s["sig"]} for s in envelope.to_dict()["signatures"]]
    body = {**envelope.to_dict(), "signatures": signatures}
    return rfc8785.dumps(body) + b"\n"


def _load_public_key(path: Path, mode: Mode) -> TrustedKey:
    try:
        public: Any = load_pem_public_key(path.read_bytes())
        return TrustedKey(SSlibKey.from_crypto(public), mode, str(path))
    except (OSError, ValueError, UnsupportedAlgorithm) as error:
        raise EvidenceError(
            f"the public key cannot be used: {error}", resource=str(path), remedy="give a PEM public key"
        ) from error


def _write_new(path: Path, content: bytes, mode: int) -> None:
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
    except FileExistsError as error:
        raise SettingsError("a key is already there and is not overwritten", resource=str(path)) from error
    with os.fdopen(descriptor, "wb") as file:
        file.write(content)
