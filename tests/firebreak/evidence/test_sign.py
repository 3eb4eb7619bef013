"""Keys and statements."""

from __future__ import annotations

import stat
from pathlib import Path

import pytest

from firebreak.errors import EvidenceError, SettingsError
from firebreak.evidence.sign import (
    check_signatures,
    generate_key,
    load_public_keys,
    open_signer,
    read_envelope,
    read_statement,
    sign,
    statement,
)

SUBJECTS = {"bagit.txt": "0" * 64}
_SUBJECT = b'{"_type":"https://in-toto.io/Statement/v1","subject":[{"name":"a","digest":{"sha256":"0"}}],'


def test_a_new_key_is_readable_for_its_owner_only_and_never_overwritten(tmp_path: Path) -> None:
    key = generate_key(tmp_path / "key.pem")
    assert stat.S_IMODE((tmp_path / "key.pem").stat().st_mode) == 0o600
    assert b"PRIVATE" not in (tmp_path / "key.pem.pub").read_bytes()
    assert load_public_keys([tmp_path / "key.pem.pub"])[0].key.keyid == key.keyid
    before = (tmp_path / "key.pem").read_bytes()
    with pytest.raises(SettingsError, match="not overwritten"):
        generate_key(tmp_path / "key.pem")
    assert (tmp_path / "key.pem").read_bytes() == before


def test_a_signature_is_good_for_its_statement_only(tmp_path: Path) -> None:
    generate_key(tmp_path / "key.pem")
    trusted = load_public_keys([tmp_path / "key.pem.pub"])
    envelope = read_envelope(sign(statement(SUBJECTS, {"a": 1}), open_signer(f"file:{tmp_path}/key.pem")))
    assert check_signatures(envelope, trusted) == (list(trusted), [])
    envelope.payload = statement(SUBJECTS, {"a": 2})
    signed, problems = check_signatures(envelope, trusted)
    assert not signed
    assert "is false" in problems[0]


@pytest.mark.parametrize("reference", ["awskms:arn:aws:kms:x", "", "/key.pem", "file:/nowhere/key.pem"])
def test_a_signer_that_cannot_be_opened_is_a_settings_error(reference: str) -> None:
    with pytest.raises(SettingsError):
        open_signer(reference)


def test_rubbish_is_no_key(tmp_path: Path) -> None:
    (tmp_path / "key.pem").write_bytes(b"-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n")
    with pytest.raises(SettingsError, match="cannot be used"):
        open_signer(f"file:{tmp_path}/key.pem")
    with pytest.raises(EvidenceError, match="public key cannot be used"):
        load_public_keys([tmp_path / "key.pem"])


def test_a_private_key_is_not_taken_as_a_key_to_trust(tmp_path: Path) -> None:
    generate_key(tmp_path / "key.pem")
    with pytest.raises(EvidenceError, match="public key cannot be used"):
        load_public_keys([tmp_path / "key.pem"])


@pytest.mark.parametrize("predicate", [{"n": float("nan")}, {"n": 2**60}, {"n": {1, 2}}])
def test_a_predicate_that_has_no_canonical_form_is_refused(predicate: dict[str, object]) -> None:
    with pytest.raises(EvidenceError, match="not JSON that can be signed"):
        statement(SUBJECTS, predicate)


@pytest.mark.parametrize("subjects", [{}, {"a": "0" * 64}])
def test_statements_need_subjects_and_a_predicate(subjects: dict[str, str]) -> None:
    with pytest.raises(EvidenceError, match="not an in-toto Statement"):
        statement(subjects, {})


@pytest.mark.parametrize(
    "raw",
    [
        b'{"_type":"https://in-toto.io/Statement/v0.1","subject":[],"predicateType":"x","predicate":{}}',
        b'{"type":"https://in-toto.io/Statement/v1"}',
        _SUBJECT + b'"predicate_type":"x","predicate":{"a":1}}',
        _SUBJECT + b'"predicateType":"x","predicate":{"a":1}}',
        b"[]",
    ],
)
def test_other_statements_are_refused(raw: bytes) -> None:
    with pytest.raises(EvidenceError):
        read_statement(raw)
