"""No containment may get stuck, however busy the machine is."""

from __future__ import annotations

import sys

import pytest

from tests.soak.soak import soak


@pytest.mark.slow
def test_a_hundred_containments_beside_two_busy_neighbours_all_end() -> None:
    assert_all_contained(100)


@pytest.mark.soak
@pytest.mark.timeout(7200)
def test_two_thousand_containments_beside_two_busy_neighbours_all_end() -> None:
    assert_all_contained(2000)


def assert_all_contained(count: int) -> None:
    score = soak(count)
    sys.stdout.write(f"\n{score}\n")
    assert len(score.seconds) == count
    assert score.others == []
