"""Reach an AWS account as the responder: assumed sessions and shared clients.

Endpoints, proxies and profiles are the SDK's own affair (``AWS_ENDPOINT_URL``, ``AWS_PROFILE``, ...).
"""

from __future__ import annotations

import gzip
import json
import os
import sys
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, overload

import botocore.session
from botocore.config import Config
from botocore.credentials import Credentials, ReadOnlyCredentials
from botocore.loaders import JSONFileLoader

from firebreak.errors import GuardError
from firebreak.measure import now
from firebreak.model import Target, Workload
from firebreak.session import CloudMeasure, WorkloadAccess
from providers.aws.answers import translated

if TYPE_CHECKING:
    from types_boto3_cloudtrail import CloudTrailClient
    from types_boto3_codepipeline import CodePipelineClient
    from types_boto3_detective import DetectiveClient
    from types_boto3_dynamodb import DynamoDBClient
    from types_boto3_ec2 import EC2Client
    from types_boto3_ecr import ECRClient
    from types_boto3_iam import IAMClient
    from types_boto3_kms import KMSClient
    from types_boto3_lambda import LambdaClient
    from types_boto3_logs import CloudWatchLogsClient
    from types_boto3_network_firewall import NetworkFirewallClient
    from types_boto3_s3 import S3Client
    from types_boto3_sagemaker import SageMakerClient
    from types_boto3_secretsmanager import SecretsManagerClient
    from types_boto3_securityhub import SecurityHubClient
    from types_boto3_sns import SNSClient
    from types_boto3_sqs import SQSClient
    from types_boto3_sts import STSClient

# One hour is the most that role chaining allows (IAM user guide, "Roles terms and concepts").
SESSION_SECONDS = 3600
REFRESH_BEFORE = timedelta(minutes=5)

CONFIG = Config(
    retries={"mode": "standard", "total_max_attempts": 6},
    connect_timeout=5,
    read_timeout=30,
    max_pool_connections=64,
    user_agent_extra="firebreak",
)
# A probe is one observation: retrying a denial or a dropped packet would only hide when it was made.
PROBE_CONFIG = CONFIG.merge(Config(retries={"mode": "standard", "total_max_attempts": 3}, read_timeout=15))

Environment = tuple[str | None, ...]
SDK_VARIABLES = ("AWS_ENDPOINT_URL", "AWS_PROFILE", "AWS_ACCESS_KEY_ID", "AWS_CONFIG_FILE")

_borrowed: ContextVar[ReadOnlyCredentials] = ContextVar("firebreak_borrowed")
_incident: ContextVar[str] = ContextVar("firebreak_incident", default="session")


def partition(region: str) -> str:
    """Return the partition that a region's ARNs carry."""
    prefixes = {"cn-": "aws-cn", "us-gov-": "aws-us-gov", "eusc-": "aws-eusc"}
    return next((name for prefix, name in prefixes.items() if region.startswith(prefix)), "aws")


@dataclass(frozen=True)
class _Assumed:
    keys: ReadOnlyCredentials
    account: str
    expires_at: datetime


class _Entry:
    """The session of one incident in one role, refreshed by whoever finds it old."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.assumed: _Assumed | None = None


def environment() -> Environment:
    """Return the SDK's settings that decide where calls go and as whom: what is cached depends on them."""
    return tuple(os.environ.get(name) for name in SDK_VARIABLES)


class Role:
    """A role that is assumed once per incident, so that CloudTrail names the incident in every call."""

    MAX_SESSIONS = 2048

    def __init__(self, arn: str, external_id: str, region: str) -> None:
        self.arn = arn
        self.external_id = external_id
        self.region = region
        self._entries: dict[str, _Entry] = {}
        self._lock = threading.Lock()

    def assumed(self, incident: str) -> _Assumed:
        """Return a session with at least some minutes to live."""
        entry = self._entry(incident)
        with entry.lock:
            if entry.assumed is None or entry.assumed.expires_at - now() < REFRESH_BEFORE:
                entry.assumed = self._assume(incident)
            return entry.assumed

    def _entry(self, incident: str) -> _Entry:
        with self._lock:
            entry = self._entries.pop(incident, None) or _Entry()
            self._entries[incident] = entry  # the newest last, so that the oldest is dropped first
            while len(self._entries) > self.MAX_SESSIONS:
                self._entries.pop(next(iter(self._entries)))
            return entry

    def _assume(self, incident: str) -> _Assumed:
        sts: STSClient = _default_client("sts", self.region)
        request: dict[str, Any] = {
            "RoleArn": self.arn,
            "RoleSessionName": f"firebreak-{incident}"[:64],
            "DurationSeconds": SESSION_SECONDS,
        }
        if self.external_id:
            request["ExternalId"] = self.external_id
        with translated(self.arn):
            answer = sts.assume_role(**request)
        issued = answer["Credentials"]
        return _Assumed(
            ReadOnlyCredentials(issued["AccessKeyId"], issued["SecretAccessKey"], issued["SessionToken"]),
            answer["AssumedRoleUser"]["Arn"].split(":")[4],
            issued["Expiration"],
        )


class _IncidentCredentials(Credentials):
    """Signs each request with the session of the incident that the calling thread works on."""

    def __init__(self, role: Role) -> None:
        super().__init__("", "", method="firebreak-incident")
        self._role = role

    def get_frozen_credentials(self) -> ReadOnlyCredentials:
        """Return the keys of the incident at hand."""
        return self._role.assumed(_incident.get()).keys


class _BorrowedCredentials(Credentials):
    """Signs each request with the credential that the calling thread borrows."""

    def __init__(self) -> None:
        super().__init__("", "", method="firebreak-borrowed")

    def get_frozen_credentials(self) -> ReadOnlyCredentials:
        """Return the borrowed keys; raises LookupError outside of ``borrowed``."""
        return _borrowed.get()


class _Resolver:
    """The SDK's credential provider, when the credentials are a role's."""

    def __init__(self, credentials: Credentials) -> None:
        self._credentials = credentials

    def load_credentials(self) -> Credentials:
        return self._credentials


_BORROWED: Literal["borrowed"] = "borrowed"
Owner = Role | Literal["borrowed"] | None
"""Whose credentials a client uses: a role's, a borrowed one, or the SDK's own."""


class _PlainFiles(JSONFileLoader):
    """Reads service models into plain dictionaries, far smaller in memory than botocore's ordered ones."""

    def load_file(self, file_path: str) -> Any:
        """The document, or None where there is no such file."""
        for ending, opened in ((".json", open), (".json.gz", gzip.open)):
            path = Path(file_path + ending)
            if path.is_file():
                with opened(path, "rb") as file:
                    return json.load(file, object_pairs_hook=_without_documentation)
        return None


def _without_documentation(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """An object of a service model, with one copy in memory of each name in it.

    Its documentation is empty, and still there: botocore reads that of S3's client context parameters.
    """
    return {
        sys.intern(key): sys.intern("" if key == "documentation" else value)
        if isinstance(value, str)  # a shape can have a member of the name "documentation"
        else value
        for key, value in pairs
    }


class _Clients:
    """Clients shared by all runs of the process: making one costs far more than a call."""

    MAX_CLIENTS = 512

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._clients: dict[tuple[Owner, str, str, Environment], Any] = {}
        self._loader: Any = None

    def get(self, role: Owner, service: str, region: str) -> Any:
        key = (role, service, region, environment())
        client = self._clients.get(key)
        if client is None:
            with self._lock:  # creating a client is not thread-safe; using one is
                client = self._clients.get(key) or self._make(role, service, region)
                if len(self._clients) >= self.MAX_CLIENTS:
                    self._clients.pop(next(iter(self._clients)))
                self._clients[key] = client
        return client

    def _make(self, role: Owner, service: str, region: str) -> Any:
        session = botocore.session.get_session()
        if self._loader is None:
            self._loader = session.get_component("data_loader")
            self._loader.file_loader = _PlainFiles()
        session.register_component("data_loader", self._loader)  # the parsed service models are shared
        if role is not None:
            credentials = _IncidentCredentials(role) if isinstance(role, Role) else _BorrowedCredentials()
            session.register_component("credential_provider", _Resolver(credentials))
        config = PROBE_CONFIG if role == _BORROWED else CONFIG
        return session.create_client(service, region_name=region, config=config)


_clients = _Clients()


def role_of(arn: str, external_id: str, region: str) -> Role:
    """Return the process-wide Role of these coordinates, so that its sessions and clients are shared."""
    return _role_in(environment(), arn, external_id, region)


@lru_cache(maxsize=256)
def _role_in(_: Environment, arn: str, external_id: str, region: str) -> Role:
    return Role(arn, external_id, region)


def _default_client(service: str, region: str) -> Any:
    return _clients.get(None, service, region)


def role_client(
    service: str, region: str, *, arn: str, external_id: str = "", incident: str = "evidence"
) -> Any:
    """Return a shared client that acts as a role; with an empty ``arn``, as the SDK's own credentials."""
    if not arn:
        return _default_client(service, region)
    _incident.set(incident)
    return _clients.get(role_of(arn, external_id, region), service, region)


@contextmanager
def borrowed(keys: Mapping[str, str], service: str, region: str) -> Iterator[Any]:
    """Lend a client that signs with one given credential, for this block and this thread only.

    The client is shared, so that a probe costs no new client; the credential is not kept.
    """
    credential = ReadOnlyCredentials(
        keys["access_key_id"], keys["secret_access_key"], keys.get("session_token") or None
    )
    lent = _borrowed.set(credential)
    try:
        yield _clients.get(_BORROWED, service, region)
    finally:
        _borrowed.reset(lent)


@dataclass(frozen=True)
class AwsAccess(WorkloadAccess):
    """The responder's way into one workload's account, for one run."""

    @property
    def role_arn(self) -> str:
        """The responder role in the workload's account, empty for the SDK's own credentials."""
        return self.run.workload.access.get("role_arn", "")

    def orchestrator_arn(self) -> str:
        """The principal behind the SDK's own credentials, which assumes the responder role."""
        return _default_caller(self.region, environment())["Arn"]

    @overload
    def client(self, service: Literal["cloudtrail"], region: str = "") -> CloudTrailClient: ...
    @overload
    def client(self, service: Literal["codepipeline"]) -> CodePipelineClient: ...
    @overload
    def client(self, service: Literal["detective"]) -> DetectiveClient: ...
    @overload
    def client(self, service: Literal["dynamodb"]) -> DynamoDBClient: ...
    @overload
    def client(self, service: Literal["ec2"]) -> EC2Client: ...
    @overload
    def client(self, service: Literal["ecr"]) -> ECRClient: ...
    @overload
    def client(self, service: Literal["iam"]) -> IAMClient: ...
    @overload
    def client(self, service: Literal["kms"]) -> KMSClient: ...
    @overload
    def client(self, service: Literal["lambda"]) -> LambdaClient: ...
    @overload
    def client(self, service: Literal["logs"]) -> CloudWatchLogsClient: ...
    @overload
    def client(self, service: Literal["network-firewall"]) -> NetworkFirewallClient: ...
    @overload
    def client(self, service: Literal["s3"]) -> S3Client: ...
    @overload
    def client(self, service: Literal["sagemaker"]) -> SageMakerClient: ...
    @overload
    def client(self, service: Literal["secretsmanager"]) -> SecretsManagerClient: ...
    @overload
    def client(self, service: Literal["securityhub"]) -> SecurityHubClient: ...
    @overload
    def client(self, service: Literal["sns"]) -> SNSClient: ...
    @overload
    def client(self, service: Literal["sqs"]) -> SQSClient: ...
    @overload
    def client(self, service: Literal["sts"]) -> STSClient: ...
    @overload
    def client(self, service: str) -> Any: ...

    def client(self, service: str, region: str = "") -> Any:
        """Return a shared client acting as the responder; raises GuardError when that is another account.

        It calls the workload's region, unless another is named.
        Ask for the client where it is used: asking also binds the calling thread to this run's session.
        """
        if not self.role_arn:
            _require_account(_default_caller(self.region, environment())["Account"], self.account)
            return _default_client(service, region or self.region)
        role = role_of(self.role_arn, self.run.workload.access.get("external_id", ""), self.region)
        _incident.set(self.run.incident_id)
        _require_account(role.assumed(self.run.incident_id).account, self.account)
        return _clients.get(role, service, region or self.region)


@lru_cache(maxsize=64)
def _default_caller(region: str, _: Environment) -> dict[str, str]:
    with translated("the SDK's own credentials"):
        answer = _default_client("sts", region).get_caller_identity()
    return {"Account": answer["Account"], "Arn": answer["Arn"]}


def _require_account(actual: str, wanted: str) -> None:
    if actual != wanted:
        raise GuardError(
            f"wrong account: the responder's session is in {actual}, the workload is in {wanted}",
            remedy="correct account or access.role_arn in the inventory",
        )


class AwsMeasure(CloudMeasure[AwsAccess]):
    """The parent of every AWS measure."""

    @classmethod
    def places(cls, action: str, target: Target, workload: Workload) -> tuple[str, ...]:  # noqa: ARG003
        """The ARNs of what an action of scope ANY touches of the workload; ``*`` where IAM knows none."""
        return ("*",)
