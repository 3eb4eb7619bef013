"""Showing runs as they go, on standard error: a live screen on a terminal, lines everywhere else."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Group, RenderableType
from rich.live import Live
from rich.text import Text

from firebreak.cli import view
from firebreak.cli.output import console, say
from firebreak.measure import now
from firebreak.record import RunStatus

Aside = Callable[[], RenderableType | None]
"""Something to show below the runs, for example the rogue agents' own view."""
Seen = Callable[[RunStatus], None]

FRAMES_PER_SECOND = 4


@contextmanager
def showing(aside: Aside = lambda: None) -> Iterator[Seen]:
    """A function that takes each state of each run and shows it."""
    screen = console(stderr=True)
    if not screen.is_terminal:
        yield _Lines().see
        return
    picture = _Picture(aside)
    with Live(
        get_renderable=picture.draw, console=screen, refresh_per_second=FRAMES_PER_SECOND, transient=True
    ):
        yield picture.see


class _Lines:
    """One line for each change of a run."""

    def __init__(self) -> None:
        self.last: dict[str, str] = {}

    def see(self, status: RunStatus) -> None:
        line = view.progress_line(status)
        if line != self.last.get(status.incident_id):
            self.last[status.incident_id] = line
            say(f"{now():%H:%M:%S}Z {line}")


class _Picture:
    """The newest state, redrawn while the clock runs."""

    def __init__(self, aside: Aside) -> None:
        self.aside = aside
        self.runs: dict[str, RunStatus] = {}

    def see(self, status: RunStatus) -> None:
        self.runs[status.incident_id] = status

    def draw(self) -> RenderableType:
        if not self.runs:
            return Text("starting ...", style="dim")
        below = self.aside()
        detail = view.Detail.OPEN if len(self.runs) == 1 else view.Detail.PHASES
        parts = [view.live(each, now(), detail) for each in self.runs.values()]
        return Group(*parts, Text(), below) if below else Group(*parts)
