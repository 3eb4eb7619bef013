"""Where each Azure cloud is reached: public, US government, China. One object names every address."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

from firebreak.errors import UsageError


@dataclass(frozen=True)
class Endpoints:
    """The addresses of one cloud; nothing else in this package names a host."""

    name: str
    authority: str
    """Host of Microsoft Entra's token endpoint."""
    arm: str
    arm_scope: str
    graph: str
    logs: str
    """The Log Analytics query API; also its token audience."""
    blob_suffix: str
    vault_suffix: str
    registry_suffix: str
    cosmos_suffix: str
    bus_suffix: str

    @property
    def graph_scope(self) -> str:
        """The token scope of Microsoft Graph."""
        return f"{self.graph}/.default"

    @property
    def logs_scope(self) -> str:
        """The token scope of the Log Analytics query API."""
        return f"{self.logs}/.default"

    @property
    def vault_scope(self) -> str:
        """The token scope of Key Vault's data plane."""
        return f"https://{self.vault_suffix}/.default"

    @property
    def storage_scope(self) -> str:
        """The token scope of Storage's data plane, the same in every cloud (azure-storage-blob)."""
        return "https://storage.azure.com/.default"

    def blob_url(self, account: str) -> str:
        """The blob endpoint of a storage account."""
        return f"https://{account}.{self.blob_suffix}"

    def registry_url(self, registry: str) -> str:
        """The login server of a container registry."""
        return f"https://{registry}.{self.registry_suffix}"


# Hosts that no SDK constant gives: azure-cli, azure/cli/core/cloud.py; Microsoft Graph, "National cloud
# deployments"; Azure Monitor, "Access the Azure Monitor Log Analytics API".
_SUFFIXES = {
    "public": ("core.windows.net", "vault.azure.net", "azurecr.io", "documents.azure.com"),
    "usgov": ("core.usgovcloudapi.net", "vault.usgovcloudapi.net", "azurecr.us", "documents.azure.us"),
    "china": ("core.chinacloudapi.cn", "vault.azure.cn", "azurecr.cn", "documents.azure.cn"),
}
_BUS = {"public": "windows.net", "usgov": "usgovcloudapi.net", "china": "chinacloudapi.cn"}
_GRAPH = {
    "public": "https://graph.microsoft.com",
    "usgov": "https://graph.microsoft.us",
    "china": "https://microsoftgraph.chinacloudapi.cn",
}
_LOGS = {
    "public": "https://api.loganalytics.io",
    "usgov": "https://api.loganalytics.us",
    "china": "https://api.loganalytics.azure.cn",
}
CLOUDS = tuple(_SUFFIXES)
"""The values of ``access.cloud``."""


@lru_cache(maxsize=8)
def endpoints(cloud: str = "") -> Endpoints:
    """Return the addresses of a cloud by name, the public one's by default; raises UsageError."""
    name = cloud or "public"
    if name not in CLOUDS:
        raise UsageError(f"there is no Azure cloud {name!r}", remedy=f"use one of {', '.join(CLOUDS)}")
    # Imported when asked: reading an inventory needs no SDK.
    from azure.core import AzureClouds  # noqa: PLC0415
    from azure.identity import AzureAuthorityHosts  # noqa: PLC0415
    from azure.mgmt.core.tools import get_arm_endpoints  # noqa: PLC0415

    authority, cloud_setting = {
        "public": (AzureAuthorityHosts.AZURE_PUBLIC_CLOUD, AzureClouds.AZURE_PUBLIC_CLOUD),
        "usgov": (AzureAuthorityHosts.AZURE_GOVERNMENT, AzureClouds.AZURE_US_GOVERNMENT),
        "china": (AzureAuthorityHosts.AZURE_CHINA, AzureClouds.AZURE_CHINA_CLOUD),
    }[name]
    arm = get_arm_endpoints(cloud_setting)
    storage, vault, registry, cosmos = _SUFFIXES[name]
    return Endpoints(
        name=name,
        authority=authority,
        arm=arm["resource_manager"].rstrip("/"),
        arm_scope=arm["credential_scopes"][0],
        graph=_GRAPH[name],
        logs=_LOGS[name],
        blob_suffix=f"blob.{storage}",
        vault_suffix=vault,
        registry_suffix=registry,
        cosmos_suffix=cosmos,
        bus_suffix=f"servicebus.{_BUS[name]}",
    )
