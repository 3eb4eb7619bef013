"""Showing a run as it goes, on standard error: a live screen on a terminal, lines everywhere else."""

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
"""Something to show below the run, for example the rogue agent's own view."""

FRAMES_PER_SECOND = 4


@contextmanager
def showing(aside: Aside = lambda: None) -> Iterator[Callable[[RunStatus], None]]:
    """A function that takes each state of the run and shows it."""
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
    """One line for each change."""

    def __init__(self) -> None:
        self.last = ""

    def see(self, status: RunStatus) -> None:
        line = view.progress_line(status)
        if line != self.last:
            self.last = line
            say(f"{now():%H:%M:%S}Z {line}")


class _Picture:
    """The newest state, redrawn while the clock runs."""

    def __init__(self, aside: Aside) -> None:
        self.aside = aside
        self.status: RunStatus | None = None

    def see(self, status: RunStatus) -> None:
        self.status = status

    def draw(self) -> RenderableType:
        if self.status is None:
            return Text("starting ...", style="dim")
        below = self.aside()
        parts = [view.live(self.status, now(), compact=True)]
        return Group(*parts, Text(), below) if below else Group(*parts)
