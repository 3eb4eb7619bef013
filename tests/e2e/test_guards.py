"""What containment refuses to touch: exit code 4, and not one call that could change anything."""

from __future__ import annotations

import json

import pytest

from firebreak.cli.session import exit_code
from firebreak.model import Cloud, JsonObject, Mode, Verdict
from tests.e2e.scene import Made
from tests.e2e.stack import Command, Stack

Outcome = tuple[Command, list[Made]]


def contain(stack: Stack, *more: str) -> Outcome:
    """The command, and every call on the way that could have changed something, in any account."""
    before = stack.seq()
    done = stack.cli("contain", stack.workload_id, "--reason", "exfiltration", "--json", *more)
    return done, stack.mutating(before)


def assert_refused(outcome: Outcome, *words: str) -> None:
    command, mutating = outcome
    assert command.code == 4, f"{command.err}\n{command.out}"
    assert command.document["verdict"] == "refused"
    reasons = " | ".join(command.document["refusals"])
    for word in words:
        assert word in reasons
    assert command.document["evidence"] is None
    assert mutating == []


def test_a_plan_makes_no_mutating_call_in_any_account(stack: Stack) -> None:
    command, mutating = contain(stack, "--plan")
    assert command.code == 0, command.err
    assert mutating == []
    steps = command.document["steps"]
    assert {step["phase"] for step in steps} == {1, 2, 3, 4}
    assert all({"measure", "target", "permissions", "reversible", "blast_radius"} <= set(s) for s in steps)
    assert all(step["permissions"] for step in steps)


def test_a_protected_principal_is_refused(stack: Stack) -> None:
    agent = stack.entry()["identities"][0]["ref"]
    with stack.reconfigured(FIREBREAK_GUARD__PROTECTED_PRINCIPALS=f'["{agent}"]') as changed:
        assert_refused(contain(changed, "--wait"), "protected principal", agent)
        planned, mutating = contain(changed, "--plan")
    assert planned.code == 4
    assert mutating == []


def test_firebreaks_own_responder_is_refused_as_an_identity(stack: Stack) -> None:
    own = responder(stack)
    with stack.edited(identities=[own]):
        assert_refused(contain(stack, "--wait"), "Firebreak's own principal", own["ref"])


def responder(stack: Stack) -> JsonObject:
    """Firebreak's own responder, declared as if it were a workload's identity."""
    if stack.cloud is Cloud.AWS:
        return {"kind": "iam-role", "ref": stack.sample.responder_role_arn}
    own = stack.sample.responder
    entry = {"kind": "service-principal", "ref": own.object_id, "client_id": own.client_id}
    return {**entry, "tenant_id": own.tenant}


def test_the_orchestrator_is_refused_as_an_identity(stack: Stack) -> None:
    if stack.cloud is Cloud.AZURE:
        pytest.skip("on Azure the orchestrator is no principal of its own: a federated token alone")
    user = "arn:aws:iam::111111111111:user/firebreak-orchestrator"
    lone = dict.fromkeys(("network", "channels", "artifacts", "stores", "pipelines"))
    without = {"network": "none", "artifacts": "none"}
    own = {"account": "111111111111", "access": None, "without": without}
    sources = [{"kind": "cloudtrail", "ref": "account"}]
    with stack.edited(
        identities=[{"kind": "iam-user", "ref": user}], evidence_sources=sources, **lone, **own
    ):
        assert_refused(contain(stack, "--wait"), f"Firebreak's own principal {user}")


def test_an_account_that_the_responder_is_not_in_is_refused(stack: Stack) -> None:
    if stack.cloud is Cloud.AWS:  # the session is in one account, whatever the inventory says
        with stack.edited(access=None):
            assert_refused(contain(stack, "--wait"), "111111111111", "222222222222")
        return
    own, other = stack.sample.workload_account, stack.sample.evidence_account
    moved = json.loads(json.dumps(stack.entry()).replace(own, other))
    with stack.edited(**moved):
        assert_refused(contain(stack, "--wait"), other)


def test_too_many_targets_are_refused(stack: Stack) -> None:
    with stack.reconfigured(FIREBREAK_GUARD__MAX_TARGETS="5") as changed:
        assert_refused(contain(changed, "--wait"), "exceed the limit of 5", "FIREBREAK_GUARD__MAX_TARGETS")


@pytest.mark.parametrize("listed", ["[]", '["333333333333"]', '["f1aeb1a0-0000-4000-8000-00000000ffff"]'])
def test_a_drill_outside_the_sandbox_accounts_is_refused(stack: Stack, listed: str) -> None:
    with stack.reconfigured(FIREBREAK_GUARD__SANDBOX_ACCOUNTS=listed) as changed:
        before = changed.seq()
        document = changed.contain(mode=Mode.DRILL)
        assert document.verdict is Verdict.REFUSED
        assert stack.sample.workload_account in " ".join(document.refusals)
        assert exit_code(document) == 4
        assert changed.mutating(before) == []


def test_an_undeclared_part_is_a_gap_and_refused(stack: Stack) -> None:
    with stack.edited(artifacts=None, stores=None, pipelines=None):
        assert_refused(contain(stack, "--wait"), "declares nothing for the phase artifact freeze")


def test_an_unscoped_shared_identity_is_refused_and_its_users_are_named(stack: Stack) -> None:
    identity = {**stack.entry()["identities"][0], "shared_with": ["billing-agent"]}
    with stack.edited(identities=[identity]):
        assert_refused(contain(stack, "--wait"), "billing-agent", "max_blast_radius=0")


def test_rejected_by_a_person_nothing_in_the_workloads_account_changes(stack: Stack) -> None:
    with stack.edited(consent={"mode": "approval", "timeout_seconds": 600}):
        before = stack.seq()
        started = stack.start()
        waiting = stack.settled(started)
        assert waiting.awaiting is not None
        assert waiting.awaiting.kind == "approval"
        stack.decide(started.incident_id, "reject", by="riley")
        document = stack.ended(started)
        shown = stack.cli("status", started.incident_id, "--json")
    assert document.verdict is Verdict.REJECTED
    assert shown.code == 5
    assert shown.document["verdict"] == "rejected"
    assert [(d.kind, d.by) for d in document.decisions] == [("reject", "riley")]
    assert stack.mutating(before, stack.sample.workload_account) == []


def test_an_unanswered_approval_with_the_default_to_reject_changes_nothing(stack: Stack) -> None:
    with stack.edited(consent={"mode": "approval", "timeout_seconds": 1, "default": "reject"}):
        before = stack.seq()
        command = stack.cli("contain", stack.workload_id, "--reason", "r", "--wait", "--json")
    assert command.code == 5, command.err
    assert stack.mutating(before, stack.sample.workload_account) == []
