"""What commands print: exactly one document on standard output, everything else on standard error."""

from __future__ import annotations

import json
import shlex
import shutil
import sys
from collections.abc import Callable, Iterable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TypeVar

import click
from pydantic import BaseModel
from rich.console import Console, RenderableType
from rich.table import Table
from rich.text import Text

from firebreak.model import Verdict

PIPED_WIDTH = 160
"""Columns where there is no terminal to ask: an ARN stays on one line."""

STYLES = {
    Verdict.PENDING: "dim",
    Verdict.CONTAINED: "bold green",
    Verdict.PARTIALLY_CONTAINED: "bold yellow",
    Verdict.UNPROVEN: "bold yellow",
    Verdict.REFUSED: "bold red",
    Verdict.REJECTED: "bold red",
    Verdict.RELEASED: "bold cyan",
}

CommandT = TypeVar("CommandT", bound=Callable[..., Any])


def json_option(command: CommandT) -> CommandT:
    """Add ``--json`` to a command."""
    return click.option("--json", "as_json", is_flag=True, help="Print exactly one JSON document.")(command)


def console(*, stderr: bool = False) -> Console:
    """A console that colours only a terminal, obeys NO_COLOR, and never cuts text that is piped."""
    made = Console(stderr=stderr, highlight=False, emoji=False, markup=False)
    if not made.is_terminal:
        made.width = PIPED_WIDTH
    return made


def show(renderable: RenderableType) -> None:
    """Print for people, on standard output."""
    console().print(renderable)


def say(text: str) -> None:
    """Print a line about the command itself, on standard error."""
    click.echo(plain(text), err=True)


def emit(document: Any) -> None:
    """Print the one JSON document of a command."""
    value = document.model_dump(mode="json") if isinstance(document, BaseModel) else document
    click.echo(json.dumps(value, indent=2, ensure_ascii=False))


def plain(text: str) -> str:
    """Text from the cloud or an alert without anything that a terminal would obey."""
    return "".join(c if c.isprintable() or c == "\n" else f"\\x{ord(c):02x}" for c in text)


def this_command() -> str:
    """How to call ``firebreak`` from the shell that this process was called from."""
    beside = Path(sys.executable).with_name("firebreak")
    if shutil.which("firebreak") or not beside.exists():
        return "firebreak"
    return shlex.quote(shown_path(beside))


def shown_path(path: Path) -> str:
    """A path as short as it can be typed here."""
    here = Path.cwd()
    return str(path.relative_to(here) if path.is_relative_to(here) else path)


def verdict_text(verdict: Verdict) -> Text:
    """A verdict in words and its colour."""
    return Text(verdict.value.replace("_", " "), style=STYLES[verdict])


def both_times(at: datetime) -> str:
    """A time as the reader's clock shows it, and in UTC."""
    return f"{at.astimezone():%Y-%m-%d %H:%M:%S %Z} ({at.astimezone(UTC):%H:%M:%S}Z)"


def duration(seconds: float) -> str:
    """Seconds as ``m:ss``, or with hours where there are any; negative where time is over."""
    sign, whole = ("-" if seconds < 0 else ""), abs(int(seconds))
    hours, minutes = divmod(whole // 60, 60)
    return f"{sign}{hours}:{minutes:02}:{whole % 60:02}" if hours else f"{sign}{minutes}:{whole % 60:02}"


def table(headings: Sequence[str], rows: Iterable[Sequence[str | Text]], *, title: str = "") -> Table:
    """A table that folds long text instead of cutting it."""
    made = Table(title=title or None, title_justify="left", box=None, pad_edge=False, header_style="bold")
    for heading in headings:
        made.add_column(heading, overflow="fold")
    for row in rows:
        made.add_row(*(cell if isinstance(cell, Text) else Text(plain(cell)) for cell in row))
    return made
