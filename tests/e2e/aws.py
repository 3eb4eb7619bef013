"""AWS, as the end-to-end tests play on it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_der_public_key

from drills.sandbox.aws.client import SandboxClient
from drills.sandbox.aws.sample import Sample, seed
from drills.sandbox.aws.sample.agent import AGENT_ROLE, NAME
from drills.sandbox.aws.sample.clients import Admin
from drills.sandbox.aws.state import DEFAULT_REGION
from firebreak.model import Cloud
from tests.e2e.aws_estate import Estate
from tests.e2e.estate import Json
from tests.e2e.scene import Made, Scene

REVOKED = f"role {AGENT_ROLE} policy FirebreakRevokeOlderSessions"
FINDING = f"finding {NAME}/unusual-egress"


class AwsScene(Scene):
    """The AWS sandbox: every call is made in an account."""

    cloud = Cloud.AWS
    denials = frozenset(
        {"AccessDenied", "AccessDeniedException", "UnauthorizedOperation", "AuthorizationError"}
    )
    throttles = frozenset(
        {"Throttling", "ThrottlingException", "RequestLimitExceeded", "SlowDown", "TooManyRequestsException"}
    )

    def __init__(self, sandbox: SandboxClient) -> None:
        self.sandbox = sandbox

    def seed(self, inventory_path: Path, **how: Any) -> Sample:
        return seed(self.sandbox, inventory_path, **how)

    def describe(self) -> dict[str, Json]:
        return Estate(self.sandbox).describe()

    def calls(self, since: int, *, mutating: bool = False) -> list[Made]:
        return [
            Made(
                name=f"{call['service']}:{call['operation']}",
                account=call["account"],
                who=call["principal_arn"],
                status=call["status"],
                error=call["error_code"] or "",
                target=tuple(call["resources"]),
                given=call["params"],
                raw=call,
            )
            for call in self.sandbox.calls(since, mutating=mutating).calls
        ]

    def makes_another(self, made: Made) -> bool:
        return str(made.raw["operation"]).startswith("Create")

    def slow_identity(self, seconds: float) -> None:
        self.sandbox.configure(iam_propagation_seconds=seconds)

    def export_key(self, sample: Any, path: Path) -> Path:
        return export_public_key(self.sandbox, sample.evidence_account, sample.signing_key_arn, path)

    def is_kept(self, name: str, before: Json, after: Json) -> bool:
        if name.startswith(REVOKED) or name == FINDING:
            return True
        # The snapshots; and Lambda keeps an interface of a function that has run: the canary's.
        described = str((after or {}).get("Description", ""))
        return before is None and described.startswith(("Firebreak incident", "AWS Lambda VPC ENI"))

    def kind_of(self, name: str) -> str:
        if "/.firebreak/" in name:
            return ""  # the canary object, placed anew by every attempt
        words = name.split()
        return f"ec2 {words[1].rpartition('-')[0]}" if words[0] == "ec2" else words[0]


def export_public_key(sandbox: SandboxClient, account: str, arn: str, path: Path) -> Path:
    """Write a key of KMS as PEM, with the account administrator's credentials and not with Firebreak's."""
    kms = Admin.of(sandbox, account, DEFAULT_REGION).client("kms")
    key = load_der_public_key(kms.get_public_key(KeyId=arn)["PublicKey"])
    path.write_bytes(key.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo))
    return path


def admin(stack: Any, account: str = "") -> Admin:
    """Every right in an account: the workload's, unless another is named."""
    return Admin.of(stack.sandbox, account or stack.sample.workload_account, stack.sample.region)
