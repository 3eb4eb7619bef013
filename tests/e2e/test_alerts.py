"""Several alerts for one workload: one run, every alert on record, and one pre-state to go back to."""

from __future__ import annotations

from firebreak.model import Cloud, Verdict
from tests.e2e.estate import differences
from tests.e2e.stack import Stack, alert, measures_of, unproved

ONCE = {
    # the deny, and the cut-off of older sessions
    Cloud.AWS: {"iam:PutRolePolicy": 2, "iam:UpdateAssumeRolePolicy": 1},
    Cloud.AZURE: {
        "Microsoft.Authorization/denyAssignments/write": 2,
        # the cluster's, and the one by which Firebreak itself probes
        "Microsoft.ManagedIdentity/userAssignedIdentities/federatedIdentityCredentials/delete": 2,
    },
}
"""How often one containment makes some calls with effect."""

PROVED_FIRST_ONLY = {
    # No session from before can be had of a role that is blocked already, and without one nothing is proved.
    Cloud.AWS: {"aws.deny-all", "aws.revoke-sessions"},
    # And what keys did before cannot be seen where keys are off already.
    Cloud.AZURE: {"azure.remove-role-assignments", "azure.disable-local-auth"},
}
STANDING = {
    Cloud.AWS: {"aws.deny-all", "aws.block-assume-role", "aws.reject-model-package"},
    Cloud.AZURE: {"azure.deny-assignment", "azure.remove-federated-credentials", "azure.archive-model"},
}


def test_alerts_at_the_same_moment_are_one_run_with_all_of_them_on_record(fresh_stack: Stack) -> None:
    before = fresh_stack.seq()
    alerts = [alert(source=name, requested_by=name) for name in ("siem", "detector", "hotline")]
    started = fresh_stack.start_at_once(*alerts)
    assert len({each.workflow_id for each in started}) == 1
    assert len({each.incident_id for each in started}) == 1
    assert sorted(each.joined for each in started) == [False, True, True]
    document = fresh_stack.ended(started[0])
    assert document.verdict is Verdict.CONTAINED, unproved(document)
    assert document.alerts == 3
    effects, once = fresh_stack.effects(before), ONCE[fresh_stack.cloud]
    assert {name: effects.count(name) for name in once} == once


def test_a_later_alert_from_the_command_line_joins_the_run_and_says_so(fresh_stack: Stack) -> None:
    with fresh_stack.edited(consent={"mode": "approval", "timeout_seconds": 600}):
        first = fresh_stack.start()
        fresh_stack.settled(first)
        joined = fresh_stack.cli(
            "contain",
            fresh_stack.workload_id,
            "--reason",
            "a second alert",
            "--incident",
            "INC-other",
            "--json",
        )
        assert joined.code == 0, joined.err
        assert joined.document["joined"] is True
        assert joined.document["incident_id"] == first.incident_id
        assert fresh_stack.status(first).alerts == 2
        fresh_stack.decide(first.incident_id, "reject")
        assert fresh_stack.ended(first).verdict is Verdict.REJECTED


def test_contained_twice_it_is_released_to_the_state_from_before_the_first_time(fresh_stack: Stack) -> None:
    fresh_stack.edit(budgets={"identity_revoke": 6})
    scene = fresh_stack.scene
    original = scene.describe()
    first = fresh_stack.start()
    assert fresh_stack.ended(first).verdict is Verdict.CONTAINED
    second = fresh_stack.start()
    waiting = fresh_stack.settled(second)
    assert second.incident_id != first.incident_id
    assert any(f"still contained from {first.incident_id}" in note for note in waiting.notes)
    held_back = {name.split()[0] for name, why in unproved(waiting).items() if why}
    assert held_back == PROVED_FIRST_ONLY[fresh_stack.cloud]
    fresh_stack.decide(second.incident_id, "proceed", reason="proved by the first incident")
    document = fresh_stack.ended(second)
    assert document.verdict is Verdict.PARTIALLY_CONTAINED
    assert [phase.verdict for phase in document.phases[1:]] == [Verdict.CONTAINED] * 3
    standing = {m.name for m in measures_of(document) if m.change == "already in place"}
    assert STANDING[fresh_stack.cloud] <= standing
    released = fresh_stack.release(second.incident_id)
    assert released.verdict is Verdict.RELEASED, unproved(released)
    left = differences(original, scene.describe())
    assert {name: change for name, change in left.items() if not scene.is_kept(name, *change)} == {}
