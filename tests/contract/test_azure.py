"""The contract of a measure, held against every measure of Azure on a target of the sample workloads."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from firebreak.measure import Measure
from firebreak.model import Cloud
from tests.contract.checks import Contract
from tests.contract.lives import Life, kinds_of, lives_on
from tests.grounds import Ground


@pytest.fixture(scope="module", params=kinds_of(Cloud.AZURE), ids=lambda kind: kind.name)
def lives(request: pytest.FixtureRequest, places: Callable[[Cloud], Ground]) -> list[Life]:
    kind: type[Measure[Any]] = request.param
    return lives_on(places(Cloud.AZURE), kind)


class TestMeasures(Contract):
    """Each measure of Azure."""
