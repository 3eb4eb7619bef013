"""Workloads of every cloud that are hard to contain: contained, or refused before any change."""

from __future__ import annotations

from typing import Any

import pytest

from drills.sandbox.azure.sample.accounts import TENANT, WORKLOAD_ACCOUNT
from firebreak.model import Cloud, JsonObject, Phase, Verdict
from tests.e2e.stack import Stack, assert_contained

OFFLINE = {Cloud.AWS: "offline-agent", Cloud.AZURE: "az-offline-agent"}
SHARED = {Cloud.AWS: "shared-agent", Cloud.AZURE: "az-shared-agent"}


def test_a_workload_that_declares_to_have_no_network_is_contained_and_the_gap_is_on_record(
    stack: Stack,
) -> None:
    document = stack.contain(OFFLINE[stack.cloud])
    assert_contained(document)
    network = document.phases[1]
    assert network.measures == ()
    (deviation,) = network.deviations
    assert deviation.startswith("declared absent: runs as a scheduled function outside of any")


def test_a_shared_identity_shows_its_blast_radius_and_is_refused(stack: Stack) -> None:
    one, two = (f"{SHARED[stack.cloud]}-{number}" for number in ("one", "two"))
    (identity,) = stack.entry(one)["identities"]
    identity.pop("session_names", None)  # AWS can tell the sessions of one role apart
    with stack.edited(one, identities=[identity]):
        preview = stack.preview(one)
        before = stack.seq()
        document = stack.contain(one)
        assert stack.mutating(before) == []
    assert document.verdict is Verdict.REFUSED
    assert two in " ".join(document.refusals)
    radii = {step.measure: step.blast_radius for step in preview.steps if step.phase is Phase.IDENTITY_REVOKE}
    assert radii == dict.fromkeys(radii, (two,))
    assert preview.refusals == document.refusals


AWS_GONE = {
    "artifacts": {"kind": "s3-object", "ref": "arn:aws:s3:::nowhere-at-all/weights", "role": "model"},
    "identities": {"kind": "iam-role", "ref": "arn:aws:iam::222222222222:role/gone"},
    "network": {"kind": "ec2-instance", "ref": "i-0123456789abcdef0"},
    "channels": {"kind": "sqs-queue", "ref": "arn:aws:sqs:eu-central-1:222222222222:gone"},
    "stores": {"kind": "dynamodb-table", "ref": "arn:aws:dynamodb:eu-central-1:222222222222:table/gone"},
    "pipelines": {
        "kind": "codepipeline-stage",
        "ref": "arn:aws:codepipeline:eu-central-1:222222222222:gone",
        "stage": "Production",
    },
    "evidence_sources": {
        "kind": "security-hub-finding",
        "ref": "gone",
        "product_arn": "arn:aws:securityhub:eu-central-1::product/aws/guardduty",
    },
}


GROUP = f"/subscriptions/{WORKLOAD_ACCOUNT}/resourceGroups/rg-az-variants/providers"
ACCOUNT = f"{GROUP}/Microsoft.Storage/storageAccounts/stvariants"
NOBODY = "00000000-0000-4000-8000-00000000dead"
AZURE_GONE: dict[str, JsonObject] = {
    "artifacts": {
        "kind": "blob-container",
        "ref": f"{ACCOUNT}/blobServices/default/containers/nowhere",
        "role": "model",
    },
    "identities": {
        "kind": "managed-identity",
        "ref": f"{GROUP}/Microsoft.ManagedIdentity/userAssignedIdentities/gone",
        "principal_id": NOBODY,
        "client_id": NOBODY,
        "tenant_id": TENANT,
    },
    "network": {"kind": "virtual-machine", "ref": f"{GROUP}/Microsoft.Compute/virtualMachines/gone"},
    "channels": {
        "kind": "service-bus-queue",
        "ref": f"{GROUP}/Microsoft.ServiceBus/namespaces/gone/queues/gone",
    },
    "stores": {
        "kind": "cosmos-container",
        "ref": f"{GROUP}/Microsoft.DocumentDB/databaseAccounts/gone/sqlDatabases/agent/containers/gone",
    },
    "pipelines": {
        "kind": "devops-pipeline",
        "ref": "https://dev.azure.com/claims-platform/agents/_build?definitionId=404",
    },
    "evidence_sources": {
        "kind": "sentinel",
        "ref": f"{GROUP}/Microsoft.OperationalInsights/workspaces/gone",
    },
}
GONE: dict[Cloud, dict[str, Any]] = {Cloud.AWS: AWS_GONE, Cloud.AZURE: AZURE_GONE}


@pytest.mark.parametrize("group", AWS_GONE)
def test_what_does_not_exist_is_refused_by_name_and_nothing_of_the_workload_is_changed(
    stack: Stack, group: str
) -> None:
    gone, workload = GONE[stack.cloud][group], OFFLINE[stack.cloud]
    with stack.edited(workload, **{group: [gone]}):
        before = stack.seq()
        document = stack.contain(workload)
        assert stack.effects(before) == []
    assert document.verdict is Verdict.REFUSED, document.awaiting
    told = " ".join(document.refusals)
    assert f"cannot be used on {gone['ref'].removesuffix('/weights')}" in told
    if stack.cloud is Cloud.AZURE and group != "pipelines":
        assert "does not exist" in told
        assert "lacks" not in told
