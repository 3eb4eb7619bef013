"""Write a proposed inventory that loads as it is: what a person must know stands in its comments."""

from __future__ import annotations

from collections.abc import Iterator

import yaml

from firebreak.inventory import GROUPS, VERSION
from firebreak.model import JsonObject, Workload
from firebreak.provider import Proposal

WIDTH = 110
_HEAD = ("id", "cloud", "account", "region", "kind", "owner", "risk_tier", "access")
"""Fields that are written even where they have their default: a person should look at them."""


def as_document(proposal: Proposal) -> JsonObject:
    """The proposal as one JSON document, the inventory under its own key."""
    return {
        "inventory": {"version": VERSION, "workloads": [_entry(each) for each in proposal.workloads]},
        "notes": {workload: list(notes) for workload, notes in proposal.notes.items()},
        "left_out": list(proposal.left_out),
    }


def as_yaml(proposal: Proposal) -> str:
    """The proposal as an inventory file."""
    return "\n".join(_lines(proposal)) + "\n"


def _lines(proposal: Proposal) -> Iterator[str]:
    yield "# Proposed by firebreak inventory discover. Check every line: it decides what will be cut off."
    if proposal.left_out:
        yield "# Tagged, and not proposed:"
        yield from (_comment(text) for text in proposal.left_out)
    yield f"version: {VERSION}"
    if not proposal.workloads:
        yield "workloads: []"
        return
    yield "workloads:"
    for workload in proposal.workloads:
        yield from (_comment(text) for text in proposal.notes.get(workload.id, ()))
        yield yaml.safe_dump([_entry(workload)], sort_keys=False, width=WIDTH).rstrip("\n")


def _comment(text: str) -> str:
    """One comment line: no character of a name in the cloud may end it and begin something that is read."""
    return "#   " + "".join(each if each.isprintable() else " " for each in text)


def _entry(workload: Workload) -> JsonObject:
    written = workload.model_dump(mode="json")
    chosen = workload.model_dump(mode="json", exclude_defaults=True)
    return {
        **{name: written[name] for name in _HEAD},
        **{group: chosen[group] for group in GROUPS if chosen.get(group)},
    }
