"""Every reason to refuse, each alone."""

from __future__ import annotations

from typing import Any

import pytest

from firebreak.guard import Candidate, refusals
from firebreak.measure import Measure, measures, now
from firebreak.model import Cloud, Mode, Phase, Resource, Run, Target, Workload
from firebreak.settings import GuardSettings

ACCOUNT = "222222222222"


GROUP = {1: "identities", 2: "network", 3: "artifacts", 4: "evidence_sources"}


def measure_of(phase: Phase, group: str = "") -> type[Measure[Any]]:
    """A measure's class, as far as the guard looks at it: its phase, and the group that gives it targets."""

    def applies_to(workload: Workload) -> tuple[Resource, ...]:
        return tuple(getattr(workload, group or GROUP[phase]))

    fields = {"phase": phase, "name": f"aws.step-{int(phase)}", "applies_to": staticmethod(applies_to)}
    return type("Named", (Measure,), fields)


def run_of(mode: Mode = Mode.LIVE, **fields: Any) -> Run:
    declared = {group: [{"kind": "any", "ref": group}] for group in GROUP.values()}
    place = {"id": "agent", "cloud": Cloud.AWS, "account": ACCOUNT, "region": "eu-central-1"}
    workload = Workload.model_validate({**place, **declared, **fields})
    return Run(incident_id="INC-1", mode=mode, workload=workload, triggered_at=now())


def candidate(phase: int, ref: str = "", account: str = ACCOUNT, radius: tuple[str, ...] = ()) -> Candidate:
    target = Target(kind="iam-role", ref=ref or f"target-{phase}", account=account, region="eu-central-1")
    return measure_of(Phase(phase)), target, radius


WHOLE = tuple(candidate(phase) for phase in range(1, 5))


def refused(*candidates: Candidate, run: Run | None = None, **guard: Any) -> tuple[str, ...]:
    return refusals(run or run_of(), candidates, ("firebreak-responder",), GuardSettings(**guard))


def test_a_plain_plan_is_not_refused() -> None:
    assert refused(*WHOLE) == ()


def test_a_drill_outside_the_sandbox_is_refused() -> None:
    drill = run_of(Mode.DRILL)
    assert "is not listed in FIREBREAK_GUARD__SANDBOX_ACCOUNTS" in refused(*WHOLE, run=drill)[0]
    assert refused(*WHOLE, run=drill, sandbox_accounts=(ACCOUNT,)) == ()


def test_more_targets_than_allowed_are_refused_and_one_target_of_two_measures_counts_once() -> None:
    assert refused(*WHOLE, max_targets=3) == (
        (
            "4 targets exceed the limit of 3 (FIREBREAK_GUARD__MAX_TARGETS): "
            "check the inventory, or raise the limit knowingly"
        ),
    )
    assert refused(*WHOLE, candidate(1), max_targets=4) == ()


def test_firebreaks_own_principal_is_never_a_target() -> None:
    assert refused(*WHOLE, candidate(1, "firebreak-responder")) == (
        "aws.step-1 would act on Firebreak's own principal firebreak-responder",
    )


@pytest.mark.parametrize("kind", ["role", "user"])
def test_firebreaks_own_principal_is_known_under_a_path_that_its_session_does_not_tell(kind: str) -> None:
    own, other = (f"arn:aws:iam::{each}:{kind}/Firebreak" for each in (ACCOUNT, "999999999999"))
    pathed = f"arn:aws:iam::{ACCOUNT}:{kind}/service-role/team/firebreak"
    for known in (own, other, pathed.replace("service-role", "elsewhere")):
        reasons = refusals(run_of(), (*WHOLE, candidate(1, pathed)), (known,), GuardSettings())
        assert len(reasons) == (known != other)
    guard = GuardSettings(protected_principals=(own,))
    assert refusals(run_of(), (*WHOLE, candidate(1, pathed)), (), guard) == (
        f"aws.step-1 would act on the protected principal {pathed}",
    )


def test_a_protected_principal_is_never_a_target() -> None:
    reasons = refused(*WHOLE, candidate(1, "break-glass"), protected_principals=("break-glass",))
    assert reasons == ("aws.step-1 would act on the protected principal break-glass",)


def test_a_target_in_another_account_is_refused() -> None:
    assert refused(*WHOLE, candidate(2, "subnet-1", account="999999999999")) == (
        f"aws.step-2 would act on subnet-1 in account 999999999999, but agent lives in {ACCOUNT}",
    )


@pytest.mark.parametrize(("allowed", "count"), [(0, 1), (1, 1), (2, 0)])
def test_a_shared_target_is_refused_beyond_the_declared_blast_radius(allowed: int, count: int) -> None:
    shared = candidate(1, "role", radius=("billing", "search"))
    reasons = refused(*WHOLE, shared, run=run_of(max_blast_radius=allowed))
    assert len(reasons) == count
    assert all("billing, search" in reason and "session_names" in reason for reason in reasons)


@pytest.mark.parametrize(
    ("phase", "group"), [(1, "identities"), (2, "network"), (3, "artifacts"), (4, "evidence_sources")]
)
def test_a_phase_without_steps_is_refused_unless_the_workload_says_why(phase: int, group: str) -> None:
    others = tuple(each for each in WHOLE if each[0].phase is not Phase(phase))
    reasons = refused(*others)
    assert len(reasons) == 1
    assert Phase(phase).title in reasons[0]
    assert group in reasons[0]
    assert refused(*others, run=run_of(without={group: "it has none"})) == ()


@pytest.mark.parametrize(
    ("phase", "group", "other"),
    [(2, "network", "channels"), (3, "artifacts", "stores"), (4, "evidence_sources", "identities")],
)
def test_what_another_group_brings_into_a_phase_is_not_taken_for_its_own(
    phase: int, group: str, other: str
) -> None:
    borrowed = (measure_of(Phase(phase), other), candidate(phase, "queue")[1], ())
    others = tuple(each for each in WHOLE if each[0].phase is not Phase(phase))
    lacking: dict[str, Any] = {group: [], other: [{"kind": "any", "ref": "queue"}]}
    (reason,) = refused(*others, borrowed, run=run_of(**lacking))
    assert f"add its {group}" in reason
    assert refused(*others, borrowed, run=run_of(**lacking, without={group: "it has none"})) == ()


def test_the_queue_and_the_memory_of_a_workload_do_not_stand_for_its_network_and_artifacts() -> None:
    arn = f"arn:aws:{{}}:{ACCOUNT}:{{}}"
    run = run_of(
        identities=[{"kind": "iam-role", "ref": arn.format("iam:", "role/agent")}],
        channels=[{"kind": "sqs-queue", "ref": arn.format("sqs:eu-central-1", "agent")}],
        stores=[{"kind": "s3-prefix", "ref": "arn:aws:s3:::agent/memory/"}],
        network=[],
        artifacts=[],
        evidence_sources=[],
    )
    real = [(each, target, ()) for each in measures(Cloud.AWS) for target in each.applies_to(run.workload)]
    assert {each.phase for each, _, _ in real} == set(Phase)
    assert [reason.partition("add its ")[2].split(",")[0] for reason in refused(*real, run=run)] == [
        "network",
        "artifacts",
        "evidence_sources",
    ]


def test_every_reason_is_named_once() -> None:
    twice = candidate(1, "firebreak-responder", account="999999999999")
    reasons = refused(*WHOLE, twice, twice, max_targets=1, run=run_of(Mode.DRILL))
    assert len(reasons) == 4
