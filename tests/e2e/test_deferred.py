"""Flow logs that come late, where the inventory lets the other phases go on without them."""

from __future__ import annotations

import pytest

from firebreak.model import Cloud, Method, Verdict
from tests.e2e.stack import Stack, assert_contained, named
from tests.grounds import await_flow_log

LATE_SECONDS = 20.0
"""Later than the other proofs of the phase take, and well within its budget."""
QUARANTINE = {Cloud.AWS: "aws.quarantine-security-group", Cloud.AZURE: "azure.quarantine-nsg"}


@pytest.mark.slow
def test_late_flow_logs_hold_back_the_verdict_and_not_the_next_phase(fresh_stack: Stack) -> None:
    if fresh_stack.cloud is Cloud.AWS:
        await_flow_log(fresh_stack.sandbox, fresh_stack.workload())
    fresh_stack.sandbox.configure(flow_delivery_seconds=LATE_SECONDS)
    with fresh_stack.edited(flow_log_gate="deferred"):
        started = fresh_stack.start()
        waiting = fresh_stack.until(started, lambda d: d.phases[2].started_at is not None)
        assert waiting.phases[1].verdict is Verdict.PENDING
        assert waiting.verdict is Verdict.PENDING
        document = fresh_stack.settled(started)
    assert_contained(document)
    network, artifacts = document.phases[1], document.phases[2]
    assert network.verified_at is not None
    assert artifacts.started_at is not None
    assert artifacts.started_at < network.verified_at
    for measure in named(document, QUARANTINE[fresh_stack.cloud]):
        logs = [each for each in measure.findings if each.method is Method.LOG_EVIDENCE]
        assert logs
        assert all(each.holds for each in logs), [each.observed for each in logs]
        assert measure.proved_at is not None
        assert measure.proved_at > artifacts.started_at
