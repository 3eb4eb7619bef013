"""The cloud misbehaves: it throttles, fails, takes its time to obey, or refuses for good."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import pytest

from firebreak import start
from firebreak.cli.session import exit_code
from firebreak.model import Cloud, Phase, Verdict
from firebreak.record import RunStatus
from tests.e2e.estate import differences
from tests.e2e.rogue import refusals
from tests.e2e.stack import Stack, measures_of, unproved

PROPAGATION = 20.0


@dataclass(frozen=True)
class Refusal:
    """A call that the cloud refuses for good."""

    call: str
    fault: Mapping[str, str]

    def begin(self, stack: Stack) -> None:
        """Refuse it from now on."""
        stack.sandbox.inject("denied", times=-1, **self.fault)


IN_NETWORK = {
    Cloud.AWS: Refusal("sns:SetTopicAttributes", {"service": "sns", "operation": "SetTopicAttributes"}),
    Cloud.AZURE: Refusal(
        "Microsoft.ServiceBus/namespaces/topics/write",
        {"operation": "Microsoft.ServiceBus/namespaces/topics/write"},
    ),
}
_FEDERATED = "Microsoft.ManagedIdentity/userAssignedIdentities/federatedIdentityCredentials/delete"
IN_IDENTITY = {
    Cloud.AWS: Refusal(
        "iam:UpdateAssumeRolePolicy", {"service": "iam", "operation": "UpdateAssumeRolePolicy"}
    ),
    Cloud.AZURE: Refusal(_FEDERATED, {"operation": _FEDERATED}),
}


def phase_of(document: RunStatus, phase: Phase) -> Any:
    return next(each for each in document.phases if each.phase is phase)


@pytest.fixture
def refusing_topic(fresh_stack: Stack) -> tuple[Stack, RunStatus]:
    """A run that waits for a decision: the responder may not change the topic."""
    IN_NETWORK[fresh_stack.cloud].begin(fresh_stack)
    return fresh_stack, fresh_stack.contain()


def test_every_call_throttled_once_and_failed_once(fresh_stack: Stack) -> None:
    since = fresh_stack.seq()
    fresh_stack.sandbox.inject("throttle", once_per_operation=True)
    fresh_stack.sandbox.inject("error503", once_per_operation=True)
    document = fresh_stack.contain()
    assert document.verdict is Verdict.CONTAINED, unproved(document)
    struck: Counter[str] = Counter()
    for call in fresh_stack.scene.calls(since):
        struck[call.name] += call.error in fresh_stack.scene.throttles or call.status == 503
    assert {name for name, times in struck.items() if times == 0} == set(), "calls that never met a fault"


def test_slow_identity_is_waited_for_and_proved_no_sooner(fresh_stack: Stack) -> None:
    fresh_stack.scene.slow_identity(PROPAGATION)
    with fresh_stack.rogue() as rogue:
        started = fresh_stack.start()
        document = fresh_stack.until(started, lambda d: d.phases[1].started_at is not None)
        proved_at = document.phases[0].verified_at
        assert proved_at is not None
        channels = rogue.decided_after(stamp(proved_at))
    changed_at = [m.applied_at for m in document.phases[0].measures if m.applied_at]
    took_effect_at = min(changed_at) + timedelta(seconds=PROPAGATION)
    assert proved_at >= max(changed_at) + timedelta(seconds=PROPAGATION)
    assert document.phases[1].started_at is not None
    assert document.phases[1].started_at >= proved_at
    revoked = {name: c for name, c in channels.items() if c["phase"] == Phase.IDENTITY_REVOKE}
    last = {name: datetime.fromisoformat(c["last_success_at"]) for name, c in revoked.items()}
    assert max(last.values()) > took_effect_at - timedelta(seconds=5), "the delay was not felt"
    assert {name: at for name, at in last.items() if at >= proved_at} == {}
    assert all(len(refusals(c, stamp(proved_at))) == 3 for c in revoked.values())


def test_identity_slower_than_its_budget_is_unproved_and_never_early(fresh_stack: Stack) -> None:
    fresh_stack.scene.slow_identity(TOO_LATE)
    with fresh_stack.edited(budgets={"identity_revoke": 6}):
        started = fresh_stack.start()
        waiting = fresh_stack.settled(started)
        assert waiting.awaiting is not None
        assert waiting.awaiting.phase is Phase.IDENTITY_REVOKE
        assert phase_of(waiting, Phase.NETWORK_ISOLATE).started_at is None
        late = {name.split()[0] for name in unproved(waiting)}
        assert late >= FELT_LATE[fresh_stack.cloud]
        probes = [f for m in measures_of(waiting) if m.name in late for f in m.findings]
        assert any(f.method == "live_probe" and not f.holds for f in probes)
        if fresh_stack.cloud is Cloud.AWS:
            return  # moto's ten minutes cannot be skipped; twenty seconds are waited for in the test above
        fresh_stack.scene.slow_identity(0)
        contained = retried(fresh_stack, waiting)
    assert contained.verdict is Verdict.CONTAINED, unproved(contained)
    assert contained.phases[0].verified_at is not None


TOO_LATE = 600.0
"""Seconds: "Troubleshoot Azure RBAC" says up to ten minutes."""
FELT_LATE = {
    Cloud.AWS: {"aws.deny-all"},
    Cloud.AZURE: {"azure.remove-role-assignments"},
}


def test_one_measure_refused_for_good_holds_the_gate_and_reverts_nothing(
    refusing_topic: tuple[Stack, RunStatus],
) -> None:
    stack, document = refusing_topic
    assert document.awaiting is not None
    assert document.awaiting.phase is Phase.NETWORK_ISOLATE
    assert document.verdict is not Verdict.CONTAINED
    topic = failed_measure(document)
    assert any(code in topic.error for code in stack.scene.denials)
    siblings = [m for m in phase_of(document, Phase.NETWORK_ISOLATE).measures if m is not topic]
    assert {m.verdict for m in siblings} == {Verdict.CONTAINED}
    assert phase_of(document, Phase.ARTIFACT_FREEZE).started_at is None

    before, since = stack.scene.describe(), stack.seq()
    again = retried(stack, document)
    assert again.awaiting is not None
    assert IN_NETWORK[stack.cloud].call not in stack.effects(since)
    assert unrelated(differences(before, stack.scene.describe())) == {}

    stack.sandbox.clear_faults()
    contained = retried(stack, document)
    assert contained.verdict is Verdict.CONTAINED, unproved(contained)
    assert {d.kind for d in contained.decisions} == {"retry"}
    assert all(m.verdict is Verdict.CONTAINED for m in measures_of(contained))


def test_proceeding_is_a_deviation_in_somebodys_name(refusing_topic: tuple[Stack, RunStatus]) -> None:
    stack, document = refusing_topic
    stack.decide(document.incident_id, "proceed", by="Dana Okoye", reason="the topic has no subscriber")
    ended = finished(stack, document)
    network = phase_of(ended, Phase.NETWORK_ISOLATE)
    assert ended.verdict is Verdict.PARTIALLY_CONTAINED
    assert exit_code(ended) == 3
    assert ended.contained_at is None
    assert any("Dana Okoye" in each and "no subscriber" in each for each in network.deviations)
    assert [p.verdict for p in ended.phases].count(Verdict.CONTAINED) == 3
    assert network.verified_at is None


def test_stopping_leaves_contained_what_is_contained(fresh_stack: Stack) -> None:
    stack = fresh_stack
    IN_IDENTITY[stack.cloud].begin(stack)
    document = stack.contain()
    assert document.awaiting is not None
    assert document.awaiting.phase is Phase.IDENTITY_REVOKE
    before, since = stack.scene.describe(), stack.seq()
    stack.decide(document.incident_id, "stop", by="dana", reason="handled by hand")
    ended = finished(stack, document)
    assert ended.verdict is not Verdict.CONTAINED
    assert stack.cli("status", document.incident_id, "--json").code == 3
    assert stack.effects(since) == []
    assert differences(before, stack.scene.describe()) == {}
    assert all(p.started_at is None for p in ended.phases[1:])
    assert ended.evidence is not None


def failed_measure(document: RunStatus) -> Any:
    failed = [m for m in measures_of(document) if m.error]
    assert len(failed) == 1, [m.error for m in failed]
    return failed[0]


def retried(stack: Stack, document: RunStatus) -> RunStatus:
    """The run after one more attempt, decided by a person."""
    made = len(stack.status(started_of(document)).decisions)
    stack.decide(document.incident_id, "retry", by="dana", reason="tried again")
    return stack.until(
        started_of(document),
        lambda d: len(d.decisions) > made and (d.finished or d.awaiting is not None),
    )


def finished(stack: Stack, document: RunStatus) -> RunStatus:
    return stack.until(started_of(document), lambda d: d.finished)


def started_of(document: RunStatus) -> Any:
    return start.Started(
        incident_id=document.incident_id, workflow_id=document.workflow_id, run_id="", joined=False
    )


def unrelated(found: dict[str, Any]) -> dict[str, Any]:
    """Differences without the canary function's own interface, which Lambda makes when it first runs."""
    return {
        name: (before, after)
        for name, (before, after) in found.items()
        if "Lambda" not in str((before or after).get("Description", ""))
    }


def stamp(moment: datetime) -> str:
    """As the rogue agent writes times."""
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")
