"""What the pages are made of: strip, graph, open points and panel, from documents made by hand."""

from __future__ import annotations

import base64
import hashlib
import re
from datetime import UTC, datetime, timedelta
from importlib import resources
from typing import Any

import pytest

from firebreak.model import Cloud, Mode, Phase, Verdict
from firebreak.policy.rules import Person
from firebreak.reading import verify_command
from firebreak.record import Awaiting, Decision, EvidenceStatus, MeasureStatus, PhaseStatus, RunStatus
from firebreak.web.console.evidence import policy
from firebreak.web.console.graph import SHOWN, graph
from firebreak.web.console.panel import panel
from firebreak.web.console.render import duration, iso
from firebreak.web.console.story import happenings, one_line, open_points
from firebreak.web.console.strip import WIDTH, strip

AT = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
CASEY = Person(subject="1", name="casey")
ALL = frozenset({"approve", "reject", "retry", "proceed", "stop", "request_release", "approve_release"})
BUDGET = 180.0
PACKAGE = EvidenceStatus(uri="s3://e", manifest_sha256="0")


def measure(name: str, verdict: Verdict = Verdict.PENDING, **fields: Any) -> MeasureStatus:
    usual = {"name": name, "target": f"arn:aws:iam::1:role/{name}", "verdict": verdict, "change": "pending"}
    return MeasureStatus.model_validate(usual | fields)


def phase(number: int, began: float | None = None, proved: float | None = None, **fields: Any) -> PhaseStatus:
    usual: dict[str, Any] = {
        "phase": number,
        "title": Phase(number).title,
        "verdict": Verdict.CONTAINED if proved else Verdict.PENDING,
        "started_at": None if began is None else AT + timedelta(seconds=began),
        "verified_at": None if proved is None else AT + timedelta(seconds=proved),
        "budget_seconds": BUDGET,
    }
    return PhaseStatus.model_validate(usual | fields)


def run(*phases: PhaseStatus, **fields: Any) -> RunStatus:
    usual: dict[str, Any] = {
        "incident_id": "INC-1",
        "workflow_id": "w",
        "workload_id": "agent",
        "cloud": Cloud.AWS,
        "mode": Mode.LIVE,
        "verdict": Verdict.PENDING,
        "requested_by": "riley",
        "triggered_at": AT,
        "elapsed_seconds": 0.0,
        "within_target": False,
        "phases": phases,
    }
    return RunStatus.model_validate(usual | fields)


def awaiting(kind: str, at: Phase | None = None) -> Awaiting:
    return Awaiting.model_validate({"kind": kind, "phase": at, "reason": "not proved", "since": AT})


def test_the_strip_shows_what_ran_what_runs_and_what_is_planned() -> None:
    made = strip(run(phase(1, 0, 60), phase(2, 60), phase(3), phase(4)), AT + timedelta(seconds=90))
    looks = [(each.number, each.look) for each in made.segments]
    assert looks == [(1, "contained"), (2, "running"), (2, "planned"), (3, "planned"), (4, "planned")]
    seconds = [round(each.x * made.scale_seconds / WIDTH) for each in made.segments]
    assert seconds == [0, 60, 90, 240, 420]
    assert (made.scale_seconds, made.target_x) == (900, WIDTH)
    assert made.now_x == pytest.approx(90 / 900 * WIDTH)


def test_a_late_run_gets_a_longer_strip_with_the_target_on_it() -> None:
    made = strip(run(phase(1, 0)), AT + timedelta(seconds=1300))
    assert made.scale_seconds == 1500
    assert made.target_x == pytest.approx(600)
    assert made.ticks[-1] == 1500


def test_the_graph_shows_every_target_once_and_everybody_who_shares_one() -> None:
    parts = [measure("role", blast_radius=("billing",)), measure("role", blast_radius=("reports", "billing"))]
    alone = [measure(f"alone-{number:02}") for number in range(SHOWN + 3)]
    made = graph(run(phase(1, measures=(*parts, *alone))))
    assert made.shared == (("arn:aws:iam::1:role/role", ("billing", "reports")),)
    looks = [each.look for each in made.nodes]
    assert (looks.count("shared"), looks.count("other"), looks.count("target")) == (1, 2, SHOWN)
    assert [each.label for each in made.nodes if each.look == "more"] == ["3 more, unshared"]
    assert sum(edge.shared for edge in made.edges) == 2
    assert made.targets == SHOWN + 4


def test_a_run_without_a_plan_has_an_empty_graph() -> None:
    assert graph(run(phase(1))).targets == 0


def test_what_is_being_observed_is_one_line_and_what_failed_is_its_own() -> None:
    parts = (measure("a"), measure("b"), measure("c", Verdict.CONTAINED), measure("d", error="AccessDenied"))
    points = open_points(run(phase(1, 0, measures=parts)))
    assert [(each.urgent, each.why) for each in points] == [
        (True, "AccessDenied"),
        (False, "2 of 4 measures still to be proved"),
    ]
    assert points[0].commands == ("firebreak status INC-1 --watch",)


def test_the_command_for_an_open_point_is_the_one_that_the_run_takes() -> None:
    failed = phase(2, 0, measures=(measure("d", Verdict.UNPROVEN, error="AccessDenied"),))
    asked = open_points(run(failed, awaiting=awaiting("decision", Phase.NETWORK_ISOLATE)))
    assert [each.commands[0].split()[1] for each in asked] == ["retry", "retry"]
    over = open_points(run(failed, finished=True, verdict=Verdict.PARTIALLY_CONTAINED))
    assert [each.commands for each in over] == [("firebreak contain agent --reason TEXT --wait",)]


def test_a_phase_that_never_began_is_open_and_a_refusal_says_how_to_look() -> None:
    points = open_points(run(phase(1), finished=True, verdict=Verdict.REFUSED, refusals=("own principal",)))
    assert [each.why for each in points] == ["own principal", "nothing of it was done"]
    assert "--plan" in points[0].commands[0]


def test_the_newest_is_on_top_of_the_timeline() -> None:
    told = happenings(run(phase(1, 1, 60), contained_at=AT + timedelta(seconds=61)), None)
    assert [each.what for each in told] == [
        "contained: everything is proved",
        "phase 1 identity revoke: contained",
        "phase 1 identity revoke began",
        "triggered by an alert, riley",
    ]


@pytest.mark.parametrize(
    ("document", "words"),
    [
        (run(phase(1)), "Planning."),
        (run(phase(1, 0, 5), phase(2)), "Between phases."),
        (run(phase(1, 0, measures=(measure("a"),))), "Phase 1, identity revoke: 0 of 1 measures proved."),
        (run(phase(1, 0), awaiting=awaiting("decision")), "A person is needed: not proved."),
        (run(finished=True, verdict=Verdict.PARTIALLY_CONTAINED), "The run has ended: partially contained."),
    ],
)
def test_a_screen_reader_hears_one_sentence(document: RunStatus, words: str) -> None:
    assert one_line(document) == words


@pytest.mark.parametrize(
    ("fields", "kinds"),
    [
        ({}, ["stop"]),
        ({"awaiting": awaiting("approval")}, ["approve", "reject"]),
        ({"awaiting": awaiting("decision", Phase.NETWORK_ISOLATE)}, ["retry", "proceed", "stop"]),
        ({"awaiting": awaiting("decision")}, ["retry", "stop"]),
        ({"finished": True, "verdict": Verdict.CONTAINED}, []),
        ({"finished": True, "verdict": Verdict.REFUSED, "evidence": PACKAGE}, []),
        ({"finished": True, "verdict": Verdict.UNPROVEN, "evidence": PACKAGE}, ["release"]),
    ],
)
def test_a_panel_offers_what_run_and_rules_allow(fields: dict[str, Any], kinds: list[str]) -> None:
    document = run(phase(1, 0), **fields)
    assert [each.kind for each in panel(CASEY, ALL, document, None).choices] == kinds
    assert panel(CASEY, frozenset({"view"}), document, None).choices == ()


def test_a_release_is_approved_by_its_own_right() -> None:
    contained = run(finished=True, verdict=Verdict.CONTAINED)
    release = run(workflow_id="release-INC-1", awaiting=awaiting("approval"))
    offered = panel(CASEY, frozenset({"approve_release", "reject"}), contained, release)
    assert [each.label for each in offered.choices] == ["Approve the release", "Reject the release"]
    assert panel(CASEY, frozenset({"approve"}), contained, release).choices == ()
    own = release.model_copy(update={"requested_by": "Casey "})
    assert "another person" in panel(CASEY, frozenset(), contained, own).remark


def test_nobody_is_asked_to_approve_twice() -> None:
    made = Decision(by=" CASEY", reason="x", kind="approve")
    document = run(phase(1), awaiting=awaiting("approval"), decisions=(made,))
    offered = panel(CASEY, ALL, document, None)
    assert ([each.kind for each in offered.choices], "You have approved" in offered.remark) == (
        ["reject"],
        True,
    )


def test_drills_are_verified_with_the_key_of_drills() -> None:
    evidence = EvidenceStatus(uri="s3://e/INC-1", manifest_sha256="0")
    live, drill = (verify_command(run(evidence=evidence, mode=mode), evidence) for mode in Mode)
    assert live.endswith("s3://e/INC-1 --trust KEY.pub --manifest-sha256 0")
    assert drill.endswith("--trust-drill DRILL_KEY.pub --manifest-sha256 0")


@pytest.mark.parametrize(
    ("seconds", "words"),
    [(None, "-"), (0, "0:00"), (61.9, "1:01"), (-5, "-0:05"), (3600, "1:00:00"), (3725, "1:02:05")],
)
def test_durations_read_like_clocks(seconds: float | None, words: str) -> None:
    assert duration(seconds) == words


def test_times_are_what_browsers_read() -> None:
    assert iso(AT) == "2026-03-01T12:00:00.000Z"


def test_a_report_may_use_its_own_style_and_nothing_else() -> None:
    template = resources.files("firebreak.report") / "templates" / "report.html.j2"
    text = template.read_text(encoding="utf-8")
    assert len(re.findall(r"<style>", text)) == 1
    assert not re.search(r"<script|\sstyle=|\son\w+=", text)  # the policy would refuse them
    style = "body { color: red }"
    digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
    rules = policy(f"<html><style>{style}</style></html>")
    assert f"style-src 'sha256-{digest}'; sandbox;" in rules
    assert rules.startswith("default-src 'none'")
