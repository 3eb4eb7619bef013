"""Everything is read, and everything is judged, before the first change."""

from __future__ import annotations

from typing import Any

import pytest

from firebreak import inventory, marker, planning
from firebreak.errors import AbsentError, PermanentCloudError, TransientCloudError, UsageError
from firebreak.measure import measure
from firebreak.model import Phase, State, Target
from firebreak.settings import GuardSettings
from tests.firebreak.imaginary import World, engine_of, settings_for
from tests.firebreak.story import request_for


def stored(world: World) -> list[str]:
    return list(world.vault().list(""))


async def test_a_preview_shows_everything_and_writes_nothing(world: World) -> None:
    engine = engine_of(settings_for(world.root))
    world.users["role"] = ("billing",)
    world.missing = ("imaginary:Shut on gateway",)
    preview = await planning.preview(engine, request_for(engine))
    assert [step.measure for step in preview.steps] == [
        "gcp.end-sessions",
        "gcp.shut-identity",
        "gcp.shut-network",
        "gcp.freeze",
        "gcp.capture",
    ]
    assert preview.steps[0].irreversible == "sessions that ended stay ended"
    assert [step.reversible for step in preview.steps] == [False, True, True, True, True]
    assert preview.missing_permissions == ("imaginary:Shut on gateway",)
    assert "billing" in preview.refusals[0]
    assert stored(world) == []
    assert world.applied == []


async def test_a_plan_records_every_pre_state_and_changes_nothing(world: World) -> None:
    engine = engine_of(settings_for(world.root))
    plan = await planning.plan(engine, request_for(engine))
    assert plan.refusals == ()
    assert world.applied == []
    for step in plan.steps:
        state = State.model_validate_json(engine.get(step.state))
        assert (state.values, state.carried_from) == ({"open": True}, "")
    assert planning.read_plan(engine, plan.stored[-1]) == plan


@pytest.mark.parametrize(
    ("arrange", "reason"),
    [
        ("own", "gcp.end-sessions would act on Firebreak's own principal role"),
        ("protected", "gcp.end-sessions would act on the protected principal role"),
        ("missing", "the responder lacks imaginary:Shut on gateway"),
        ("unusable", "gcp.freeze cannot be used on model: no versioning"),
        ("many", "4 targets exceed the limit of 3"),
        ("empty", "declares nothing for the phase network isolate"),
    ],
)
async def test_a_refused_plan_writes_nothing(world: World, arrange: str, reason: str) -> None:
    guard = GuardSettings()
    fields: dict[str, Any] = {}
    match arrange:
        case "own":
            world.own = ("role",)
        case "protected":
            guard = GuardSettings(protected_principals=("role",))
        case "missing":
            world.missing = ("imaginary:Shut on gateway",)
        case "unusable":
            world.snapshot_errors["model"] = PermanentCloudError("no versioning")
        case "many":
            guard = GuardSettings(max_targets=3)
        case _:
            fields = {"network": []}
    engine = engine_of(settings_for(world.root, guard=guard, **fields))
    plan = await planning.plan(engine, request_for(engine))
    assert any(reason in each for each in plan.refusals), plan.refusals
    assert plan.steps == ()
    assert stored(world) == []
    assert world.applied == []


async def test_the_incident_of_another_workload_is_refused(world: World) -> None:
    engine = engine_of(settings_for(world.root))
    request = request_for(engine)
    first = await planning.plan(engine, request)
    before = stored(world)
    for mine, account in (("other", "imaginary-1"), ("agent", "imaginary-2")):
        settings = settings_for(world.root, id=mine, account=account)
        workload = inventory.load(settings.inventory).workload(mine)
        asked = {"workload_id": mine, "workload_digest": workload.digest()}
        plan = await planning.plan(engine_of(settings), request.model_copy(update=asked))
        assert plan.refusals[0] == "INC-1 is already the incident of agent; choose another id"
        assert plan.steps == ()
    assert stored(world) == before
    again = await planning.plan(engine_of(settings_for(world.root)), request)
    assert [each.key for each in again.steps] == [each.key for each in first.steps]


async def test_a_busy_cloud_is_an_error_to_retry_not_a_refusal(world: World) -> None:
    engine = engine_of(settings_for(world.root))
    world.snapshot_errors["model"] = TransientCloudError("throttled")
    with pytest.raises(TransientCloudError):
        await planning.plan(engine, request_for(engine))


async def test_another_inventory_than_the_callers_is_refused(world: World) -> None:
    engine = engine_of(settings_for(world.root))
    with pytest.raises(UsageError, match="differently"):
        await planning.plan(engine, request_for(engine, workload_digest="0" * 64))


async def test_a_phase_may_be_declared_empty_with_its_reason(world: World) -> None:
    engine = engine_of(settings_for(world.root, network=[], without={"network": "runs inside the provider"}))
    plan = await planning.plan(engine, request_for(engine))
    assert plan.empty_phases == {Phase.NETWORK_ISOLATE: "runs inside the provider"}


async def test_a_second_containment_keeps_the_state_from_before_the_first(world: World) -> None:
    engine = engine_of(settings_for(world.root))
    first = await planning.plan(engine, request_for(engine))
    marker.take(engine, first)
    world.open["gateway"] = False
    second = await planning.plan(engine, request_for(engine, "INC-2"))
    state = State.model_validate_json(engine.get(second.of(Phase.NETWORK_ISOLATE)[0].state))
    assert (state.values, state.carried_from) == ({"open": True}, "INC-1")
    assert any("still contained from INC-1" in note for note in second.notes)
    marker.take(engine, second)
    marker.release(engine, second.run)
    third = await planning.plan(engine, request_for(engine, "INC-3"))
    state = State.model_validate_json(engine.get(third.of(Phase.NETWORK_ISOLATE)[0].state))
    assert (state.values, state.carried_from) == ({"open": False}, "")


async def test_what_no_probe_can_prove_is_said_before_the_first_change(world: World) -> None:
    engine = engine_of(settings_for(world.root))
    world.notes["role"] = ["nobody looked behind the role"]
    world.controls["gateway"] = {"works": [], "why_not": "no session can be had"}
    world.controls["model"] = {"works": ["read"], "why_not": "", "listed_only": ["its memory is only listed"]}
    plan = await planning.plan(engine, request_for(engine))
    assert any(note.endswith("on model: its memory is only listed") for note in plan.notes)
    assert "nobody looked behind the role" in plan.notes
    assert [note for note in plan.notes if "cannot be proved" in note] == [
        "gcp.shut-network on gateway cannot be proved by a probe: no session can be had"
    ]
    assert world.applied == []


def test_rights_on_what_does_not_exist_are_not_asked_for(world: World) -> None:
    absent, forbidden = (Target(kind="x", ref=ref, account="a", region="r") for ref in ("gone", "closed"))
    unreadable = {absent: AbsentError("it does not exist"), forbidden: PermanentCloudError("denied")}
    found = planning.Found(measure("gcp.freeze"), (), dict(unreadable))
    assert found.perhaps_forbidden == [forbidden]
    assert world.applied == []
