"""``firebreak doctor``: what is in place, what is not, and what to do about it."""

from __future__ import annotations

import asyncio

import click
from rich.text import Text

from firebreak.cli.options import cloud_option
from firebreak.cli.output import emit, json_option, show, table
from firebreak.doctor import Examination, Outcome, examine
from firebreak.model import Cloud

STYLES = {Outcome.OK: "green", Outcome.FAILED: "bold red", Outcome.SKIPPED: "dim"}


@click.command()
@cloud_option(required=False)
@json_option
def doctor(cloud: Cloud | None, as_json: bool) -> int:
    """Check everything that a containment will need, and change nothing.

    With --cloud also that cloud's credentials, evidence store, signing key and permissions.
    """
    made = asyncio.run(examine(cloud))
    if as_json:
        emit({"ok": made.exit_code == 0, "checks": [each.model_dump(mode="json") for each in made.checks]})
    else:
        _show(made)
    return made.exit_code


def _show(made: Examination) -> None:
    rows = [
        (Text(each.outcome.value, style=STYLES[each.outcome]), each.name, each.detail, each.remedy)
        for each in made.checks
    ]
    show(table(("", "check", "found", "next"), rows))
