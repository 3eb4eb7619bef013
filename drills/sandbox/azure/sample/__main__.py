"""Seed a running sandbox from the command line, and leave its inventory and environment in a folder.

python -m drills.sandbox.azure.sample --endpoint URL --proxy URL --ca-file FILE --folder FOLDER
"""

from __future__ import annotations

from pathlib import Path

import click

from drills.sandbox.azure.client import AzureSandbox
from drills.sandbox.azure.sample import EVIDENCE_ACCOUNT, seed
from drills.sandbox.sample import ENVIRONMENT_FILE, INVENTORY_FILE, write_environment


@click.command()
@click.option("--endpoint", required=True, help="URL of the sandbox's control API.")
@click.option("--proxy", required=True, help="URL of the sandbox's proxy.")
@click.option("--ca-file", required=True, type=click.Path(path_type=Path, exists=True))
@click.option("--folder", required=True, type=click.Path(path_type=Path, file_okay=False))
def main(endpoint: str, proxy: str, ca_file: Path, folder: Path) -> None:
    """Seed the sandbox once; a second time finds it seeded and changes nothing."""
    sandbox = AzureSandbox(endpoint, proxy, ca_file)
    if (folder / ENVIRONMENT_FILE).exists() and _is_seeded(sandbox):
        click.echo(f"{endpoint} is already seeded")
        return
    folder.mkdir(parents=True, exist_ok=True)
    sandbox.reset()
    sample = seed(sandbox, folder / INVENTORY_FILE)
    write_environment(folder / ENVIRONMENT_FILE, sample.environment())
    click.echo(
        f"{endpoint} has {', '.join(sample.workload_ids)}; read the settings with: set -a; . {folder}/env"
    )


def _is_seeded(sandbox: AzureSandbox) -> bool:
    listed = sandbox.arm("GET", "/subscriptions", "2022-12-01")["value"]
    return EVIDENCE_ACCOUNT in {each["subscriptionId"] for each in listed}


if __name__ == "__main__":
    main()
