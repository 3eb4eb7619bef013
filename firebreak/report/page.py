"""The report as one HTML page without any reference to elsewhere, and as a PDF of it."""

from __future__ import annotations

import importlib
from datetime import UTC, datetime
from pathlib import Path

from jinja2 import Environment

from firebreak import __version__
from firebreak.errors import UsageError
from firebreak.report.clocks import Deadlines, due
from firebreak.report.facts import Facts
from firebreak.report.plot import duration, plot
from firebreak.report.principles import PRINCIPLES
from firebreak.report.templating import environment


def html(facts: Facts, deadlines: Deadlines, *, made_at: datetime, aware_at: datetime | None = None) -> str:
    """Write the page. Whatever came from outside is escaped: an alert's text may be an attacker's."""
    template = _environment().get_template("report.html.j2")
    return template.render(
        facts=facts,
        plot=plot(facts),
        deadlines=deadlines,
        due=due(deadlines, aware_at or facts.triggered_at),
        aware_at=aware_at or facts.triggered_at,
        principles=PRINCIPLES,
        made_at=made_at,
        version=__version__,
    )


def pdf(page: str, path: Path) -> None:
    """Write the page as PDF/A-3b; raises UsageError where WeasyPrint or its libraries are missing."""
    try:
        weasyprint = importlib.import_module("weasyprint")
    except (ImportError, OSError) as error:  # OSError: Pango is not on the machine
        raise UsageError(
            f"a PDF cannot be written here: {error}",
            remedy="install firebreak[pdf] and Pango, or print the HTML page",
        ) from error
    weasyprint.HTML(string=page).write_pdf(str(path), pdf_variant="pdf/a-3b")


def _environment() -> Environment:
    templates = environment("firebreak.report")
    templates.filters["utc"] = _utc
    templates.filters["duration"] = duration
    return templates


def _utc(moment: datetime | None) -> str:
    return "-" if moment is None else f"{moment.astimezone(UTC):%Y-%m-%d %H:%M:%S} UTC"
