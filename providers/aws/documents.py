"""Read the policy documents under ``policies/`` and fill in their ``$names``."""

from __future__ import annotations

import json
from functools import lru_cache
from importlib import resources
from typing import Any

from firebreak.model import JsonObject

OURS = "Firebreak"
"""How the Sid of each of our statements begins."""


def document(name: str, **values: Any) -> JsonObject:
    """Load ``policies/<name>.json``; a string ``"$key"`` becomes the value of that key."""
    filled: JsonObject = _fill(json.loads(_text(name)), values)
    return filled


def compact(content: JsonObject) -> str:
    """Write a document as IAM counts it: without white space."""
    return json.dumps(content, separators=(",", ":"))


def statements(content: JsonObject) -> list[JsonObject]:
    """Return the statements; IAM also accepts a single one without a list."""
    found = content.get("Statement", [])
    return list(found) if isinstance(found, list) else [found]


def with_deny(current: JsonObject | None, deny: JsonObject) -> JsonObject:
    """Put our one statement in front of the others; what else stands there stays as it is."""
    (ours,) = statements(deny)
    return {**deny, **(current or {}), "Statement": [ours, *_others(current, ours["Sid"])]}


def carries(current: JsonObject | None, deny: JsonObject) -> bool:
    """Tell whether our statement stands in the document exactly as written."""
    return statements(deny)[0] in statements(current or {})


def without_deny(
    current: JsonObject | None, before: JsonObject | None, deny: JsonObject
) -> JsonObject | None:
    """Take our statement out: the original document, unless others changed theirs meanwhile."""
    sid = statements(deny)[0]["Sid"]
    left = _others(current, sid)
    if left == _others(before, sid):
        return before
    return {**(current or {}), "Statement": left} if left else _owners_part(before)


def _owners_part(before: JsonObject | None) -> JsonObject | None:
    """The original without any deny of ours: another workload's, noted then, may be released by now."""
    kept = [each for each in statements(before or {}) if not str(each.get("Sid", "")).startswith(OURS)]
    if before is None or kept == statements(before):
        return before
    return {**before, "Statement": kept} if kept else None


def _others(content: JsonObject | None, sid: str) -> list[JsonObject]:
    return [each for each in statements(content or {}) if each.get("Sid") != sid]


@lru_cache(maxsize=64)
def _text(name: str) -> str:
    return (resources.files("providers.aws") / "policies" / f"{name}.json").read_text(encoding="utf-8")


def _fill(node: Any, values: dict[str, Any]) -> Any:
    if isinstance(node, dict):
        return {key: _fill(value, values) for key, value in node.items()}
    if isinstance(node, list):
        return [_fill(value, values) for value in node]
    if isinstance(node, str) and node.startswith("$"):
        return values[node[1:]]
    return node
