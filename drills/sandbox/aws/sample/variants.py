"""Create workloads that are hard to contain: long-lived keys, a boundary, a shared role, missing parts."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from drills.sandbox.aws.sample.accounts import create_role
from drills.sandbox.aws.sample.artifacts import create_log_group
from drills.sandbox.aws.sample.clients import allow, document, trust
from drills.sandbox.aws.sample.inventory import access_of, describe_watch
from drills.sandbox.aws.sample.network import CANARY_PORT, VPC_RANGE, create_group, create_vpc

if TYPE_CHECKING:
    from drills.sandbox.aws.sample.accounts import Accounts
    from drills.sandbox.aws.sample.network import Vpc

Json = dict[str, Any]
NAME = "variants"
SUBNET_RANGE = "10.42.32.0/24"
USER = "user-agent"
BOUNDED = "bounded-agent"
SHARED = ("shared-agent-one", "shared-agent-two")
SHARED_ROLE = "shared-agents-role"
OFFLINE = "offline-agent"
UNVERSIONED = "unversioned-agent"
PASSWORD = "correct-Horse-battery-9"


@dataclass(frozen=True)
class Ground:
    """What the variants stand on together."""

    accounts: Accounts
    vpc: Vpc
    group: str
    bucket: str
    plain_bucket: str

    @property
    def probe(self) -> Json:
        """A read that every variant's identity is allowed."""
        parameters = {"Bucket": self.bucket, "MaxKeys": 1}
        return {"service": "s3", "operation": "ListObjectsV2", "parameters": parameters}

    @property
    def permissions(self) -> str:
        """The policy every variant's identity has."""
        return document(allow(["s3:ListBucket"], f"arn:aws:s3:::{self.bucket}"))

    @property
    def trust(self) -> str:
        """The trust policy of every variant's role."""
        return trust({"Service": "ec2.amazonaws.com"}, {"AWS": self.accounts.responder_role_arn})


def create_variants(accounts: Accounts) -> list[Json]:
    """Create every variant and return the inventory entries."""
    ground = _ground(accounts)
    shared = create_role(accounts.workload, SHARED_ROLE, ground.trust, ground.permissions)
    one, two = SHARED
    plain = create_role(accounts.workload, UNVERSIONED, ground.trust, ground.permissions)
    offline = create_role(accounts.workload, OFFLINE, ground.trust, ground.permissions)
    return [
        _describe(ground, USER, _user(ground), address=10),
        _describe(ground, BOUNDED, _bounded_role(ground), address=11),
        _describe(
            ground, one, _role(ground, shared, session_names=[f"{one}-*"], shared_with=[two]), address=12
        ),
        _describe(
            ground, two, _role(ground, shared, session_names=[f"{two}-*"], shared_with=[one]), address=13
        ),
        _describe(ground, UNVERSIONED, _role(ground, plain), address=14, bucket=ground.plain_bucket),
        _describe(ground, OFFLINE, _role(ground, offline)),
    ]


def _ground(accounts: Accounts) -> Ground:
    admin = accounts.workload
    vpc = create_vpc(admin, NAME, SUBNET_RANGE)
    place = {"CreateBucketConfiguration": {"LocationConstraint": admin.region}}
    bucket, plain = f"{NAME}-{admin.account}", f"{NAME}-unversioned-{admin.account}"
    admin.client("s3").create_bucket(Bucket=bucket, ObjectLockEnabledForBucket=True, **place)
    admin.client("s3").create_bucket(Bucket=plain, **place)
    group = create_group(admin, vpc.id, NAME, (CANARY_PORT, VPC_RANGE))
    return Ground(accounts, vpc, group, bucket, plain)


def _role(ground: Ground, arn: str, **more: Any) -> Json:
    return {"kind": "iam-role", "ref": arn, "probes": [ground.probe], **more}


def _bounded_role(ground: Ground) -> Json:
    """A role whose boundary allows what it needs: a deny works beside it, and it survives release."""
    admin = ground.accounts.workload
    arn = create_role(admin, BOUNDED, ground.trust, ground.permissions)
    iam = admin.client("iam")
    boundary = iam.create_policy(
        PolicyName=f"{BOUNDED}-boundary", PolicyDocument=document(allow(["s3:List*", "s3:Get*"]))
    )["Policy"]["Arn"]
    iam.put_role_permissions_boundary(RoleName=BOUNDED, PermissionsBoundary=boundary)
    return _role(ground, arn)


def _user(ground: Ground) -> Json:
    """A user with two keys and a console password; one key lies in a secret, for the live probe."""
    admin = ground.accounts.workload
    iam = admin.client("iam")
    iam.create_user(UserName=USER)
    iam.put_user_policy(UserName=USER, PolicyName="agent", PolicyDocument=ground.permissions)
    keys = [iam.create_access_key(UserName=USER)["AccessKey"] for _ in range(2)]
    iam.create_login_profile(UserName=USER, Password=PASSWORD)
    secret = {"access_key_id": keys[0]["AccessKeyId"], "secret_access_key": keys[0]["SecretAccessKey"]}
    arn = admin.client("secretsmanager").create_secret(Name=f"{USER}/probe", SecretString=json.dumps(secret))[
        "ARN"
    ]
    ref = admin.arn("iam", f"user/{USER}", regional=False)
    return {"kind": "iam-user", "ref": ref, "probe_secret": arn, "probes": [ground.probe]}


def _describe(
    ground: Ground, name: str, identity: Json, *, address: int | None = None, bucket: str | None = None
) -> Json:
    admin = ground.accounts.workload
    return {
        "id": name,
        "kind": "agent",
        "owner": "drills",
        **access_of(ground.accounts),
        "identities": [identity],
        **_network(ground, name, address),
        "artifacts": [_object(ground, name, bucket or ground.bucket)],
        "evidence_sources": [
            {"kind": "log-group", "ref": create_log_group(admin, f"/{name}/inference")},
            {"kind": "cloudtrail", "ref": "account"},
        ],
    }


def _network(ground: Ground, name: str, address: int | None) -> Json:
    if address is None:
        return {"without": {"network": "runs as a scheduled function outside of any VPC"}}
    answer = ground.accounts.workload.client("ec2").create_network_interface(
        SubnetId=ground.vpc.public_subnet,
        Groups=[ground.group],
        PrivateIpAddress=SUBNET_RANGE.replace(".0/24", f".{address}"),
        Description=name,
    )
    interface = {"kind": "network-interface", "ref": answer["NetworkInterface"]["NetworkInterfaceId"]}
    return {"network": [interface, *describe_watch(ground.vpc)]}


def _object(ground: Ground, name: str, bucket: str) -> Json:
    key, body = f"{name}/prompt.txt", f"You are {name}.\n".encode()
    ground.accounts.workload.client("s3").put_object(Bucket=bucket, Key=key, Body=body)
    digest = hashlib.sha256(body).hexdigest()
    ref = f"arn:aws:s3:::{bucket}/{key}"
    return {"kind": "s3-object", "ref": ref, "role": "prompt", "approved_sha256": digest}
