"""Read the policy documents under ``policies/`` and fill in their ``$names``."""

from __future__ import annotations

import json
from functools import lru_cache
from importlib import resources
from typing import Any

from firebreak.model import JsonObject


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
