"""``firebreak measures`` and ``firebreak permissions``: what it can do, and the rights it needs."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import click

from firebreak import inventory as loader
from firebreak.cli.options import cloud_option, clouds_here, inventory_option
from firebreak.cli.output import emit, json_option, show, table
from firebreak.errors import UsageError
from firebreak.measure import Measure, Scope
from firebreak.measure import measures as registered
from firebreak.model import Cloud, JsonObject, Workload
from firebreak.provider import Need, provider
from firebreak.settings import load_settings

DISCOVERY = "discovery"
ROLES = ("responder", "evidence", "orchestrator", DISCOVERY)


@click.command()
@cloud_option(required=False)
@json_option
def measures(cloud: Cloud | None, as_json: bool) -> None:
    """List every containment measure by cloud and phase."""
    found = [measure for each in ([cloud] if cloud else clouds_here()) for measure in registered(each)]
    if as_json:
        emit({"measures": [describe(measure) for measure in found]})
        return
    rows = [
        (
            str(int(each.phase)),
            each.phase.title,
            each.name,
            promise(each),
            "no" if each.irreversible else "yes",
        )
        for each in found
    ]
    show(table(("", "phase", "measure", "what it does", "reverted on release"), rows))


@click.command()
@cloud_option(required=True)
@inventory_option
@click.option("--role", type=click.Choice(ROLES), help="Print one role's document only.")
def permissions(cloud: Cloud, inventory_path: Path, role: str | None) -> None:
    """Print the least-privilege policy documents for the workloads of the inventory, as JSON.

    The document of the role discovery needs no inventory.
    """
    workloads = [] if role == DISCOVERY else _workloads(cloud, inventory_path)
    documents = provider(cloud).policies(list(_needs(cloud, workloads)), workloads, load_settings())
    emit(documents[role] if role else documents)


def describe(measure: type[Measure[Any]]) -> JsonObject:
    """A measure as ``measures --json`` and the generated documents show it."""
    return {
        "name": measure.name,
        "cloud": measure.cloud.value,
        "phase": int(measure.phase),
        "phase_title": measure.phase.title,
        "promise": promise(measure),
        "permissions": {
            scope.value: [each.action for each in measure.permissions if each.scope is scope]
            for scope in Scope
        },
        "irreversible": measure.irreversible,
        "preserve_first": measure.preserve_first,
    }


def promise(measure: type[Measure[Any]]) -> str:
    """The first line of the measure's docstring."""
    return next(iter((measure.__doc__ or "").strip().splitlines()), "")


def _workloads(cloud: Cloud, inventory_path: Path) -> list[Workload]:
    found = [each for each in loader.load(inventory_path).workloads.values() if each.cloud is cloud]
    if not found:
        raise UsageError(f"{inventory_path} has no workload in {cloud}")
    return found


def _needs(cloud: Cloud, workloads: Iterable[Workload]) -> Iterator[Need]:
    for workload in workloads:
        for measure in registered(cloud):
            yield from ((measure, target) for target in measure.applies_to(workload))
