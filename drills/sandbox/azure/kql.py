"""Run a small part of the Kusto query language over rows: what captures and investigators ask.

``Table | where … | extend … | project … | order by … | take … | count``, with comparisons, ``between``,
``in``, ``in~``, ``has``, ``strcmp``, ``datetime()``, ``and``, ``or`` and parentheses (Kusto Query Language
reference). Anything else is refused, as the service refuses what it cannot parse.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from itertools import islice
from typing import Any

Row = dict[str, Any]
Test = Callable[[Row], bool]
Value = Callable[[Row], Any]

_TOKEN = re.compile(
    r"""\s*(?:(?P<datetime>datetime\(\s*[^)]*\))|(?P<text>"(?:[^"\\]|\\.)*"|'(?:[^'\\]|\\.)*')"""
    r"""|(?P<number>\d+(?:\.\d+)?(?![\w.]))|(?P<word>in~|[A-Za-z_]\w*)|(?P<sign>\.\.|==|!=|>=|<=|=~|[><=(),|*]))"""
)
_COMPARE: dict[str, Callable[[Any, Any], bool]] = {
    "==": lambda a, b: bool(a == b),
    "!=": lambda a, b: bool(a != b),
    ">": lambda a, b: a is not None and bool(a > b),
    ">=": lambda a, b: a is not None and bool(a >= b),
    "<": lambda a, b: a is not None and bool(a < b),
    "<=": lambda a, b: a is not None and bool(a <= b),
    "=~": lambda a, b: str(a).lower() == str(b).lower(),
    "has": lambda a, b: str(b).lower() in str(a).lower(),
}


class QueryError(Exception):
    """The query cannot be parsed."""


@dataclass(frozen=True)
class Query:
    """A parsed query."""

    table: str
    steps: tuple[tuple[str, Any], ...]
    since: str
    """A lower bound of TimeGenerated that every result keeps to, or empty."""

    def run(self, rows: Iterable[Row], hidden: frozenset[str]) -> Iterator[Row]:
        """Yield the results; the rows come in order of time and id, and hidden columns unless asked for."""
        shown: set[str] = set()
        found: Iterator[Row] = iter(rows)
        for name, what in self.steps:
            if name in {"extend", "project"}:
                shown |= hidden & set(what)
            found = _STEPS[name](found, what)
        hide = hidden - shown
        return ({name: value for name, value in row.items() if name not in hide} for row in found)


class _Tokens:
    def __init__(self, text: str) -> None:
        self._found: list[tuple[str, str]] = []
        position = 0
        while text[position:].strip():
            match = _TOKEN.match(text, position)
            if not match:
                raise QueryError(f"Query could not be parsed at '{text[position : position + 20].strip()}'")
            self._found.append((str(match.lastgroup), match[str(match.lastgroup)]))
            position = match.end()
        self._at = 0

    def peek(self) -> str:
        """The next token's text, empty at the end."""
        return self._found[self._at][1] if self._at < len(self._found) else ""

    def take(self, *wanted: str) -> str:
        """The next token's text, which must be one of those wanted."""
        text = self.peek()
        if not text or (wanted and text not in wanted):
            raise QueryError(f"Query could not be parsed at '{text or '<EOF>'}'")
        self._at += 1
        return text

    def taken(self, wanted: str) -> bool:
        """Take the next token if it is this one."""
        if self.peek() == wanted:
            self._at += 1
            return True
        return False

    def kind(self) -> str:
        """The next token's kind."""
        return self._found[self._at][0] if self._at < len(self._found) else ""

    def name(self) -> str:
        """The next token, which must be a name."""
        if self.kind() != "word":
            raise QueryError(f"Query could not be parsed at '{self.peek() or '<EOF>'}'")
        return self.take()


def parse(text: str) -> Query:
    """Read a query; raises QueryError."""
    tokens = _Tokens(text)
    table, steps = tokens.name(), []
    while tokens.taken("|"):
        operator = tokens.name()
        if operator in {"order", "sort"}:
            tokens.take("by")
        reader = _READERS.get(operator)
        if reader is None:
            raise QueryError(f"the sandbox does not play the operator '{operator}'")
        steps.append((operator, reader(tokens)))
    if tokens.peek():
        raise QueryError(f"Query could not be parsed at '{tokens.peek()}'")
    lower = re.search(r"TimeGenerated\s+between\s*\(\s*datetime\(([^)]*)\)", text)
    return Query(table, tuple(steps), _time(lower[1]) if lower else "")


def _time(text: str) -> str:
    """A time in the form in which times are kept: UTC with seven digits, so that text order is time order."""
    plain = text.strip().strip("\"'").removesuffix("Z").replace(" ", "T")
    head, _, fraction = plain.partition(".")
    head = head if "T" in head else f"{head}T00:00:00"
    return f"{head}.{fraction:0<7}"[:27] + "Z"


def _any_of(tokens: _Tokens) -> Test:
    tests = [_all_of(tokens)]
    while tokens.taken("or"):
        tests.append(_all_of(tokens))
    return lambda row: any(test(row) for test in tests)


def _all_of(tokens: _Tokens) -> Test:
    tests = [_one(tokens)]
    while tokens.taken("and"):
        tests.append(_one(tokens))
    return lambda row: all(test(row) for test in tests)


def _one(tokens: _Tokens) -> Test:
    if tokens.taken("("):
        inner = _any_of(tokens)
        tokens.take(")")
        return inner
    left = _value(tokens)
    sign = tokens.take("between", "in", "in~", "has", *_COMPARE)
    if sign == "between":
        tokens.take("(")
        low, _, high, _ = _value(tokens), tokens.take(".."), _value(tokens), tokens.take(")")
        return lambda row: left(row) is not None and low(row) <= left(row) <= high(row)
    if sign in {"in", "in~"}:
        return _member(left, _listed(tokens), folded=sign == "in~")
    right, compare = _value(tokens), _COMPARE[sign]
    return lambda row: compare(left(row), right(row))


def _member(left: Value, values: list[Value], *, folded: bool) -> Test:
    fold: Callable[[Any], str] = (lambda each: str(each).lower()) if folded else str
    return lambda row: fold(left(row)) in {fold(each(row)) for each in values}


def _listed(tokens: _Tokens) -> list[Value]:
    tokens.take("(")
    values = [_value(tokens)]
    while tokens.taken(","):
        values.append(_value(tokens))
    tokens.take(")")
    return values


def _value(tokens: _Tokens) -> Value:
    kind, text = tokens.kind(), tokens.take()
    if kind == "datetime":
        moment = _time(text[len("datetime(") : -1])
        return lambda _: moment
    if kind == "text":
        plain = re.sub(r"\\(.)", r"\1", text[1:-1])
        return lambda _: plain
    if kind == "number":
        number = float(text) if "." in text else int(text)
        return lambda _: number
    if text == "strcmp":
        one, other = _listed(tokens)
        return lambda row: (str(one(row)) > str(other(row))) - (str(one(row)) < str(other(row)))
    return lambda row: row.get(text)


def _columns(tokens: _Tokens) -> dict[str, Value]:
    columns = {}
    while True:
        name = tokens.name()
        columns[name] = _value(tokens) if tokens.taken("=") else _column(name)
        if not tokens.taken(","):
            return columns


def _column(name: str) -> Value:
    return lambda row: row.get(name)


def _ordering(tokens: _Tokens) -> list[tuple[str, bool]]:
    """Names, and whether descending, which is the default."""
    ordering = []
    while True:
        name = tokens.name()
        direction = tokens.take("asc", "desc") if tokens.peek() in {"asc", "desc"} else "desc"
        ordering.append((name, direction == "desc"))
        if not tokens.taken(","):
            return ordering


def _sorted(rows: Iterator[Row], ordering: list[tuple[str, bool]]) -> Iterator[Row]:
    if ordering in ([("TimeGenerated", False)], [("TimeGenerated", False), ("_ItemId", False)]):
        return rows  # they come so
    listed = list(rows)
    for name, descending in reversed(ordering):
        listed.sort(key=lambda row: str(row.get(name)), reverse=descending)
    return iter(listed)


_READERS: dict[str, Callable[[_Tokens], Any]] = {
    "where": _any_of,
    "extend": _columns,
    "project": _columns,
    "order": _ordering,
    "sort": _ordering,
    "take": lambda tokens: int(tokens.take()),
    "limit": lambda tokens: int(tokens.take()),
    "count": lambda _: None,
}
_STEPS: dict[str, Callable[[Iterator[Row], Any], Iterator[Row]]] = {
    "where": lambda rows, test: filter(test, rows),
    "extend": lambda rows, columns: ({**row, **{n: v(row) for n, v in columns.items()}} for row in rows),
    "project": lambda rows, columns: ({n: v(row) for n, v in columns.items()} for row in rows),
    "order": _sorted,
    "sort": _sorted,
    "take": islice,
    "limit": islice,
    "count": lambda rows, _: iter([{"Count": sum(1 for _ in rows)}]),
}
