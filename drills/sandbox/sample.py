"""What the samples of all clouds have in common, and how several of them become one stack's surroundings.

    python -m drills.sandbox.sample --into FOLDER SAMPLE_FOLDER...

joins the folders that the clouds' own `python -m drills.sandbox.<cloud>.sample` left.
"""

from __future__ import annotations

import json
import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import click
import yaml

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from firebreak.model import Cloud

Json = dict[str, Any]
ENVIRONMENT_FILE, INVENTORY_FILE, ROGUE_FILE = "env", "workloads.yaml", "rogue.json"
INVENTORY, SANDBOX_ACCOUNTS = "FIREBREAK_INVENTORY", "FIREBREAK_GUARD__SANDBOX_ACCOUNTS"
LARGEST_FLEET = 4_000


class SampleError(ValueError):
    """The sandbox cannot be seeded as asked."""


class Sandbox(Protocol):
    """A running sandbox's control API, whichever cloud it plays."""

    @property
    def url(self) -> str:
        """Where it is."""
        ...

    def request(self, method: str, path: str, body: Mapping[str, Any] | None = None) -> Json:
        """Call a control route."""
        ...


class Sample(Protocol):
    """A seeded sandbox, whichever cloud it plays."""

    @property
    def cloud(self) -> Cloud:
        """The cloud."""
        ...

    @property
    def endpoint(self) -> str:
        """Where the sandbox's control API is."""
        ...

    @property
    def workload_account(self) -> str:
        """The account that the workloads are in."""
        ...

    @property
    def evidence_account(self) -> str:
        """The account that the evidence is kept in."""
        ...

    @property
    def evidence_store(self) -> str:
        """The immutable store's uri."""
        ...

    @property
    def inventory_path(self) -> Path:
        """The file that describes the workloads."""
        ...

    @property
    def workload_ids(self) -> tuple[str, ...]:
        """The workloads, the sample agent first."""
        ...

    @property
    def rogue_module(self) -> str:
        """What plays the rogue agent."""
        ...

    @property
    def rogue_config_path(self) -> Path | None:
        """The rogue agent's configuration; None where nobody attacks."""
        ...

    def environment(self) -> dict[str, str]:
        """Return the variables that point Firebreak at this sandbox."""
        ...


def check_seeding(copies: int, *, lean: bool | None) -> None:
    """Raise SampleError for a seeding that is not offered."""
    if not 1 <= copies <= LARGEST_FLEET:
        raise SampleError(f"copies must be between 1 and {LARGEST_FLEET}")
    if lean is False and copies > 1:
        raise SampleError("only lean workloads come in several copies")


class _Plain(yaml.SafeDumper):
    """Writes what occurs twice twice: an inventory has no aliases."""

    def ignore_aliases(self, data: Any) -> bool:
        return True


def write_inventory(path: Path, workloads: Sequence[Json]) -> None:
    """Write the inventory file."""
    document = {"version": 1, "workloads": list(workloads)}
    text = yaml.dump(document, Dumper=_Plain, sort_keys=False, width=110)
    path.write_text(text, encoding="utf-8")


def write_private(path: Path, text: str) -> Path:
    """Write a file that holds credentials, for its owner only."""
    path.touch(mode=0o600)
    path.write_text(text, encoding="utf-8")
    return path


def write_rogue_config(inventory_path: Path, attacks: Json | None) -> Path | None:
    """Write the rogue agent's configuration beside the inventory; nothing where nobody attacks."""
    if attacks is None:
        return None
    return write_private(inventory_path.with_name(ROGUE_FILE), json.dumps(attacks, indent=2))


def write_environment(path: Path, environment: Mapping[str, str], *, without: Iterable[str] = ()) -> None:
    """Write variables in the form that a shell reads, for their owner only: they hold credentials.

    The shell forgets the variables named by ``without`` first.
    """
    forgotten = "".join(f"unset {shlex.quote(name)}\n" for name in without)
    own = "".join(f"{name}={shlex.quote(value)}\n" for name, value in environment.items())
    write_private(path, forgotten + own)


def read_environment(path: Path) -> dict[str, str]:
    """Read the variables that `write_environment` wrote."""
    words = shlex.split(path.read_text(encoding="utf-8"))
    return dict(word.split("=", 1) for word in words if "=" in word)  # ``unset NAME`` has none


def seed_once(
    folder: Path,
    endpoint: str,
    is_seeded: Callable[[], bool],
    seed: Callable[[], tuple[Sample, Mapping[str, str]]],
) -> None:
    """Seed a sandbox and leave its environment in a folder; a second time changes nothing."""
    if (folder / ENVIRONMENT_FILE).exists() and is_seeded():
        click.echo(f"{endpoint} is already seeded")
        return
    folder.mkdir(parents=True, exist_ok=True)
    sample, environment = seed()
    write_environment(folder / ENVIRONMENT_FILE, environment)
    click.echo(
        f"{endpoint} has {', '.join(sample.workload_ids)}; read the settings with: set -a; . {folder}/env"
    )


def joined_inventory(path: Path, inventories: Iterable[Path]) -> Path:
    """Write one inventory with the workloads of several."""
    documents = [yaml.safe_load(each.read_text(encoding="utf-8")) for each in inventories]
    write_inventory(path, [workload for document in documents for workload in document["workloads"]])
    return path


def joined_environment(inventory: Path, environments: Iterable[Mapping[str, str]]) -> dict[str, str]:
    """Return the variables of several samples, with the accounts of all and the common inventory."""
    joined: dict[str, str] = {}
    accounts: list[str] = []
    for each in environments:
        joined |= each
        accounts += json.loads(each[SANDBOX_ACCOUNTS])
    return {**joined, INVENTORY: str(inventory), SANDBOX_ACCOUNTS: json.dumps(accounts)}


@click.command()
@click.option("--into", required=True, type=click.Path(path_type=Path, file_okay=False))
@click.argument("folders", nargs=-1, required=True, type=click.Path(path_type=Path, exists=True))
def main(into: Path, folders: tuple[Path, ...]) -> None:
    """Join the samples that lie in the folders: one inventory, one environment."""
    into.mkdir(parents=True, exist_ok=True)
    inventory = joined_inventory(into / INVENTORY_FILE, [each / INVENTORY_FILE for each in folders])
    environments = [read_environment(each / ENVIRONMENT_FILE) for each in folders]
    write_environment(into / ENVIRONMENT_FILE, joined_environment(inventory, environments))


if __name__ == "__main__":
    main()
