"""``firebreak worker``, ``up`` and ``demo``: the processes that stay."""

from __future__ import annotations

import asyncio
import importlib
import signal
import threading
from pathlib import Path
from types import ModuleType

import click

from firebreak import logs
from firebreak.cli.options import clouds_here
from firebreak.cli.output import json_option
from firebreak.errors import UsageError
from firebreak.model import Cloud
from firebreak.settings import load_settings


@click.command()
@click.option("--workflows", is_flag=True, help="Work on workflows; needs no cloud credentials.")
@click.option(
    "--cloud",
    "clouds",
    multiple=True,
    type=click.Choice([cloud.value for cloud in clouds_here()]),
    help="Work on that cloud's steps, with its credentials.",
)
def worker(workflows: bool, clouds: tuple[str, ...]) -> None:
    """Work until told to stop (SIGTERM).

    One process for workflows and one for each cloud keeps their rights apart.
    """
    from firebreak.worker import Role, run  # noqa: PLC0415 - loads every workflow and activity

    if not workflows and not clouds:
        raise UsageError("this worker would do nothing", remedy="give --workflows, --cloud CLOUD, or both")
    settings = load_settings()
    logs.configure(settings)
    role = Role(workflows=workflows, clouds=tuple(Cloud(each) for each in clouds))
    asyncio.run(run(settings, role))


@click.command()
@click.option(
    "--folder",
    type=click.Path(path_type=Path, file_okay=False),
    default=Path(".firebreak/up"),
    show_default=True,
    help="Where logs, settings and the sample inventory are put.",
)
def up(folder: Path) -> None:
    """Run the embedded stack with a sample workload.

    A rogue agent attacks through the workload until the command is told to stop. Temporal dev server, AWS sandbox and workers; all in memory and on this machine only.
    """
    stack = _sandbox_part("firebreak.cli.stack")
    stop = threading.Event()
    for each in (signal.SIGTERM, signal.SIGINT):
        signal.signal(each, lambda *_: stop.set())
    with stack.running(folder) as made, stack.attacked(made):
        workload = made.sample.workload_ids[0]
        click.echo(f"Temporal {made.server.address}, its UI {made.server.ui}, AWS sandbox {made.sandbox.url}")
        click.echo("In another shell:")
        click.echo(f"  set -a; . {folder}/env; set +a")
        click.echo(f'  firebreak contain {workload} --reason "suspicious egress" --wait')
        stop.wait()


@click.command()
@click.option(
    "--folder",
    type=click.Path(path_type=Path, file_okay=False),
    default=Path(".firebreak/demo"),
    show_default=True,
    help="Where logs and the evidence are put.",
)
@json_option
def demo(folder: Path, as_json: bool) -> int:
    """Contain a live rogue agent in the embedded sandbox.

    The agent itself is the judge: its last success on each channel must lie before the proof of the phase.
    """
    return int(_sandbox_part("firebreak.cli.demo").play(folder, as_json=as_json))


def _sandbox_part(name: str) -> ModuleType:
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        raise UsageError(
            f"the embedded sandbox needs {error.name}", remedy="install firebreak[sandbox]"
        ) from error
