from __future__ import annotations

import io
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from rich.console import Console

from firebreak.cli.judge import judge, judgement_table, live_table
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
        pytest.param({"last_attempt_at": stamp(PROVED - 1)}, id="not tried since the proof"),
        pytest.param({"last_error": ""}, id="works now"),
    ],
)
def test_a_proof_that_the_agent_contradicts_does_not_count(changes: dict[str, str]) -> None:
    (judgement,) = judge(report(**changes), run(phase(1, started=0, verified=PROVED)))
    assert not judgement.stopped


def test_without_a_proof_nothing_is_stopped() -> None:
    (judgement,) = judge(report(), run(phase(1, started=0)))
    assert not judgement.stopped


def test_the_tables_name_what_still_works() -> None:
    output = io.StringIO()
    console = Console(file=output, width=160)
    console.print(live_table(report(last_error="")))
    console.print(judgement_table(judge(report(), run(phase(1, started=0)))))
    assert "0 of 1" in output.getvalue()
    assert "NOT STOPPED" in output.getvalue()
    assert "api" in output.getvalue()
