"""What a process keeps at hand of many runs."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from firebreak import engine as engine_module
from firebreak.engine import Engine
from firebreak.measure import now
from firebreak.model import Cloud, State, Stored, Target
from firebreak.settings import Settings

ROLE = Target(kind="role", ref="arn", account="1" * 12, region="eu-central-1")
STATE = State(measure="aws.deny-all", target=ROLE, taken_at=now(), values={})


@pytest.fixture
def hurried() -> Iterator[None]:
    """Threads that give way to each other everywhere."""
    usual = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    yield
    sys.setswitchinterval(usual)


@pytest.mark.usefixtures("hurried")
def test_pre_states_are_stored_side_by_side_beyond_what_is_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engine_module, "STATES", 3)
    made = Engine(Cloud.AWS, Settings())
    monkeypatch.setattr(made, "put", lambda key, _: Stored(uri=key, version_id="1", sha256=key, size=0))
    with ThreadPoolExecutor(8) as threads:
        list(threads.map(lambda number: made.put_state(f"{number}", STATE), range(50_000)))
    assert len(made._states) == 3
