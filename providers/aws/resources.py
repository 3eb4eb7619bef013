"""What an inventory may declare of an AWS workload: one class per kind, each with strict references."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator

from firebreak.declarations import Declared, ResourceT, Sha256, of_kind
from firebreak.model import Resource, Workload

_ARN = r"^arn:aws(?:-[a-z]+)*:"
_REGION = r"[a-z]{2}(?:-[a-z]+)+-[0-9]"
_ACCOUNT = r"[0-9]{12}"
_BUCKET = r"[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]"
_PATH = r"(?:[\u0021-\u007e]{1,510}/)?"

SessionName = Annotated[str, Field(pattern=r"^[A-Za-z0-9_+=,.@*?-]{2,64}$")]

# GetCallerIdentity "cannot be denied" (STS API reference), so it proves nothing.
_UNDENIABLE = {"get_caller_identity", "GetCallerIdentity"}
# HEAD answers carry no error code, so their denial cannot be told from other failures.
_READ_ONLY = re.compile(
    r"^(?:Get|List|Describe|BatchGet|Query|Scan|Lookup|Search)(?=[A-Z_]|$)", re.IGNORECASE
)


class Probe(BaseModel):
    """A cheap read that the identity is allowed in peace; its refusal proves the revocation."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    service: Annotated[str, Field(pattern=r"^[a-z][a-z0-9-]{1,40}$")]
    operation: Annotated[str, Field(pattern=r"^[A-Za-z][A-Za-z0-9_]{2,60}$")]
    """The API's name (``ListObjectsV2``) or the SDK's (``list_objects_v2``)."""
    parameters: dict[str, Any] = Field(default_factory=dict)

    @field_validator("operation")
    @classmethod
    def _reads_and_can_be_denied(cls, value: str) -> str:
        if value in _UNDENIABLE:
            raise ValueError("GetCallerIdentity cannot be denied, so it is no probe")
        if not _READ_ONLY.match(value):
            raise ValueError(f"a probe only reads: {value} is not a Get, List, Describe, Query or Scan")
        return value

    @property
    def title(self) -> str:
        """The probe as people read it."""
        return f"{self.service}:{self.operation}"


class IamRole(Declared):
    """A role that the workload's code runs as."""

    kind: Literal["iam-role"]
    ref: Annotated[str, Field(pattern=rf"{_ARN}iam::{_ACCOUNT}:role/{_PATH}[A-Za-z0-9_+=,.@-]{{1,64}}$")]
    probes: tuple[Probe, ...] = ()
    session_names: tuple[SessionName, ...] = ()
    """For a role shared with others: the role session names that are this workload's."""
    used_by: tuple[str, ...] = ()
    """Instances (ids) and functions (ARNs) of this workload that run as it, and whom its trust policy admits
    for this workload (a service such as ``ecs-tasks.amazonaws.com``, an identity provider's ARN, a principal
    of another account): not counted as blast radius.
    """


class IamUser(Declared):
    """A user with long-lived keys."""

    kind: Literal["iam-user"]
    ref: Annotated[str, Field(pattern=rf"{_ARN}iam::{_ACCOUNT}:user/{_PATH}[A-Za-z0-9_+=,.@-]{{1,64}}$")]
    probe_secret: Annotated[
        str, Field(pattern=rf"{_ARN}secretsmanager:{_REGION}:{_ACCOUNT}:secret:[A-Za-z0-9_/+=.@-]+$|^$")
    ] = ""
    """Secret with ``{"access_key_id", "secret_access_key"}`` of the user, read for the live probe."""
    probes: tuple[Probe, ...] = ()


class Ec2Instance(Declared):
    """A virtual machine; every interface it has is isolated."""

    kind: Literal["ec2-instance"]
    ref: Annotated[str, Field(pattern=r"^i-[0-9a-f]{8,17}$")]


class NetworkInterface(Declared):
    """One elastic network interface, for example of a task, a function or an endpoint."""

    kind: Literal["network-interface"]
    ref: Annotated[str, Field(pattern=r"^eni-[0-9a-f]{8,17}$")]


class Subnet(Declared):
    """A subnet; isolated as a whole only where it is the workload's alone."""

    kind: Literal["subnet"]
    ref: Annotated[str, Field(pattern=r"^subnet-[0-9a-f]{8,17}$")]
    dedicated: bool = False


class FirewallPolicy(Declared):
    """The Network Firewall policy that the workload's VPC traffic passes."""

    kind: Literal["firewall-policy"]
    ref: Annotated[
        str,
        Field(pattern=rf"{_ARN}network-firewall:{_REGION}:{_ACCOUNT}:firewall-policy/[A-Za-z0-9-]{{1,128}}$"),
    ]


class FlowLog(Declared):
    """Where the VPC's flow log records arrive: a log group or an S3 prefix."""

    kind: Literal["flow-log"]
    ref: Annotated[
        str,
        Field(
            pattern=rf"{_ARN}(?:logs:{_REGION}:{_ACCOUNT}:log-group:[A-Za-z0-9_./#-]{{1,512}}(?::\*)?"
            rf"|s3:::{_BUCKET}(?:/[A-Za-z0-9_!.*'()/=-]*)?)$"
        ),
    ]


class Canary(Declared):
    """The Lambda function inside the VPC that tries to reach the isolated interfaces."""

    kind: Literal["canary"]
    ref: Annotated[
        str,
        Field(
            pattern=rf"{_ARN}lambda:{_REGION}:{_ACCOUNT}:function:[A-Za-z0-9_-]{{1,64}}(?::[A-Za-z0-9_$-]+)?$"
        ),
    ]
    port: Annotated[int, Field(ge=1, le=65_535)] = 443
    """A port that answered the canary before isolation."""


class SqsQueue(Declared):
    """A queue through which agents talk."""

    kind: Literal["sqs-queue"]
    ref: Annotated[str, Field(pattern=rf"{_ARN}sqs:{_REGION}:{_ACCOUNT}:[A-Za-z0-9_-]{{1,80}}(?:\.fifo)?$")]


class SnsTopic(Declared):
    """A topic through which agents talk."""

    kind: Literal["sns-topic"]
    ref: Annotated[str, Field(pattern=rf"{_ARN}sns:{_REGION}:{_ACCOUNT}:[A-Za-z0-9_-]{{1,256}}(?:\.fifo)?$")]


class S3Object(Declared):
    """A model, prompt, configuration or memory file."""

    kind: Literal["s3-object"]
    ref: Annotated[str, Field(pattern=rf"{_ARN}s3:::{_BUCKET}/.{{1,1024}}$")]
    role: Literal["model", "prompt", "config", "memory"]
    approved_sha256: Sha256 | None = None


class EcrRepository(Declared):
    """A repository of container images."""

    kind: Literal["ecr-repository"]
    ref: Annotated[
        str, Field(pattern=rf"{_ARN}ecr:{_REGION}:{_ACCOUNT}:repository/[a-z0-9]+(?:[._/-]+[a-z0-9]+)*$")
    ]
    tag: Annotated[str, Field(pattern=r"^[A-Za-z0-9_][A-Za-z0-9._-]{0,127}$")] = "latest"
    approved_digest: Annotated[str, Field(pattern=r"^sha256:[0-9a-f]{64}$")] | None = None


class ModelPackage(Declared):
    """A version in the SageMaker model registry."""

    kind: Literal["model-package"]
    ref: Annotated[
        str,
        Field(
            pattern=rf"{_ARN}sagemaker:{_REGION}:{_ACCOUNT}:model-package/[A-Za-z0-9-]{{1,63}}(?:/[0-9]{{1,9}})?$"
        ),
    ]
    approved_sha256: Sha256 | None = None


class DynamoDbTable(Declared):
    """A table that holds agent memory."""

    kind: Literal["dynamodb-table"]
    ref: Annotated[str, Field(pattern=rf"{_ARN}dynamodb:{_REGION}:{_ACCOUNT}:table/[A-Za-z0-9_.-]{{3,255}}$")]


class S3Prefix(Declared):
    """A folder that holds agent memory or a vector store."""

    kind: Literal["s3-prefix"]
    ref: Annotated[str, Field(pattern=rf"{_ARN}s3:::{_BUCKET}/(?:.{{1,1023}}/)?$")]


class CodePipelineStage(Declared):
    """A stage whose inbound transition promotes artifacts."""

    kind: Literal["codepipeline-stage"]
    ref: Annotated[str, Field(pattern=rf"{_ARN}codepipeline:{_REGION}:{_ACCOUNT}:[A-Za-z0-9.@_-]{{1,100}}$")]
    stage: Annotated[str, Field(pattern=r"^[A-Za-z0-9.@_-]{1,100}$")]


class LogGroup(Declared):
    """The workload's own logs: inference, agent, application."""

    kind: Literal["log-group"]
    ref: Annotated[
        str, Field(pattern=rf"{_ARN}logs:{_REGION}:{_ACCOUNT}:log-group:[A-Za-z0-9_./#-]{{1,512}}(?::\*)?$")
    ]


class CloudTrail(Declared):
    """The account's audit log."""

    kind: Literal["cloudtrail"]
    ref: Literal["account"]


class Detective(Declared):
    """The account's Detective behaviour graph."""

    kind: Literal["detective"]
    ref: Literal["account"]


class SecurityHubFinding(Declared):
    """The Security Hub finding that this incident answers."""

    kind: Literal["security-hub-finding"]
    ref: Annotated[str, Field(pattern=r"^[\u0021-\u007e]{1,512}$")]
    product_arn: Annotated[
        str, Field(pattern=rf"{_ARN}securityhub:{_REGION}:(?:{_ACCOUNT})?:product/[A-Za-z0-9_/.-]+$")
    ]


KINDS: Mapping[str, Mapping[str, type[Resource]]] = {
    "identities": {"iam-role": IamRole, "iam-user": IamUser},
    "network": {
        "ec2-instance": Ec2Instance,
        "network-interface": NetworkInterface,
        "subnet": Subnet,
        "firewall-policy": FirewallPolicy,
        "flow-log": FlowLog,
        "canary": Canary,
    },
    "channels": {"sqs-queue": SqsQueue, "sns-topic": SnsTopic},
    "artifacts": {"s3-object": S3Object, "ecr-repository": EcrRepository, "model-package": ModelPackage},
    "stores": {"dynamodb-table": DynamoDbTable, "s3-prefix": S3Prefix},
    "pipelines": {"codepipeline-stage": CodePipelineStage},
    "evidence_sources": {
        "log-group": LogGroup,
        "cloudtrail": CloudTrail,
        "detective": Detective,
        "security-hub-finding": SecurityHubFinding,
    },
}


def declared(workload: Workload, wanted: type[ResourceT], ref: str) -> ResourceT | None:
    """Find the declaration of one resource, or None where it was discovered and not declared."""
    return next((each for each in of_kind(workload.resources(), wanted) if each.ref == ref), None)
