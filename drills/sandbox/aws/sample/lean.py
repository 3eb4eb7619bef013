"""Create many small workloads for benchmarks: one role, interface, object and log group each."""

from __future__ import annotations

import hashlib
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from ipaddress import ip_network
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
FLEET = "bench-agents"
SUBNET_RANGE = "10.42.16.0/20"
# The emulator answers one call at a time; a few callers keep it busy.
CALLERS = 4
# AWS keeps the first four addresses of a subnet (VPC user guide, "Subnet sizing").
RESERVED = 10


def create_fleet(accounts: Accounts, copies: int) -> list[Json]:
    """Create lean workloads in one VPC and return their inventory entries."""
    admin = accounts.workload
    vpc = create_vpc(admin, FLEET, SUBNET_RANGE)
    group = create_group(admin, vpc.id, FLEET, (CANARY_PORT, VPC_RANGE))
    with ThreadPoolExecutor(CALLERS) as pool:
        return list(pool.map(partial(_create_one, accounts, vpc, group), range(copies)))


def _create_one(accounts: Accounts, vpc: Vpc, group: str, number: int) -> Json:
    name = f"bench-agent-{number:05d}"
    bucket = _bucket(accounts, name)
    role = _role(accounts, name, bucket)
    object_key, digest = _object(accounts, name, bucket)
    return {
        "id": name,
        "kind": "agent",
        "owner": "bench",
        **access_of(accounts),
        "identities": [{"kind": "iam-role", "ref": role, "probes": [_probe(bucket, name)]}],
        "network": [
            {"kind": "network-interface", "ref": _interface(accounts, vpc, group, number)},
            *describe_watch(vpc),
        ],
        "artifacts": [
            {"kind": "s3-object", "ref": object_key, "role": "prompt", "approved_sha256": digest},
        ],
        "evidence_sources": [
            {"kind": "log-group", "ref": create_log_group(accounts.workload, f"/{name}/inference")},
            {"kind": "cloudtrail", "ref": "account"},
        ],
    }


def _role(accounts: Accounts, name: str, bucket: str) -> str:
    trusted = trust({"Service": "ec2.amazonaws.com"}, {"AWS": accounts.responder_role_arn})
    permissions = document(allow(["s3:ListBucket"], f"arn:aws:s3:::{bucket}"))
    return create_role(accounts.workload, name, trusted, permissions)


def _bucket(accounts: Accounts, name: str) -> str:
    """One for each: frozen objects of 17 workloads would fill one bucket's policy (20 KiB, S3 user guide)."""
    admin = accounts.workload
    bucket = f"{name}-{admin.account}"
    admin.client("s3").create_bucket(
        Bucket=bucket,
        ObjectLockEnabledForBucket=True,
        CreateBucketConfiguration={"LocationConstraint": admin.region},
    )
    return bucket


def _probe(bucket: str, name: str) -> Json:
    parameters = {"Bucket": bucket, "Prefix": f"{name}/", "MaxKeys": 1}
    return {"service": "s3", "operation": "ListObjectsV2", "parameters": parameters}


def _object(accounts: Accounts, name: str, bucket: str) -> tuple[str, str]:
    key, body = f"{name}/prompt.txt", f"You are {name}.\n".encode()
    accounts.workload.client("s3").put_object(Bucket=bucket, Key=key, Body=body)
    return f"arn:aws:s3:::{bucket}/{key}", hashlib.sha256(body).hexdigest()


def _interface(accounts: Accounts, vpc: Vpc, group: str, number: int) -> str:
    answer = accounts.workload.client("ec2").create_network_interface(
        SubnetId=vpc.public_subnet,
        Groups=[group],
        PrivateIpAddress=str(ip_network(SUBNET_RANGE)[RESERVED + number]),
        Description=f"bench agent {number}",
    )
    return str(answer["NetworkInterface"]["NetworkInterfaceId"])
