"""Seed a running sandbox from the command line, and leave its inventory and environment in a folder.

python -m drills.sandbox.azure.sample --endpoint URL --proxy URL --ca-file FILE --folder FOLDER
"""

from __future__ import annotations

from pathlib import Path

import click

from drills.sandbox.azure.client import AzureSandbox
from drills.sandbox.azure.sample import EVIDENCE_ACCOUNT, seed
from drills.sandbox.sample import INVENTORY_FILE, Sample, seed_once


@click.command()
@click.option("--endpoint", required=True, help="URL of the sandbox's control API.")
@click.option("--proxy", required=True, help="URL of the sandbox's proxy.")
@click.option("--ca-file", required=True, type=click.Path(path_type=Path, exists=True))
@click.option("--folder", required=True, type=click.Path(path_type=Path, file_okay=False))
def main(endpoint: str, proxy: str, ca_file: Path, folder: Path) -> None:
    """Seed the sandbox once; a second time finds it seeded and changes nothing."""
    sandbox = AzureSandbox(endpoint, proxy, ca_file)

    def fill() -> tuple[Sample, dict[str, str]]:
        sandbox.reset()
        sample = seed(sandbox, folder / INVENTORY_FILE)
        return sample, sample.environment()

    seed_once(folder, endpoint, lambda: _is_seeded(sandbox), fill)


def _is_seeded(sandbox: AzureSandbox) -> bool:
    listed = sandbox.arm("GET", "/subscriptions", "2022-12-01")["value"]
    return EVIDENCE_ACCOUNT in {each["subscriptionId"] for each in listed}


if __name__ == "__main__":
    main()
