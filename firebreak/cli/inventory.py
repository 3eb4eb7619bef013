"""``firebreak inventory``: check, list, describe and propose the workloads that may be contained."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import click

from firebreak import inventory as loader
from firebreak.cli.options import cloud_option, clouds_here, inventory_option
from firebreak.cli.output import emit, json_option, say, show, table
from firebreak.cli.proposal import as_document, as_yaml
from firebreak.errors import UsageError
from firebreak.inventory import Inventory
from firebreak.model import Cloud, JsonObject, Workload
from firebreak.provider import Proposal, Search, provider
from firebreak.settings import load_settings

TAG = "ai-workload"


@click.group()
def inventory() -> None:
    """Check, list, describe and propose the workloads of the inventory file."""


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


@inventory.command()
@cloud_option(required=True)
@click.option("--account", required=True, help="The account to search.")
@click.option("--region", required=True, help="The region to search.")
@click.option(
    "--role-arn", default="", help="The role to read the account as; it needs permissions discovery."
)
@click.option("--external-id", default="", help="The external id of that role, where it asks for one.")
@click.option(
    "--access",
    multiple=True,
    metavar="KEY=VALUE",
    help="How to reach the account, as an inventory says it: tenant_id, client_id, cloud on Azure.",
)
@click.option(
    "--tag",
    default=TAG,
    show_default=True,
    metavar="KEY[=VALUE]",
    help="The tag whose value names the workload; with a value, that workload only.",
)
@json_option
def discover(as_json: bool, tag: str, access: tuple[str, ...], **place: str) -> None:
    """Propose an inventory from the tags of an account's resources; it only reads.

    Standard output is an inventory file. Its comments say what only a person can add, such as probes.
    """
    cloud = Cloud(place.pop("cloud"))
    search = _search(tag, place, _pairs(access))
    proposal = provider(cloud).discover(search, load_settings())
    if as_json:
        emit(as_document(proposal))
    else:
        click.echo(as_yaml(proposal), nl=False)
    _say_what_is_missing(proposal, tag)


def _pairs(given: tuple[str, ...]) -> dict[str, str]:
    pairs = dict(each.partition("=")[::2] for each in given)
    if not all(name and value for name, value in pairs.items()):
        raise UsageError("--access is not KEY=VALUE", remedy="for example --access client_id=GUID")
    return pairs


def _search(tag: str, place: Mapping[str, str], more: Mapping[str, str]) -> Search:
    key, _, value = tag.partition("=")
    if not key:
        raise UsageError("--tag names no key", remedy="give --tag KEY or --tag KEY=VALUE")
    given = {"role_arn": place["role_arn"], "external_id": place["external_id"], **more}
    access = {name: text for name, text in given.items() if text}
    return Search(account=place["account"], region=place["region"], access=access, tag=key, value=value)


def _say_what_is_missing(proposal: Proposal, tag: str) -> None:
    if not proposal.workloads:
        say(f"nothing is tagged {tag}")
    for workload_id, notes in proposal.notes.items():
        for note in notes:
            if note.startswith("INCOMPLETE"):
                say(f"{workload_id}: {note}")


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
