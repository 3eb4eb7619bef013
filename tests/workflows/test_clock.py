"""The 15 minutes, and pages that never hold a phase; in simulated time."""

from __future__ import annotations

from datetime import timedelta

import pytest

from firebreak.model import Mode, Verdict
from firebreak.record import ReleaseInput
from firebreak.settings import Settings
from tests.workflows.script import Script, act, standard
from tests.workflows.stage import Stage
from workflows.oncall import LAST_PAGES
from workflows.release import Release

pytestmark = pytest.mark.asyncio(loop_scope="session")


async def test_half_and_four_fifths_of_the_time_warn_and_the_breach_is_recorded_and_the_run_goes_on(
    skipping: Stage,
) -> None:
    run = await skipping.play(Script(standard(act("detach-public-ip", 2, "permanent"))))
    await run.asked()
    seen = []
    for minutes in (7.4, 0.2, 4.3, 0.2, 2.8, 0.2):
        await skipping.pass_time(minutes * 60)
        seen.append(len((await run.status()).warnings))
    assert seen == [0, 1, 1, 2, 2, 3]
    await run.decide("retry")
    document = await run.ended()
    assert document.verdict is Verdict.CONTAINED
    assert document.within_target is False
    assert document.elapsed_seconds > 900
    assert document.warnings == (
        "50% of the 15 minutes have passed",
        "80% of the 15 minutes have passed",
        "not contained within 15 minutes; the run goes on",
    )
    assert {"warning", "breach"} <= {page.kind for page in run.recording.pages}


async def test_a_quick_run_warns_nobody(skipping: Stage) -> None:
    run = await skipping.play(Script(standard()))
    document = await run.ended()
    assert document.warnings == ()
    assert document.within_target is True
    kinds = [page.kind for page in run.recording.pages]
    assert (kinds[0], kinds[-1]) == ("started", "verdict")
    assert set(kinds) == {"started", "gate", "verdict"}


async def test_people_hear_of_the_start_every_gate_every_decision_and_the_end(skipping: Stage) -> None:
    run = await skipping.play(Script(standard(act("deny-all", 1, "unproven"))))
    await run.asked()
    await run.decide("retry")
    document = await run.ended()
    pages = run.recording.pages
    assert {"started", "gate", "decision_needed", "decided", "verdict"} <= {page.kind for page in pages}
    assert [page.message for page in pages if page.kind == "gate"] == [
        f"phase {phase} {title}: contained"
        for phase, title in enumerate(
            ("identity revoke", "network isolate", "artifact freeze", "forensic capture"), 1
        )
    ]
    assert [page.message for page in pages if page.kind == "decided"] == [
        "casey decided to retry: looked into it"
    ]
    assert pages[-1].verdict is document.verdict is Verdict.CONTAINED


async def test_the_clock_counts_from_the_trigger_not_from_the_start_of_the_run(skipping: Stage) -> None:
    late = await skipping.now() - timedelta(minutes=10)
    run = await skipping.play(Script(standard()), received_at=late)
    document = await run.ended()
    assert "50% of the 15 minutes have passed" in document.warnings
    assert document.elapsed_seconds >= 600


async def test_a_fast_clock_of_the_caller_lends_the_run_no_time(skipping: Stage) -> None:
    fast = await skipping.now() + timedelta(minutes=20)
    run = await skipping.play(Script(standard(act("deny-all", 1, "unproven"))), received_at=fast)
    await run.asked()
    await skipping.pass_time(30 * 60)
    await run.decide("retry")
    document = await run.ended()
    assert (document.verdict, document.within_target) == (Verdict.CONTAINED, False)
    assert document.elapsed_seconds >= 1800
    assert "not contained within 15 minutes; the run goes on" in document.warnings
    (note,) = [each for each in document.notes if "clock" in each]
    assert note.startswith(("the trigger's time is 1200 s", "the trigger's time is 1199 s"))


async def test_an_old_trigger_is_said_and_counts(skipping: Stage) -> None:
    run = await skipping.play(Script(standard()), received_at=await skipping.now() - timedelta(minutes=5))
    document = await run.ended()
    assert document.elapsed_seconds >= 300
    assert [each for each in document.notes if "older than the run" in each] != []


async def test_clocks_that_agree_are_not_spoken_of(skipping: Stage) -> None:
    run = await skipping.play(Script(standard()), received_at=await skipping.now() + timedelta(seconds=2))
    assert (await run.ended()).notes == ()


@pytest.mark.slow
async def test_a_dead_notifier_neither_delays_nor_blocks_and_is_shown(skipping: Stage) -> None:
    run = await skipping.play(Script(standard(), notifier="dead"))
    document = await run.ended()
    assert document.verdict is Verdict.CONTAINED
    assert document.elapsed_seconds < 10
    assert any("could not be paged (verdict)" in note for note in document.notes)


@pytest.mark.slow
async def test_a_notifier_that_never_answers_is_given_up_and_shown(skipping: Stage) -> None:
    run = await skipping.play(Script(standard(act("deny-all", 1, "unproven")), notifier="silent"))
    await run.asked()
    await run.decide("retry")
    document = await run.ended()
    assert document.verdict is Verdict.CONTAINED
    assert any("could not be paged" in note for note in document.notes)


async def test_the_last_pages_have_more_time_than_one_channel_may_take() -> None:
    assert LAST_PAGES.total_seconds() > Settings().notify.timeout_seconds


async def test_a_release_that_nobody_approves_within_a_day_does_not_happen(skipping: Stage) -> None:
    run = await skipping.play(Script(standard()))
    await run.ended()
    request = ReleaseInput(
        incident_id=run.incident_id,
        workload_id=run.workload.id,
        cloud=run.workload.cloud,
        mode=Mode.LIVE,
        by="casey",
        approved_by="",
        reason="rebuilt",
        requested_at=await skipping.now(),
        record=run.recording.packages[0].plan,
        task_queue=skipping.settings.task_queue,
    )
    ended = await skipping.client.execute_workflow(
        Release.run, request, id=f"release-{run.incident_id}", task_queue=skipping.settings.task_queue
    )
    assert ended.verdict is Verdict.REJECTED
    assert run.recording.count("revert") == 0
