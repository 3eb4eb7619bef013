"""``python -m bench [overhead|load|recovery|history|webhook ...]``: measure, keep, and document."""

from __future__ import annotations

import importlib
import signal
import time

import click

from bench.ground import say, write
from firebreak.cli.exit import run_and_exit

NAMES = ("overhead", "history", "propagation", "recovery", "load", "webhook", "silence")


@click.command()
@click.argument("names", nargs=-1, type=click.Choice(NAMES))
@click.option(
    "--size", default=1.0, show_default=True, help="Scale of repetitions and fleets; 0.2 for a quick look."
)
@click.option("--document-only", is_flag=True, help="Write docs/performance.md from the results at hand.")
def main(names: tuple[str, ...], size: float, *, document_only: bool) -> None:
    """Measure Firebreak on this machine; everything talks to loopback only."""
    for name in () if document_only else names or NAMES:
        began = time.monotonic()
        say(f"{name} ...")
        write(name, importlib.import_module(f"bench.{name}").run(size))
        say(f"{name} took {time.monotonic() - began:.0f} s")
    document = importlib.import_module("bench.document")
    document.write()


def _main() -> int:
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # ends what was started, too
    main(standalone_mode=False)
    return 0


if __name__ == "__main__":
    run_and_exit(_main)
