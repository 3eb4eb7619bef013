"""Remember the versions of every identity, so that a change reaches the evaluator only after propagation."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from moto.iam.models import IAMBackend, iam_backends

from drills.sandbox.aws.state import PARTITION, on_reset, settings

_DEFAULT_SESSION_SECONDS = 3600  # IAM API reference, CreateRole, MaxSessionDuration


class Entity(NamedTuple):
    """The name of something IAM stores: a role, user, group or managed policy of an account."""

    account: str
    kind: str
    name: str


@dataclass(frozen=True)
class KeyView:
    """An access key as the evaluator sees it."""

    secret: str
    active: bool


@dataclass(frozen=True)
class View:
    """One version of an entity."""

    arn: str
    id: str
    inline: tuple[str, ...] = ()
    attached: tuple[str, ...] = ()
    boundary: str | None = None
    trust: str | None = None
    max_session_seconds: int = 3600
    groups: tuple[str, ...] = ()
    tags: tuple[tuple[str, str], ...] = ()
    keys: Mapping[str, KeyView] = field(default_factory=dict)
    document: str | None = None


# Permissions boundaries by unique user id: moto stores those of roles only.
user_boundaries: dict[str, str] = {}

on_reset(user_boundaries.clear)

_PARAMETER_KINDS = {
    "RoleName": "role",
    "UserName": "user",
    "NewUserName": "user",
    "GroupName": "group",
    "NewGroupName": "group",
    "PolicyArn": "policy",
}


def affected_entities(account: str, params: Mapping[str, Any], caller: Entity | None) -> list[Entity]:
    """Name what an IAM call changes; a call without a name acts on the calling user."""
    named = [
        Entity(account, kind, params[name]) for name, kind in _PARAMETER_KINDS.items() if params.get(name)
    ]
    return named or ([caller] if caller else [])


def backend_of(account: str) -> IAMBackend:
    """Return the emulator's IAM of one account."""
    return iam_backends[account][PARTITION]


def live_view(entity: Entity) -> View | None:
    """Read an entity as the control plane shows it now."""
    return _READERS[entity.kind](backend_of(entity.account), entity)


def _role(backend: IAMBackend, entity: Entity) -> View | None:
    role: Any = next((role for role in list(backend.roles.values()) if role.name == entity.name), None)
    if role is None:
        return None
    return View(
        arn=role.arn,
        id=role.id,
        inline=tuple(role.policies.values()),
        attached=tuple(role.managed_policies),
        boundary=role.permissions_boundary_arn or None,
        trust=role.assume_role_policy_document,
        max_session_seconds=int(role.max_session_duration or _DEFAULT_SESSION_SECONDS),
        tags=_tags(backend, role.arn, role),
    )


def _user(backend: IAMBackend, entity: Entity) -> View | None:
    user: Any = backend.users.get(entity.name)
    if user is None:
        return None
    groups = tuple(group.name for group in list(backend.groups.values()) if user in group.users)
    keys = {
        key.access_key_id: KeyView(key.secret_access_key, key.status == "Active") for key in user.access_keys
    }
    return View(
        arn=user.arn,
        id=user.id,
        inline=tuple(user.policies.values()),
        attached=tuple(user.managed_policies),
        boundary=user_boundaries.get(user.id),
        groups=groups,
        tags=_tags(backend, user.arn, user),
        keys=keys,
    )


def _group(backend: IAMBackend, entity: Entity) -> View | None:
    group: Any = backend.groups.get(entity.name)
    if group is None:
        return None
    return View(group.arn, group.id, tuple(group.policies.values()), tuple(group.managed_policies))


def _managed_policy(backend: IAMBackend, entity: Entity) -> View | None:
    policy: Any = backend.managed_policies.get(entity.name)
    if policy is None:
        return None
    default = next(version for version in policy.versions if version.version_id == policy.default_version_id)
    return View(policy.arn, policy.id, document=default.document)


_READERS = {"role": _role, "user": _user, "group": _group, "policy": _managed_policy}


def _tags(backend: IAMBackend, arn: str, entity: Any) -> tuple[tuple[str, str], ...]:
    tagged = backend.tagger.get_tag_dict_for_resource(arn)
    own = getattr(entity, "tags", None) or []
    pairs = own.items() if isinstance(own, dict) else ((tag["Key"], tag["Value"]) for tag in own)
    return tuple(sorted({**{key: str(value) for key, value in pairs}, **tagged}.items()))


class Ledger:
    """The versions of every entity with the moment each takes effect.

    IAM is eventually consistent (IAM user guide, "Changes that I make are not always immediately visible"):
    control-plane reads come from the emulator, the evaluator asks this ledger.
    """

    def __init__(self) -> None:
        """Start knowing nothing; unknown entities are read from the emulator."""
        self._lock = threading.Lock()
        self._versions: dict[Entity, list[tuple[float, View | None]]] = {}
        self._owners: dict[str, Entity] = {}

    def before_change(self, entities: Iterable[Entity]) -> None:
        """Remember how the entities were."""
        for entity in entities:
            with self._lock:
                self._versions.setdefault(entity, [(0.0, live_view(entity))])

    def after_change(self, entities: Iterable[Entity]) -> None:
        """Let the new version take effect after the propagation time."""
        effective_at = time.monotonic() + settings.iam_propagation_seconds
        for entity in entities:
            view = live_view(entity)
            with self._lock:
                self._append(entity, effective_at, view)

    def _append(self, entity: Entity, effective_at: float, view: View | None) -> None:
        if view is not None:
            self._owners.update(dict.fromkeys(view.keys, entity))
        versions = self._versions.setdefault(entity, [])
        if not versions or versions[-1][1] != view:
            versions.append((effective_at, view))
        now = time.monotonic()
        while len(versions) > 1 and versions[1][0] <= now:
            versions.pop(0)

    def view(self, entity: Entity) -> View | None:
        """Return the version in effect."""
        with self._lock:
            versions = self._versions.get(entity)
            if versions is not None:
                now = time.monotonic()
                return next((view for at, view in reversed(versions) if at <= now), None)
        return live_view(entity)

    def owner_of_key(self, access_key_id: str) -> Entity | None:
        """Return the user an access key belongs, or belonged, to."""
        owner = self._owners.get(access_key_id)
        if owner is None:
            owner = next(_users_with_key(access_key_id), None)
            if owner is not None:
                self._owners[access_key_id] = owner
        return owner

    def clear(self) -> None:
        """Forget all versions."""
        with self._lock:
            self._versions.clear()
            self._owners.clear()


def _users_with_key(access_key_id: str) -> Iterator[Entity]:
    for account in list(iam_backends):
        key = backend_of(account).access_keys.get(access_key_id)
        if key is not None and key.user_name:
            yield Entity(account, "user", key.user_name)


ledger = Ledger()
on_reset(ledger.clear)
