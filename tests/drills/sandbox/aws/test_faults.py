from __future__ import annotations

import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import boto3
import pytest
from botocore.config import Config
from botocore.exceptions import HTTPClientError

from drills.sandbox.aws.client import AccessKey, SandboxClient, SandboxError

REGION = "eu-central-1"
Connect = Callable[..., Any]
Refused = Callable[..., str]


@pytest.mark.parametrize(
    "case",
    [
        ("ec2", "describe_instances", "RequestLimitExceeded"),
        ("s3", "list_buckets", "SlowDown"),
        ("iam", "list_users", "Throttling"),
        ("dynamodb", "list_tables", "ThrottlingException"),
        ("lambda", "list_functions", "TooManyRequestsException"),
    ],
)
def test_throttling_speaks_the_protocol_of_the_service(
    sandbox: SandboxClient,
    connect: Connect,
    admin: AccessKey,
    refused: Refused,
    case: tuple[str, str, str],
) -> None:
    service, operation, code = case
    sandbox.inject("throttle", service=service)
    call = getattr(connect(service, admin), operation)
    assert refused(call) == code
    call()


def test_server_errors(sandbox: SandboxClient, connect: Connect, admin: AccessKey, refused: Refused) -> None:
    sandbox.inject("error500", times=1)
    assert refused(connect("dynamodb", admin).list_tables) == "InternalError"
    sandbox.inject("error503", times=1)
    assert refused(connect("iam", admin).list_users) == "ServiceUnavailable"


def test_a_fault_strikes_only_its_service_and_operation(
    sandbox: SandboxClient,
    connect: Connect,
    admin: AccessKey,
    refused: Refused,
) -> None:
    sandbox.inject("error500", service="iam", operation="ListUsers", times=2)
    iam = connect("iam", admin)
    iam.list_roles()
    connect("s3", admin).list_buckets()
    assert refused(iam.list_users) == "InternalError"
    assert refused(iam.list_users) == "InternalError"
    iam.list_users()


def test_a_fault_for_ever_lasts_until_it_is_cleared(
    sandbox: SandboxClient,
    connect: Connect,
    admin: AccessKey,
    refused: Refused,
) -> None:
    sandbox.inject("denied", service="s3", times=-1)
    s3 = connect("s3", admin)
    assert [refused(s3.list_buckets) for _ in range(5)] == ["AccessDenied"] * 5
    sandbox.clear_faults()
    s3.list_buckets()


def test_every_operation_fails_its_first_call_only(
    sandbox: SandboxClient,
    connect: Connect,
    admin: AccessKey,
    refused: Refused,
) -> None:
    sandbox.inject("throttle", once_per_operation=True)
    iam, s3 = connect("iam", admin), connect("s3", admin)
    assert refused(iam.list_users) == "Throttling"
    iam.list_users()
    assert refused(iam.list_roles) == "Throttling"
    assert refused(s3.list_buckets) == "SlowDown"
    s3.list_buckets()
    iam.list_users()


def test_sdk_retries_get_through(sandbox: SandboxClient, admin: AccessKey) -> None:
    sandbox.inject("throttle", times=2)
    client: Any = boto3.client
    iam = client(
        "iam",
        endpoint_url=sandbox.url,
        region_name=REGION,
        config=Config(retries={"mode": "standard", "max_attempts": 4}),
        **admin.boto3_arguments(),
    )
    assert iam.list_users()["ResponseMetadata"]["RetryAttempts"] == 2


def test_a_dropped_connection_leaves_no_effect(
    sandbox: SandboxClient, connect: Connect, admin: AccessKey
) -> None:
    iam = connect("iam", admin)
    sandbox.inject("drop", operation="CreateUser")
    with pytest.raises(HTTPClientError):
        iam.create_user(UserName="agent")
    assert "agent" not in [user["UserName"] for user in iam.list_users()["Users"]]


def test_a_lost_answer_leaves_the_effect(sandbox: SandboxClient, connect: Connect, admin: AccessKey) -> None:
    iam = connect("iam", admin)
    sandbox.inject("drop_after", operation="CreateUser")
    with pytest.raises(HTTPClientError):
        iam.create_user(UserName="agent")
    assert "agent" in [user["UserName"] for user in iam.list_users()["Users"]]


def test_latency_delays_each_call_and_lets_calls_overlap(
    sandbox: SandboxClient,
    connect: Connect,
    admin: AccessKey,
) -> None:
    iam = connect("iam", admin, max_pool_connections=20)
    iam.list_users()
    sandbox.configure(latency_ms=200)
    started = time.monotonic()
    iam.list_users()
    assert time.monotonic() - started >= 0.2
    started = time.monotonic()
    with ThreadPoolExecutor(20) as pool:
        list(pool.map(lambda _: iam.list_users(), range(20)))
    assert time.monotonic() - started < 20 * 0.2 / 2


def test_injected_faults_are_recorded_and_change_nothing(
    sandbox: SandboxClient,
    connect: Connect,
    admin: AccessKey,
    refused: Refused,
) -> None:
    sandbox.inject("error500", operation="CreateUser")
    refused(connect("iam", admin).create_user, UserName="agent")
    recorded = sandbox.calls().calls[-1]
    assert (recorded["operation"], recorded["status"], recorded["error_code"]) == (
        "CreateUser",
        500,
        "InternalError",
    )


def test_bad_control_requests_are_refused(sandbox: SandboxClient) -> None:
    for path, body in (
        ("/faults", {"kind": "nonsense"}),
        ("/faults", {"kind": "drop", "times": "many"}),
        ("/settings", {"latency_ms": -1}),
        ("/settings", {"latencyms": 1}),
        ("/bootstrap", {"account": "12"}),
        ("/nowhere", {}),
    ):
        with pytest.raises(SandboxError):
            sandbox.request("POST", path, body)
    assert sandbox.configure()["latency_ms"] == 0


def test_reset_empties_accounts_settings_and_faults(
    sandbox: SandboxClient,
    connect: Connect,
    admin: AccessKey,
    refused: Refused,
) -> None:
    iam = connect("iam", admin)
    iam.create_user(UserName="agent")
    sandbox.configure(latency_ms=5, iam_propagation_seconds=9)
    sandbox.inject("error500", times=-1)
    sandbox.reset()
    assert refused(iam.list_users) == "InvalidClientTokenId"
    fresh = connect("iam", sandbox.bootstrap(admin.account))
    assert [user["UserName"] for user in fresh.list_users()["Users"]] == ["sandbox-admin"]
    settings = sandbox.configure()
    assert (settings["latency_ms"], settings["iam_propagation_seconds"]) == (0, 0)


def test_fifty_threads_see_no_server_error(
    sandbox: SandboxClient,
    connect: Connect,
    admin: AccessKey,
    make_policy: Callable[..., str],
) -> None:
    iam = connect("iam", admin, max_pool_connections=50)
    trust = '{"Version":"2012-10-17","Statement":[]}'

    def work(number: int) -> None:
        name = f"role-{number}"
        iam.create_role(RoleName=name, AssumeRolePolicyDocument=trust)
        iam.put_role_policy(RoleName=name, PolicyName="p", PolicyDocument=make_policy("Deny"))
        assert iam.get_role(RoleName=name)["Role"]["RoleName"] == name
        iam.list_roles(MaxItems=10)

    with ThreadPoolExecutor(50) as pool:
        list(pool.map(work, range(300)))
    assert [call for call in sandbox.calls().calls if call["status"] >= 500] == []
