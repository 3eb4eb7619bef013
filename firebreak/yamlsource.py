"""YAML read as untrusted input: bounded, without aliases, every value with its line."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from firebreak.errors import InventoryError

MAX_BYTES = 5 * 1024 * 1024
MAX_DEPTH = 32
"""Nesting that no inventory needs; the C parser would otherwise recurse until the process dies."""

Location = tuple[str | int, ...]
"""Keys and indexes from the top of the document, as pydantic reports them."""

_PLAIN_TAGS = frozenset(
    f"tag:yaml.org,2002:{name}" for name in ("map", "seq", "str", "int", "float", "bool", "null", "timestamp")
)

# libyaml parses 5 MiB in about a second, the Python parser in about a minute.
_LOADER: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


@dataclass(frozen=True, order=True)
class Problem:
    """One thing that is wrong with the file, and where."""

    line: int
    field: str
    text: str


@dataclass
class Document:
    """A parsed document with the line of each of its values."""

    name: str
    value: Any = None
    lines: dict[Location, int] = field(default_factory=dict)
    problems: list[Problem] = field(default_factory=list)

    def line(self, where: Location) -> int:
        """The line of a value, or of the nearest thing around it that the file has."""
        while where and where not in self.lines:
            where = where[:-1]
        return self.lines.get(where, 1)

    def complain(self, where: Location, text: str, *, named: str = "") -> None:
        """Note a problem at a place in the document."""
        self.problems.append(Problem(self.line(where), named or dotted(where), text))

    def refuse(self) -> None:
        """Raise InventoryError with every problem noted so far; return when there is none."""
        if self.problems:
            raise InventoryError(_report(self.name, sorted(set(self.problems))), resource=self.name)


def read(path: Path) -> Document:
    """Parse a file; raises InventoryError when it is missing, too large, or not one plain YAML document."""
    text = _text(path)
    document = Document(name=str(path))
    try:
        _check_shape(text, document)
        document.refuse()
        root = yaml.compose(text, Loader=_LOADER)
        document.value = None if root is None else _Reader(document).value(root, ())
    except yaml.YAMLError as error:
        document.problems.append(_syntax(error))
    document.refuse()
    return document


def dotted(where: Location) -> str:
    """A location as people write it: ``workloads[0].identities[1].ref``."""
    text = ""
    for part in where:
        text += f"[{part}]" if isinstance(part, int) else f".{part}" if text else part
    return text


def _text(path: Path) -> str:
    try:
        with path.open("rb") as file:
            raw = file.read(MAX_BYTES + 1)
        if len(raw) > MAX_BYTES:
            raise InventoryError(f"{path} is larger than {MAX_BYTES // 1024 // 1024} MiB", resource=str(path))
        return raw.decode("utf-8-sig")
    except OSError as error:
        raise InventoryError(
            f"cannot read {path}: {error.strerror}",
            resource=str(path),
            remedy="name the inventory file in FIREBREAK_INVENTORY",
        ) from error
    except UnicodeDecodeError as error:
        raise InventoryError(f"{path} is not UTF-8 text (byte {error.start})", resource=str(path)) from error


def _check_shape(text: str, document: Document) -> None:
    """Refuse nesting and aliases on the flat stream of events, before anything recursive sees them."""
    depth = 0
    for event in yaml.parse(text, Loader=_LOADER):
        depth += isinstance(event, yaml.CollectionStartEvent) - isinstance(event, yaml.CollectionEndEvent)
        line = event.start_mark.line + 1 if event.start_mark else 1
        if depth > MAX_DEPTH:
            document.problems.append(Problem(line, "", f"nested deeper than {MAX_DEPTH} levels"))
            return
        if isinstance(event, yaml.AliasEvent):
            document.problems.append(Problem(line, "", f"alias *{event.anchor}: write the value out instead"))


class _Reader:
    """Turns nodes into plain values, and notes lines and duplicate keys on the way."""

    def __init__(self, document: Document) -> None:
        self.document = document
        self.scalars = yaml.SafeLoader("")

    def value(self, node: yaml.Node, where: Location) -> Any:
        self.document.lines.setdefault(where, node.start_mark.line + 1)
        if node.tag not in _PLAIN_TAGS:
            self.document.complain(where, f"the tag {node.tag} is not allowed")
            return None
        if isinstance(node, yaml.MappingNode):
            return self.mapping(node, where)
        if isinstance(node, yaml.SequenceNode):
            return [self.value(child, (*where, index)) for index, child in enumerate(node.value)]
        return self.scalar(node, where)

    def scalar(self, node: yaml.Node, where: Location) -> Any:
        try:
            return self.scalars.construct_object(node)
        except ValueError as error:  # a date or number that does not exist
            self.document.complain(where, str(error))
            return None

    def mapping(self, node: yaml.MappingNode, where: Location) -> dict[str, Any]:
        values: dict[str, Any] = {}
        for key_node, value_node in node.value:
            key = key_node.value if isinstance(key_node, yaml.ScalarNode) else ""
            here = (*where, key)
            if not key or key == "<<":
                self.document.complain(where, "a key must be a plain word")
            elif key in values:
                text = f"given twice (first on line {self.document.line(here)})"
                self.document.problems.append(Problem(key_node.start_mark.line + 1, dotted(here), text))
            else:
                self.document.lines[here] = key_node.start_mark.line + 1
                values[key] = self.value(value_node, here)
        return values


def _syntax(error: yaml.YAMLError) -> Problem:
    mark = getattr(error, "problem_mark", None) or getattr(error, "context_mark", None)
    text = getattr(error, "problem", None) or getattr(error, "reason", None) or "it cannot be parsed"
    return Problem(mark.line + 1 if mark else 1, "", f"not valid YAML: {text}")


def _report(name: str, problems: list[Problem], shown: int = 50) -> str:
    lines = [
        f"{name}:{each.line}: {each.field}: {each.text}" if each.field else f"{name}:{each.line}: {each.text}"
        for each in problems[:shown]
    ]
    if len(problems) > shown:
        lines.append(f"... and {len(problems) - shown} more")
    return "\n".join(lines)
