"""The table of operations: what each host answers, under which permission, in which versions."""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from importlib import import_module
from typing import Any, TypedDict, Unpack

from drills.sandbox.azure.call import Answer, Call, JsonObject

Handler = Callable[[Call], Answer | JsonObject | None]
ScopeOf = Callable[[Call], str]

_READS = frozenset({"GET", "HEAD", "OPTIONS"})
# POST actions that only look; everything else that is posted changes something.
_LOOKING = re.compile(
    r"^(list|get|query|verify|check|validate|nextHop|ipFlowVerify|effective|search|peek)", re.IGNORECASE
)
_VARIABLE = re.compile(r"\{(\w+)(:path)?\}")


class Rules(TypedDict, total=False):
    """What is said about an operation besides its address; see the package's documentation."""

    versions: tuple[str, ...]
    action: str
    data: bool
    scope: ScopeOf
    graph: tuple[str, ...]
    query: Mapping[str, str | None]
    authenticated: bool
    mutating: bool
    source: str


@dataclass(frozen=True)
class Operation:
    """One row of the table."""

    host: str
    method: str
    template: str
    pattern: re.Pattern[str]
    handler: Handler
    source: str
    versions: tuple[str, ...] = ()
    action: str = ""
    data: bool = False
    scope: ScopeOf | None = None
    graph: tuple[str, ...] = ()
    query: Mapping[str, str | None] = field(default_factory=dict)
    authenticated: bool = True
    mutating: bool = False

    @property
    def name(self) -> str:
        """The permission, or the method and template where there is none."""
        return self.action or f"{self.method} {self.template}"

    @property
    def permission(self) -> str:
        """What the caller needs; the handler alone knows where it looks after credentials itself."""
        if self.action:
            return f"{self.action} (data)" if self.data else self.action
        if self.graph:
            return " or ".join(self.graph)
        return "any caller of the tenant" if self.authenticated else "judged by the operation"

    @property
    def precedence(self) -> tuple[int, int, int]:
        """Order rows from the most to the least specific."""
        fixed = _VARIABLE.sub("", self.template)
        open_ended = "{scope}" in self.template or ":path}" in self.template
        return (-len(self.query), int(open_ended), -len(fixed))

    def params(self, call: Call) -> dict[str, str] | None:
        """Return the variables of the path, or None when this row is not about the call."""
        if self.method not in {call.method, "*"} or not self._asked(call.query):
            return None
        found = self.pattern.fullmatch(call.path)
        return None if found is None else found.groupdict()

    def _asked(self, query: Mapping[str, str]) -> bool:
        return all(
            name in query and (value is None or query[name] == value) for name, value in self.query.items()
        )


class Table:
    """All registered operations."""

    def __init__(self) -> None:
        """Start empty."""
        self._rows: dict[str, list[Operation]] = {}

    def add(self, operation: Operation) -> None:
        """Register a row; two rows with one address are a mistake."""
        rows = self._rows.setdefault(operation.host, [])
        address = (operation.method, operation.pattern.pattern, dict(operation.query))
        if any((row.method, row.pattern.pattern, dict(row.query)) == address for row in rows):
            raise ValueError(f"registered twice: {operation.host} {operation.method} {operation.template}")
        rows.append(operation)
        rows.sort(key=lambda row: row.precedence)

    def find(self, call: Call) -> tuple[Operation, dict[str, str]] | None:
        """Return the row for a call and the variables of its path."""
        for row in self._rows.get(call.host, ()):
            params = row.params(call)
            if params is not None:
                return row, params
        return None

    @property
    def hosts(self) -> tuple[str, ...]:
        """The kinds of hosts that have rows."""
        return tuple(self._rows)

    def rows(self, host: str) -> Iterable[Operation]:
        """Return the rows of a kind of host."""
        return tuple(self._rows.get(host, ()))


table = Table()


def operation(host: str, method: str, template: str, **rules: Unpack[Rules]) -> Callable[[Handler], Handler]:
    """Register the handler of an operation."""
    _checked(host, template, rules)

    def register(handler: Handler) -> Handler:
        details: dict[str, Any] = {"mutating": _mutating(method, template), **rules}
        table.add(Operation(host, method, template, _pattern(template, host), handler, **details))
        return handler

    return register


def _checked(host: str, template: str, rules: Rules) -> None:
    if not rules.get("source"):
        raise ValueError(f"{host} {template}: name the public page the behaviour comes from")
    if host == "arm" and not rules.get("versions"):
        raise ValueError(f"{host} {template}: name the api-versions")


def _mutating(method: str, template: str) -> bool:
    if method in _READS:
        return False
    return method != "POST" or not _LOOKING.match(template.rsplit("/", 1)[-1])


def _pattern(template: str, host: str) -> re.Pattern[str]:
    position, parts = 0, []
    for variable in _VARIABLE.finditer(template):
        parts.append(re.escape(template[position : variable.start()]))
        parts.append(_group(variable[1], rest=bool(variable[2])))
        position = variable.end()
    parts.append(re.escape(template[position:]))
    # ids of ARM are compared without case ("Resource naming"); names of blobs and repositories are not
    flags = re.IGNORECASE if host in {"arm", "login", "graph", "logs"} else 0
    return re.compile("".join(parts) + "/?", flags | re.DOTALL)


def _group(name: str, *, rest: bool) -> str:
    if name == "scope":
        return "(?P<scope>(?:/.*)?)"
    return f"(?P<{name}>.+)" if rest else f"(?P<{name}>[^/]+?)"


def specification(of: Table) -> str:
    """Word a table of operations as Markdown: what is played of each kind of host, and after which page."""
    parts = ["# What the Azure sandbox plays", "", *_summary(of)]
    for host in sorted(of.hosts):
        rows = sorted(of.rows(host), key=lambda row: (row.template.lower(), row.method, sorted(row.query)))
        parts += ["", f"## {host}", "", *_header("Method", "Path", "Versions", "Permission", "Source")]
        parts += [_row(row) for row in rows]
    return "\n".join(parts) + "\n"


def _summary(of: Table) -> list[str]:
    counted = {host: len(tuple(of.rows(host))) for host in sorted(of.hosts)}
    lines = [f"| {host} | {number} |" for host, number in counted.items()]
    return [*_header("Host", "Operations"), *lines, f"| all | {sum(counted.values())} |"]


def _header(*names: str) -> list[str]:
    return [f"| {' | '.join(names)} |", f"|{' --- |' * len(names)}"]


def _row(row: Operation) -> str:
    asked = "&".join(name if value is None else f"{name}={value}" for name, value in row.query.items())
    path = f"{row.template}?{asked}" if asked else row.template
    versions = ", ".join("any" if each == "*" else each for each in row.versions)
    cells = (row.method, f"`{path}`", versions or "-", row.permission, row.source)
    return f"| {' | '.join(cell.replace('|', '&#124;') for cell in cells)} |"


if __name__ == "__main__":
    from drills.sandbox.azure import modules

    modules.load()
    # the modules have registered in the table of this module as they import it, which is not this one
    registered = import_module("drills.sandbox.azure.table")
    sys.stdout.write(registered.specification(registered.table))
