"""Server-sent events: what has changed, to everybody who looks, from one poller.

WHATWG HTML, "Server-sent events". A stream ends with the event ``ended``, so that the browser does not
connect again; without it where this process ends, so that it does.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable
from typing import Annotated

from fastapi import APIRouter, Query
from fastapi.responses import Response

from firebreak.web.console import render
from firebreak.web.console.incident import Incident
from firebreak.web.console.listing import Listing
from firebreak.web.console.pages import own, rows
from firebreak.web.console.visit import IncidentPath, Visit, Visiting
from firebreak.web.console.watch import News, SeenT, Watch

ALL = "all"
"""The one list of incidents."""
BEAT = ": still here\n\n"
LEAVING = ": this process ends, connect again\n\n"
Known = Annotated[str, Query(alias="seen", max_length=64)]
"""The fingerprint of the page: what it shows already is not sent again."""

router = APIRouter(include_in_schema=False)


@router.get("/incidents/{incident_id}/events")
async def incident(visit: Visiting, incident_id: IncidentPath, seen: Known = "") -> Response:
    """The changes of one incident, until its run has ended."""
    await visit.console.operations.status(visit.person, incident_id)  # may they see it?
    return visit.console.streams.answer(_of_incident(visit, incident_id, seen))


@router.get("/events")
async def incidents(visit: Visiting, seen: Known = "") -> Response:
    """The changes of the list of incidents."""
    return visit.console.streams.answer(_of_list(visit, seen))


def event(name: str, data: str) -> str:
    """One event; a line break within the data begins another data field."""
    fields = "".join(f"data: {line}\n" for line in data.splitlines() or [""])
    return f"event: {name}\n{fields}\n"


async def _of_incident(visit: Visit, incident_id: str, seen: str) -> AsyncIterator[str]:
    sent: dict[str, str] = {}
    async with visit.console.incidents.looking(incident_id) as watch:
        async for news in _told(visit, watch):
            if news is None:
                yield BEAT
                continue
            sections = _sections(visit, news)
            known = seen if not sent else ""
            sent, changed = sections, _changed(sections, sent)
            if news.seen is None or news.seen.fingerprint != known or news.silent_since:
                yield "".join(event(name, data) for name, data in changed)
            else:
                yield BEAT
            if news.last:
                break
    yield _farewell(visit, watch)


async def _of_list(visit: Visit, seen: str) -> AsyncIterator[str]:
    async with visit.console.listing.looking(ALL) as watch:
        async for news in _told(visit, watch):
            if news is None:
                yield BEAT
                continue
            yield event("stale", _stale(news))
            if news.seen is not None and news.seen.fingerprint != seen:
                yield event("rows", await _list(visit, news.seen))
            seen = ""
    yield _farewell(visit, watch)


async def _told(visit: Visit, watch: Watch[SeenT]) -> AsyncIterator[News[SeenT] | None]:
    """News until the session or this process ends; None to show that the connection lives."""
    number = 0
    while visit.still_there() and not watch.closed:
        news = await watch.after(number)
        yield news
        number = news.number if news is not None else number


def _farewell(visit: Visit, watch: Watch[SeenT]) -> str:
    if watch.closed:
        return LEAVING
    gone = "" if visit.still_there() else event("stale", render.part("stale", since=None, session_over=True))
    return gone + event("ended", "")


def _sections(visit: Visit, news: News[Incident]) -> dict[str, str]:
    stale = {"stale": _stale(news)}
    return {**news.seen.sections, **own(visit, news.seen), **stale} if news.seen else stale


def _stale(news: News[Incident] | News[Listing]) -> str:
    return render.part("stale", since=news.silent_since, session_over=False)


def _changed(sections: dict[str, str], sent: dict[str, str]) -> Iterable[tuple[str, str]]:
    return [(name, data) for name, data in sections.items() if sent.get(name) != data]


async def _list(visit: Visit, listing: Listing) -> str:
    return render.part("rows", rows=await rows(visit, listing))
