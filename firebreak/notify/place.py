"""Where in the console people answer what a page asks."""

from __future__ import annotations

from activities.inputs import Page


def incident_at(console: str, page: Page) -> str:
    """The address of the incident where people have to decide; empty without a console's address."""
    asks = page.kind == "decision_needed" and console
    return f"{console.rstrip('/')}/incidents/{page.incident_id}" if asks else ""
