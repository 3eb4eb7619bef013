"""Seed a running sandbox from the command line, and leave its inventory and environment in a folder.

python -m drills.sandbox.aws.sample --endpoint URL --folder FOLDER
"""

from __future__ import annotations

from pathlib import Path

import click

from drills.keys import signing_keys
from drills.sandbox.aws.client import SandboxClient
from drills.sandbox.aws.sample import ORCHESTRATOR_ACCOUNT, seed
from drills.sandbox.aws.sample.clients import Admin
from drills.sandbox.aws.state import DEFAULT_REGION
from drills.sandbox.sample import ENVIRONMENT_FILE, INVENTORY_FILE, write_environment


@click.command()
@click.option("--endpoint", required=True, help="URL of the sandbox.")
@click.option("--folder", required=True, type=click.Path(path_type=Path, file_okay=False))
def main(endpoint: str, folder: Path) -> None:
    """Seed the sandbox once; a second time finds it seeded and changes nothing."""
    client = SandboxClient(endpoint)
    if (folder / ENVIRONMENT_FILE).exists() and _is_seeded(client):
        click.echo(f"{endpoint} is already seeded")
        return
    folder.mkdir(parents=True, exist_ok=True)
    client.reset()
    sample = seed(client, folder / INVENTORY_FILE)
    write_environment(folder / ENVIRONMENT_FILE, {**sample.environment(), **signing_keys(folder)})
    click.echo(
        f"{endpoint} has {', '.join(sample.workload_ids)}; read the settings with: set -a; . {folder}/env"
    )


def _is_seeded(client: SandboxClient) -> bool:
    admin = Admin.of(client, ORCHESTRATOR_ACCOUNT, DEFAULT_REGION)
    return bool(admin.client("iam").list_users()["Users"])


if __name__ == "__main__":
    main()
