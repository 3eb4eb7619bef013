"""Create workloads that are hard to contain: identities, interfaces and containers of every other kind."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from drills.sandbox.azure.sample.accounts import TENANT
from drills.sandbox.azure.sample.artifacts import (
    create_container,
    create_logs,
    create_storage,
)
from drills.sandbox.azure.sample.identities import create_application, create_managed, trust_probe
from drills.sandbox.azure.sample.inventory import access_of, describe_managed, describe_watch, group_probe
from drills.sandbox.azure.sample.network import CANARY_PORT, builder_of, create_watched

if TYPE_CHECKING:
    from drills.sandbox.azure.network.build import Builder, Watched
    from drills.sandbox.azure.sample.accounts import Accounts
    from drills.sandbox.azure.sample.admin import Admin

Json = dict[str, Any]
NAME = "az-variants"
SUBNET_RANGE = "10.42.32.0/24"
TABLE = "AgentInference_CL"
SYSTEM = "system-assigned-agent"
SHARED = ("az-shared-agent-one", "az-shared-agent-two")
MANY = "many-interfaces-agent"
UNVERSIONED = "az-unversioned-agent"
WORM = "version-level-agent"
SERVICE = "service-principal-agent"
OFFLINE = "az-offline-agent"
PROTECTED = "break-glass-agent"
VERSIONED_ACCOUNT, PLAIN_ACCOUNT = "stvariants", "stvariantsplain"


@dataclass(frozen=True)
class Ground:
    """What the variants stand on together."""

    accounts: Accounts
    build: Builder
    watched: Watched
    subnet: str
    storage: str
    plain_storage: str
    logs: tuple[str, str]

    @property
    def admin(self) -> Admin:
        """The administrator of the workload's subscription."""
        return self.accounts.workload

    @property
    def probe(self) -> str:
        """A read that every variant's identity is allowed."""
        return group_probe(self.build.group)


def create_variants(accounts: Accounts) -> list[Json]:
    """Create every variant and return the inventory entries."""
    ground = _ground(accounts)
    one, two = SHARED
    shared = _managed(ground, "shared-agents")
    return [
        _system_assigned(ground),
        _describe(ground, one, {**shared, "shared_with": [two]}, _machine(ground, one, 11)),
        _describe(ground, two, {**shared, "shared_with": [one]}, _machine(ground, two, 12)),
        _describe(ground, MANY, _managed(ground, MANY), _many_interfaces(ground)),
        _describe(
            ground,
            UNVERSIONED,
            _managed(ground, UNVERSIONED),
            _machine(ground, UNVERSIONED, 14),
            container=_container(ground, UNVERSIONED, ground.plain_storage),
        ),
        _describe(
            ground,
            WORM,
            _managed(ground, WORM),
            _machine(ground, WORM, 15),
            container=_container(ground, WORM, ground.storage, version_level=True),
        ),
        _describe(ground, SERVICE, _service_principal(ground), _machine(ground, SERVICE, 16)),
        _describe(ground, OFFLINE, _managed(ground, OFFLINE), None),
        _describe(ground, PROTECTED, _managed(ground, PROTECTED), _machine(ground, PROTECTED, 17)),
    ]


def _ground(accounts: Accounts) -> Ground:
    admin = accounts.workload
    group = admin.group(f"rg-{NAME}")
    watched = create_watched(admin, group, NAME, "stvariantsflows")
    build = builder_of(admin, group)
    return Ground(
        accounts=accounts,
        build=build,
        watched=watched,
        subnet=build.subnet(watched.network, "variants", SUBNET_RANGE),
        storage=create_storage(admin, group, VERSIONED_ACCOUNT),
        plain_storage=create_storage(admin, group, PLAIN_ACCOUNT, versioning=False),
        logs=create_logs(admin, group, NAME, (TABLE,)),
    )


def _managed(ground: Ground, name: str) -> Json:
    identity = create_managed(ground.admin, ground.build.group, name)
    trust_probe(ground.admin, identity)
    ground.admin.assign(identity.principal_id, "Reader", ground.build.group)
    return describe_managed(identity, ground.probe)


def _system_assigned(ground: Ground) -> Json:
    """A machine's own identity: only the machine gets tokens, so that Firebreak asks it by run command."""
    nic = ground.build.interface(f"{SYSTEM}-nic", ground.subnet, SUBNET_RANGE.replace(".0/24", ".10"))
    machine = ground.build.machine(SYSTEM, nic, identity={"type": "SystemAssigned"})
    principal = ground.admin.arm("GET", machine, "2024-11-01")["identity"]["principalId"]
    ground.admin.assign(principal, "Reader", ground.build.group)
    shown = ground.admin.graph("GET", f"/servicePrincipals/{principal}")
    identity = {
        "kind": "service-principal",
        "ref": principal,
        "client_id": shown["appId"],
        "tenant_id": TENANT,
        "probes": [{"url": ground.probe}],
        "probe_vm": machine,
        "used_by": [machine],
    }
    return _describe(ground, SYSTEM, identity, {"kind": "virtual-machine", "ref": machine})


def _service_principal(ground: Ground) -> Json:
    """An application alone, with a secret in a vault."""
    made = create_application(ground.admin, ground.build.group, "sp-agent-vault")
    ground.admin.assign(made.object_id, "Reader", ground.build.group)
    return {
        "kind": "service-principal",
        "ref": made.object_id,
        "client_id": made.client_id,
        "tenant_id": TENANT,
        "application_object_id": made.application_object_id,
        "credential_secret": made.secret_ref,
        "probes": [{"url": ground.probe}],
    }


def _machine(ground: Ground, name: str, address: int) -> Json:
    place = SUBNET_RANGE.replace(".0/24", f".{address}")
    nic = ground.build.interface(f"{name}-nic", ground.subnet, place)
    return {"kind": "virtual-machine", "ref": ground.build.machine(name, nic)}


def _many_interfaces(ground: Ground) -> Json:
    """Three interfaces, one of them with three IP configurations and two public addresses."""
    build, places = ground.build, [f"10.42.32.{number}" for number in range(20, 25)]
    public = {place: build.public_address(f"{MANY}-{place.rsplit('.', 1)[-1]}") for place in places[:2]}
    first = build.interface(f"{MANY}-nic1", ground.subnet, *places[:3], public=public)
    others = [
        build.interface(f"{MANY}-nic{number}", ground.subnet, place)
        for number, place in enumerate(places[3:], 2)
    ]
    return {"kind": "virtual-machine", "ref": build.machine(MANY, first, *others)}


def _container(ground: Ground, name: str, account: str, *, version_level: bool = False) -> Json:
    admin, body = ground.admin, f"You are {name}.\n".encode()
    worm = {"immutableStorageWithVersioning": {"enabled": True}} if version_level else {}
    ref = create_container(admin, account, name, **worm)
    admin.upload(account.rsplit("/", 1)[-1], name, "prompt.txt", body)
    return {
        "kind": "blob-container",
        "ref": ref,
        "role": "prompt",
        "version_level": version_level,
        "approved_sha256": {"prompt.txt": hashlib.sha256(body).hexdigest()},
    }


def _describe(
    ground: Ground, name: str, identity: Json, host: Json | None, *, container: Json | None = None
) -> Json:
    workspace, workspace_id = ground.logs
    logs = {"kind": "log-analytics", "ref": workspace, "workspace_id": workspace_id, "tables": [TABLE]}
    watch = describe_watch(ground.accounts, ground.watched)
    return {
        "id": name,
        "kind": "agent",
        "owner": "drills",
        **access_of(ground.accounts),
        "identities": [identity],
        **_network(ground, host),
        "artifacts": [container or _container(ground, name, ground.storage)],
        "evidence_sources": [*(watch if host else watch[:1]), logs],
    }


def _network(ground: Ground, host: Json | None) -> Json:
    if host is None:
        return {"without": {"network": "runs as a scheduled function outside of any virtual network"}}
    canary = {"kind": "canary", "ref": ground.watched.canary, "port": CANARY_PORT}
    return {"network": [host, canary]}
