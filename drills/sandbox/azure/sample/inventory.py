"""Describe the seeded workloads in the inventory's own words."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from drills.sandbox.azure.sample.accounts import TENANT
from drills.sandbox.azure.sample.agent import WORKLOAD_ID
from drills.sandbox.azure.sample.artifacts import (
    CONTAINERS,
    DEVOPS_DEFINITION,
    DEVOPS_ORG,
    DEVOPS_PROJECT,
    GITHUB_OWNER,
    GITHUB_REPOSITORY,
    GITHUB_WORKFLOW,
    IMAGE_TAG,
    TABLES,
)
from drills.sandbox.azure.sample.identities import CLUSTER_SUBJECT
from drills.sandbox.azure.sample.network import CANARY_PORT

if TYPE_CHECKING:
    from drills.sandbox.azure.network.build import Watched
    from drills.sandbox.azure.sample.accounts import Accounts
    from drills.sandbox.azure.sample.artifacts import Artifacts
    from drills.sandbox.azure.sample.identities import Managed, Principals
    from drills.sandbox.azure.sample.network import Host

Json = dict[str, Any]
# The sandbox writes flow logs every second instead of every minute (see seeding.py).
FLOW_INTERVAL_SECONDS, FLOW_CONTINUES_SECONDS = 1, 5


def access_of(accounts: Accounts) -> Json:
    """Return the members that say where a workload lies and how the responder reaches it."""
    return {
        "cloud": "azure",
        "account": accounts.workload.subscription,
        "region": accounts.workload.location,
        "sandbox": True,
        "access": {"tenant_id": TENANT, "client_id": accounts.responder.client_id},
    }


def describe_agent(
    accounts: Accounts, principals: Principals, watched: Watched, host: Host, artifacts: Artifacts
) -> Json:
    """Return the inventory entry of the sample agent."""
    return {
        "id": WORKLOAD_ID,
        "kind": "rag_pipeline",
        "description": "Sorts insurance claims by urgency; talks to the planner agent",
        "owner": "claims-platform",
        "risk_tier": "L5",
        **access_of(accounts),
        "identities": _identities(principals, host, artifacts),
        "network": [
            {"kind": "virtual-machine", "ref": host.machine},
            {"kind": "subnet", "ref": host.dedicated_subnet, "dedicated": True},
            {"kind": "firewall-policy", "ref": host.firewall_policy},
            {"kind": "private-endpoint", "ref": host.private_endpoint},
            {"kind": "canary", "ref": watched.canary, "port": CANARY_PORT},
        ],
        "channels": [
            {"kind": "service-bus-queue", "ref": artifacts.queue},
            {"kind": "service-bus-topic", "ref": artifacts.topic},
            {"kind": "event-grid-subscription", "ref": artifacts.grid_subscription},
        ],
        "artifacts": _artifacts(artifacts),
        "stores": [
            {"kind": "cosmos-container", "ref": artifacts.cosmos},
            _container("memory", artifacts),
        ],
        "pipelines": _pipelines(artifacts),
        "evidence_sources": [
            *describe_watch(accounts, watched),
            {
                "kind": "log-analytics",
                "ref": artifacts.log_workspace,
                "workspace_id": artifacts.log_workspace_id,
                "tables": list(TABLES),
            },
            {"kind": "sentinel", "ref": artifacts.log_workspace},
        ],
    }


def describe_watch(accounts: Accounts, watched: Watched) -> list[Json]:
    """Return the entries of the activity log, and of the flow log that proves isolation."""
    flow_log = {
        "kind": "flow-log",
        "ref": watched.flow_log,
        "interval_seconds": FLOW_INTERVAL_SECONDS,
        "continues_seconds": FLOW_CONTINUES_SECONDS,
        "storage_account": watched.account,
    }
    return [{"kind": "activity-log", "ref": accounts.workload.subscription}, flow_log]


def describe_managed(identity: Managed, *probes: str, **more: Any) -> Json:
    """Return the entry of a user-assigned identity with the addresses that it may read in peace."""
    return {
        "kind": "managed-identity",
        "ref": identity.ref,
        "principal_id": identity.principal_id,
        "client_id": identity.client_id,
        "tenant_id": TENANT,
        "probes": [{"url": each} for each in probes],
        **more,
    }


def group_probe(group: str) -> str:
    """Return the address of a resource group, which its readers may read."""
    return f"https://management.azure.com{group}?api-version=2021-04-01"


def _identities(principals: Principals, host: Host, artifacts: Artifacts) -> list[Json]:
    probe = group_probe(artifacts.bus.split("/providers/")[0])
    prompts = f"https://{artifacts.storage_name}.blob.core.windows.net/prompts/examples.jsonl"
    tools = principals.tools
    own = [host.machine, CLUSTER_SUBJECT]
    return [
        describe_managed(principals.agent, probe, prompts, probe_vm=host.machine, used_by=own),
        {
            "kind": "service-principal",
            "ref": tools.object_id,
            "client_id": tools.client_id,
            "tenant_id": TENANT,
            "application_object_id": tools.application_object_id,
            "credential_secret": tools.secret_ref,
            "probes": [{"url": probe}],
        },
        {"kind": "ai-account", "ref": artifacts.ai_account, "regenerate_keys": True},
    ]


def _container(name: str, artifacts: Artifacts) -> Json:
    approved = artifacts.hashes[name]
    role = CONTAINERS[name][0]
    return {
        "kind": "blob-container",
        "ref": artifacts.containers[name],
        "role": role,
        "approved_sha256": approved,
    }


def _artifacts(artifacts: Artifacts) -> list[Json]:
    image = {"kind": "container-repository", "ref": artifacts.repository, "tag": IMAGE_TAG}
    return [
        *(_container(name, artifacts) for name in CONTAINERS if name != "memory"),
        image | {"approved_digest": artifacts.image_digest},
        {"kind": "ml-model", "ref": artifacts.model},
        {"kind": "locked-resource", "ref": artifacts.storage_account},
        {"kind": "locked-resource", "ref": artifacts.registry},
    ]


def _pipelines(artifacts: Artifacts) -> list[Json]:
    build = f"{DEVOPS_ORG}/{DEVOPS_PROJECT}/_build?definitionId={DEVOPS_DEFINITION}"
    workflow = f"{GITHUB_OWNER}/{GITHUB_REPOSITORY}/actions/workflows/{GITHUB_WORKFLOW}"
    return [
        {"kind": "devops-pipeline", "ref": f"https://dev.azure.com/{build}"},
        {
            "kind": "github-workflow",
            "ref": f"https://github.com/{workflow}",
            "token_secret": artifacts.github_token_ref,
        },
    ]
