from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any
from uuid import uuid4

import boto3
import pytest

from drills.sandbox.aws.client import SandboxClient
from firebreak.measure import Context, Progress, measure, now
from firebreak.model import Cloud, Mode, Run, Workload
from firebreak.settings import Settings
from providers.aws.permissions import documents
from providers.aws.sealing import SEAL_ACTIONS
from providers.aws.session import AwsAccess
from providers.aws.signing import SIGN_ACTIONS
from providers.aws.vault import OBJECT_ACTIONS, STORE_ACTIONS, S3Vault
from tests.providers.aws.netground import Ground, made

_boto3: Any = boto3  # the typed overloads ask for literal service names

REGION = "eu-central-1"
ORCHESTRATOR, WORKLOAD, EVIDENCE = "111111111111", "222222222222", "333333333333"
EXTERNAL_ID = "firebreak-tests"


def allow(*actions: str, on: str | list[str] = "*") -> dict[str, Any]:
    return {"Effect": "Allow", "Action": list(actions), "Resource": on}


def policy(*statements: dict[str, Any]) -> str:
    return json.dumps({"Version": "2012-10-17", "Statement": list(statements)})


@dataclass
class World:
    """Three sandbox accounts: the orchestrator's user, the responder's role, the evidence store."""

    sandbox: SandboxClient
    settings: Settings
    responder: str
    bucket: str

    def admin(self, service: str, account: str = WORKLOAD, region: str = REGION) -> Any:
        key = self.sandbox.bootstrap(account)
        return _boto3.client(
            service, endpoint_url=self.sandbox.url, region_name=region, **key.boto3_arguments()
        )

    def client_with(self, issued: dict[str, str], service: str) -> Any:
        return _boto3.client(
            service,
            endpoint_url=self.sandbox.url,
            region_name=REGION,
            aws_access_key_id=issued["AccessKeyId"],
            aws_secret_access_key=issued["SecretAccessKey"],
            aws_session_token=issued["SessionToken"],
        )

    def vault(self) -> S3Vault:
        return S3Vault.open(self.settings)

    def workload(self, **groups: Any) -> Workload:
        return Workload(
            id="agent",
            cloud=Cloud.AWS,
            account=WORKLOAD,
            region=REGION,
            access={"role_arn": self.responder, "external_id": EXTERNAL_ID},
            **groups,
        )

    def exactly(self, workload: Workload, *names: str) -> Workload:
        """The same workload, its responder allowed no more than what these measures ask for."""
        kinds = [measure(name) for name in names]
        needs = [(kind, target) for kind in kinds for target in kind.applies_to(workload)]
        name = f"responder-{uuid4().hex[:12]}"
        access = {**workload.access, "role_arn": role(self.admin("iam"), name)}
        mine = workload.model_copy(update={"access": access})
        granted = documents(needs, [mine], self.settings)["responder"]["policies"]
        for number, document in enumerate(granted):
            self.admin("iam").put_role_policy(
                RoleName=name, PolicyName=f"p{number}", PolicyDocument=json.dumps(document)
            )
        return mine

    def context(self, workload: Workload) -> Context[AwsAccess]:
        incident = f"INC-{uuid4().hex[:8]}"
        run = Run(incident_id=incident, mode=Mode.LIVE, workload=workload, triggered_at=now())
        return Context(
            run=run,
            access=AwsAccess(run, self.settings),
            vault=self.vault(),
            folder=f"{incident}/data/phases/4/measure/target",
            progress=Progress(),
        )


@pytest.fixture(scope="module")
def world(sandbox: SandboxClient) -> Iterator[World]:
    """Each module has a sandbox to itself, so that none depends on what ran before it."""
    sandbox.reset()

    def admin(service: str, account: str) -> Any:
        key = sandbox.bootstrap(account)
        return _boto3.client(service, endpoint_url=sandbox.url, region_name=REGION, **key.boto3_arguments())

    user = admin("iam", ORCHESTRATOR)
    user.create_user(UserName="firebreak-orchestrator")
    user.put_user_policy(
        UserName="firebreak-orchestrator", PolicyName="p", PolicyDocument=policy(allow("sts:AssumeRole"))
    )
    key = user.create_access_key(UserName="firebreak-orchestrator")["AccessKey"]
    bucket = f"evidence-{uuid4().hex[:8]}"
    admin("s3", EVIDENCE).create_bucket(
        Bucket=bucket,
        ObjectLockEnabledForBucket=True,
        CreateBucketConfiguration={"LocationConstraint": REGION},
    )
    kms = admin("kms", EVIDENCE)
    sign = kms.create_key(KeySpec="ECC_NIST_P256", KeyUsage="SIGN_VERIFY")["KeyMetadata"]["Arn"]
    sealing = kms.create_key()["KeyMetadata"]["Arn"]
    evidence_role = role(admin("iam", EVIDENCE), "firebreak-evidence")
    admin("iam", EVIDENCE).put_role_policy(
        RoleName="firebreak-evidence",
        PolicyName="p",
        PolicyDocument=policy(
            allow(*STORE_ACTIONS, on=f"arn:aws:s3:::{bucket}"),
            allow(*OBJECT_ACTIONS, on=f"arn:aws:s3:::{bucket}/*"),
            allow(*SIGN_ACTIONS, on=sign),
            allow(*SEAL_ACTIONS, on=sealing),
        ),
    )
    responder = role(admin("iam", WORKLOAD), "firebreak-responder")
    admin("iam", WORKLOAD).put_role_policy(
        RoleName="firebreak-responder", PolicyName="p", PolicyDocument=policy(allow("*"))
    )
    environment = {
        "AWS_ENDPOINT_URL": sandbox.url,
        "AWS_ACCESS_KEY_ID": key["AccessKeyId"],
        "AWS_SECRET_ACCESS_KEY": key["SecretAccessKey"],
        "AWS_DEFAULT_REGION": REGION,
    }
    with pytest.MonkeyPatch.context() as patch:
        for name, value in environment.items():
            patch.setenv(name, value)
        for name in ("AWS_SESSION_TOKEN", "AWS_PROFILE"):
            patch.delenv(name, raising=name in os.environ)
        settings = Settings.model_validate(
            {
                "evidence": {
                    "store": f"s3://{bucket}/firebreak",
                    "access": {"role_arn": evidence_role, "external_id": EXTERNAL_ID, "region": REGION},
                    "signing_key": f"awskms:{sign}",
                    "seal_key": f"awskms:{sealing}",
                    "retention_days": 1,
                }
            }
        )
        yield World(sandbox, settings, responder, bucket)


def role(iam: Any, name: str) -> str:
    trust = {
        "Effect": "Allow",
        "Action": "sts:AssumeRole",
        "Principal": {"AWS": f"arn:aws:iam::{ORCHESTRATOR}:root"},
        "Condition": {"StringEquals": {"sts:ExternalId": EXTERNAL_ID}},
    }
    return str(iam.create_role(RoleName=name, AssumeRolePolicyDocument=policy(trust))["Role"]["Arn"])


@pytest.fixture
def fresh() -> Callable[[str], str]:
    """Names that no other test uses."""
    return lambda stem: f"{stem}-{uuid4().hex[:8]}"


@pytest.fixture
def ground(world: World, fresh: Callable[[str], str]) -> Ground:
    """A network of the test's own."""
    return made(world, fresh("net"))


@pytest.fixture(scope="module")
def quick_records(world: World) -> Iterator[None]:
    """Flow log records every second, for as long as the module lasts."""
    world.sandbox.configure(flow_aggregation_seconds=1, flow_delivery_seconds=0.2)
    yield
    world.sandbox.configure(flow_aggregation_seconds=60, flow_delivery_seconds=5)
