"""Templates, and the one way in which a page leaves: escaped, and forbidden to load anything foreign."""

from __future__ import annotations

import hashlib
import json
from datetime import UTC, datetime
from functools import lru_cache
from importlib import resources
from typing import Any

from fastapi.responses import HTMLResponse
from jinja2 import Environment

from firebreak import __version__
from firebreak.reading import latest_finding
from firebreak.report.templating import environment

POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; "
    "form-action 'self'; frame-ancestors 'none'; base-uri 'none'"
)
"""Content Security Policy Level 3: nothing inline, nothing from elsewhere."""

HTMX = json.dumps(
    {
        "allowEval": False,
        "allowScriptTags": False,
        "includeIndicatorStyles": False,
        "selfRequestsOnly": True,
        "historyCacheSize": 0,  # pages of an incident do not stay in the browser's storage
    }
)
"""htmx 2 reference, "Configuration": without these it would evaluate code and write a style element."""

ICONS = {
    "contained": "check",
    "partially_contained": "half",
    "unproven": "question",
    "refused": "cross",
    "rejected": "cross",
    "released": "return",
    "pending": "dots",
}
"""A verdict's shape: colour alone says nothing to many people."""
SECONDS_PER_HOUR = 3600


def page(template: str, status: int = 200, **context: Any) -> HTMLResponse:
    """A whole page."""
    return HTMLResponse(part(template, **context), status, {"Content-Security-Policy": POLICY})


def part(template: str, **context: Any) -> str:
    """A piece of a page."""
    return _environment().get_template(f"{template}.html.j2").render(**context)


def duration(seconds: float | None) -> str:
    """Seconds as ``m:ss``, with hours where there are any; a dash for none."""
    if seconds is None:
        return "-"
    sign, whole = ("-" if seconds < 0 else ""), abs(int(seconds))
    hours, rest = divmod(whole, SECONDS_PER_HOUR)
    minutes = f"{rest // 60:02}" if hours else f"{rest // 60}"
    return f"{sign}{f'{hours}:' if hours else ''}{minutes}:{rest % 60:02}"


def iso(moment: datetime) -> str:
    """For ``<time datetime>``."""
    return moment.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


@lru_cache(maxsize=1)
def _environment() -> Environment:
    templates = environment("firebreak.web.console")
    templates.filters.update(
        duration=duration,
        latest=latest_finding,
        iso=iso,
        utc=lambda at: f"{at.astimezone(UTC):%Y-%m-%d %H:%M:%S} UTC",
        clock=lambda at: f"{at.astimezone(UTC):%H:%M:%S} UTC",
        words=lambda value: str(value).replace("_", " "),
        icon=lambda verdict: ICONS[str(verdict)],
        milliseconds=lambda at: int(at.timestamp() * 1000),
    )
    templates.globals.update(version=__version__, htmx_config=HTMX, static=_static)
    return templates


@lru_cache(maxsize=32)
def _static(name: str) -> str:
    """The address of a file of ours; it changes with its content, so that no browser keeps an old one."""
    content = (resources.files("firebreak.web.console") / "static" / name).read_bytes()
    return f"/static/{name}?{hashlib.sha256(content).hexdigest()[:12]}"
