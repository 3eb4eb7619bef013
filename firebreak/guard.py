"""Reasons to refuse a plan before the first change. Pure: everything it judges is passed in."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from firebreak.inventory import GROUPS
from firebreak.measure import Measure
from firebreak.model import Mode, Phase, Run, Target, Workload
from firebreak.settings import GuardSettings

Candidate = tuple[type[Measure[Any]], Target, tuple[str, ...]]
"""A measure, its target, and who else uses the target."""

_PATH = re.compile(r"^(arn:[^:]+:iam::\d{12}:(?:role|user)/).+/")
"""A role's or user's ARN up to its name, the path outside of the group."""

GROUP_OF_PHASE = {
    Phase.IDENTITY_REVOKE: "identities",
    Phase.NETWORK_ISOLATE: "network",
    Phase.ARTIFACT_FREEZE: "artifacts",
    Phase.FORENSIC_CAPTURE: "evidence_sources",
}
"""The inventory group that a phase is about: its absence is stated, or the plan is refused."""


def refusals(
    run: Run, candidates: Sequence[Candidate], own: Iterable[str], guard: GuardSettings
) -> tuple[str, ...]:
    """Every reason to refuse, each naming the resource; empty when the plan may run."""
    return tuple(
        dict.fromkeys(
            (
                *_drill(run, guard),
                *_count(candidates, guard),
                *_protected(candidates, frozenset(own), frozenset(guard.protected_principals)),
                *_foreign(run, candidates),
                *_shared(run, candidates),
                *_empty_phases(run, candidates),
            )
        )
    )


def _drill(run: Run, guard: GuardSettings) -> Iterator[str]:
    if run.mode is Mode.DRILL and run.workload.account not in guard.sandbox_accounts:
        yield (
            f"a drill may not touch account {run.workload.account}: it is not listed in "
            "FIREBREAK_GUARD__SANDBOX_ACCOUNTS"
        )


def _count(candidates: Sequence[Candidate], guard: GuardSettings) -> Iterator[str]:
    targets = {target.key for _, target, _ in candidates}
    if len(targets) > guard.max_targets:
        yield (
            f"{len(targets)} targets exceed the limit of {guard.max_targets} "
            "(FIREBREAK_GUARD__MAX_TARGETS): check the inventory, or raise the limit knowingly"
        )


def _protected(
    candidates: Sequence[Candidate], own: frozenset[str], protected: frozenset[str]
) -> Iterator[str]:
    mine, theirs = ({_principal(each) for each in refs} for refs in (own, protected))
    for measure, target, _ in candidates:
        if _principal(target.ref) in mine:
            yield f"{measure.name} would act on Firebreak's own principal {target.ref}"
        elif _principal(target.ref) in theirs:
            yield f"{measure.name} would act on the protected principal {target.ref}"


def _principal(ref: str) -> str:
    """What two spellings of one principal have in common.

    Azure compares ids without regard to case; to refuse one ARN too many is the safe side. An AWS session
    knows the role that it came of without the role's path, and no two of an account differ by path or case
    alone (IAM user guide, "IAM identifiers").
    """
    return _PATH.sub(r"\1", ref.lower())


def _foreign(run: Run, candidates: Sequence[Candidate]) -> Iterator[str]:
    for measure, target, _ in candidates:
        if target.account != run.workload.account:
            yield (
                f"{measure.name} would act on {target.ref} in account {target.account}, "
                f"but {run.workload.id} lives in {run.workload.account}"
            )


def _shared(run: Run, candidates: Sequence[Candidate]) -> Iterator[str]:
    for measure, target, radius in candidates:
        if len(radius) > run.workload.max_blast_radius:
            yield (
                f"{measure.name} on {target.ref} would also cut off {', '.join(radius)}: "
                f"{len(radius)} exceeds max_blast_radius={run.workload.max_blast_radius}; give the workload "
                "one of its own, say under used_by who of them is the workload itself, on AWS declare "
                "session_names to scope the deny, or raise max_blast_radius"
            )


def _empty_phases(run: Run, candidates: Sequence[Candidate]) -> Iterator[str]:
    for phase, group in undeclared(run.workload, candidates).items():
        if group not in run.workload.without:
            yield (
                f"{run.workload.id} declares nothing for the phase {phase.title}; add its {group}, or state "
                f"under `without: {{{group}: reason}}` that it has none"
            )


def undeclared(workload: Workload, candidates: Sequence[Candidate]) -> dict[Phase, str]:
    """Each phase of which nothing acts on what its own group declares, and that group.

    A step that another group brings into the phase, such as a queue's policy into network isolation, leaves
    what the group should have named as open as before.
    """
    return {
        phase: group
        for phase, group in GROUP_OF_PHASE.items()
        if not any(
            measure.phase is phase and measure.applies_to(_only(workload, group))
            for measure, _, _ in candidates
        )
    }


def _only(workload: Workload, group: str) -> Workload:
    return workload.model_copy(update={other: () for other in GROUPS if other != group})
