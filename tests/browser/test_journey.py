"""Two people, two browsers, one real stack: trigger, watch, approve, contained, report, release."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.browser.chromium import Browser
from tests.browser.journey import travelled


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_two_people_go_all_the_way(
    tmp_path: Path, opened: Callable[[], Browser], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("TEMPORAL_ADDRESS", raising=False)
    shot: list[str] = []
    with travelled(tmp_path, opened, lambda _, name: shot.append(name)) as journey:
        journey.go()
        assert (journey.ada.complaints(), journey.ben.complaints()) == ([], [])
    assert shot == ["workload", "approval", "running", "contained", "evidence", "incidents"]
