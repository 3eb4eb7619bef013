"""The command line: one module for each group of commands."""

from __future__ import annotations

import sys
from typing import NoReturn


def main() -> NoReturn:
    """Run the ``firebreak`` command and leave with its exit code."""
    from firebreak.cli.app import run  # noqa: PLC0415 - ``import firebreak.cli.docs`` must not load every command
    from firebreak.cli.exit import run_and_exit  # noqa: PLC0415 - same

    run_and_exit(lambda: run(sys.argv[1:]))
