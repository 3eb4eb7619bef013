"""Each cloud's evidence may go to its own store; what it does not say follows the general settings."""

from __future__ import annotations

import pytest

from firebreak.errors import SettingsError
from firebreak.model import Cloud
from firebreak.settings import load_settings

BLOB = "https://evidence.blob.core.windows.net/firebreak"


@pytest.fixture(autouse=True)
def general(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FIREBREAK_EVIDENCE__STORE", "s3://evidence/firebreak")
    monkeypatch.setenv("FIREBREAK_EVIDENCE__ACCESS", '{"role_arn": "arn:aws:iam::333333333333:role/e"}')
    monkeypatch.setenv("FIREBREAK_EVIDENCE__SEAL_KEY", "awskms:arn")
    monkeypatch.setenv("FIREBREAK_EVIDENCE__RETENTION_DAYS", "30")
    monkeypatch.setenv("FIREBREAK_EVIDENCE__SIGNING_KEY", "file:live.pem")


def test_without_an_own_section_the_general_one_holds() -> None:
    settings = load_settings()
    assert settings.evidence_of(Cloud.AZURE) == settings.evidence


def test_a_cloud_has_its_own_store_and_shares_the_period_and_the_signing_keys(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("FIREBREAK_EVIDENCE_BY_CLOUD__AZURE__STORE", BLOB)
    azure = load_settings().evidence_of(Cloud.AZURE)
    assert azure.store == BLOB
    assert (azure.retention_days, azure.signing_key) == (30, "file:live.pem")
    assert load_settings().evidence_of(Cloud.AWS).store == "s3://evidence/firebreak"


def test_the_way_into_one_cloud_never_becomes_the_way_into_another(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FIREBREAK_EVIDENCE_BY_CLOUD__AZURE__STORE", BLOB)
    azure = load_settings().evidence_of(Cloud.AZURE)
    assert azure.access == {}
    assert azure.seal_key == ""


def test_a_clouds_own_word_wins(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FIREBREAK_EVIDENCE_BY_CLOUD__AZURE__STORE", BLOB)
    monkeypatch.setenv("FIREBREAK_EVIDENCE_BY_CLOUD__AZURE__RETENTION_DAYS", "7")
    monkeypatch.setenv("FIREBREAK_EVIDENCE_BY_CLOUD__AZURE__ACCESS__TENANT_ID", "t")
    azure = load_settings().evidence_of(Cloud.AZURE)
    assert (azure.retention_days, azure.access) == (7, {"tenant_id": "t"})


def test_an_unknown_cloud_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FIREBREAK_EVIDENCE_BY_CLOUD__OTHER__STORE", BLOB)
    with pytest.raises(SettingsError, match="FIREBREAK_EVIDENCE_BY_CLOUD__OTHER"):
        load_settings()
