"""The main job: one command contains the sample agent, and the agent itself agrees."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from itertools import pairwise
from typing import Any

import pytest

from firebreak.devserver import DevServer
from firebreak.measure import measures
from firebreak.model import Cloud
from tests.e2e.scene import Made, Scene
from tests.e2e.stack import Command, Stack, running_stack
from tests.fields import FINDING_FIELDS, MEASURE_FIELDS, PHASE_FIELDS, RUN_FIELDS

STORE = {
    Cloud.AWS: "s3://firebreak-evidence-",
    Cloud.AZURE: "https://fbevidence.blob.core.windows.net/evidence/incidents/",
}
NO_OCCASION = {
    # The sample agent runs as a role; the user of the variants is contained in test_targets_aws.
    Cloud.AWS: {"aws.disable-access-keys"},
    Cloud.AZURE: set[str](),
}
"""Measures that the sample agent gives no occasion for."""


@dataclass(frozen=True)
class Contained:
    """What one containment of the living agent left to look at."""

    stack: Stack
    command: Command
    channels: dict[str, dict[str, Any]]
    calls: list[Made]

    @property
    def document(self) -> dict[str, Any]:
        return self.command.document

    def verified_at(self, phase: int) -> datetime:
        return moment(self.document["phases"][phase - 1]["verified_at"])


@pytest.fixture(scope="module")
def contained(
    scene: Scene, server: DevServer, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Contained]:
    with running_stack(scene, server, tmp_path_factory.mktemp("stack")) as stack:
        yield containment_of(stack)


def containment_of(stack: Stack) -> Contained:
    before = stack.seq()
    with stack.rogue() as rogue:
        command = stack.cli("contain", stack.workload_id, "--reason", "exfiltration", "--wait", "--json")
        assert command.code == 0, f"{command.err}\n{command.out}"
        channels = rogue.decided_after(command.document["contained_at"])
    return Contained(stack, command, channels, stack.scene.calls(before))


def moment(text: str) -> datetime:
    return datetime.fromisoformat(text)


def test_it_exits_with_0_and_prints_one_json_document(contained: Contained) -> None:
    assert contained.command.code == 0
    assert json.loads(contained.command.out)["verdict"] == "contained"
    assert "Traceback" not in contained.command.err


def test_the_document_has_every_field_of_the_contract(contained: Contained) -> None:
    document = contained.document
    assert set(document) >= RUN_FIELDS
    assert document["workload_id"] == contained.stack.workload_id
    assert (document["cloud"], document["mode"]) == (contained.stack.cloud.value, "live")
    assert document["target_seconds"] == 900
    assert document["within_target"] is True
    assert set(document["evidence"]) == {"uri", "manifest_sha256"}
    assert document["evidence"]["uri"].startswith(STORE[contained.stack.cloud])
    for phase in document["phases"]:
        assert set(phase) >= PHASE_FIELDS
        for measure in phase["measures"]:
            assert set(measure) >= MEASURE_FIELDS
            assert all(set(finding) >= FINDING_FIELDS for finding in measure["findings"])


def test_the_elapsed_time_is_that_from_trigger_to_containment(contained: Contained) -> None:
    document = contained.document
    seconds = (moment(document["contained_at"]) - moment(document["triggered_at"])).total_seconds()
    assert document["elapsed_seconds"] == pytest.approx(seconds, abs=0.001)


def test_the_four_phases_ran_in_order_and_none_before_the_proof_of_the_one_before(
    contained: Contained,
) -> None:
    phases = contained.document["phases"]
    assert [phase["phase"] for phase in phases] == [1, 2, 3, 4]
    assert {phase["verdict"] for phase in phases} == {"contained"}
    for phase in phases:
        assert moment(phase["started_at"]) < moment(phase["verified_at"])
    for earlier, later in pairwise(phases):
        assert moment(earlier["verified_at"]) <= moment(later["started_at"])
        proofs = [moment(f["observed_at"]) for m in earlier["measures"] for f in m["findings"]]
        changes = [moment(m["applied_at"]) for m in later["measures"]]
        assert max(proofs) < min(changes)


def test_every_measure_has_findings_and_all_of_them_hold(contained: Contained) -> None:
    found = [(p["phase"], m) for p in contained.document["phases"] for m in p["measures"]]
    for _, measure in found:
        assert measure["findings"], measure["name"]
        assert all(f["holds"] and not f["inconclusive"] for f in measure["findings"]), measure
        assert measure["change"] in {"applied", "already in place"}
    ran = {(phase, measure["name"]) for phase, measure in found}
    registered = {(int(m.phase), m.name) for m in measures(contained.stack.cloud)}
    assert {name for _, name in registered - ran} == NO_OCCASION[contained.stack.cloud]


def test_identity_isolation_and_freeze_are_proved_by_live_probes_and_flow_logs(contained: Contained) -> None:
    methods = {
        phase["phase"]: {f["method"] for m in phase["measures"] for f in m["findings"]}
        for phase in contained.document["phases"]
    }
    assert "live_probe" in methods[1]
    assert {"log_evidence", "effective_policy"} & methods[2] == {"log_evidence", "effective_policy"}
    assert "live_probe" in methods[3]
    assert "live_probe" in methods[4]


def test_every_channel_of_the_rogue_agent_worked_before_and_died_before_its_phase_was_proved(
    contained: Contained,
) -> None:
    assert {channel["phase"] for channel in contained.channels.values()} == {1, 2, 3}
    for name, channel in contained.channels.items():
        proved_at = contained.verified_at(channel["phase"])
        assert channel["successes"] > 0, name
        assert moment(channel["last_success_at"]) < proved_at, (name, channel)
        assert len([at for at in channel["refused_at"] if moment(at) > proved_at]) == 3, (name, channel)


def test_the_workload_account_is_changed_by_the_responder_alone(contained: Contained) -> None:
    incident, account = contained.document["incident_id"], contained.stack.sample.workload_account
    changed = [c for c in contained.calls if c.account == account and c.raw["mutating"] and c.succeeded]
    ours = [c for c in changed if "firebreak" in c.who]
    assert ours
    if contained.stack.cloud is Cloud.AWS:  # the session is named after the incident
        assert {c.who.partition("assumed-role/")[2] for c in ours} == {
            f"firebreak-responder/firebreak-{incident}"
        }
    else:
        assert {c.who for c in ours} == {"firebreak-responder"}
