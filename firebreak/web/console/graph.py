"""The blast radius as a small graph: the workload, what is cut off, and who else uses it. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from firebreak.record import MeasureStatus, RunStatus

ROW = 31
TOP = 20
COLUMNS = (2, 148, 332)
"""Left edges of workload, targets and others."""
BOXES = (126, 158, 128)
SHOWN = 8
"""Targets that nobody shares are counted beyond that many; shared ones are always drawn."""
LETTERS = (17, 21, 17)
"""As many as a box holds; the list below the graph has the whole words."""


@dataclass(frozen=True)
class Node:
    """One box."""

    x: int
    y: int
    width: int
    label: str
    title: str
    look: str
    """``workload``, ``target``, ``shared``, ``other`` or ``more``."""


@dataclass(frozen=True)
class Edge:
    """One line between two boxes."""

    x1: int
    y1: int
    x2: int
    y2: int
    shared: bool


@dataclass(frozen=True)
class Graph:
    """What the template draws, and the same in words."""

    nodes: tuple[Node, ...]
    edges: tuple[Edge, ...]
    height: int
    shared: tuple[tuple[str, tuple[str, ...]], ...]
    """Target and who else uses it."""
    targets: int
    width: int = COLUMNS[2] + BOXES[2] + 2


def graph(status: RunStatus) -> Graph:
    """Who loses what by this containment."""
    used = _used(measure for phase in status.phases for measure in phase.measures)
    shared = [(target, others) for target, others in used.items() if others]
    alone = [target for target, others in used.items() if not others]
    drawn, more = alone[:SHOWN], len(alone) - SHOWN
    nodes, edges = [], []
    others = list(dict.fromkeys(name for _, names in shared for name in names))
    rows = len(shared) + len(drawn) + (more > 0)
    height = max(rows, len(others), 1) * ROW
    middle = TOP + height // 2 - ROW // 2
    nodes.append(_node(0, middle, status.workload_id, "workload"))
    places = {name: TOP + row * ROW for row, name in enumerate(others)}
    nodes += [_node(2, y, name, "other") for name, y in places.items()]
    for row, target in enumerate([*(target for target, _ in shared), *drawn]):
        y = TOP + row * ROW
        nodes.append(_node(1, y, target, "shared" if row < len(shared) else "target"))
        edges.append(_edge(0, middle, y, shared=False))
        edges += [_edge(1, y, places[name], shared=True) for name in used[target]]
    if more > 0:
        y = TOP + (rows - 1) * ROW
        nodes.append(_node(1, y, f"{more} more, unshared", "more"))
        edges.append(_edge(0, middle, y, shared=False))
    return Graph(tuple(nodes), tuple(edges), TOP + height, tuple(shared), len(used))


def short(reference: str) -> str:
    """The end of a long id: the part that tells two resources apart."""
    return reference.rsplit(":", 1)[-1].rsplit("/", 1)[-1] or reference


def _used(measures: Iterable[MeasureStatus]) -> dict[str, tuple[str, ...]]:
    """Every target once, with all who share it."""
    used: dict[str, dict[str, None]] = {}
    for measure in measures:
        used.setdefault(measure.target, {}).update(dict.fromkeys(measure.blast_radius))
    return {target: tuple(others) for target, others in used.items()}


def _node(column: int, y: int, title: str, look: str) -> Node:
    label, room = title if look == "more" else short(title), LETTERS[column]
    cut = label if len(label) <= room else f"…{label[1 - room :]}"
    return Node(COLUMNS[column], y, BOXES[column], cut, title, look)


def _edge(column: int, start: int, end: int, *, shared: bool) -> Edge:
    middle = 13
    return Edge(COLUMNS[column] + BOXES[column], start + middle, COLUMNS[column + 1], end + middle, shared)
