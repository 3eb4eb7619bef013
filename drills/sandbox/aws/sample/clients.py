"""Make the boto3 clients that seeding uses: administrators of the sandbox accounts, and sessions of roles."""

from __future__ import annotations

import json
import threading
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import boto3
from botocore.config import Config

if TYPE_CHECKING:
    from collections.abc import Mapping

    from drills.sandbox.aws.client import SandboxClient

Json = dict[str, Any]
CONNECTIONS = 32


@dataclass
class Admin:
    """An administrator of one account: a client of every service."""

    endpoint: str
    account: str
    region: str
    credentials: Mapping[str, str] = field(repr=False)
    _clients: dict[str, Any] = field(default_factory=dict, repr=False)
    _lock: threading.Lock = field(default_factory=threading.Lock, repr=False)

    @classmethod
    def of(cls, sandbox: SandboxClient, account: str, region: str) -> Admin:
        """Become the first administrator of a sandbox account."""
        return cls(sandbox.url, account, region, sandbox.bootstrap(account).boto3_arguments())

    def client(self, service: str) -> Any:
        """Return this account's client of a service."""
        with self._lock:  # creating a client is not thread-safe; using one is
            if service not in self._clients:
                self._clients[service] = client_with(self.endpoint, self.region, service, self.credentials)
            return self._clients[service]

    def arn(self, service: str, resource: str, *, regional: bool = True) -> str:
        """Return an ARN in this account."""
        return f"arn:aws:{service}:{self.region if regional else ''}:{self.account}:{resource}"

    def role_arn(self, name: str) -> str:
        """Return the ARN of a role in this account."""
        return self.arn("iam", f"role/{name}", regional=False)


def client_with(endpoint: str, region: str, service: str, credentials: Mapping[str, str]) -> Any:
    """Return a client that uses the given credentials."""
    config = Config(max_pool_connections=CONNECTIONS, retries={"total_max_attempts": 3, "mode": "standard"})
    return boto3.client(
        service,  # type: ignore[call-overload]
        endpoint_url=endpoint,
        region_name=region,
        config=config,
        **credentials,
    )


def session_of(
    admin: Admin, role_name: str, session_name: str, *, by: Mapping[str, str] | None = None
) -> dict[str, str]:
    """Assume a role, as the administrator or with other credentials; return the arguments of a client."""
    sts = client_with(admin.endpoint, admin.region, "sts", by) if by else admin.client("sts")
    answer = sts.assume_role(
        RoleArn=admin.role_arn(role_name), RoleSessionName=session_name, DurationSeconds=SESSION_SECONDS
    )
    issued = answer["Credentials"]
    return {
        "aws_access_key_id": issued["AccessKeyId"],
        "aws_secret_access_key": issued["SecretAccessKey"],
        "aws_session_token": issued["SessionToken"],
    }


# The longest session a role can allow (IAM API reference, CreateRole, MaxSessionDuration).
SESSION_SECONDS = 43_200


def document(*statements: Json) -> str:
    """Return a policy document of these statements."""
    return json.dumps({"Version": "2012-10-17", "Statement": list(statements)})


def trust(*principals: Json, external_id: str = "") -> str:
    """Return a trust policy with one statement per principal."""
    condition = {"Condition": {"StringEquals": {"sts:ExternalId": external_id}}} if external_id else {}
    return document(
        *(
            {"Effect": "Allow", "Principal": item, "Action": "sts:AssumeRole", **condition}
            for item in principals
        )
    )


def allow(actions: list[str], *resources: str) -> Json:
    """Return a statement that allows the actions on the resources (on everything without one)."""
    return {"Effect": "Allow", "Action": actions, "Resource": list(resources) or ["*"]}
