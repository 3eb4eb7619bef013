"""Who holds a workload: taken over, settled, given back, and never undone by somebody else's release."""

from __future__ import annotations

from datetime import timedelta

import pytest

from firebreak import marker, planning
from firebreak.engine import Engine
from firebreak.errors import GuardError
from firebreak.marker import Marker
from firebreak.model import Phase
from firebreak.record import Plan
from tests.firebreak.imaginary import World, engine_of, settings_for
from tests.firebreak.story import request_for

TWO = [{"kind": "thing", "ref": "gateway"}, {"kind": "thing", "ref": "gateway-2"}]


@pytest.fixture
def world(world: World) -> World:
    world.open["gateway-2"] = True
    return world


async def taken(engine: Engine, incident_id: str) -> Plan:
    plan = await planning.plan(engine, request_for(engine, incident_id))
    assert plan.refusals == ()
    marker.take(engine, plan)
    return plan


def held(engine: Engine, plan: Plan) -> Marker:
    found = marker.read(engine, engine.open(plan.run).workload)
    assert found is not None
    return found


def keys(plan: Plan) -> set[str]:
    return {step.key for step in plan.steps}


async def test_a_later_incident_ends_the_rights_of_an_earlier_release(engine: Engine) -> None:
    first = await taken(engine, "INC-1")
    assert marker.require(engine, first.run).incident_id == "INC-1"
    second = await taken(engine, "INC-2")
    with pytest.raises(GuardError, match="contained again by INC-2"):
        marker.require(engine, first.run)
    assert marker.release(engine, first.run) == "INC-2"
    assert marker.require(engine, second.run).status == "containing"


async def test_what_only_the_earlier_incident_holds_is_left_to_it(world: World) -> None:
    first = await taken(engine_of(settings_for(world.root, network=TWO)), "INC-1")
    engine = engine_of(settings_for(world.root))
    second = await taken(engine, "INC-2")
    assert marker.release(engine, second.run) == "INC-1"
    assert set(held(engine, first).states) == keys(first) - keys(second)
    assert marker.release(engine, first.run) == ""
    assert marker.release(engine, first.run) == ""
    assert held(engine, first).status == "released"


async def test_planning_that_is_tried_again_does_not_find_itself_earlier(engine: Engine) -> None:
    await taken(engine, "INC-1")
    second = await taken(engine, "INC-2")
    marker.take(engine, second)
    before = held(engine, second).before
    assert before is not None
    assert (before.incident_id, before.before) == ("INC-1", None)


async def test_a_run_that_touched_nothing_holds_nothing_and_its_state_is_not_carried_on(
    engine: Engine,
) -> None:
    stopped = await taken(engine, "INC-1")
    marker.settle(engine, stopped, ())
    assert held(engine, stopped).status == "released"
    later = await taken(engine, "INC-2")
    assert not any("still contained" in note for note in later.notes)


async def test_only_what_began_is_held_after_a_containment(engine: Engine) -> None:
    stopped = await taken(engine, "INC-1")
    began = {step.key for step in stopped.of(Phase.IDENTITY_REVOKE)}
    marker.settle(engine, stopped, began)
    assert (held(engine, stopped).status, set(held(engine, stopped).states)) == ("contained", began)
    await taken(engine, "INC-2")
    marker.settle(engine, stopped, began)
    assert held(engine, stopped).incident_id == "INC-2"


async def test_a_run_that_touched_nothing_gives_back_what_it_took(engine: Engine) -> None:
    first = await taken(engine, "INC-1")
    second = await taken(engine, "INC-2")
    marker.settle(engine, second, ())
    assert marker.require(engine, first.run).states.keys() == keys(first)


async def test_a_containment_waits_for_the_last_revert_of_a_release(engine: Engine) -> None:
    first = await taken(engine, "INC-1")
    marker.begin_release(engine, first.run)
    second = await taken(engine, "INC-2")
    assert not await marker.alone(engine, second.run, patience=timedelta())
    marker.end_release(engine, second.run)
    assert not await marker.alone(engine, second.run, patience=timedelta())
    marker.end_release(engine, first.run)
    assert await marker.alone(engine, second.run, patience=timedelta())
