"""What is said wrongly is named; a cloud's own evidence settings follow the general ones."""

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


@pytest.mark.parametrize(
    ("variable", "value", "wanted"),
    [
        ("FIREBREAK_GUARD__PROTECTED_PRINCIPALS", "arn:x", "a JSON list"),
        ("FIREBREAK_GUARD__PROTECTED_PRINCIPALS", '"arn:x"', "a JSON list"),
        ("FIREBREAK_NOTIFY__URLS", "slack://T", "a JSON list"),
        ("FIREBREAK_EVIDENCE__ACCESS", "role_arn=x", "a JSON object"),
        ("FIREBREAK_PAYLOAD_KEYS", "2027:x", "a JSON object"),
        ("FIREBREAK_CONSOLE__OIDC", "https://x", "a JSON object"),
        ("FIREBREAK_CONSOLE__OIDC__ROLE_MAP__ADMINS", "commander", "a JSON list"),
        ("FIREBREAK_EVIDENCE_BY_CLOUD__AZURE__ACCESS", "tenant_id=x", "a JSON object"),
    ],
)
def test_a_list_or_object_that_is_not_json_is_named_without_its_value(
    variable: str, value: str, wanted: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(variable, value)
    with pytest.raises(SettingsError) as caught:
        load_settings()
    assert f"{variable}: must be {wanted}" in caught.value.message
    assert value not in caught.value.message
    assert caught.value.exit_code == 2


@pytest.mark.parametrize(
    ("variable", "meant"),
    [
        ("FIREBREAK_GUARD_PROTECTED_PRINCIPALS", "FIREBREAK_GUARD__PROTECTED_PRINCIPALS"),
        ("FIREBREAK_GUARDS__MAX_TARGETS", "FIREBREAK_GUARD__MAX_TARGETS"),
        ("FIREBREAK_GUARD__MAX_TARGET", "FIREBREAK_GUARD__MAX_TARGETS"),
        ("FIREBREAK_EVIDENCE_STORE", "FIREBREAK_EVIDENCE__STORE"),
        ("FIREBREAK_LOG_LEVEL__ROOT", "FIREBREAK_LOG_LEVEL"),
        ("FIREBREAK_CONSOLE__OIDC__ISUER", "FIREBREAK_CONSOLE__OIDC__ISSUER"),
    ],
)
def test_a_name_that_means_nothing_is_refused_with_the_one_that_was_meant(
    variable: str, meant: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(variable, "1")
    with pytest.raises(SettingsError) as caught:
        load_settings()
    assert f"{variable}: there is no such setting, did you mean {meant}?" in caught.value.message


def test_a_name_like_no_other_is_refused_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FIREBREAK_QQQ", "1")
    with pytest.raises(SettingsError, match="FIREBREAK_QQQ: there is no such setting"):
        load_settings()


def test_every_way_to_say_a_setting_is_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FIREBREAK_GUARD", '{"max_targets": 7}')
    monkeypatch.setenv("FIREBREAK_PAYLOAD_KEYS__A", "x")
    monkeypatch.setenv("firebreak_notify__urls", '["json://x"]')
    monkeypatch.setenv("FIREBREAK_CONSOLE__OIDC", '{"issuer": "https://i", "client_id": "c"}')
    monkeypatch.setenv("FIREBREAK_CONSOLE__OIDC__ROLE_MAP", '{"admins": ["commander"]}')
    settings = load_settings()
    assert (settings.guard.max_targets, set(settings.payload_keys)) == (7, {"a"})
    assert len(settings.notify.urls) == 1
    assert settings.console.oidc is not None
    assert settings.console.oidc.role_map == {"admins": ("commander",)}


def test_what_kubernetes_says_of_a_service_called_firebreak_is_no_setting(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for name, value in (
        ("FIREBREAK_SERVICE_HOST", "10.0.0.11"),
        ("FIREBREAK_SERVICE_PORT", "8080"),
        ("FIREBREAK_WEB_SERVICE_PORT_HTTPS", "8080"),
        ("FIREBREAK_WEB_PORT", "tcp://10.0.0.11:8080"),
        ("FIREBREAK_PORT_8080_TCP", "tcp://10.0.0.11:8080"),
        ("FIREBREAK_PORT_8080_TCP_ADDR", "10.0.0.11"),
    ):
        monkeypatch.setenv(name, value)
    assert load_settings().web.port == 8080
    monkeypatch.setenv("FIREBREAK_WEB_PORT", "9090")
    with pytest.raises(SettingsError, match="FIREBREAK_WEB__PORT"):
        load_settings()
