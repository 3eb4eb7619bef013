"""Empty the process's sandbox before every test."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import boto3
import pytest
from botocore.config import Config
from botocore.exceptions import ClientError

from drills.sandbox.aws.client import AccessKey, SandboxClient

REGION = "eu-central-1"
ACCOUNT = "222222222222"
Connect = Callable[..., Any]


@pytest.fixture
def sandbox(sandbox: SandboxClient) -> SandboxClient:
    sandbox.reset()
    return sandbox


@pytest.fixture
def connect(sandbox: SandboxClient) -> Connect:
    """Return a boto3 client factory: connect(service, key or STS credentials)."""

    def factory(service: str, credentials: AccessKey | dict[str, Any], **config: Any) -> Any:
        client: Any = boto3.client
        return client(
            service,
            endpoint_url=sandbox.url,
            region_name=REGION,
            config=Config(retries={"total_max_attempts": 1}, **config),
            **_arguments(credentials),
        )

    return factory


def _arguments(credentials: AccessKey | dict[str, Any]) -> dict[str, str]:
    if isinstance(credentials, AccessKey):
        return credentials.boto3_arguments()
    return {
        "aws_access_key_id": credentials["AccessKeyId"],
        "aws_secret_access_key": credentials["SecretAccessKey"],
        "aws_session_token": credentials["SessionToken"],
    }


@pytest.fixture
def admin(sandbox: SandboxClient) -> AccessKey:
    return sandbox.bootstrap(ACCOUNT)


def policy(effect: str, action: Any = "*", resource: Any = "*", **more: Any) -> str:
    return json.dumps(
        {
            "Version": "2012-10-17",
            "Statement": [{"Effect": effect, "Action": action, "Resource": resource, **more}],
        },
    )


@pytest.fixture
def make_policy() -> Callable[..., str]:
    return policy


@pytest.fixture
def refused() -> Callable[..., str]:
    """Return the error code of a call that must fail."""

    def call(function: Callable[..., Any], **arguments: Any) -> str:
        with pytest.raises(ClientError) as caught:
            function(**arguments)
        return str(caught.value.response["Error"]["Code"])

    return call


class World:
    """The account of a test, as its administrator sees it."""

    def __init__(self, connect: Connect, admin: AccessKey, make_policy: Callable[..., str]) -> None:
        self.connect = connect
        self.iam = connect("iam", admin)
        self.sts = connect("sts", admin)
        self.policy = make_policy

    def role(self, name: str = "agent", *, trust_policy: str | None = None, allow: Any = "*") -> str:
        role = self.iam.create_role(RoleName=name, AssumeRolePolicyDocument=trust_policy or _trust_account())
        if allow:
            self.iam.put_role_policy(
                RoleName=name,
                PolicyName="allow",
                PolicyDocument=self.policy("Allow", allow),
            )
        return str(role["Role"]["Arn"])

    def session(self, arn: str, **more: Any) -> dict[str, Any]:
        answer = self.sts.assume_role(RoleArn=arn, RoleSessionName="probe", **more)
        return dict(answer["Credentials"])

    def user(self, name: str = "operator", *, allow: Any = "*") -> AccessKey:
        self.iam.create_user(UserName=name)
        if allow:
            self.iam.put_user_policy(
                UserName=name,
                PolicyName="allow",
                PolicyDocument=self.policy("Allow", allow),
            )
        key = self.iam.create_access_key(UserName=name)["AccessKey"]
        return AccessKey(ACCOUNT, key["AccessKeyId"], key["SecretAccessKey"])


def _trust_account() -> str:
    """Let every principal of the account that its own policy allows assume the role."""
    principal = {"AWS": f"arn:aws:iam::{ACCOUNT}:root"}
    statement = {"Effect": "Allow", "Principal": principal, "Action": "sts:AssumeRole"}
    return json.dumps({"Version": "2012-10-17", "Statement": [statement]})


@pytest.fixture
def world(connect: Connect, admin: AccessKey, make_policy: Callable[..., str]) -> World:
    return World(connect, admin, make_policy)


@pytest.fixture
def far_world(sandbox: SandboxClient, connect: Connect, make_policy: Callable[..., str]) -> World:
    return World(connect, sandbox.bootstrap("333333333333"), make_policy)
