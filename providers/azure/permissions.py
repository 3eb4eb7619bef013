"""Say what Firebreak's identities need on Azure, and find what the responder lacks, without a change."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from firebreak.measure import Measure, Permission, Scope
from firebreak.model import Cloud, JsonObject, Target, Workload
from firebreak.provider import Need
from firebreak.settings import Settings
from providers.azure import cosmosroles
from providers.azure.answers import DENIED_CODES, NOT_FOUND, RestError, translated
from providers.azure.cosmosroles import COSMOS
from providers.azure.credentials import Credential, credential_of
from providers.azure.ids import ResourceId
from providers.azure.session import AzureAccess, AzureMeasure

VERSION = "2022-04-01"
"""api-version of Microsoft.Authorization permissions and roleDefinitions."""
DATA, GRAPH = "data:", "graph:"
READ_ALL, WRITE_ALL = ".Read.All", ".ReadWrite.All"
_NOT_RBAC = (GRAPH, COSMOS)
"""Prefixes of a permission that is a data action, or an application permission of Microsoft Graph."""
BASE_ACTIONS = ("Microsoft.Resources/subscriptions/read", "Microsoft.Authorization/permissions/read")
"""What every run needs on the subscription: to see that it is the right one, and what it may do."""
DIRECTORY = "Microsoft Graph"
READS_AT_ONCE = 8
# Types that extend a resource of any type (Azure Resource Manager, "Extension resource types").
_EXTENSIONS = (
    "microsoft.authorization/",
    "microsoft.eventgrid/",
    "microsoft.insights/",
    "microsoft.securityinsights/",
)

Grants = Mapping[str, set[str]]
"""Permission to the scopes it is needed at."""


@dataclass(frozen=True)
class Effective:
    """What the caller may do at one scope."""

    permissions: tuple[JsonObject, ...]

    def allows(self, permission: str) -> bool:
        """Tell whether any role grants the permission; what one role excludes, another may still grant."""
        kind, action = _split(permission)
        granted, excluded = ("dataActions", "notDataActions") if kind == DATA else ("actions", "notActions")
        return any(
            _matches(each.get(granted), action) and not _matches(each.get(excluded), action)
            for each in self.permissions
        )


def own_principals(access: AzureAccess) -> tuple[str, ...]:
    """List the identities that Firebreak itself runs as: object id, client id and resource of each."""
    evidence = access.settings.evidence_of(Cloud.AZURE).access
    keeper = credential_of(
        evidence.get("cloud", ""), evidence.get("tenant_id", ""), evidence.get("client_id", "")
    )
    with translated("the SDK's own credentials"):
        bearers = [_bearer(each) for each in (access.reached(), keeper)]
    # Access token claims: oid and appid name the principal, xms_mirid the managed identity's resource.
    own = (str(bearer.get(claim, "")) for bearer in bearers for claim in ("oid", "appid", "xms_mirid"))
    return tuple(dict.fromkeys(each for each in own if each))


def grants(needs: Iterable[Need], workloads: Iterable[Workload]) -> dict[str, set[str]]:
    """Collect every permission with the scopes that the measures need it at."""
    found: dict[str, set[str]] = defaultdict(set)
    known = list(workloads)
    for measure, target in needs:
        owners = [each for each in known if each.account.lower() == target.account.lower()]
        for permission in _needed(measure, target):
            found[permission.action].update(_scopes(measure, permission, target, owners))
    return {permission: _outermost(scopes) for permission, scopes in found.items() if scopes}


def _outermost(scopes: Iterable[str]) -> set[str]:
    """Leave out what lies in another scope of the set: a role is inherited (Azure RBAC, "Scope")."""
    kept: list[str] = []
    for scope in sorted(scopes, key=lambda each: (len(each), each)):
        if not any(scope.startswith("/") and ResourceId.parse(scope).is_under(each) for each in kept):
            kept.append(scope)
    return set(kept)


def missing(access: AzureAccess, needs: Iterable[Need]) -> tuple[str, ...]:
    """Name each permission that the responder lacks, as ``action on scope``."""
    needed = grants(needs, [access.run.workload])
    for action in BASE_ACTIONS:
        needed.setdefault(action, set()).add(access.scope)
    lacking = [
        *_lacking_roles(access, needed),
        *_lacking_actions(access, needed),
        *cosmosroles.lacking(access, needed),
    ]
    return tuple(sorted(lacking))


def documents(needs: Iterable[Need], workloads: Iterable[Workload], settings: Settings) -> JsonObject:
    """Write the custom roles of responder, evidence and discovery, and where to assign each."""
    known = list(workloads)
    needed = grants(needs, known)
    subscriptions = {f"/subscriptions/{each.account}" for each in known}
    for action in BASE_ACTIONS:
        needed.setdefault(action, set()).update(subscriptions)
    return {
        "responder": {
            "applications": _clients(each.access for each in known),
            "roles": _roles("responder", needed),
            "graph": _fewest(each.removeprefix(GRAPH) for each in needed if each.startswith(GRAPH)),
            "cosmos": cosmosroles.documents(needed),
        },
        "evidence": {
            "applications": _clients([settings.evidence_of(Cloud.AZURE).access]),
            "roles": _roles("evidence", _evidence(settings)),
        },
        "orchestrator": {
            "roles": [],
            "must_be_trusted_by": _clients(
                [*(each.access for each in known), settings.evidence_of(Cloud.AZURE).access]
            ),
        },
        "discovery": {"roles": _roles("discovery", _discovery(known))},
    }


def _bearer(credential: Credential) -> JsonObject:
    return credential.claims(credential.at.arm_scope)


def _clients(accesses: Iterable[Mapping[str, str]]) -> list[str]:
    return sorted({each["client_id"] for each in accesses if each.get("client_id")})


def _needed(measure: type[Measure[Any]], target: Target) -> tuple[Permission, ...]:
    return measure.needed(target) if issubclass(measure, AzureMeasure) else measure.permissions


def _scopes(
    measure: type[Measure[Any]], permission: Permission, target: Target, owners: Iterable[Workload]
) -> set[str]:
    kind, action = _split(permission.action)
    if kind == GRAPH:
        return {DIRECTORY} if _wanted(measure, permission, target, owners) else set()
    resources = [each for each in measure.arns(target) if each.startswith("/")]
    if kind == COSMOS:
        return set(resources)
    if permission.scope is Scope.TARGET and resources:
        return {scope_of(action, each) for each in resources}
    if not issubclass(measure, AzureMeasure):
        return {f"/subscriptions/{target.account}"}
    return {place for owner in owners for place in measure.places(permission.action, target, owner)}


def _wanted(
    measure: type[Measure[Any]], permission: Permission, target: Target, owners: Iterable[Workload]
) -> bool:
    """Tell whether any owner of the target needs the permission: the measure names a place for it."""
    known = list(owners)
    if not known or not issubclass(measure, AzureMeasure):
        return True
    return any(measure.places(permission.action, target, each) for each in known)


def scope_of(action: str, resource: str) -> str:
    """Return where an action about a resource is checked: the resource, what holds it, or its group.

    What does not exist yet, such as a new security group beside the interface, is checked at the group.
    """
    wanted = _type_of(action)
    if wanted.startswith(_EXTENSIONS):
        return resource
    place: ResourceId | None = ResourceId.parse(resource)
    while place is not None and place.provider:
        here = place.type.lower()
        if wanted == here or wanted.startswith(f"{here}/"):
            return str(place)
        place = place.parent
    group = ResourceId.parse(resource).group
    head = f"/subscriptions/{ResourceId.parse(resource).subscription}"
    return f"{head}/resourceGroups/{group}" if group else head


def _type_of(action: str) -> str:
    """The resource type that an action is about, in lower case."""
    parts = action.lower().split("/")
    return "/".join(parts[: -2 if parts[-1] == "action" else -1])


def _split(permission: str) -> tuple[str, str]:
    kind = next((each for each in (DATA, *_NOT_RBAC) if permission.startswith(each)), "")
    return kind, permission.removeprefix(kind)


# what the responder has


def _lacking_roles(access: AzureAccess, needed: Grants) -> list[str]:
    wanted = sorted(each for each in needed if each.startswith(GRAPH))
    if not wanted:
        return []
    with translated(DIRECTORY):
        bearer = access.reached().claims(access.endpoints.graph_scope)
    held = {f"{GRAPH}{role}" for role in bearer.get("roles", ())}
    return [f"{each} on {DIRECTORY}" for each in wanted if held.isdisjoint((each, _widened(each)))]


def _widened(permission: str) -> str:
    """Return the permission that also allows this: who may write all of a kind may read them.

    Microsoft Graph permissions reference: ``Application.ReadWrite.All`` is "read and write all applications";
    API pages list it as a higher privileged permission of what ``Application.Read.All`` is the least for.
    """
    return permission.replace(READ_ALL, WRITE_ALL) if permission.endswith(READ_ALL) else permission


def _fewest(permissions: Iterable[str]) -> list[str]:
    """Leave out the right to read where the right to write is needed too."""
    known = set(permissions)
    return sorted(each for each in known if _widened(each) == each or _widened(each) not in known)


def _lacking_actions(access: AzureAccess, needed: Grants) -> list[str]:
    """Compare at the subscription first: what is granted there holds for everything in it."""
    whole = _effective(access, access.scope)
    questions: dict[str, list[str]] = defaultdict(list)
    for permission, scopes in needed.items():
        for scope in scopes if not permission.startswith(_NOT_RBAC) else ():
            inherits = ResourceId.parse(scope).is_under(access.scope) and whole and whole.allows(permission)
            if not inherits:
                questions[scope].append(permission)

    def ask(scope: str) -> list[str]:
        here = _effective(access, scope)
        return [f"{each} on {scope}" for each in questions[scope] if here and not here.allows(each)]

    with ThreadPoolExecutor(READS_AT_ONCE) as pool:
        return [each for answer in pool.map(ask, list(questions)) for each in answer]


def _effective(access: AzureAccess, scope: str) -> Effective | None:
    """What the caller may do at a scope: nothing where it may not even ask; None where nothing is there.

    No right is missing on what does not exist: the measure that reads it says so.
    """
    path = f"{scope}/providers/Microsoft.Authorization/permissions"
    with translated(scope):
        try:
            return Effective(tuple(access.arm().pages(path, VERSION)))
        except RestError as error:
            if error.status == NOT_FOUND:
                return None
            if error.code not in DENIED_CODES:
                raise
            return Effective(())


def _matches(patterns: Any, action: str) -> bool:
    return any(_pattern(str(each)).match(action) for each in patterns or ())


@lru_cache(maxsize=4096)
def _pattern(text: str) -> re.Pattern[str]:
    """Azure RBAC, "Understand role definitions": ``*`` stands for any text, casing does not matter."""
    return re.compile(".*".join(re.escape(part) for part in text.split("*")) + "$", re.IGNORECASE)


# the documents


def _roles(name: str, needed: Grants) -> list[JsonObject]:
    """One custom role for each set of permissions that is needed at the same scopes."""
    by_scope: dict[str, set[str]] = defaultdict(set)
    for permission, scopes in needed.items():
        for scope in scopes if not permission.startswith(_NOT_RBAC) else ():
            by_scope[scope].add(permission)
    alike: dict[frozenset[str], list[str]] = defaultdict(list)
    for scope, permissions in by_scope.items():
        alike[frozenset(permissions)].append(scope)
    ordered = sorted(alike.items(), key=lambda item: (min(len(each) for each in item[1]), sorted(item[0])))
    return [
        _role(f"Firebreak {name} {number}", permissions, sorted(scopes))
        for number, (permissions, scopes) in enumerate(ordered, 1)
    ]


def _role(name: str, permissions: Iterable[str], scopes: list[str]) -> JsonObject:
    """A definition as ``az role definition create`` takes it (Azure RBAC, "Azure custom roles")."""
    kinds: dict[str, list[str]] = defaultdict(list)
    for permission in sorted(permissions):
        kind, action = _split(permission)
        kinds[kind].append(action)
    return {
        "definition": {
            "Name": name,
            "IsCustom": True,
            "Description": "Written by firebreak permissions: exactly what its measures need.",
            "Actions": kinds[""],
            "NotActions": [],
            "DataActions": kinds[DATA],
            "NotDataActions": [],
            # A custom role is offered in management groups, subscriptions and resource groups only.
            "AssignableScopes": sorted({_offered(scope) for scope in scopes}),
        },
        "assign_at": scopes,
    }


def _offered(scope: str) -> str:
    if not scope.startswith("/subscriptions/"):
        return scope
    return f"/subscriptions/{ResourceId.parse(scope).subscription}"


def _discovery(workloads: Iterable[Workload]) -> Grants:
    """What it takes to read a subscription of which nothing is known yet."""
    from providers.azure.discovery import DISCOVERY_ACTIONS  # noqa: PLC0415 - asked for by documents only

    places = {f"/subscriptions/{each.account}" for each in workloads} or {"/subscriptions/SUBSCRIPTION"}
    return {action: set(places) for action in (*BASE_ACTIONS, *DISCOVERY_ACTIONS)}


def _evidence(settings: Settings) -> Grants:
    """What the evidence identity does with its store and keys."""
    # Imported when asked: they open the store's own clients, which a plan never needs.
    from providers.azure.keys import SCHEME, vault_scope  # noqa: PLC0415
    from providers.azure.sealing import SEAL_DATA_ACTIONS  # noqa: PLC0415
    from providers.azure.signing import SIGN_DATA_ACTIONS  # noqa: PLC0415
    from providers.azure.vault import OBJECT_DATA_ACTIONS, STORE_ACTIONS, container_scope  # noqa: PLC0415

    evidence = settings.evidence_of(Cloud.AZURE)
    needed: dict[str, set[str]] = defaultdict(set)
    if evidence.store:
        account, container = container_scope(settings)
        for action in STORE_ACTIONS:
            needed[action].add(account)
        for action in OBJECT_DATA_ACTIONS:
            needed[f"{DATA}{action}"].add(container)
    signing = [evidence.signing_key, evidence.drill_signing_key]
    for actions, keys in ((SIGN_DATA_ACTIONS, signing), (SEAL_DATA_ACTIONS, [evidence.seal_key])):
        places = {vault_scope(each, evidence.access) for each in keys if each.startswith(f"{SCHEME}:")}
        for action in actions if places else ():
            needed[f"{DATA}{action}"].update(places)
    return needed
