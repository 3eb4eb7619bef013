"""Run one sandbox per test module and empty it before every test."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from typing import Any

import boto3
import pytest
from botocore.config import Config
from botocore.exceptions import ClientError

from drills.sandbox.aws.client import AccessKey, SandboxClient, start_sandbox

REGION = "eu-central-1"
ACCOUNT = "222222222222"
Connect = Callable[..., Any]


@pytest.fixture(scope="module")
def running_sandbox() -> Iterator[SandboxClient]:
    with start_sandbox() as client:
        yield client


@pytest.fixture
def sandbox(running_sandbox: SandboxClient) -> SandboxClient:
    running_sandbox.reset()
    return running_sandbox


@pytest.fixture
def connect(sandbox: SandboxClient) -> Connect:
    """Return a boto3 client factory: connect(service, key or STS credentials)."""

    def factory(service: str, credentials: AccessKey | dict[str, Any], **config: Any) -> Any:
        return boto3.client(
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
