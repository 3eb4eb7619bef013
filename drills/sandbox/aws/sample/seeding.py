"""Seed a running sandbox, and say everything a caller needs to work with what was seeded."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from drills.sandbox.aws.rogue import MODULE
from drills.sandbox.aws.sample.accounts import (
    EVIDENCE_BUCKET,
    EVIDENCE_EXTERNAL_ID,
    EVIDENCE_PREFIX,
    RESPONDER_EXTERNAL_ID,
    create_accounts,
)
from drills.sandbox.aws.sample.agent import (
    AGENT_PROFILE,
    NAME,
    PEER_ROLE,
    create_principals,
    rogue_config,
)
from drills.sandbox.aws.sample.artifacts import create_artifacts
from drills.sandbox.aws.sample.inventory import describe_agent
from drills.sandbox.aws.sample.lean import create_fleet
from drills.sandbox.aws.sample.network import create_host, create_vpc
from drills.sandbox.aws.sample.tags import tag_agent
from drills.sandbox.aws.sample.variants import create_variants
from drills.sandbox.aws.state import DEFAULT_REGION
from drills.sandbox.sample import SampleError, check_seeding, write_inventory, write_rogue_config
from firebreak.model import Cloud

if TYPE_CHECKING:
    from pathlib import Path

    from drills.sandbox.aws.client import SandboxClient
    from drills.sandbox.aws.sample.accounts import Accounts

__all__ = ["Sample", "SampleError", "seed"]

Json = dict[str, Any]
PUBLIC_RANGE = "10.42.1.0/24"
# Records arrive within seconds instead of minutes; FIREBREAK's own budgets stay as they are.
FLOW_AGGREGATION_SECONDS = 1.0


@dataclass(frozen=True)
class Sample:
    """What was seeded."""

    endpoint: str
    region: str
    workload_account: str
    evidence_account: str
    orchestrator_credentials: dict[str, str] = field(repr=False)
    """Arguments of a boto3 client."""
    responder_role_arn: str
    responder_external_id: str
    evidence_role_arn: str
    evidence_external_id: str
    evidence_store: str
    signing_key_arn: str
    drill_signing_key_arn: str
    seal_key_arn: str
    inventory_path: Path
    workload_ids: tuple[str, ...]
    rogue_config: Json | None = field(repr=False)
    """None for lean workloads: nobody attacks through them."""
    rogue_config_path: Path | None

    @property
    def cloud(self) -> Cloud:
        """AWS."""
        return Cloud.AWS

    @property
    def rogue_module(self) -> str:
        """What plays the rogue agent."""
        return MODULE

    def environment(self) -> dict[str, str]:
        """Return the environment variables that point Firebreak at this sandbox and nothing else."""
        evidence = {
            "role_arn": self.evidence_role_arn,
            "external_id": self.evidence_external_id,
            "region": self.region,
        }
        return {
            "AWS_ENDPOINT_URL": self.endpoint,
            "AWS_ACCESS_KEY_ID": self.orchestrator_credentials["aws_access_key_id"],
            "AWS_SECRET_ACCESS_KEY": self.orchestrator_credentials["aws_secret_access_key"],
            "AWS_REGION": self.region,
            "AWS_DEFAULT_REGION": self.region,
            "AWS_EC2_METADATA_DISABLED": "true",
            "FIREBREAK_INVENTORY": str(self.inventory_path),
            "FIREBREAK_EVIDENCE__STORE": self.evidence_store,
            "FIREBREAK_EVIDENCE__ACCESS": json.dumps(evidence),
            "FIREBREAK_EVIDENCE__SEAL_KEY": f"awskms:{self.seal_key_arn}",
            "FIREBREAK_EVIDENCE__SIGNING_KEY": f"awskms:{self.signing_key_arn}",
            "FIREBREAK_EVIDENCE__DRILL_SIGNING_KEY": f"awskms:{self.drill_signing_key_arn}",
            "FIREBREAK_GUARD__SANDBOX_ACCOUNTS": json.dumps([self.workload_account]),
        }


def seed(
    client: SandboxClient,
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
    accounts = create_accounts(client, DEFAULT_REGION)
    client.configure(flow_aggregation_seconds=FLOW_AGGREGATION_SECONDS)
    if lean or copies > 1:
        workloads, attacks = create_fleet(accounts, copies), None
    else:
        workloads, attacks = _agent(accounts)
    if variants:
        workloads += create_variants(accounts)
    write_inventory(inventory_path, workloads)
    ids = tuple(str(item["id"]) for item in workloads)
    return _sample(client, accounts, inventory_path, ids, attacks)


def _agent(accounts: Accounts) -> tuple[list[Json], Json]:
    admin = accounts.workload
    principals = create_principals(admin, accounts.responder_role_arn)
    vpc = create_vpc(admin, NAME, PUBLIC_RANGE)
    host = create_host(admin, NAME, vpc, AGENT_PROFILE)
    artifacts = create_artifacts(admin, NAME, admin.role_arn(PEER_ROLE))
    tag_agent(admin, vpc, host, artifacts)
    return [describe_agent(accounts, vpc, host, artifacts)], rogue_config(admin, principals, artifacts, host)


def _sample(
    client: SandboxClient,
    accounts: Accounts,
    inventory_path: Path,
    ids: tuple[str, ...],
    attacks: Json | None,
) -> Sample:
    return Sample(
        endpoint=client.url,
        region=accounts.workload.region,
        workload_account=accounts.workload.account,
        evidence_account=accounts.evidence.account,
        orchestrator_credentials=accounts.orchestrator_credentials,
        responder_role_arn=accounts.responder_role_arn,
        responder_external_id=RESPONDER_EXTERNAL_ID,
        evidence_role_arn=accounts.evidence_role_arn,
        evidence_external_id=EVIDENCE_EXTERNAL_ID,
        evidence_store=f"s3://{EVIDENCE_BUCKET}/{EVIDENCE_PREFIX}",
        signing_key_arn=accounts.signing_key_arn,
        drill_signing_key_arn=accounts.drill_signing_key_arn,
        seal_key_arn=accounts.seal_key_arn,
        inventory_path=inventory_path,
        workload_ids=ids,
        rogue_config=attacks,
        rogue_config_path=write_rogue_config(inventory_path, attacks),
    )
