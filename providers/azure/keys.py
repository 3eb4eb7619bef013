"""Key Vault keys by their URL: which vault, which name, which version, and a client for one of them."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import TYPE_CHECKING

from firebreak.errors import SettingsError
from providers.azure import clients
from providers.azure.credentials import Credential

if TYPE_CHECKING:
    from azure.keyvault.keys import KeyVaultKey
    from azure.keyvault.keys.crypto import CryptographyClient

SCHEME = "azurekms"
# Key Vault, "Azure Key Vault keys, secrets and certificates overview": object identifiers.
_KEY_URL = re.compile(
    r"^(?P<vault>https://[a-zA-Z][a-zA-Z0-9-]{2,23}\.(?:vault|managedhsm)\.[a-z.]+)"
    r"/keys/(?P<name>[A-Za-z0-9-]{1,127})/(?P<version>[0-9a-f]{32})$"
)


def key_url(setting: str, variable: str) -> str:
    """Read the key's URL from a setting; raises SettingsError when it names none, or no version."""
    scheme, _, url = setting.partition(":")
    if scheme != SCHEME or not _KEY_URL.fullmatch(url):
        raise SettingsError(
            f"{variable} is not a Key Vault key with its version",
            remedy=f"use {SCHEME}:https://VAULT.vault.azure.net/keys/NAME/VERSION",
        )
    return url


def vault_scope(setting: str, access: Mapping[str, str]) -> str:
    """Return the ARM scope at which a key's permissions are assigned; the vault's id where it is known."""
    match = _KEY_URL.fullmatch(setting.removeprefix(f"{SCHEME}:"))
    if match is None:
        raise SettingsError(f"{setting!r} is not a Key Vault key with its version")
    host = match["vault"].removeprefix("https://")
    vault = access.get("vault_id", "")
    known = (
        vault if vault.lower().endswith(f"/{host.split('.')[0].lower()}") else f"ARM id of the vault {host}"
    )
    return f"{known}/keys/{match['name']}"


def read_key(url: str, credential: Credential) -> KeyVaultKey:
    """Read the public part of a key."""
    match = _KEY_URL.fullmatch(url)
    if match is None:
        raise SettingsError(f"{url!r} is not a Key Vault key with its version")
    return clients.keys(credential, match["vault"]).get_key(match["name"], match["version"])


def cryptography(url: str, credential: Credential) -> CryptographyClient:
    """Return the shared client that works with one key."""
    return clients.cryptography(credential, url)
