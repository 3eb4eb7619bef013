"""What is wrong with the way to Temporal is told: the reason that the SDK gives, never a key."""

from __future__ import annotations

from pathlib import Path

import pytest

from firebreak.connect import connect
from firebreak.errors import FirebreakError, SettingsError
from firebreak.settings import load_settings

KEY, FILE = "temporal-key-of-nobody", "temporal.toml"


@pytest.fixture(autouse=True)
def no_profile(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A configuration file of this test's own, at first an empty one."""
    (tmp_path / FILE).touch()
    monkeypatch.setenv("TEMPORAL_CONFIG_FILE", str(tmp_path / FILE))
    monkeypatch.setenv("TEMPORAL_ADDRESS", "127.0.0.1:1")


async def test_the_sdks_reason_is_told_and_the_key_is_not(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TEMPORAL_API_KEY", KEY)
    with pytest.raises(FirebreakError) as caught:
        await connect(load_settings())
    assert "127.0.0.1:1: Failed client connect" in caught.value.message
    assert "Connection refused" in caught.value.message
    assert KEY not in str(caught.value)
    assert "TEMPORAL_API_KEY" in caught.value.remedy


async def test_a_key_that_is_none_is_not_told_as_a_missing_server(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "x.pem").write_text("no certificate")
    for name in ("TEMPORAL_TLS_CLIENT_CERT_PATH", "TEMPORAL_TLS_CLIENT_KEY_PATH"):
        monkeypatch.setenv(name, str(tmp_path / "x.pem"))
    with pytest.raises(FirebreakError, match="PrivateKeyParseError"):
        await connect(load_settings())


@pytest.mark.parametrize(
    ("variable", "value", "says"),
    [
        ("TEMPORAL_TLS_CLIENT_CERT_PATH", "/nonexist", "/nonexist"),
        ("TEMPORAL_PROFILE", "zz", "'zz' not found"),
        ("TEMPORAL_ADDRESS", "not an address", "invalid target URL"),
    ],
)
async def test_what_temporals_own_configuration_lacks_is_invalid_input(
    variable: str, value: str, says: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(variable, value)
    with pytest.raises(SettingsError) as caught:
        await connect(load_settings())
    assert says in caught.value.message
    assert caught.value.exit_code == 2


async def test_of_a_malformed_file_no_line_is_repeated(tmp_path: Path) -> None:
    (tmp_path / FILE).write_text(f"[profile.default]\napi_key = {KEY}\n")
    with pytest.raises(SettingsError) as caught:
        await connect(load_settings())
    assert "line 2" in caught.value.message
    assert KEY not in str(caught.value)
