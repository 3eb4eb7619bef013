"""Parse IAM policy documents and match their statements against one request.

Source for every rule: IAM user guide, "IAM JSON policy element reference" and "Policy evaluation logic".
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from enum import IntEnum
from functools import lru_cache
from typing import Any

from drills.sandbox.aws.conditions import Context, conditions_hold, glob, known_operator, substitute


class Grant(IntEnum):
    """How closely a policy names the caller; the order is the strength of the grant."""

    NONE = 0
    ACCOUNT = 1
    """Only the caller's account: the account must still allow the caller by an identity policy."""
    ROLE = 2
    """The role behind a session: boundary and session policy still cap the grant."""
    CALLER = 3
    """The user, the session itself or everyone: no implicit deny of a boundary or session policy caps it."""


@dataclass(frozen=True)
class Caller:
    """The authenticated principal of a request."""

    account: str
    arn: str
    user_id: str
    role_arn: str | None = None
    service: str | None = None


@dataclass(frozen=True)
class Access:
    """One action on one resource by one caller."""

    caller: Caller
    action: str
    resource: str
    context: Context


@dataclass(frozen=True)
class Statement:
    """One statement, its elements normalised to tuples."""

    allows: bool
    actions: tuple[str, ...] | None
    not_actions: tuple[str, ...] | None
    resources: tuple[str, ...] | None
    not_resources: tuple[str, ...] | None
    principals: tuple[tuple[str, str], ...] | None
    not_principals: tuple[tuple[str, str], ...] | None
    conditions: Mapping[str, Mapping[str, tuple[str, ...]]] = field(hash=False)

    def applies(self, access: Access) -> bool:
        """Tell whether action, resource and conditions match, whoever the principal is."""
        return (
            self._action_matches(access.action.lower())
            and self._resource_matches(access)
            and conditions_hold(self.conditions, access.context)
        )

    def _action_matches(self, action: str) -> bool:
        if self.actions is not None:
            return any(glob(pattern).match(action) for pattern in self.actions)
        return self.not_actions is not None and not any(
            glob(pattern).match(action) for pattern in self.not_actions
        )

    def _resource_matches(self, access: Access) -> bool:
        if self.resources is not None:
            return _matches_any(self.resources, access)
        if self.not_resources is not None:
            return not _matches_any(self.not_resources, access)
        return True  # trust policies have no Resource element

    def grant_for(self, caller: Caller) -> Grant:
        """Tell how closely the Principal element names the caller."""
        if self.principals is not None:
            return max((_named(caller, entry) for entry in self.principals), default=Grant.NONE)
        if self.not_principals is not None:
            excluded = any(_named(caller, entry) is not Grant.NONE for entry in self.not_principals)
            return Grant.NONE if excluded else Grant.CALLER
        return Grant.NONE


def _matches_any(patterns: Iterable[str], access: Access) -> bool:
    return any(glob(substitute(pattern, access.context)).match(access.resource) for pattern in patterns)


def _named(caller: Caller, entry: tuple[str, str]) -> Grant:
    kind, value = entry
    if kind == "Service":
        return Grant.CALLER if value == caller.service else Grant.NONE
    if kind != "AWS":
        return Grant.NONE
    if value in {"*", caller.arn}:
        return Grant.CALLER
    if value == caller.role_arn:
        return Grant.ROLE
    return Grant.ACCOUNT if value in {caller.account, f"arn:aws:iam::{caller.account}:root"} else Grant.NONE


@dataclass(frozen=True)
class Policy:
    """A parsed policy document."""

    statements: tuple[Statement, ...] = ()

    def denies(self, access: Access) -> bool:
        """Tell whether an identity policy explicitly denies."""
        return any(not statement.allows and statement.applies(access) for statement in self.statements)

    def allows(self, access: Access) -> bool:
        """Tell whether an identity policy allows."""
        return any(statement.allows and statement.applies(access) for statement in self.statements)

    def denies_caller(self, access: Access) -> bool:
        """Tell whether a resource policy explicitly denies the caller."""
        return any(
            not statement.allows and statement.grant_for(access.caller) and statement.applies(access)
            for statement in self.statements
        )

    def grant(self, access: Access) -> Grant:
        """Return the strongest grant of a resource policy to the caller."""
        return max(
            (
                statement.grant_for(access.caller)
                for statement in self.statements
                if statement.allows and statement.applies(access)
            ),
            default=Grant.NONE,
        )


class MalformedPolicyError(ValueError):
    """The document is no policy."""


@lru_cache(maxsize=16384)
def parse_policy(document: str) -> Policy:
    """Parse a policy document; the result is cached by its text."""
    try:
        statements = json.loads(document).get("Statement", [])
    except (ValueError, AttributeError) as error:
        message = "policy document is not a JSON object"
        raise MalformedPolicyError(message) from error
    return Policy(tuple(_statement(raw) for raw in _as_list(statements)))


def _statement(raw: Mapping[str, Any]) -> Statement:
    actions, not_actions = _strings(raw, "Action"), _strings(raw, "NotAction")
    return Statement(
        allows=raw.get("Effect") == "Allow",
        actions=_lower(actions),
        not_actions=_lower(not_actions),
        resources=_strings(raw, "Resource"),
        not_resources=_strings(raw, "NotResource"),
        principals=_principals(raw.get("Principal")),
        not_principals=_principals(raw.get("NotPrincipal")),
        conditions=_conditions(raw.get("Condition") or {}),
    )


def _as_list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]


def _strings(raw: Mapping[str, Any], name: str) -> tuple[str, ...] | None:
    return tuple(str(item) for item in _as_list(raw[name])) if name in raw else None


def _lower(values: tuple[str, ...] | None) -> tuple[str, ...] | None:
    return None if values is None else tuple(value.lower() for value in values)


def _principals(raw: object) -> tuple[tuple[str, str], ...] | None:
    if raw is None:
        return None
    if not isinstance(raw, Mapping):
        return tuple(("AWS", str(value)) for value in _as_list(raw))
    return tuple((str(kind), str(value)) for kind, values in raw.items() for value in _as_list(values))


def _conditions(raw: Mapping[str, Any]) -> dict[str, dict[str, tuple[str, ...]]]:
    unknown = [name for name in raw if not known_operator(name)]
    if unknown:
        message = f"unknown condition operators: {', '.join(unknown)}"
        raise MalformedPolicyError(message)
    return {
        name: {key: tuple(_text(value) for value in _as_list(values)) for key, values in keys.items()}
        for name, keys in raw.items()
    }


def _text(value: object) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)
