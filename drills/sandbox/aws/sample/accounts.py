"""Create the three accounts' principals: orchestrator, responder and evidence keeper."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from drills.sandbox.aws.sample.clients import SESSION_SECONDS, Admin, allow, document, trust

if TYPE_CHECKING:
    from drills.sandbox.aws.client import SandboxClient

ORCHESTRATOR_ACCOUNT = "111111111111"
WORKLOAD_ACCOUNT = "222222222222"
EVIDENCE_ACCOUNT = "333333333333"
ORCHESTRATOR_USER = "firebreak-orchestrator"
RESPONDER_ROLE = "firebreak-responder"
EVIDENCE_ROLE = "firebreak-evidence"
RESPONDER_EXTERNAL_ID = "firebreak-sample-responder"
EVIDENCE_EXTERNAL_ID = "firebreak-sample-evidence"
EVIDENCE_BUCKET = f"firebreak-evidence-{EVIDENCE_ACCOUNT}"
EVIDENCE_PREFIX = "incidents"


@dataclass(frozen=True)
class Accounts:
    """Administrators of the three accounts, and what Firebreak itself needs to know of them."""

    orchestrator: Admin
    workload: Admin
    evidence: Admin
    orchestrator_credentials: dict[str, str] = field(repr=False)
    signing_key_arn: str
    drill_signing_key_arn: str
    seal_key_arn: str

    @property
    def responder_role_arn(self) -> str:
        """The role Firebreak acts as in the workload account."""
        return self.workload.role_arn(RESPONDER_ROLE)

    @property
    def evidence_role_arn(self) -> str:
        """The role Firebreak keeps evidence as."""
        return self.evidence.role_arn(EVIDENCE_ROLE)


def create_accounts(sandbox: SandboxClient, region: str) -> Accounts:
    """Create Firebreak's principals and its evidence store."""
    orchestrator = Admin.of(sandbox, ORCHESTRATOR_ACCOUNT, region)
    workload = Admin.of(sandbox, WORKLOAD_ACCOUNT, region)
    evidence = Admin.of(sandbox, EVIDENCE_ACCOUNT, region)
    user_arn = orchestrator.arn("iam", f"user/{ORCHESTRATOR_USER}", regional=False)
    credentials = _orchestrator(
        orchestrator, workload.role_arn(RESPONDER_ROLE), evidence.role_arn(EVIDENCE_ROLE)
    )
    _trusting_role(workload, RESPONDER_ROLE, user_arn, RESPONDER_EXTERNAL_ID)
    _trusting_role(evidence, EVIDENCE_ROLE, user_arn, EVIDENCE_EXTERNAL_ID)
    evidence.client("s3").create_bucket(
        Bucket=EVIDENCE_BUCKET,
        ObjectLockEnabledForBucket=True,
        CreateBucketConfiguration={"LocationConstraint": region},
    )
    return Accounts(
        orchestrator,
        workload,
        evidence,
        credentials,
        signing_key_arn=_signing_key(evidence, "evidence signing"),
        drill_signing_key_arn=_signing_key(evidence, "drill evidence signing"),
        seal_key_arn=str(
            evidence.client("kms").create_key(Description="probe sessions")["KeyMetadata"]["Arn"]
        ),
    )


def _orchestrator(admin: Admin, *roles: str) -> dict[str, str]:
    iam = admin.client("iam")
    iam.create_user(UserName=ORCHESTRATOR_USER)
    policy = document(allow(["sts:AssumeRole"], *roles))
    iam.put_user_policy(
        UserName=ORCHESTRATOR_USER, PolicyName="assume-firebreak-roles", PolicyDocument=policy
    )
    key = iam.create_access_key(UserName=ORCHESTRATOR_USER)["AccessKey"]
    return {"aws_access_key_id": key["AccessKeyId"], "aws_secret_access_key": key["SecretAccessKey"]}


def _trusting_role(admin: Admin, name: str, principal: str, external_id: str) -> None:
    """Create a role with a broad policy; attach_*_policy later leaves it only what is needed."""
    iam = admin.client("iam")
    iam.create_role(
        RoleName=name, AssumeRolePolicyDocument=trust({"AWS": principal}, external_id=external_id)
    )
    iam.put_role_policy(RoleName=name, PolicyName=f"{name}-broad", PolicyDocument=document(allow(["*"])))


def _signing_key(admin: Admin, description: str) -> str:
    answer = admin.client("kms").create_key(
        Description=description, KeyUsage="SIGN_VERIFY", KeySpec="ECC_NIST_P256"
    )
    return str(answer["KeyMetadata"]["Arn"])


def create_role(admin: Admin, name: str, trust_policy: str, permissions: str) -> str:
    """Create a role with one inline policy that allows the longest sessions; return its ARN."""
    iam = admin.client("iam")
    role = iam.create_role(
        RoleName=name, AssumeRolePolicyDocument=trust_policy, MaxSessionDuration=SESSION_SECONDS
    )["Role"]
    iam.put_role_policy(RoleName=name, PolicyName=f"{name}-permissions", PolicyDocument=permissions)
    return str(role["Arn"])
