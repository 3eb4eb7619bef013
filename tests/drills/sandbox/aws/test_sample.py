"""The sample: an inventory that validates, principals that can do what they must, and nothing more."""

from __future__ import annotations

import json
import stat
import time
from typing import TYPE_CHECKING, Any

import boto3
import pytest
from botocore.exceptions import ClientError

from drills.sandbox.aws.client import start_sandbox
from drills.sandbox.aws.sample import (
    ORCHESTRATOR_ACCOUNT,
    SampleError,
    attach_evidence_policy,
    attach_responder_policy,
    seed,
    variants,
)
from drills.sandbox.aws.sample.agent import AGENT_ROLE, WORKLOAD_ID
from drills.sandbox.aws.sample.clients import Admin, allow, client_with
from firebreak.inventory import load
from firebreak.settings import Settings

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from drills.sandbox.aws.client import SandboxClient
    from drills.sandbox.aws.sample import Sample


@pytest.fixture(scope="module")
def seeded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[SandboxClient, Sample]]:
    with start_sandbox() as client:
        yield client, seed(client, tmp_path_factory.mktemp("sample") / "workloads.yaml")


@pytest.fixture
def sample(seeded: tuple[SandboxClient, Sample]) -> Sample:
    return seeded[1]


def assumed(sample: Sample, service: str, role_arn: str, external_id: str) -> Any:
    sts = client_with(sample.endpoint, sample.region, "sts", sample.orchestrator_credentials)
    issued = sts.assume_role(RoleArn=role_arn, RoleSessionName="test", ExternalId=external_id)["Credentials"]
    credentials = {
        "aws_access_key_id": issued["AccessKeyId"],
        "aws_secret_access_key": issued["SecretAccessKey"],
        "aws_session_token": issued["SessionToken"],
    }
    return client_with(sample.endpoint, sample.region, service, credentials)


def responder(sample: Sample, service: str) -> Any:
    return assumed(sample, service, sample.responder_role_arn, sample.responder_external_id)


def refusal(call: Any, **arguments: Any) -> str:
    with pytest.raises(ClientError) as caught:
        call(**arguments)
    return str(caught.value.response["Error"]["Code"])


def test_inventory_validates_and_covers_every_group(sample: Sample) -> None:
    inventory = load(sample.inventory_path)
    workload = inventory.workload(WORKLOAD_ID)
    assert sample.workload_ids == (WORKLOAD_ID,)
    assert {part.kind for part in workload.resources()} == {
        "iam-role",
        "ec2-instance",
        "subnet",
        "firewall-policy",
        "flow-log",
        "canary",
        "sqs-queue",
        "sns-topic",
        "s3-object",
        "ecr-repository",
        "model-package",
        "dynamodb-table",
        "codepipeline-stage",
        "log-group",
        "cloudtrail",
        "detective",
        "security-hub-finding",
    }


def test_environment_is_what_settings_and_sdk_need(sample: Sample, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in sample.environment().items():
        monkeypatch.setenv(name, value)
    settings = Settings()
    assert settings.inventory == sample.inventory_path
    assert settings.evidence.access["role_arn"] == sample.evidence_role_arn
    assert settings.guard.sandbox_accounts == (sample.workload_account,)
    assert boto3.client("sts").get_caller_identity()["Account"] == ORCHESTRATOR_ACCOUNT


def test_orchestrator_only_assumes_the_two_roles_with_their_external_ids(sample: Sample) -> None:
    assert responder(sample, "sts").get_caller_identity()["Account"] == sample.workload_account
    evidence = assumed(sample, "s3", sample.evidence_role_arn, sample.evidence_external_id)
    bucket = sample.evidence_store.split("/")[2]
    lock = evidence.get_object_lock_configuration(Bucket=bucket)["ObjectLockConfiguration"]
    # A default retention would lock the short-lived probe sessions that must be deletable.
    assert (lock["ObjectLockEnabled"], lock.get("Rule")) == ("Enabled", None)
    with pytest.raises(ClientError, match="AccessDenied"):
        assumed(sample, "sts", sample.responder_role_arn, "wrong")
    own = client_with(sample.endpoint, sample.region, "iam", sample.orchestrator_credentials)
    assert refusal(own.list_roles) == "AccessDenied"


def test_responder_can_probe_as_the_agent(sample: Sample) -> None:
    role = f"arn:aws:iam::{sample.workload_account}:role/{AGENT_ROLE}"
    issued = responder(sample, "sts").assume_role(RoleArn=role, RoleSessionName="probe")["Credentials"]
    identity = load(sample.inventory_path).workload(WORKLOAD_ID).identities[0]
    credentials = {
        "aws_access_key_id": issued["AccessKeyId"],
        "aws_secret_access_key": issued["SecretAccessKey"],
        "aws_session_token": issued["SessionToken"],
    }
    for probe in identity.model_dump()["probes"]:
        client = client_with(sample.endpoint, sample.region, probe["service"], credentials)
        operation = client.meta.method_to_api_mapping
        method = next(name for name, api in operation.items() if api == probe["operation"])
        assert getattr(client, method)(**probe["parameters"])["ResponseMetadata"]["HTTPStatusCode"] == 200


def test_instance_has_two_interfaces_in_two_subnets_and_two_volumes(sample: Sample) -> None:
    ec2 = responder(sample, "ec2")
    workload = load(sample.inventory_path).workload(WORKLOAD_ID)
    ref = next(part.ref for part in workload.network if part.kind == "ec2-instance")
    instance = ec2.describe_instances(InstanceIds=[ref])["Reservations"][0]["Instances"][0]
    assert len(instance["NetworkInterfaces"]) == 2
    assert len({eni["SubnetId"] for eni in instance["NetworkInterfaces"]}) == 2
    assert len(instance["BlockDeviceMappings"]) == 2
    assert sum(bool(eni.get("Association")) for eni in instance["NetworkInterfaces"]) == 1


def test_canary_reaches_every_interface_before_isolation(sample: Sample) -> None:
    workload = load(sample.inventory_path).workload(WORKLOAD_ID)
    canary = next(part for part in workload.network if part.kind == "canary")
    for address in ("10.42.1.10", "10.42.2.10"):
        event = json.dumps({"address": address, "port": canary.model_dump()["port"], "timeout": 1})
        answer = responder(sample, "lambda").invoke(FunctionName=canary.ref, Payload=event.encode())
        assert json.load(answer["Payload"])["connected"], address


def test_rogue_configuration_is_private_to_its_owner(sample: Sample) -> None:
    assert sample.rogue_config_path
    assert stat.S_IMODE(sample.rogue_config_path.stat().st_mode) == 0o600
    assert json.loads(sample.rogue_config_path.read_text()) == sample.rogue_config
    assert sample.orchestrator_credentials["aws_secret_access_key"] not in repr(sample)


def test_attached_policy_is_the_only_one(seeded: tuple[SandboxClient, Sample]) -> None:
    client, sample = seeded
    documents = [
        {"Version": "2012-10-17", "Statement": [allow(["ec2:DescribeVpcs"])]},
        {"Version": "2012-10-17", "Statement": [allow(["iam:ListRoles"])]},
    ]
    broad = {"Version": "2012-10-17", "Statement": [allow(["*"])]}
    try:
        attach_responder_policy(client, documents[:1], sample)
        attach_responder_policy(client, documents, sample)
        assert responder(sample, "ec2").describe_vpcs()["Vpcs"]
        assert responder(sample, "iam").list_roles()["Roles"]
        assert refusal(responder(sample, "s3").list_buckets) == "AccessDenied"
        attach_evidence_policy(client, documents[1:], sample)
        evidence = assumed(sample, "s3", sample.evidence_role_arn, sample.evidence_external_id)
        assert refusal(evidence.list_buckets) == "AccessDenied"
    finally:
        attach_responder_policy(client, [broad], sample)
        attach_evidence_policy(client, [broad], sample)


def test_seeding_is_quick(sandbox: SandboxClient, tmp_path: Path) -> None:
    started = time.process_time(), len(sandbox.calls().calls)
    seed(sandbox, tmp_path / "workloads.yaml")
    # Wall-clock time is a neighbour's affair; what seeding itself costs is processor time and calls.
    assert time.process_time() - started[0] < 10
    assert len(sandbox.calls().calls) - started[1] < 150


def test_lean_workloads_validate_and_are_reachable(sandbox: SandboxClient, tmp_path: Path) -> None:
    sample = seed(sandbox, tmp_path / "workloads.yaml", copies=3)
    inventory = load(sample.inventory_path)
    assert sample.workload_ids == tuple(inventory.workloads)
    assert len(sample.workload_ids) == 3
    assert sample.rogue_config is None
    admin = Admin.of(sandbox, sample.workload_account, sample.region)
    canary = {
        part.ref for item in inventory.workloads.values() for part in item.network if part.kind == "canary"
    }
    assert len(canary) == 1
    enis = [
        part.ref
        for item in inventory.workloads.values()
        for part in item.network
        if part.kind == "network-interface"
    ]
    found = admin.client("ec2").describe_network_interfaces(NetworkInterfaceIds=enis)["NetworkInterfaces"]
    addresses = {eni["PrivateIpAddress"] for eni in found}
    assert len(addresses) == 3
    for address in addresses:
        event = json.dumps({"address": address, "port": 443, "timeout": 1}).encode()
        answer = admin.client("lambda").invoke(FunctionName=next(iter(canary)), Payload=event)
        assert json.load(answer["Payload"])["connected"], address


def test_variants_validate_and_are_what_they_say(sandbox: SandboxClient, tmp_path: Path) -> None:
    sample = seed(sandbox, tmp_path / "workloads.yaml", lean=True, variants=True)
    inventory = load(sample.inventory_path)
    admin = Admin.of(sandbox, sample.workload_account, sample.region)
    iam = admin.client("iam")
    keys = iam.list_access_keys(UserName=variants.USER)["AccessKeyMetadata"]
    assert [key["Status"] for key in keys] == ["Active", "Active"]
    user = inventory.workload(variants.USER).identities[0].model_dump()
    secret = json.loads(
        admin.client("secretsmanager").get_secret_value(SecretId=user["probe_secret"])["SecretString"]
    )
    credentials = {
        "aws_access_key_id": secret["access_key_id"],
        "aws_secret_access_key": secret["secret_access_key"],
    }
    s3 = client_with(sample.endpoint, sample.region, "s3", credentials)
    assert s3.list_objects_v2(**user["probes"][0]["parameters"])["KeyCount"] == 1
    bounded = iam.get_role(RoleName=variants.BOUNDED)["Role"]
    assert bounded["PermissionsBoundary"]["PermissionsBoundaryArn"].endswith(f"{variants.BOUNDED}-boundary")
    shared = {inventory.workload(name).identities[0].ref for name in variants.SHARED}
    assert inventory.users_of(shared.pop()) == variants.SHARED
    assert not shared
    assert inventory.workload(variants.OFFLINE).network == ()
    bucket = inventory.workload(variants.UNVERSIONED).artifacts[0].ref.split(":")[5].split("/")[0]
    assert "Status" not in admin.client("s3").get_bucket_versioning(Bucket=bucket)


@pytest.mark.parametrize(("copies", "lean"), [(0, None), (4_001, None), (2, False)])
def test_impossible_seedings_are_refused(
    sandbox: SandboxClient, tmp_path: Path, copies: int, lean: bool | None
) -> None:
    with pytest.raises(SampleError):
        seed(sandbox, tmp_path / "workloads.yaml", copies=copies, lean=lean)
    assert sandbox.calls().calls == []
    assert not (tmp_path / "workloads.yaml").exists()
