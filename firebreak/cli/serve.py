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
from firebreak.cli.output import json_option, this_command
from firebreak.errors import UsageError
from firebreak.settings import load_settings


@click.command()
@click.option("--role", "roles", required=True, help="workflows, a cloud, or several joined by commas.")
def worker(roles: str) -> None:
    """Work until told to stop (SIGTERM).

    One process for workflows and one for each cloud keeps their rights apart: the worker for workflows needs
    no cloud credentials.
    """
    from firebreak.worker import Role, run  # noqa: PLC0415 - loads every workflow and activity

    known = ("workflows", *(cloud.value for cloud in clouds_here()))
    if unknown := [each for each in roles.split(",") if each not in known]:
        raise UsageError(f"--role: {', '.join(unknown)} is not one of {', '.join(known)}")
    settings = load_settings()
    logs.configure(settings)
    asyncio.run(run(settings, Role.parse(roles)))


@click.command()
@click.option(
    "--folder",
    type=click.Path(path_type=Path, file_okay=False),
    default=Path(".firebreak/up"),
    show_default=True,
    help="Where logs, settings and the sample inventory are put; new, empty, or of an earlier `up`.",
)
def up(folder: Path) -> None:
    """Run the embedded stack with a sample workload in every cloud.

    Rogue agents attack through the workloads until the command is told to stop. Temporal dev server, AWS and
    Azure sandboxes, workers and the console run on this machine only; sandboxes and the list of runs begin
    empty each time. Of the shell's TEMPORAL_* and FIREBREAK_* variables they heed FIREBREAK_LOG_* and
    FIREBREAK_PROOF__* alone.
    """
    names = ("firebreak.cli.stack", "drills.stack", "drills.console")
    stack, sandboxes, consoles = (_sandbox_part(name) for name in names)
    stack.without_runs(stack.claimed(folder, "up"))
    stop = threading.Event()
    for each in (signal.SIGTERM, signal.SIGINT):
        signal.signal(each, lambda *_: stop.set())
    with stack.running(folder) as made, sandboxes.rogue_agents(made), consoles.console(made) as console:
        click.echo(f"Temporal {made.temporal_address}, its UI {made.temporal_ui}")
        for cloud, played in made.clouds.items():
            click.echo(f"{cloud} sandbox {played.sandbox.url}")
        click.echo(f"Console {console.url}, with a link for each of two people, which works once:")
        for name, link in console.links.items():
            click.echo(f"  {name}: {link}")
        click.echo("In another shell:")
        click.echo(f"  set -a; . {folder}/env; set +a")
        for played in made.clouds.values():
            workload = played.sample.workload_ids[0]
            click.echo(f'  {this_command()} contain {workload} --reason "suspicious egress" --wait')
        stop.wait()


@click.command()
@click.option(
    "--folder",
    type=click.Path(path_type=Path, file_okay=False),
    default=Path(".firebreak/demo"),
    show_default=True,
    help="Where logs and the evidence are put; new, empty, or of an earlier demo: then it is emptied.",
)
@json_option
def demo(folder: Path, as_json: bool) -> int:
    """Contain a live rogue agent in the embedded sandbox.

    The agent itself is the judge: its last success on each channel must lie before the proof of the phase,
    and it must have been refused three times since; timeouts and other errors do not count.
    """
    return int(_sandbox_part("firebreak.cli.demo").play(folder, as_json=as_json))


def _sandbox_part(name: str) -> ModuleType:
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        raise UsageError(
            f"the embedded sandbox needs {error.name}", remedy="install firebreak[sandbox]"
        ) from error
