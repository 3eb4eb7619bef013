"""The contract of a measure, as far as the registry alone can tell.

Each measure is also taken through its life on the sample workloads of its cloud, and the record held against
contract/checks.py: contract/test_aws.py and contract/test_azure.py, apart so that they run side by side.
"""

from __future__ import annotations

import importlib
import re
from typing import Any

import pytest

from firebreak.measure import Measure, Scope, measures
from firebreak.model import Cloud, Phase
from tests.contract.checks import Contract

CLOUDS = (Cloud.AWS, Cloud.AZURE)
KINDS = [kind for cloud in CLOUDS for kind in measures(cloud)]

ACTIONS = {
    # IAM user guide, "Action" element
    Cloud.AWS: re.compile(r"^[a-z0-9-]+:[A-Z][A-Za-z0-9]+$"),
    # Azure resource provider operations (control plane, data plane, Cosmos DB's own); Graph's permissions
    Cloud.AZURE: re.compile(
        r"^(((data|cosmos):)?Microsoft\.[A-Za-z]+(/[A-Za-z0-9.$*]+)+|graph:[A-Za-z]+(\.[A-Za-z]+)+)$"
    ),
}


@pytest.mark.parametrize("cloud", CLOUDS)
def test_every_clouds_measures_are_taken_through_their_lives(cloud: Cloud) -> None:
    module = importlib.import_module(f"tests.contract.test_{cloud}")
    assert issubclass(module.TestMeasures, Contract)
    assert set(module.kinds_of(cloud)) == set(measures(cloud))


@pytest.mark.parametrize("cloud", CLOUDS)
@pytest.mark.parametrize("phase", Phase)
def test_every_phase_has_a_measure(cloud: Cloud, phase: Phase) -> None:
    assert measures(cloud, phase)


@pytest.mark.parametrize("cloud", CLOUDS)
def test_the_registry_is_in_the_order_of_the_run(cloud: Cloud) -> None:
    phases = [kind.phase for kind in measures(cloud)]
    assert phases == sorted(phases)
    assert len({kind.name for kind in KINDS}) == len(KINDS)


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.name)
def test_it_says_what_it_does_in_one_line(kind: type[Measure[Any]]) -> None:
    promise = (kind.__doc__ or "").strip().splitlines()[0]
    assert promise.endswith(".")
    assert promise[0].isupper()
    assert len(promise) < 120


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.name)
def test_its_name_and_its_permissions_are_well_formed(kind: type[Measure[Any]]) -> None:
    assert re.fullmatch(rf"{kind.cloud}\.[a-z]+(-[a-z]+)+", kind.name)
    assert kind.permissions
    actions = [permission.action for permission in kind.permissions]
    assert all(ACTIONS[kind.cloud].match(action) for action in actions), actions
    assert len(set(actions)) == len(actions)
    assert {permission.scope for permission in kind.permissions} <= set(Scope)


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.name)
def test_it_destroys_nothing_volatile(kind: type[Measure[Any]]) -> None:
    assert not kind.destroys_volatile
