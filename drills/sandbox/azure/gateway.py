"""Take a request through what every call goes through, in the order of the real front doors.

Which operation is meant, its api-version, who calls, faults, whether that is allowed, locks, preconditions,
the handler; then the record of the call and the entry of the activity log.
"""

from __future__ import annotations

from collections.abc import Mapping

from drills.sandbox.azure import (
    activitylog,
    calls,
    etag,
    faults,
    generic,
    ids,
    locks,
    lro,
    names,
    pim,
    rbac,
    tokens,
)
from drills.sandbox.azure.call import Answer, Call
from drills.sandbox.azure.errors import ArmError, DroppedError, worded
from drills.sandbox.azure.state import lock
from drills.sandbox.azure.store import store
from drills.sandbox.azure.table import Operation, table
from drills.sandbox.azure.tenancy import tenancy

_ANY_VERSION = ("*",)
# "Throttling Resource Manager requests": what is left of the caller's allowance.
_ALLOWANCE: Mapping[str, str] = {"GET": "reads", "HEAD": "reads", "DELETE": "deletes"}
_LEFT = "11999"


def serve(call: Call) -> Answer:
    """Answer a call; raises DroppedError when its connection is to be cut instead."""
    try:
        answer, code = _answered(call), None
    except ArmError as error:
        answer, code = worded(call, error), error.code
    with lock:
        calls.record(call, answer, code)
        activitylog.record(call, answer)
    if faults.drops_answer(call):
        raise DroppedError
    return Answer(answer.status, answer.body, {**_headers(call), **answer.headers})


def _answered(call: Call) -> Answer:
    operation = _found(call)
    if operation.authenticated:
        call.principal = tokens.authenticated(call)
    faults.delay()
    faults.before(call)
    with lock:
        lro.settle()
        pim.expire()
        _admit(call, operation)
        given = operation.handler(call)
    if isinstance(given, Answer):
        return given
    return Answer(204) if given is None else Answer(200, given)


def _found(call: Call) -> Operation:
    if call.host == "arm":
        call.path = "/" + call.path.strip("/")
        while "//" in call.path:
            call.path = call.path.replace("//", "/")
    found = table.find(call)
    if found is None:
        if call.host == "arm":
            tokens.authenticated(call)
        raise _unknown(call)
    call.operation, call.params = found
    if call.host == "arm":
        _check_version(call, call.operation)
    names.settle(call)
    return call.operation


def _check_version(call: Call, operation: Operation) -> None:
    """Source: "Resolve errors for resource provider registration" and the error codes of ARM."""
    if not call.version:
        message = "The api-version query parameter (?api-version=) is required for all requests."
        raise ArmError(400, "MissingApiVersionParameter", message)
    if operation.versions == _ANY_VERSION or call.version.lower() in operation.versions:
        return
    message = (
        f"No registered resource provider found for location '' and API version '{call.version}' for type "
        f"'{ids.type_of(call.path)}'. The supported api-versions are '{', '.join(operation.versions)}'."
    )
    raise ArmError(400, "NoRegisteredProviderFound", message)


def _unknown(call: Call) -> ArmError:
    if call.host != "arm":
        return ArmError(404, "ResourceNotFound", f"Resource not found: {call.method} {call.path}")
    if not call.version:
        message = "The api-version query parameter (?api-version=) is required for all requests."
        return ArmError(400, "MissingApiVersionParameter", message)
    namespace, _, kind = ids.type_of(call.resource_id).partition("/")
    if any(f"/providers/{namespace}/".lower() in row.template.lower() for row in table.rows("arm")):
        message = (
            f"The resource type '{kind}' could not be found in the namespace '{namespace}' for api version "
            f"'{call.version}'."
        )
        return ArmError(404, "InvalidResourceType", message)
    return ArmError(404, "InvalidResourceNamespace", f"The resource namespace '{namespace}' is invalid.")


def _admit(call: Call, operation: Operation) -> None:
    if call.host == "arm":
        _check_tenant(call)
    if operation.graph:
        _check_graph(call, operation)
    if operation.action:
        scope = operation.scope(call) if operation.scope else call.resource_id
        rbac.check(call.caller, operation.action, scope, data=operation.data)
    if call.host == "arm":
        _check_state(call)


def _check_tenant(call: Call) -> None:
    subscription, tenant = ids.subscription_of(call.path), tenancy.tenant_of(call.path)
    if tenant is None and subscription is None:
        return
    if tenant is None:
        raise ArmError(404, "SubscriptionNotFound", f"The subscription '{subscription}' could not be found.")
    if call.caller.tenant_id != tenant:
        message = (
            f"The access token is from the wrong issuer '{call.caller.claims.get('iss')}'. It must match the "
            f"tenant 'https://sts.windows.net/{tenant}/' associated with this subscription."
        )
        raise ArmError(401, "InvalidAuthenticationTokenTenant", message)


def _check_graph(call: Call, operation: Operation) -> None:
    if not call.caller.roles & set(operation.graph):
        message = "Insufficient privileges to complete the operation."
        raise ArmError(403, "Authorization_RequestDenied", message)


def _check_state(call: Call) -> None:
    generic.need_group(call)
    locks.check(call)
    if call.method == "POST":
        return
    lro.check(call)
    item = store.get(call.path)
    # documents kept elsewhere than in the store have their own tags, which their handlers check
    if item is not None or "if-match" not in call.headers:
        etag.check(call, item.etag if item else None)


def _headers(call: Call) -> dict[str, str]:
    headers = {"x-ms-request-id": call.id}
    if call.host == "arm":
        kind = _ALLOWANCE.get(call.method, "writes")
        headers[f"x-ms-ratelimit-remaining-subscription-{kind}"] = _LEFT
        headers["x-ms-correlation-request-id"] = call.headers.get("x-ms-correlation-request-id", call.id)
    return headers
