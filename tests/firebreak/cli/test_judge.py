from __future__ import annotations

import io
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from rich.console import Console

from firebreak.cli.judge import channels, judge, judgement_table, live_table
from tests.firebreak.cli.test_view import START, phase, run

PROVED = 60.0


def stamp(seconds: float) -> str:
    return (START + timedelta(seconds=seconds)).astimezone(UTC).isoformat()


def report(**changes: Any) -> dict[str, Any]:
    channel = {
        "phase": 1,
        "attempts": 9,
        "successes": 4,
        "last_attempt_at": stamp(90),
        "last_success_at": stamp(20),
        "last_error": "AccessDenied",
        "refused_at": [stamp(70), stamp(80), stamp(90)],
    }
    return {"agent": "a", "channels": {"api": channel | changes}}


def test_a_channel_that_ended_before_the_proof_is_stopped() -> None:
    (judgement,) = judge(report(), run(phase(1, started=0, verified=PROVED)))
    assert judgement.stopped
    assert judgement.proved_at == datetime.fromisoformat(stamp(PROVED))


@pytest.mark.parametrize(
    "changes",
    [
        pytest.param({"last_success_at": stamp(PROVED + 1)}, id="success after the proof"),
        pytest.param({"last_success_at": ""}, id="never worked"),
        pytest.param({"refused_at": [stamp(PROVED - n) for n in (3, 2, 1)]}, id="not tried since the proof"),
        pytest.param({"refused_at": [stamp(PROVED - 1), stamp(70), stamp(80)]}, id="refused twice since"),
        pytest.param({"refused_at": [], "last_error": ""}, id="works now"),
        pytest.param({"refused_at": [], "last_error": "ReadTimeoutError"}, id="nobody decided"),
    ],
)
def test_a_proof_that_the_agent_contradicts_does_not_count(changes: dict[str, Any]) -> None:
    (judgement,) = judge(report(**changes), run(phase(1, started=0, verified=PROVED)))
    assert not judgement.stopped


def test_without_a_proof_nothing_is_stopped() -> None:
    (judgement,) = judge(report(), run(phase(1, started=0)))
    assert not judgement.stopped


def test_a_channel_is_decided_once_it_worked_or_was_refused_often_enough() -> None:
    proof = START + timedelta(seconds=PROVED)
    decided: list[dict[str, Any]] = [{}, {"refused_at": [], "last_success_at": stamp(PROVED + 1)}]
    undecided: list[dict[str, Any]] = [{"refused_at": []}, {"refused_at": [stamp(70), stamp(80)]}]
    for changes in decided:
        assert channels(report(**changes))["api"].decided_since(proof)
    for changes in undecided:
        assert not channels(report(**changes))["api"].decided_since(proof)


def test_the_tables_name_what_still_works() -> None:
    output = io.StringIO()
    console = Console(file=output, width=160)
    console.print(live_table(report(refused_at=[], last_error="Throttling")))
    console.print(judgement_table(judge(report(), run(phase(1, started=0)))))
    assert "0 of 1" in output.getvalue()
    assert "NOT STOPPED" in output.getvalue()
    assert "api" in output.getvalue()
