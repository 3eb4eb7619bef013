from __future__ import annotations

import pytest

from bench import document
from bench.figures import distribution, percentile, spread


def test_the_document_says_what_was_measured() -> None:
    assert document.TARGET.read_text(encoding="utf-8") == document.render()


@pytest.mark.parametrize(("count", "expected"), [(1, 1), (10, 10), (100, 99), (200, 198)])
def test_a_percentile_is_the_value_of_the_nearest_rank(count: int, expected: int) -> None:
    assert percentile([float(n) for n in range(count, 0, -1)], 0.99) == expected


def test_a_spread_shows_how_far_the_values_lie_apart() -> None:
    assert spread([3.0, 1.0, 2.0]) == {"median": 2.0, "low": 1.0, "high": 3.0, "count": 3}
    assert distribution([1.0, 2.0, 9.0]) == {"p50": 2.0, "p99": 9.0, "count": 3}
