"""Phase 2 on AWS: cut every path to and from the workload."""

from providers.aws.network import addresses, channels, firewall, quarantine, subnetacl

__all__ = ["addresses", "channels", "firewall", "quarantine", "subnetacl"]
