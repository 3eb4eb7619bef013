"""The modules whose operations and control routes are active: one line each."""

from __future__ import annotations

from importlib import import_module

ACTIVE = (
    "activitylog",
    "authorization",
    "bootstrap",
    "calls",
    "channels",
    "clock",
    "cognitive",
    "cosmos",
    "cosmosdata",
    "denyassignments",
    "devops",
    "diagnosticsettings",
    "disks",
    "entra",
    "eventgrid",
    "faults",
    "federation",
    "generic",
    "github",
    "graph",
    "graphgrants",
    "graphusers",
    "inspection",
    "locks",
    "loganalytics",
    "lro",
    "machinelearning",
    "monitor",
    "msi",
    "network.firewallresources",
    "network.groupresources",
    "network.interfaceresources",
    "network.machines",
    "network.networks",
    "network.runtime",
    "network.watchers",
    "permissions",
    "pim",
    "registry.distribution",
    "registry.metadata",
    "registry.resource",
    "registry.tokens",
    "resourcelist",
    "resourcetags",
    "roledefinitions",
    "runcommand",
    "roguereports",
    "sentinel",
    "storage.arm_containers",
    "storage.arm_policies",
    "storage.dataplane",
    "storage.resource",
    "syntheticlogs",
    "tenancy",
    "vault_keys",
)


def load() -> None:
    """Import every active module, which registers what it serves."""
    for name in ACTIVE:
        import_module(f"drills.sandbox.azure.{name}")
