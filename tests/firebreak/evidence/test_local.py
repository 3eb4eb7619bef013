"""The local vault keeps what it promises as far as a folder can."""

from __future__ import annotations

import stat
from datetime import timedelta
from pathlib import Path

import pytest

from firebreak.errors import EvidenceError
from firebreak.evidence.local import LocalVault
from firebreak.evidence.vault import Vault


@pytest.fixture
def vault(tmp_path: Path) -> LocalVault:
    return LocalVault(tmp_path / "vault")


def test_it_is_a_vault(vault: LocalVault) -> None:
    seam: Vault = vault
    assert seam is vault


def test_versions_are_kept_and_read_back_each(vault: LocalVault) -> None:
    first = vault.put("INC-1/data/a", b"one")
    second = vault.put("INC-1/data/a", iter([b"t", b"wo"]))
    assert b"".join(vault.read(first)) == b"one"
    assert b"".join(vault.read(second)) == b"two"
    assert vault.find(first.uri) == second
    assert list(vault.list("INC-1/")) == [first.uri]


def test_a_key_may_be_the_prefix_of_another(vault: LocalVault) -> None:
    stored = [vault.put(key, key.encode()) for key in ("a", "a/b", "ab")]
    assert list(vault.list("a")) == [vault.uri("a"), vault.uri("a/b"), vault.uri("ab")]
    assert [b"".join(vault.read(each)) for each in stored] == [b"a", b"a/b", b"ab"]
    assert list(vault.list("a/")) == [vault.uri("a/b")]
    assert list(vault.list("z")) == []


def test_a_locked_version_cannot_be_deleted(vault: LocalVault) -> None:
    stored = vault.put("a", b"one")
    with pytest.raises(EvidenceError, match="locked until"):
        vault.delete(stored)
    finding = vault.prove_locked(stored)
    assert finding.holds
    assert "delete refused: locked until" in finding.observed
    assert b"".join(vault.read(stored)) == b"one"


def test_without_a_lock_nothing_is_proved_and_nothing_is_destroyed(tmp_path: Path) -> None:
    vault = LocalVault(tmp_path, retention=timedelta(seconds=-1))
    stored = vault.put("a", b"one")
    assert not vault.prove_locked(stored).holds
    assert b"".join(vault.read(stored)) == b"one"
    vault.delete(stored)
    with pytest.raises(EvidenceError, match="no such evidence"):
        vault.find(stored.uri)
    assert not vault.prove_locked(stored).holds
    with pytest.raises(EvidenceError, match="not in the vault"):
        b"".join(vault.read(stored))


def test_altered_content_is_refused_at_the_end_of_the_read(vault: LocalVault) -> None:
    stored = vault.put("a", b"one")
    (file,) = vault.root.rglob(stored.version_id)
    assert stat.S_IMODE(file.stat().st_mode) == 0o444
    file.chmod(0o644)
    file.write_bytes(b"two")
    with pytest.raises(EvidenceError, match="altered"):
        b"".join(vault.read(stored))


def test_a_body_that_fails_half_way_leaves_no_object(vault: LocalVault) -> None:
    def body() -> object:
        yield b"half"
        raise RuntimeError("source lost")

    with pytest.raises(RuntimeError, match="source lost"):
        vault.put("a", body())  # type: ignore[arg-type]
    assert list(vault.list("")) == []
    with pytest.raises(EvidenceError, match="no such evidence"):
        vault.find(vault.uri("a"))


@pytest.mark.parametrize("key", ["../a", "/a", "a/../../b", "", "a%"])
def test_keys_stay_inside(vault: LocalVault, key: str) -> None:
    with pytest.raises(EvidenceError, match="not usable"):
        vault.put(key, b"")
    with pytest.raises(EvidenceError, match="not usable"):
        vault.hide(key, b"")


def test_a_uri_of_another_place_is_refused(vault: LocalVault) -> None:
    with pytest.raises(EvidenceError, match="not in the vault"):
        vault.find("s3://elsewhere/a")


def test_secrets_are_readable_for_the_owner_only_and_forgotten(vault: LocalVault) -> None:
    vault.hide("sealed/INC-1/session", b"secret")
    (file,) = (vault.root / "hidden").rglob("session")
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert vault.reveal("sealed/INC-1/session") == b"secret"
    vault.hide("sealed/INC-1/session", b"newer")
    assert vault.reveal("sealed/INC-1/session") == b"newer"
    vault.hide("sealed/INC-10/session", b"other")
    with pytest.raises(EvidenceError, match="neighbours"):
        vault.forget("sealed/INC-1")
    vault.forget("sealed/INC-1/")
    vault.forget("sealed/INC-1/")
    assert vault.reveal("sealed/INC-10/session") == b"other"
    assert vault.reveal("sealed/INC-1/session") is None
    assert list(vault.list("")) == []
