"""The public part of a signing key in KMS, fetched the way an outside verifier would get it."""

from __future__ import annotations

from pathlib import Path

from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_der_public_key

from drills.sandbox.aws.client import SandboxClient
from drills.sandbox.aws.sample.clients import Admin
from drills.sandbox.aws.state import DEFAULT_REGION


def export_public_key(sandbox: SandboxClient, account: str, arn: str, path: Path) -> Path:
    """Write the key as PEM, with the account administrator's credentials and not with Firebreak's."""
    kms = Admin.of(sandbox, account, DEFAULT_REGION).client("kms")
    key = load_der_public_key(kms.get_public_key(KeyId=arn)["PublicKey"])
    path.write_bytes(key.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo))
    return path
