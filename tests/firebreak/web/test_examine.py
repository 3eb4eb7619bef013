"""The console verifies the package that the run sealed, whatever lies in the store by now."""

from __future__ import annotations

from firebreak.evidence.layout import ATTESTATION, MANIFEST
from firebreak.measure import now
from firebreak.record import RunStatus
from firebreak.settings import ConsoleSettings, EvidenceSettings
from firebreak.statusdoc import status
from firebreak.web.console.examine import Examiner
from tests.firebreak.imaginary import World, engine_of, settings_for
from tests.firebreak.story import story_of


async def sealed_run(world: World, incident_id: str) -> RunStatus:
    story = await story_of(engine_of(settings_for(world.root)), world, incident_id)
    await story.contain()
    evidence = story.seal().evidence
    return status(story.facts, story.plan, story.outcomes, now()).model_copy(update={"evidence": evidence})


async def test_another_incidents_package_is_not_taken_for_the_runs_own(world: World) -> None:
    keys = ConsoleSettings(evidence_keys=(world.public_key,))
    store = EvidenceSettings(store="imaginary://evidence")
    settings = settings_for(world.root).model_copy(update={"console": keys, "evidence": store})
    run, other = await sealed_run(world, "INC-1"), await sealed_run(world, "INC-2")
    examiner = Examiner(settings)
    assert (await examiner.examine(run)).verification.ok
    vault = world.vault()
    attestation = vault.find(vault.uri(f"INC-2.{ATTESTATION}"))
    vault.put(f"INC-1.{ATTESTATION}", b"".join(vault.read(attestation)))
    found = await examiner.examine(run, again=True)
    assert {(p.step, p.item) for p in found.verification.problems} == {(7, ATTESTATION), (7, MANIFEST)}
    assert "do not rely on it" in found.report
    assert (await examiner.examine(other)).verification.ok
