"""``firebreak inventory``: check, list and describe the workloads that may be contained."""

from __future__ import annotations

from pathlib import Path

import click

from firebreak import inventory as loader
from firebreak.cli.options import clouds_here, inventory_option
from firebreak.cli.output import emit, json_option, show, table
from firebreak.inventory import Inventory
from firebreak.model import JsonObject, Workload


@click.group()
def inventory() -> None:
    """Check, list and describe the workloads of the inventory file."""


@inventory.command()
@click.argument("file", required=False, type=click.Path(path_type=Path))
@inventory_option
@json_option
def validate(file: Path | None, inventory_path: Path, as_json: bool) -> None:
    """Check an inventory FILE: every problem at once, each with its line."""
    loaded = loader.load(file or inventory_path)
    if as_json:
        emit({"file": str(loaded.path), "digest": loaded.digest, "workloads": list(loaded.workloads)})
    else:
        click.echo(f"{loaded.path}: {len(loaded.workloads)} workloads, digest {loaded.digest}")


@inventory.command("list")
@inventory_option
@json_option
def list_workloads(inventory_path: Path, as_json: bool) -> None:
    """List the workloads with their parts."""
    loaded = loader.load(inventory_path)
    if as_json:
        emit({"digest": loaded.digest, "workloads": [_document(each) for each in loaded.workloads.values()]})
    else:
        _show(loaded)


@inventory.command()
def schema() -> None:
    """Print the JSON Schema of an inventory file."""
    emit(loader.schema(clouds_here()))


def _document(workload: Workload) -> JsonObject:
    return {**workload.model_dump(mode="json"), "digest": workload.digest()}


def _show(loaded: Inventory) -> None:
    rows = [
        (each.id, each.cloud, each.account, each.region, each.risk_tier, each.consent.mode, _parts(each))
        for each in loaded.workloads.values()
    ]
    show(table(("workload", "cloud", "account", "region", "tier", "consent", "parts"), rows))


def _parts(workload: Workload) -> str:
    counts = {group: len(getattr(workload, group)) for group in loader.GROUPS}
    return ", ".join(f"{count} {group.replace('_', ' ')}" for group, count in counts.items() if count)
