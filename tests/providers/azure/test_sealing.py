"""A sealed secret opens with its key, at its place, and nowhere else."""

from __future__ import annotations

import json
from collections.abc import Callable

import pytest

from firebreak.errors import EvidenceError, PermanentCloudError, SettingsError
from firebreak.model import Cloud
from providers.azure.credentials import Credential, credential_of
from providers.azure.sealing import seal, seal_key_url, unseal
from tests.providers.azure.conftest import TENANT, World, make_key


@pytest.fixture
def keeper(world: World) -> Credential:
    return credential_of("", TENANT, world.keeper.client_id)


@pytest.fixture
def url(world: World) -> str:
    return seal_key_url(world.settings.evidence_of(Cloud.AZURE).seal_key)


def test_a_secret_comes_back(url: str, keeper: Credential) -> None:
    token = b"t" * 5000  # longer than what an RSA key encrypts
    sealed = seal(url, keeper, "INC-1/token", token)
    assert token not in sealed
    assert unseal(keeper, "INC-1/token", sealed, wanted=url) == token


def test_a_secret_opens_at_its_own_place_only(url: str, keeper: Credential) -> None:
    sealed = seal(url, keeper, "INC-1/token", b"secret")
    with pytest.raises(EvidenceError, match="altered"):
        unseal(keeper, "INC-2/token", sealed, wanted=url)


def test_an_altered_secret_does_not_open(url: str, keeper: Credential) -> None:
    document = json.loads(seal(url, keeper, "INC-1/token", b"secret"))
    document["nonce"] = document["nonce"][::-1]
    with pytest.raises(EvidenceError, match="altered"):
        unseal(keeper, "INC-1/token", json.dumps(document).encode(), wanted=url)


def test_a_secret_that_names_another_key_does_not_open(url: str, keeper: Credential) -> None:
    """Whoever can write to the store must not choose the vault that Firebreak's credential goes to."""
    document = json.loads(seal(url, keeper, "INC-1/token", b"secret"))
    document["key"] = url.replace("keys-", "elsewhere-")
    with pytest.raises(EvidenceError, match="another key"):
        unseal(keeper, "INC-1/token", json.dumps(document).encode(), wanted=url)


def test_the_key_wraps_in_the_vault_for_nobody_else(
    world: World, url: str, keeper: Credential, fresh: Callable[[str], str]
) -> None:
    sealed = seal(url, keeper, "INC-1/token", b"secret")
    stranger = credential_of("", TENANT, world.principal(fresh("stranger")).client_id)
    with pytest.raises(PermanentCloudError, match="Forbidden"):
        unseal(stranger, "INC-1/token", sealed, wanted=url)


def test_a_key_without_its_version_is_refused() -> None:
    with pytest.raises(SettingsError, match="SEAL_KEY"):
        seal_key_url("azurekms:https://keys-1.vault.azure.net/keys/sealing")


def test_the_vault_encrypts_and_reads_secrets_for_those_who_may(
    world: World, fresh: Callable[[str], str]
) -> None:
    vault = world.settings.evidence_of(Cloud.AZURE).seal_key.partition("https://")[2].partition(".")[0]
    data = world.admin_data(f"https://{vault}.vault.azure.net", "https://vault.azure.net")
    kid = make_key(world, vault, fresh("rsa"), kty="RSA", key_size=2048)
    version = {"api-version": "7.4"}
    plain = {"alg": "RSA-OAEP-256", "value": "c2VjcmV0"}
    closed = data.request("POST", f"{kid}/encrypt", query=version, json=plain).json()
    opened = data.request(
        "POST", f"{kid}/decrypt", query=version, json={**plain, "value": closed["value"]}
    ).json()
    assert opened["value"] == plain["value"]
    name = fresh("secret")
    data.request("PUT", f"secrets/{name}", query=version, json={"value": "hush"})
    assert data.request("GET", f"secrets/{name}", query=version).json()["value"] == "hush"
