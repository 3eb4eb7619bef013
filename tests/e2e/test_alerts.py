"""Several alerts for one workload: one run, every alert on record, and one pre-state to go back to."""

from __future__ import annotations

from drills.sandbox.aws.sample.agent import AGENT_ROLE
from firebreak.model import Verdict
from tests.e2e.estate import Estate, differences
from tests.e2e.stack import Stack, alert, measures_of, unproved

KEPT = (f"role {AGENT_ROLE} policy FirebreakRevokeOlderSessions", "ec2 snap-", "finding")
"""What stays after a release by declaration."""


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
    effects = fresh_stack.effects(before, fresh_stack.sample.workload_account)
    assert effects.count("iam:PutRolePolicy") == 2  # the deny, and the cut-off of older sessions
    assert effects.count("iam:UpdateAssumeRolePolicy") == 1


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
    estate = Estate(fresh_stack.sandbox)
    original = estate.describe()
    first = fresh_stack.start()
    assert fresh_stack.ended(first).verdict is Verdict.CONTAINED
    second = fresh_stack.start()
    waiting = fresh_stack.settled(second)
    assert second.incident_id != first.incident_id
    assert any(f"still contained from {first.incident_id}" in note for note in waiting.notes)
    # No session from before can be had of a role that is blocked already, and without one nothing is proved.
    assert {name.split()[0] for name, why in unproved(waiting).items() if why} == {
        "aws.deny-all",
        "aws.revoke-sessions",
    }
    fresh_stack.decide(second.incident_id, "proceed", reason="proved by the first incident")
    document = fresh_stack.ended(second)
    assert document.verdict is Verdict.PARTIALLY_CONTAINED
    assert [phase.verdict for phase in document.phases[1:]] == [Verdict.CONTAINED] * 3
    standing = {m.name for m in measures_of(document) if m.change == "already in place"}
    assert {"aws.deny-all", "aws.block-assume-role", "aws.reject-model-package"} <= standing
    released = fresh_stack.release(second.incident_id)
    assert released.verdict is Verdict.RELEASED, unproved(released)
    left = differences(original, estate.describe())
    # Lambda keeps an interface of a function that has run: the canary's.
    canarys = {name for name, (_, after) in left.items() if "AWS Lambda VPC ENI" in str(after)}
    assert {
        name: change for name, change in left.items() if name not in canarys and not name.startswith(KEPT)
    } == {}
