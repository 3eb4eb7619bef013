"""Time-based retention policies of containers as Azure Resource Manager shows them.

Source: Azure Storage resource provider REST API, "Blob Containers" (immutability policies), and "Time-based
retention policies for immutable blob data".
"""

from __future__ import annotations

from dataclasses import replace

from drills.sandbox.azure.call import Answer, Call, JsonObject
from drills.sandbox.azure.errors import ArmError
from drills.sandbox.azure.storage.arm_containers import CONTAINER, SOURCE, container_of, policy_properties
from drills.sandbox.azure.storage.model import Container, Policy, new_etag
from drills.sandbox.azure.storage.resource import VERSIONS, account_of
from drills.sandbox.azure.table import operation

POLICY = f"{CONTAINER}/immutabilityPolicies/default"
MOST_EXTENSIONS = 5
MOST_DAYS = 146_000
_ACTION = "Microsoft.Storage/storageAccounts/blobServices/containers/immutabilityPolicies"


def _shown(call: Call, container: Container, policy: Policy | None) -> Answer:
    """The policy as a resource; one that is not there has no days and is not locked."""
    shown = policy or Policy(0)
    account = account_of(call)
    place = f"{account.resource_id}/blobServices/default/containers/{container.name}"
    body: JsonObject = {
        "id": f"{place}/immutabilityPolicies/default",
        "name": "default",
        "type": _ACTION,
        "etag": shown.etag,
        "properties": policy_properties(shown),
    }
    return Answer(200, body, {"ETag": shown.etag})


def _check_etag(call: Call, policy: Policy | None, *, required: bool) -> None:
    given = call.headers.get("if-match")
    if given is None:
        if required:
            raise ArmError(
                400,
                "MissingRequiredHeader",
                "An HTTP header that's mandatory for this request is not specified: If-Match.",
            )
        return
    if policy is None or given not in ("*", policy.etag):
        raise ArmError(
            412, "PreconditionFailed", "The condition specified using HTTP conditional header(s) is not met."
        )


def _existing(container: Container) -> Policy:
    if container.policy is None:
        raise ArmError(
            404, "ContainerImmutabilityPolicyNotFound", "The container has no immutability policy."
        )
    return container.policy


def _failed(message: str) -> ArmError:
    return ArmError(409, "ContainerImmutabilityPolicyFailure", message)


def _days(call: Call) -> int:
    days = (call.body.get("properties") or {}).get("immutabilityPeriodSinceCreationInDays")
    if isinstance(days, bool) or not isinstance(days, int) or not 1 <= days <= MOST_DAYS:
        message = f"The immutability period must be between 1 and {MOST_DAYS} days."
        raise ArmError(400, "InvalidValuesForRequestParameters", message)
    return days


@operation("arm", "GET", POLICY, versions=VERSIONS, action=f"{_ACTION}/read", source=SOURCE)
def get_policy(call: Call) -> Answer:
    """Return the policy, an empty one where there is none."""
    container = container_of(call)
    return _shown(call, container, container.policy)


@operation("arm", "PUT", POLICY, versions=VERSIONS, action=f"{_ACTION}/write", source=SOURCE)
def put_policy(call: Call) -> Answer:
    """Set an unlocked policy, or change one; a locked one is only extended."""
    container, days = container_of(call), _days(call)
    _check_etag(call, container.policy, required=False)
    if container.policy is not None and container.policy.state == "Locked":
        raise _failed("Operation not allowed on a locked immutability policy.")
    wanted = call.body.get("properties") or {}
    append, append_all = (
        bool(wanted.get(name)) for name in ("allowProtectedAppendWrites", "allowProtectedAppendWritesAll")
    )
    if append and append_all:
        raise ArmError(
            400,
            "InvalidValuesForRequestParameters",
            "allowProtectedAppendWrites and allowProtectedAppendWritesAll are mutually exclusive.",
        )
    container.policy = Policy(days, append=append, append_all=append_all)
    return _shown(call, container, container.policy)


@operation("arm", "DELETE", POLICY, versions=VERSIONS, action=f"{_ACTION}/delete", source=SOURCE)
def delete_policy(call: Call) -> Answer:
    """Remove an unlocked policy; nothing removes a locked one."""
    container = container_of(call)
    policy = _existing(container)
    _check_etag(call, policy, required=True)
    if policy.state == "Locked":
        raise _failed("Operation not allowed on a locked immutability policy.")
    container.policy = None
    return _shown(call, container, None)


@operation("arm", "POST", f"{POLICY}/lock", versions=VERSIONS, action=f"{_ACTION}/lock/action", source=SOURCE)
def lock_policy(call: Call) -> Answer:
    """Lock the policy for good."""
    container = container_of(call)
    policy = _existing(container)
    _check_etag(call, policy, required=True)
    container.policy = replace(policy, state="Locked", etag=new_etag())
    return _shown(call, container, container.policy)


@operation(
    "arm", "POST", f"{POLICY}/extend", versions=VERSIONS, action=f"{_ACTION}/extend/action", source=SOURCE
)
def extend_policy(call: Call) -> Answer:
    """Make a locked policy longer, at most five times."""
    container, days = container_of(call), _days(call)
    policy = _existing(container)
    _check_etag(call, policy, required=True)
    if policy.state != "Locked" or days < policy.days:
        raise _failed("Only a locked immutability policy is extended, and only to a longer period.")
    if policy.extensions >= MOST_EXTENSIONS:
        raise _failed(f"A locked immutability policy is extended at most {MOST_EXTENSIONS} times.")
    container.policy = replace(policy, days=days, extensions=policy.extensions + 1, etag=new_etag())
    return _shown(call, container, container.policy)
