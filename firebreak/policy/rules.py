"""Ask the rules. A rule that fails to evaluate permits nothing."""

from __future__ import annotations

from enum import StrEnum
from functools import lru_cache
from importlib import resources
from pathlib import Path

import cedarpy

from firebreak.errors import SettingsError
from firebreak.model import FrozenModel, JsonObject, Mode, Workload
from firebreak.people import same_person


class Action(StrEnum):
    """What a person may ask of Firebreak."""

    VIEW = "view"
    CONTAIN = "contain"
    APPROVE = "approve"
    REJECT = "reject"
    RETRY = "retry"
    PROCEED = "proceed"
    STOP = "stop"
    REQUEST_RELEASE = "request_release"
    APPROVE_RELEASE = "approve_release"
    READ_EVIDENCE = "read_evidence"


class Person(FrozenModel):
    """Somebody who was authenticated."""

    subject: str
    """The identity provider's unchangeable id."""
    name: str
    """As decisions record it, for example a mail address."""
    roles: frozenset[str] = frozenset()
    break_glass: bool = False


class Ruling(FrozenModel):
    """What the rules say, and which of them."""

    allowed: bool
    because: tuple[str, ...] = ()
    """Ids of the rules that decided; empty when no rule permits it."""


class Rules:
    """One set of rules, checked against the schema."""

    def __init__(self, text: str, source: str) -> None:
        schema = _packaged("schema.cedarschema")
        checked = cedarpy.validate_policies(text, schema)
        if not checked.validation_passed:
            raise SettingsError(
                f"the rules cannot be used: {'; '.join(str(error) for error in checked.errors)}",
                resource=source,
                remedy="correct the file, or leave it out for the default rules",
            )
        self._policies = cedarpy.PolicySet.from_str(text)
        self._schema = schema

    @classmethod
    def load(cls, path: Path | None = None) -> Rules:
        """Read a file of rules, or the default ones; raises SettingsError saying what is wrong."""
        if path is None:
            return cls(_packaged("default.cedar"), "default.cedar")
        try:
            return cls(path.read_text(encoding="utf-8"), str(path))
        except (OSError, UnicodeDecodeError) as error:
            raise SettingsError(f"the rules cannot be read: {error}", resource=str(path)) from error

    def ask(
        self,
        person: Person,
        action: Action,
        workload: Workload,
        *,
        mode: Mode = Mode.LIVE,
        requested_by: str = "",
    ) -> Ruling:
        """Whether a person may do that to a workload, given who asked for it."""
        user, role = _uid("User", person.subject), [_uid("Role", name) for name in sorted(person.roles)]
        entities: list[JsonObject] = [
            {
                "uid": user,
                "attrs": {"name": person.name, "break_glass": person.break_glass},
                "parents": role,
            },
            {"uid": _uid("Workload", workload.id), "attrs": _attributes(workload), "parents": []},
            *({"uid": each, "attrs": {}, "parents": []} for each in role),
        ]
        request = {
            "principal": user,
            "action": _uid("Action", action),
            "resource": _uid("Workload", workload.id),
            "context": {
                "mode": mode.value,
                "requested_by": requested_by,
                "own_request": bool(requested_by) and same_person(person.name, requested_by),
            },
        }
        result = cedarpy.is_authorized(request, self._policies, entities, schema=self._schema)
        names = result.diagnostics.id_annotations_by_reason
        because = tuple(sorted(names.get(reason, reason) for reason in result.diagnostics.reasons))
        allowed = result.decision is cedarpy.Decision.Allow and not result.diagnostics.errors
        return Ruling(allowed=allowed, because=because)


def _attributes(workload: Workload) -> JsonObject:
    return {
        "cloud": workload.cloud.value,
        "account": workload.account,
        "risk_tier": int(workload.risk_tier.removeprefix("L")),
        "sandbox": workload.sandbox,
        "owner": workload.owner,
    }


def _uid(kind: str, name: str) -> JsonObject:
    """An entity as JSON: a subject comes from outside and must not be read as Cedar."""
    return {"type": kind, "id": name}


@lru_cache(maxsize=4)
def _packaged(name: str) -> str:
    return (resources.files("firebreak.policy") / name).read_text(encoding="utf-8")
