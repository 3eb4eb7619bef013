"""Phase 2 on Azure: cut every path to and from the workload."""

from providers.azure.network import addresses, channels, firewall, privateendpoints, quarantine

__all__ = ["addresses", "channels", "firewall", "privateendpoints", "quarantine"]
