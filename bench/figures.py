"""Statistics of a few measurements: medians with their spread, and percentiles of many."""

from __future__ import annotations

import math
from collections.abc import Sequence
from statistics import median
from typing import Any


def spread(values: Sequence[float], digits: int = 2) -> dict[str, Any]:
    """Median, lowest and highest, and how many there were."""
    return {
        "median": round(median(values), digits),
        "low": round(min(values), digits),
        "high": round(max(values), digits),
        "count": len(values),
    }


def percentile(values: Sequence[float], share: float) -> float:
    """The value that this share of all values does not exceed (nearest rank)."""
    ranked = sorted(values)
    return ranked[max(0, math.ceil(share * len(ranked)) - 1)]


def distribution(values: Sequence[float]) -> dict[str, Any]:
    """Median and 99th percentile."""
    return {"p50": round(median(values), 2), "p99": round(percentile(values, 0.99), 2), "count": len(values)}
