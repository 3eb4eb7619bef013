"""Propose an inventory from tags: one draft for each tag value, and what drafts say about each other."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from typing import TypeVar

from firebreak.drafting import Draft, workload_id
from firebreak.measure import now
from firebreak.model import Cloud, Mode, Run, Workload
from firebreak.provider import Proposal, Search

DraftT = TypeVar("DraftT", bound=Draft)


def own_workload(search: Search, cloud: Cloud) -> Workload:
    """The place to search, as a workload without parts."""
    return Workload(
        id="discovery", cloud=cloud, account=search.account, region=search.region, access=search.access
    )


def own_run(search: Search, cloud: Cloud) -> Run:
    """The run by which discovery asks for its access."""
    workload = own_workload(search, cloud)
    return Run(incident_id="discovery", mode=Mode.LIVE, workload=workload, triggered_at=now())


def is_wanted(search: Search, tags: Mapping[str, str]) -> bool:
    """Whether these tags are those of a workload that is searched for."""
    value = tags.get(search.tag)
    return value is not None and search.value in {"", value}


def drafts_of(draft: type[DraftT], values: Iterable[str], search: Search) -> dict[str, DraftT]:
    """One draft for each tag value; two values that would give the same id are kept apart."""
    drafts: dict[str, DraftT] = {}
    taken: Counter[str] = Counter()
    for value in sorted(values):
        name = workload_id(value)
        taken[name] += 1
        drafts[value] = draft(name if taken[name] == 1 else f"{name[:58]}-n{taken[name]}", search)
        if drafts[value].id != value:
            drafts[value].note(f"the tag says {value!r}, which is no id of the inventory")
    return drafts


def note_shared(drafts: Iterable[Draft], kind: str, noun: str, advice: str) -> None:
    """Note in each draft which other drafts have the same identity of one kind."""
    users: dict[str, list[Draft]] = defaultdict(list)
    for draft in drafts:
        for ref in draft.refs("identities", kind):
            users[draft.canonical(ref)].append(draft)
    for ref, sharing in users.items():
        for draft in sharing if len(sharing) > 1 else ():
            others = ", ".join(each.id for each in sharing if each is not draft)
            draft.note(f"{ref} is also the {noun} of {others}: {advice}")


def proposal_of(drafts: Iterable[Draft]) -> Proposal:
    """The proposal that the drafts make."""
    drafts = list(drafts)
    return Proposal(
        workloads=tuple(draft.workload() for draft in drafts),
        notes={draft.id: tuple(draft.notes) for draft in drafts},
        left_out=tuple(f"{draft.id}: {text}" for draft in drafts for text in draft.left_out),
    )
