"""Create many small workloads for benchmarks: one identity, interface, container and log table each."""

from __future__ import annotations

import hashlib
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from ipaddress import ip_network
from typing import TYPE_CHECKING, Any

from drills.sandbox.azure.sample.artifacts import create_container, create_logs, create_storage
from drills.sandbox.azure.sample.identities import create_managed, trust_probe
from drills.sandbox.azure.sample.inventory import access_of, describe_managed, describe_watch
from drills.sandbox.azure.sample.network import CANARY_PORT, builder_of, create_watched

if TYPE_CHECKING:
    from drills.sandbox.azure.network.build import Builder, Watched
    from drills.sandbox.azure.sample.accounts import Accounts

Json = dict[str, Any]
FLEET = "bench-agents"
SUBNET_RANGE = "10.42.16.0/20"
ACCOUNT = "stbenchagents"
TABLE = "AgentInference_CL"
# The emulator answers one call at a time; a few callers keep it busy.
CALLERS = 4
# Azure keeps five addresses of a subnet ("Virtual network FAQ").
RESERVED = 10
BLOB_READER = "Storage Blob Data Reader"


def create_fleet(accounts: Accounts, copies: int) -> list[Json]:
    """Create lean workloads in one network and return their inventory entries."""
    admin = accounts.workload
    group = admin.group(f"rg-{FLEET}")
    build = builder_of(admin, group)
    watched = create_watched(admin, group, FLEET, "stbenchflows")
    subnet = build.subnet(watched.network, "agents", SUBNET_RANGE)
    create_storage(admin, group, ACCOUNT)
    logs = create_logs(admin, group, FLEET, (TABLE,))
    fleet = Fleet(accounts, build, watched, subnet, logs)
    with ThreadPoolExecutor(CALLERS) as pool:
        return list(pool.map(partial(_create_one, fleet), range(copies)))


class Fleet:
    """What all lean workloads stand on."""

    def __init__(
        self, accounts: Accounts, build: Builder, watched: Watched, subnet: str, logs: tuple[str, str]
    ) -> None:
        """Remember it."""
        self.accounts = accounts
        self.build = build
        self.watched = watched
        self.subnet = subnet
        self.logs = logs

    @property
    def storage(self) -> str:
        """The storage account's id."""
        return f"{self.build.group}/providers/Microsoft.Storage/storageAccounts/{ACCOUNT}"


def _create_one(fleet: Fleet, number: int) -> Json:
    name = f"bench-azure-{number:05d}"
    container, url, digest = _container(fleet, name)
    workspace, workspace_id = fleet.logs
    return {
        "id": name,
        "kind": "agent",
        "owner": "bench",
        **access_of(fleet.accounts),
        "identities": [_identity(fleet, name, container, url)],
        "network": [
            {"kind": "network-interface", "ref": _interface(fleet, name, number)},
            {"kind": "canary", "ref": fleet.watched.canary, "port": CANARY_PORT},
        ],
        "artifacts": [
            {
                "kind": "blob-container",
                "ref": container,
                "role": "prompt",
                "approved_sha256": {"prompt.txt": digest},
            }
        ],
        "evidence_sources": [
            *describe_watch(fleet.accounts, fleet.watched),
            {
                "kind": "log-analytics",
                "ref": workspace,
                "workspace_id": workspace_id,
                "tables": [TABLE],
            },
        ],
    }


def _container(fleet: Fleet, name: str) -> tuple[str, str, str]:
    admin, body = fleet.accounts.workload, f"You are {name}.\n".encode()
    ref = create_container(admin, fleet.storage, name)
    admin.upload(ACCOUNT, name, "prompt.txt", body)
    url = f"https://{ACCOUNT}.blob.core.windows.net/{name}/prompt.txt"
    return ref, url, hashlib.sha256(body).hexdigest()


def _identity(fleet: Fleet, name: str, container: str, url: str) -> Json:
    admin = fleet.accounts.workload
    identity = create_managed(admin, fleet.build.group, name)
    trust_probe(admin, identity)
    admin.assign(identity.principal_id, BLOB_READER, container)
    return describe_managed(identity, url)


def _interface(fleet: Fleet, name: str, number: int) -> str:
    """Make a machine too: rules in force are shown of running machines only."""
    address = str(ip_network(SUBNET_RANGE)[RESERVED + number])
    nic = fleet.build.interface(f"{name}-nic", fleet.subnet, address)
    fleet.build.machine(name, nic)
    return nic
