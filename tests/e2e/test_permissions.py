"""The responder needs exactly what ``firebreak permissions`` prints, and a plan says what it lacks."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import pytest

from firebreak.devserver import DevServer
from firebreak.measure import measures
from firebreak.model import Cloud, JsonObject, Verdict
from tests.e2e.rights import RIGHTS, Rights
from tests.e2e.scene import CLOUDS, Made, Scene
from tests.e2e.stack import Stack, running_stack, unproved

AT_ONCE = 16
BLOBS = "Microsoft.Storage/storageAccounts/blobServices/containers/blobs"
ASKING = {
    Cloud.AWS: {"iam:SimulatePrincipalPolicy"},
    Cloud.AZURE: {"Microsoft.Authorization/permissions/read", "Microsoft.Resources/subscriptions/read"},
}
"""What it takes to ask what one may do."""
ACTIONS = {
    cloud: sorted({p.action for kind in measures(cloud) for p in kind.permissions} | ASKING[cloud])
    for cloud in CLOUDS
}


@dataclass(frozen=True)
class Printed:
    """The sample under no more than the printed documents, and those documents."""

    stack: Stack
    documents: dict[str, JsonObject]
    rights: Rights

    @property
    def responder(self) -> JsonObject:
        """The responder's document."""
        return self.documents["responder"]


@pytest.fixture(scope="module")
def printed(scene: Scene, server: DevServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Printed]:
    rights = RIGHTS[scene.cloud]
    with running_stack(scene, server, tmp_path_factory.mktemp("stack")) as stack:
        command = stack.cli("permissions", "--cloud", scene.cloud.value)
        assert command.code == 0, command.err
        for role in ("responder", "evidence"):
            rights.attach(stack, role, command.document[role])
        yield Printed(stack, command.document, rights)


@pytest.fixture(scope="module")
def refusals(printed: Printed) -> dict[str, str]:
    """For each action that the sample needs: why a plan without it is refused.

    Several are taken away at a time, since each must be named. Where a plan cannot even be made without one
    of them, the others get a plan of their own.
    """
    needed = sorted(printed.rights.allowed(printed.responder))
    reasons: dict[str, str] = {}
    for start in range(0, len(needed), AT_ONCE):
        reasons |= refused(printed, needed[start : start + AT_ONCE])
    return reasons


def refused(printed: Printed, actions: list[str]) -> dict[str, str]:
    stack = printed.stack
    with printed.rights.lacking(stack, printed.responder, *actions):
        before = stack.seq()
        preview = stack.preview()
        assert stack.mutating(before) == []
    reasons = " ".join((*preview.refusals, *preview.missing_permissions))
    if all(action in reasons for action in actions) or len(actions) == 1:
        return dict.fromkeys(actions, reasons)
    half = len(actions) // 2
    return refused(printed, actions[:half]) | refused(printed, actions[half:])


def test_no_document_allows_everything(printed: Printed) -> None:
    granting = {role: document for role, document in printed.documents.items() if grants(document)}
    assert granting.keys() >= {"responder", "evidence", "discovery"}
    for role, document in granting.items():
        assert not any("*" in action for action in printed.rights.allowed(document)), role


def grants(document: JsonObject) -> bool:
    return bool(document.get("policies") or document.get("roles"))


def test_only_actions_that_no_resource_narrows_are_allowed_on_everything(printed: Printed) -> None:
    changing = {action for action in wide(printed) if not reads(action)}
    cloud = printed.stack.cloud
    for action in sorted(changing - ASKING[cloud]):
        declared = {p.scope for kind in measures(cloud) for p in kind.permissions if p.action == action}
        assert {scope.value for scope in declared} == {"any"}, action


def wide(printed: Printed) -> set[str]:
    """What the responder may do in the whole account."""
    if printed.stack.cloud is Cloud.AZURE:
        account = f"/subscriptions/{printed.stack.sample.workload_account}"
        roles = [role for role in printed.responder["roles"] if account in role["assign_at"]]
        return printed.rights.allowed({"roles": roles})
    statements = [each for document in printed.responder["policies"] for each in document["Statement"]]
    return {action for each in statements if "*" in each["Resource"] for action in each["Action"]}


def reads(action: str) -> bool:
    word = action.rsplit(":", maxsplit=1)[-1]
    return word.lower().endswith("/read") or word.startswith(("Describe", "List", "Get", "Lookup"))


@pytest.mark.parametrize(
    ("scene", "action"),
    [pytest.param(cloud, each, id=f"{cloud}-{each}") for cloud in CLOUDS for each in ACTIONS[cloud]],
    indirect=["scene"],
    scope="module",  # an action that is no fixture would make it the function's, with a stack for each
)
def test_a_missing_permission_is_named_before_anything_is_changed(
    refusals: dict[str, str], scene: Scene, action: str
) -> None:
    assert action in refusals or action in FOR_VARIANTS[scene.cloud], (
        f"{action} is declared, and the sample does not need it"
    )
    assert action in refusals.get(action, action)


FOR_VARIANTS = {
    # Needed for users with long-lived keys, which the sample agent has not.
    Cloud.AWS: frozenset(
        {
            "iam:DeleteUserPolicy",
            "iam:GetLoginProfile",
            "iam:GetUser",
            "iam:GetUserPolicy",
            "iam:ListAccessKeys",
            "iam:ListServiceSpecificCredentials",
            "iam:ListUserPolicies",
            "iam:PutUserPolicy",
            "iam:UpdateAccessKey",
            "iam:UpdateServiceSpecificCredential",
            "secretsmanager:GetSecretValue",
        }
    ),
    # Registries of models, version-level holds, an agent's own user; tables are named when it is printed. Who
    # may write applications and memberships, which the sample needs too, may read them.
    Cloud.AZURE: frozenset(
        {
            "Microsoft.MachineLearningServices/registries/models/versions/read",
            "Microsoft.MachineLearningServices/registries/models/versions/write",
            "Microsoft.OperationalInsights/workspaces/query/*/read",
            f"data:{BLOBS}/immutableStorage/runAsSuperUser/action",
            "graph:Application.Read.All",
            "graph:GroupMember.Read.All",
            "graph:User.EnableDisableAccount.All",
            "graph:User.Read.All",
            "graph:User.RevokeSessions.All",
        }
    ),
}


@pytest.mark.parametrize(
    ("scene", "action"),
    [
        (Cloud.AWS, "iam:PutRolePolicy"),
        (Cloud.AWS, "ec2:DescribeNetworkInterfaces"),
        (Cloud.AWS, "s3:PutBucketPolicy"),
        (Cloud.AZURE, "Microsoft.Authorization/roleAssignments/delete"),
        (Cloud.AZURE, "Microsoft.Network/networkInterfaces/read"),
        (Cloud.AZURE, f"data:{BLOBS}/write"),
        (Cloud.AZURE, "graph:Application.ReadWrite.All"),
    ],
    indirect=["scene"],
    scope="module",  # an action that is no fixture would make it the function's, with a stack for each
)
def test_a_run_that_lacks_a_permission_is_refused_with_exit_code_4(printed: Printed, action: str) -> None:
    stack = printed.stack
    with printed.rights.lacking(stack, printed.responder, action):
        before = stack.seq()
        command = stack.cli("contain", stack.workload_id, "--reason", "exfiltration", "--wait", "--json")
        assert command.code == 4, command.out
        assert action in " ".join(command.document["refusals"])
        assert stack.mutating(before) == []


def test_containment_and_release_succeed_under_exactly_the_printed_documents(printed: Printed) -> None:
    stack = printed.stack
    before = stack.seq()
    document = stack.contain()
    assert document.verdict is Verdict.CONTAINED, unproved(document)
    assert stack.release(document.incident_id).verdict is Verdict.RELEASED
    ours = [each for each in stack.scene.calls(before) if FIREBREAK[stack.cloud] in each.who]
    denied = {each.name for each in ours if each.error in stack.scene.denials and not probe(each)}
    assert denied == set()


FIREBREAK = {Cloud.AWS: "assumed-role/firebreak-", Cloud.AZURE: "firebreak-"}
TRIED = frozenset(
    {
        "sts:AssumeRole",
        "ecr:BatchDeleteImage",
        "dynamodb:DeleteItem",
        "s3:DeleteObject",
        "s3:DeleteObjectVersion",
        "ecr:PutImage",
        "dynamodb:PutItem",
        "s3:PutObject",
        "sagemaker:UpdateModelPackage",
    }
)


def probe(call: Made) -> bool:
    """A call that is made in order to be refused: on a canary, a locked exhibit, or the blocked role."""
    return call.name in TRIED
