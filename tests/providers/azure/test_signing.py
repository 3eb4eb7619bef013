"""A key that never leaves Key Vault signs what anybody verifies with its public part."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ec import SECP384R1, generate_private_key
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from securesystemslib.exceptions import UnverifiedSignatureError
from securesystemslib.signer import Signature

from firebreak.errors import EvidenceError, PermanentCloudError, SettingsError
from firebreak.evidence.sign import generate_key, read_envelope, sign, statement
from firebreak.model import Cloud, Mode
from firebreak.settings import EvidenceSettings, Settings
from providers.azure import signing
from providers.azure.credentials import credential_of
from providers.azure.signing import KeyVaultSigner, open_signer
from tests.providers.azure.conftest import TENANT, World, make_key


def named(**fields: Any) -> Settings:
    return Settings(evidence_by_cloud={Cloud.AZURE: EvidenceSettings(**fields)})


def test_what_key_vault_signs_verifies_with_the_public_part(world: World) -> None:
    signer = open_signer(world.settings, Mode.LIVE)
    signature = signer.sign(b"payload")
    signer.public_key.verify_signature(signature, b"payload")
    with pytest.raises(UnverifiedSignatureError):
        signer.public_key.verify_signature(signature, b"another payload")


def test_a_statement_is_signed_and_read_back(world: World) -> None:
    signer = open_signer(world.settings, Mode.LIVE)
    envelope = read_envelope(sign(statement({"a": "0" * 64}, {"x": 1}), signer))
    signer.public_key.verify_signature(envelope.signatures[signer.public_key.keyid], envelope.pae())


def test_large_payloads_are_signed_by_their_digest(world: World) -> None:
    signer = open_signer(world.settings, Mode.LIVE)
    payload = b"x" * 1_000_000
    signer.public_key.verify_signature(signer.sign(payload), payload)


def test_a_drill_has_another_key(world: World) -> None:
    live, drill = open_signer(world.settings, Mode.LIVE), open_signer(world.settings, Mode.DRILL)
    assert live.public_key.keyid != drill.public_key.keyid


def test_a_drill_never_gets_the_live_key(world: World) -> None:
    evidence = world.settings.evidence_of(Cloud.AZURE)
    settings = named(signing_key=evidence.signing_key, drill_signing_key=evidence.signing_key)
    with pytest.raises(SettingsError, match="drills may not sign with the live key"):
        open_signer(settings, Mode.DRILL)


def test_a_file_signs_where_there_is_no_vault(tmp_path: Path) -> None:
    public = generate_key(tmp_path / "key.pem")
    signer = open_signer(named(signing_key=f"file:{tmp_path / 'key.pem'}"), Mode.LIVE)
    assert signer.public_key.keyid == public.keyid


def test_a_file_of_another_curve_is_refused(tmp_path: Path) -> None:
    pem = generate_private_key(SECP384R1()).private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    (tmp_path / "key.pem").write_bytes(pem)
    with pytest.raises(SettingsError, match="not an ECDSA P-256 key"):
        open_signer(named(signing_key=f"file:{tmp_path / 'key.pem'}"), Mode.LIVE)


@pytest.mark.parametrize(
    "key",
    [
        "",
        "file:",
        "awskms:arn:aws:kms:eu-central-1:111111111111:key/x",
        "azurekms:",
        "azurekms:https://v.example/keys/a/0123456789abcdef0123456789abcdef",
        "azurekms:https://keys-1.vault.azure.net/keys/signing",
        "azurekms:http://keys-1.vault.azure.net/keys/signing/0123456789abcdef0123456789abcdef",
    ],
)
def test_a_key_that_is_none_is_named_by_its_setting(key: str) -> None:
    with pytest.raises(SettingsError, match="EVIDENCE_BY_CLOUD__AZURE__SIGNING_KEY"):
        open_signer(named(signing_key=key), Mode.LIVE)


def test_an_rsa_key_is_refused(world: World) -> None:
    evidence = world.settings.evidence_of(Cloud.AZURE)
    settings = named(signing_key=evidence.seal_key, access=evidence.access)
    with pytest.raises(SettingsError, match="not an EC P-256 key"):
        open_signer(settings, Mode.LIVE)


def test_a_stranger_may_not_sign(world: World, fresh: Callable[[str], str]) -> None:
    stranger = world.principal(fresh("stranger"))
    access = {"tenant_id": TENANT, "client_id": stranger.client_id}
    settings = named(signing_key=world.settings.evidence_of(Cloud.AZURE).signing_key, access=access)
    with pytest.raises(PermanentCloudError, match="Forbidden"):
        open_signer(settings, Mode.LIVE)


def test_a_key_that_may_not_sign_is_refused(world: World, fresh: Callable[[str], str]) -> None:
    evidence = world.settings.evidence_of(Cloud.AZURE)
    vault = evidence.signing_key.partition("https://")[2].partition(".")[0]
    url = make_key(world, vault, fresh("verify-only"), kty="EC", crv="P-256", key_ops=["verify"])
    world.grant(world.keeper, "Key Vault Crypto User", evidence.access["vault_id"])
    signer = KeyVaultSigner(url, credential_of("", TENANT, world.keeper.client_id))
    with pytest.raises(PermanentCloudError, match="not permitted on this key"):
        signer.sign(b"payload")


def test_a_signature_that_does_not_verify_is_not_handed_out(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    signer = open_signer(world.settings, Mode.LIVE)
    monkeypatch.setattr(signing, "_der", lambda signature: bytes(len(signature)))
    with pytest.raises(EvidenceError, match="does not verify"):
        signer.sign(b"payload")


def test_a_signer_opened_by_uri_is_the_one_that_was_meant(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AZURE_CLIENT_ID", world.keeper.client_id)
    monkeypatch.setenv("AZURE_CLIENT_SECRET", world.keeper.client_secret)
    evidence = world.settings.evidence_of(Cloud.AZURE)
    live, drill = open_signer(world.settings, Mode.LIVE), open_signer(world.settings, Mode.DRILL)
    opened = KeyVaultSigner.from_priv_key_uri(evidence.signing_key, live.public_key)
    assert isinstance(opened.sign(b"x"), Signature)
    with pytest.raises(ValueError, match="is not the private part"):
        KeyVaultSigner.from_priv_key_uri(evidence.signing_key, drill.public_key)
