"""Seed the Azure sandbox: Firebreak's own place, the sample agent, its inventory and its rogue agent."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from drills.sandbox.azure.rogue import MODULE
from drills.sandbox.azure.sample.accounts import EVIDENCE_ACCOUNT, TENANT, create_accounts
from drills.sandbox.azure.sample.agent import GROUP, NAME, Attacks
from drills.sandbox.azure.sample.artifacts import create_artifacts, give_devops_rights
from drills.sandbox.azure.sample.identities import create_principals, grant_rights
from drills.sandbox.azure.sample.inventory import describe_agent
from drills.sandbox.azure.sample.lean import create_fleet
from drills.sandbox.azure.sample.network import create_host, create_watched
from drills.sandbox.azure.sample.variants import create_variants
from drills.sandbox.sample import (
    LARGEST_FLEET,
    SampleError,
    check_seeding,
    write_inventory,
    write_private,
    write_rogue_config,
)
from firebreak.model import Cloud

if TYPE_CHECKING:
    from pathlib import Path

    from drills.sandbox.azure.client import AzureSandbox, Identity
    from drills.sandbox.azure.sample.accounts import Accounts

__all__ = ["LARGEST_FLEET", "Sample", "SampleError", "seed"]

Json = dict[str, Any]
TOKEN_FILE = "worker-token"
# Records arrive within a second instead of a minute; Firebreak's own budgets stay as they are.
FLOW_AGGREGATION_SECONDS = 1.0


@dataclass(frozen=True)
class Sample:
    """What was seeded."""

    sandbox: AzureSandbox
    region: str
    tenant: str
    workload_account: str
    evidence_account: str
    responder: Identity = field(repr=False)
    keeper: Identity = field(repr=False)
    evidence_store: str
    evidence_access: Json
    signing_key: str
    drill_signing_key: str
    seal_key: str
    token_file: Path
    inventory_path: Path
    workload_ids: tuple[str, ...]
    rogue_config: Json | None = field(repr=False)
    """None for lean workloads: nobody attacks through them."""
    rogue_config_path: Path | None

    @property
    def cloud(self) -> Cloud:
        """Azure."""
        return Cloud.AZURE

    @property
    def endpoint(self) -> str:
        """The sandbox's control API."""
        return self.sandbox.url

    @property
    def rogue_module(self) -> str:
        """What plays the rogue agent."""
        return MODULE

    def environment(self) -> dict[str, str]:
        """Return the environment variables that point Firebreak at this sandbox and nothing else."""
        evidence = "FIREBREAK_EVIDENCE_BY_CLOUD__AZURE__"
        return {
            **self.sandbox.environment(),
            "AZURE_TENANT_ID": self.tenant,
            "AZURE_FEDERATED_TOKEN_FILE": str(self.token_file),
            "FIREBREAK_INVENTORY": str(self.inventory_path),
            f"{evidence}STORE": self.evidence_store,
            f"{evidence}ACCESS": json.dumps(self.evidence_access),
            f"{evidence}SEAL_KEY": self.seal_key,
            f"{evidence}SIGNING_KEY": self.signing_key,
            f"{evidence}DRILL_SIGNING_KEY": self.drill_signing_key,
            "FIREBREAK_GUARD__SANDBOX_ACCOUNTS": json.dumps([self.workload_account]),
        }


def seed(
    sandbox: AzureSandbox,
    inventory_path: Path,
    *,
    copies: int = 1,
    lean: bool | None = None,
    variants: bool = False,
) -> Sample:
    """Fill an empty sandbox and write the inventory beside its rogue agent's configuration.

    One copy is the full sample agent; more copies, or `lean`, are small workloads for benchmarks. `variants`
    adds the workloads that are hard to contain (see sample/variants.py).
    """
    check_seeding(copies, lean=lean)
    accounts = create_accounts(sandbox)
    try:
        sandbox.configure(flow_aggregation_seconds=FLOW_AGGREGATION_SECONDS)
        attacks: Json | None = None
        if lean or copies > 1:
            workloads = create_fleet(accounts, copies)
        else:
            workloads, attacks = _agent(accounts)
        if variants:
            workloads += create_variants(accounts)
    finally:
        accounts.workload.close()
        accounts.evidence.close()
    write_inventory(inventory_path, workloads)
    return _sample(accounts, inventory_path, tuple(str(each["id"]) for each in workloads), attacks)


def _agent(accounts: Accounts) -> tuple[list[Json], Json]:
    admin = accounts.workload
    group = admin.group(GROUP)
    principals = create_principals(admin, group, NAME)
    watched = create_watched(admin, group, NAME, "stclaimsflows")
    host = create_host(admin, group, NAME, watched, {principals.agent.ref: {}})
    artifacts = create_artifacts(admin, group, NAME, accounts.responder.object_id)
    grant_rights(admin, group, principals, artifacts)
    for deployer in (principals.agent, principals.accomplice):
        give_devops_rights(admin, deployer.principal_id, "view", "queue")
    attacks = Attacks(admin, principals, artifacts, host)
    attacks.prepare()
    return [describe_agent(accounts, principals, watched, host, artifacts)], attacks.config()


def _sample(accounts: Accounts, inventory_path: Path, ids: tuple[str, ...], attacks: Json | None) -> Sample:
    return Sample(
        sandbox=accounts.workload.sandbox,
        region=accounts.workload.location,
        tenant=TENANT,
        workload_account=accounts.workload.subscription,
        evidence_account=EVIDENCE_ACCOUNT,
        responder=accounts.responder,
        keeper=accounts.keeper,
        evidence_store=accounts.evidence_store,
        evidence_access={
            "tenant_id": TENANT,
            "client_id": accounts.keeper.client_id,
            "account_id": accounts.account_id,
            "vault_id": accounts.vault_id,
        },
        signing_key=accounts.keys["signing"],
        drill_signing_key=accounts.keys["drills"],
        seal_key=accounts.keys["sealing"],
        token_file=write_private(inventory_path.with_name(TOKEN_FILE), accounts.worker_token),
        inventory_path=inventory_path,
        workload_ids=ids,
        rogue_config=attacks,
        rogue_config_path=write_rogue_config(inventory_path, attacks),
    )
