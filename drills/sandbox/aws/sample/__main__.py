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
from drills.sandbox.sample import INVENTORY_FILE, Sample, seed_once


@click.command()
@click.option("--endpoint", required=True, help="URL of the sandbox.")
@click.option("--folder", required=True, type=click.Path(path_type=Path, file_okay=False))
def main(endpoint: str, folder: Path) -> None:
    """Seed the sandbox once; a second time finds it seeded and changes nothing."""
    client = SandboxClient(endpoint)

    def fill() -> tuple[Sample, dict[str, str]]:
        client.reset()
        sample = seed(client, folder / INVENTORY_FILE)
        return sample, sample.environment() | signing_keys(folder)

    seed_once(folder, endpoint, lambda: _is_seeded(client), fill)


def _is_seeded(client: SandboxClient) -> bool:
    admin = Admin.of(client, ORCHESTRATOR_ACCOUNT, DEFAULT_REGION)
    return bool(admin.client("iam").list_users()["Users"])


if __name__ == "__main__":
    main()
