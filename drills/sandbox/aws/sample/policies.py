"""Give Firebreak's own roles exactly the policies that its permissions generator printed."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from drills.sandbox.aws.sample.accounts import EVIDENCE_ROLE, RESPONDER_ROLE
from drills.sandbox.aws.sample.clients import Admin

if TYPE_CHECKING:
    from collections.abc import Sequence

    from drills.sandbox.aws.client import SandboxClient
    from drills.sandbox.aws.sample.seeding import Sample

Json = dict[str, Any]


def attach_responder_policy(client: SandboxClient, documents: Sequence[Json], sample: Sample) -> None:
    """Leave the responder role of the workload account with these policy documents and nothing else."""
    replace_policies(Admin.of(client, sample.workload_account, sample.region), RESPONDER_ROLE, documents)


def attach_evidence_policy(client: SandboxClient, documents: Sequence[Json], sample: Sample) -> None:
    """Leave the evidence role of the evidence account with these policy documents and nothing else."""
    replace_policies(Admin.of(client, sample.evidence_account, sample.region), EVIDENCE_ROLE, documents)


def replace_policies(admin: Admin, role: str, documents: Sequence[Json]) -> None:
    """Replace every policy of a role by managed policies made of these documents."""
    iam = admin.client("iam")
    for name in iam.list_role_policies(RoleName=role)["PolicyNames"]:
        iam.delete_role_policy(RoleName=role, PolicyName=name)
    for attached in iam.list_attached_role_policies(RoleName=role)["AttachedPolicies"]:
        iam.detach_role_policy(RoleName=role, PolicyArn=attached["PolicyArn"])
        iam.delete_policy(PolicyArn=attached["PolicyArn"])
    for number, body in enumerate(documents, 1):
        policy = iam.create_policy(PolicyName=f"{role}-{number}", PolicyDocument=json.dumps(body))["Policy"]
        iam.attach_role_policy(RoleName=role, PolicyArn=policy["Arn"])
