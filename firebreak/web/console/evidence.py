"""The evidence of an incident: its verification, and the containment report."""

from __future__ import annotations

import base64
import hashlib
import re
from collections.abc import Iterator

from fastapi import APIRouter
from fastapi.responses import Response, StreamingResponse

from firebreak.record import RunStatus
from firebreak.web.console.examine import Examined
from firebreak.web.console.visit import IncidentPath, Visit, Visiting

CHUNK = 64 * 1024
_STYLE = re.compile(r"<style>(.*?)</style>", re.DOTALL)

router = APIRouter(include_in_schema=False)


@router.get("/incidents/{incident_id}/evidence")
async def verification(visit: Visiting, incident_id: IncidentPath, *, again: bool = False) -> Response:
    """Fetch the package, verify it, and show what each step found."""
    run, examined = await _examined(visit, incident_id, again=again)
    return visit.page("evidence", run=run, examined=examined)


@router.get("/incidents/{incident_id}/report")
async def report(visit: Visiting, incident_id: IncidentPath) -> Response:
    """The containment report, which is a page of its own: it can be kept and sent as it is."""
    _, examined = await _examined(visit, incident_id)
    return StreamingResponse(
        _pieces(examined.report.encode()),
        media_type="text/html; charset=utf-8",
        headers={
            "Content-Security-Policy": policy(examined.report),
            "Content-Disposition": f'inline; filename="containment-report-{incident_id}.html"',
        },
    )


def policy(page: str) -> str:
    """What a report may do: be styled by the one style element that it carries, and nothing else."""
    digests = (hashlib.sha256(style.encode()).digest() for style in _STYLE.findall(page))
    sources = " ".join(f"'sha256-{base64.b64encode(digest).decode()}'" for digest in digests)
    return (
        f"default-src 'none'; style-src {sources}; sandbox; form-action 'none'; "
        "frame-ancestors 'none'; base-uri 'none'"
    )


async def _examined(visit: Visit, incident_id: str, *, again: bool = False) -> tuple[RunStatus, Examined]:
    operations = visit.console.operations
    run = await operations.status(visit.person, incident_id)
    operations.read_evidence(visit.person, run)
    return run, await visit.console.examiner.examine(run, again=again)


def _pieces(content: bytes) -> Iterator[bytes]:
    for start in range(0, len(content), CHUNK):
        yield content[start : start + CHUNK]
