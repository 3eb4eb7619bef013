"""Two moments of an account, compared field by field."""

from __future__ import annotations

import json
from collections.abc import Collection
from typing import Any

Json = Any


def comparable(value: Json, ephemeral: Collection[str]) -> Json:
    """Plain JSON without what is ephemeral; policies as what they say, not as how they are written."""
    if isinstance(value, dict):
        return {
            key: comparable(each, ephemeral) for key, each in sorted(value.items()) if key not in ephemeral
        }
    if isinstance(value, list | tuple):
        plain = (comparable(each, ephemeral) for each in value)
        return sorted(plain, key=lambda each: json.dumps(each, sort_keys=True))
    if isinstance(value, str) and value.startswith("{"):
        return comparable(json.loads(value), ephemeral)
    return value if isinstance(value, str | int | float | bool | None) else str(value)


def differences(before: dict[str, Json], after: dict[str, Json]) -> dict[str, tuple[Json, Json]]:
    """What is not as it was, by name: before and after, None for what does not exist."""
    names = sorted(before.keys() | after.keys())
    return {
        name: (before.get(name), after.get(name)) for name in names if before.get(name) != after.get(name)
    }


def statements(value: Json) -> int:
    """Policy statements anywhere inside a description."""
    if isinstance(value, dict):
        own = len(value["Statement"]) if isinstance(value.get("Statement"), list) else 0
        return own + sum(statements(each) for each in value.values())
    return sum(statements(each) for each in value) if isinstance(value, list) else 0
