"""The responder needs exactly what ``firebreak permissions`` prints, and a plan says what it lacks."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from contextlib import contextmanager
from functools import reduce
from typing import Any

import pytest

from drills.sandbox.aws.client import SandboxClient
from drills.sandbox.aws.sample import attach_evidence_policy, attach_responder_policy
from firebreak.devserver import DevServer
from firebreak.measure import measures
from firebreak.model import Cloud, Verdict
from tests.e2e.stack import Stack, running_stack, unproved

Documents = list[dict[str, Any]]

AT_ONCE = 16
SIMULATE = "iam:SimulatePrincipalPolicy"
ACTIONS = sorted({p.action for kind in measures(Cloud.AWS) for p in kind.permissions} | {SIMULATE})


@pytest.fixture(scope="module")
def printed(
    sandbox: SandboxClient, server: DevServer, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[Stack, dict[str, Any]]]:
    """The sample under no more than the printed policies, and those policies."""
    with running_stack(sandbox, server, tmp_path_factory.mktemp("stack")) as stack:
        command = stack.cli("permissions", "--cloud", "aws")
        assert command.code == 0, command.err
        documents = command.document
        attach_responder_policy(sandbox, documents["responder"]["policies"], stack.sample)
        attach_evidence_policy(sandbox, documents["evidence"]["policies"], stack.sample)
        yield stack, documents


def without(documents: Documents, action: str) -> Documents:
    """The policies with one action taken out wherever it is allowed."""
    left = copy.deepcopy(documents)
    for document in left:
        for statement in document["Statement"]:
            statement["Action"] = [each for each in statement["Action"] if each != action]
        document["Statement"] = [each for each in document["Statement"] if each["Action"]]
    return [document for document in left if document["Statement"]]


def allowed(documents: Documents) -> set[str]:
    return {action for document in documents for each in document["Statement"] for action in each["Action"]}


@contextmanager
def lacking(stack: Stack, documents: dict[str, Any], *actions: str) -> Iterator[None]:
    """The responder without some actions, for the length of a block."""
    policies = documents["responder"]["policies"]
    left = reduce(without, actions, policies)
    attach_responder_policy(stack.sandbox, left, stack.sample)
    try:
        yield
    finally:
        attach_responder_policy(stack.sandbox, policies, stack.sample)


@pytest.fixture(scope="module")
def refusals(printed: tuple[Stack, dict[str, Any]]) -> dict[str, str]:
    """For each action that the sample needs: why a plan without it is refused.

    Several are taken away at a time, since each must be named. Where a plan cannot even be made without one
    of them, the others get a plan of their own.
    """
    stack, documents = printed
    needed = sorted(allowed(documents["responder"]["policies"]))
    reasons: dict[str, str] = {}
    for start in range(0, len(needed), AT_ONCE):
        reasons |= refused(stack, documents, needed[start : start + AT_ONCE])
    return reasons


def refused(stack: Stack, documents: dict[str, Any], actions: list[str]) -> dict[str, str]:
    with lacking(stack, documents, *actions):
        before = stack.seq()
        preview = stack.preview()
        assert stack.mutating(before) == []
    reasons = " ".join((*preview.refusals, *preview.missing_permissions))
    if all(action in reasons for action in actions) or len(actions) == 1:
        return dict.fromkeys(actions, reasons)
    half = len(actions) // 2
    return refused(stack, documents, actions[:half]) | refused(stack, documents, actions[half:])


def test_no_policy_allows_everything(printed: tuple[Stack, dict[str, Any]]) -> None:
    for role, document in printed[1].items():
        actions = allowed(document["policies"])
        assert actions, role
        assert not any("*" in action for action in actions), role


def test_only_actions_that_no_resource_narrows_are_allowed_on_everything(
    printed: tuple[Stack, dict[str, Any]],
) -> None:
    wide = {
        action
        for document in printed[1]["responder"]["policies"]
        for statement in document["Statement"]
        if "*" in statement["Resource"]
        for action in statement["Action"]
    }
    changing = {a for a in wide if not a.split(":")[1].startswith(("Describe", "List", "Get", "Lookup"))}
    for action in sorted(changing):
        declared = {p.scope for kind in measures(Cloud.AWS) for p in kind.permissions if p.action == action}
        assert {scope.value for scope in declared} == {"any"}, action


@pytest.mark.parametrize("action", ACTIONS)
def test_a_missing_permission_is_named_before_anything_is_changed(
    refusals: dict[str, str], action: str
) -> None:
    assert action in refusals or action in FOR_VARIANTS, (
        f"{action} is declared, and the sample does not need it"
    )
    assert action in refusals.get(action, action)


FOR_VARIANTS = frozenset(
    {
        "iam:DeleteUserPolicy",
        "iam:GetLoginProfile",
        "iam:GetUser",
        "iam:GetUserPolicy",
        "iam:ListAccessKeys",
        "iam:ListServiceSpecificCredentials",
        "iam:PutUserPolicy",
        "iam:UpdateAccessKey",
        "iam:UpdateServiceSpecificCredential",
        "secretsmanager:GetSecretValue",
    }
)
"""Needed for users with long-lived keys, which the sample agent has not."""


@pytest.mark.parametrize(
    "action", ["iam:PutRolePolicy", "ec2:DescribeNetworkInterfaces", "s3:PutBucketPolicy"]
)
def test_a_run_that_lacks_a_permission_is_refused_with_exit_code_4(
    printed: tuple[Stack, dict[str, Any]], action: str
) -> None:
    stack, documents = printed
    with lacking(stack, documents, action):
        before = stack.seq()
        command = stack.cli("contain", stack.workload_id, "--reason", "exfiltration", "--wait", "--json")
        assert command.code == 4, command.out
        assert action in " ".join(command.document["refusals"])
        assert stack.mutating(before) == []


def test_containment_and_release_succeed_under_exactly_the_printed_policies(
    printed: tuple[Stack, dict[str, Any]],
) -> None:
    stack, _ = printed
    before = stack.seq()
    document = stack.contain()
    assert document.verdict is Verdict.CONTAINED, unproved(document)
    assert stack.release(document.incident_id).verdict is Verdict.RELEASED
    calls = stack.sandbox.calls(before, principal="assumed-role/firebreak-").calls
    denied = {
        f"{c['service']}:{c['operation']}" for c in calls if c["error_code"] in DENIALS and not probe(c)
    }
    assert denied == set()


DENIALS = {"AccessDenied", "AccessDeniedException", "UnauthorizedOperation", "AuthorizationError"}


TRIED = {
    "AssumeRole",
    "BatchDeleteImage",
    "DeleteItem",
    "DeleteObject",
    "DeleteObjectVersion",
    "PutImage",
    "PutItem",
    "PutObject",
    "UpdateModelPackage",
}


def probe(call: dict[str, Any]) -> bool:
    """A call that is made in order to be refused: on a canary, a locked exhibit, or the blocked role."""
    return call["operation"] in TRIED
