"""Checks of the variables that settings are read from: a name that means nothing is no setting by default."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from difflib import get_close_matches
from types import NoneType
from typing import Any, get_args, get_origin

from pydantic import BaseModel

PREFIX, DELIMITER = "FIREBREAK_", "__"
_OF_A_SERVICE = re.compile(r".*_(SERVICE_(HOST|PORT(_[A-Z0-9_]+)?)|PORT_\d+_(TCP|UDP|SCTP)(_[A-Z]+)?)")
_LINK = re.compile(r"(tcp|udp|sctp)://\S+")


def problems(model: type[BaseModel], environment: Mapping[str, str]) -> list[str]:
    """Each variable that names no field of the model, or whose value is not the JSON that the field takes.

    Values are not repeated: they may be secrets.
    """
    ours = {name: value for name, value in environment.items() if name.upper().startswith(PREFIX)}
    found = (_problem(model, name, value) for name, value in ours.items() if not _injected(name, value))
    return [each for each in found if each]


def _problem(model: type[BaseModel], name: str, value: str) -> str:
    upper = name.upper()
    kind = _kind(model, upper.removeprefix(PREFIX).lower().split(DELIMITER))
    if kind is None:
        close = get_close_matches(upper, _names(model, PREFIX), n=1)
        return f"{name}: there is no such setting{f', did you mean {close[0]}?' if close else ''}"
    if _is_model(kind) or get_origin(kind) is dict:
        return "" if isinstance(_parsed(value), dict) else f"{name}: must be a JSON object"
    if get_origin(kind) is tuple:
        return "" if isinstance(_parsed(value), list) else f"{name}: must be a JSON list"
    return ""


def _injected(name: str, value: str) -> bool:
    """Whether Kubernetes made it of a Service whose name begins with ours.

    https://kubernetes.io/docs/concepts/services-networking/service/#environment-variables
    """
    return bool(_OF_A_SERVICE.fullmatch(name) or (name.endswith("_PORT") and _LINK.fullmatch(value)))


def _kind(annotation: Any, path: list[str]) -> Any:
    """The type of the value at the path; None where there is none."""
    kind = _bare(annotation)
    if not path:
        return kind
    if _is_model(kind):
        field = kind.model_fields.get(path[0])
        return _kind(field.annotation, path[1:]) if field else None
    return _kind(get_args(kind)[1], path[1:]) if get_origin(kind) is dict else None


def _names(model: type[BaseModel], prefix: str) -> Iterator[str]:
    """Every variable that the model is read from; of a dict the variable for the whole of it."""
    for name, field in model.model_fields.items():
        own, kind = f"{prefix}{name.upper()}", _bare(field.annotation)
        if _is_model(kind):
            yield from _names(kind, f"{own}{DELIMITER}")
        else:
            yield own


def _bare(annotation: Any) -> Any:
    """The type without the ``None`` beside it."""
    others = [each for each in get_args(annotation) if each is not NoneType]
    return others[0] if NoneType in get_args(annotation) else annotation


def _is_model(kind: Any) -> bool:
    return isinstance(kind, type) and issubclass(kind, BaseModel)


def _parsed(value: str) -> Any:
    try:
        return json.loads(value)
    except ValueError:  # the caller says which JSON is wanted
        return None
