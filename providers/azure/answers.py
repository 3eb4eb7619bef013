"""What Azure answers mean: denied, dead credential, busy or refused for good; one translation of errors."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from enum import StrEnum
from typing import Any

import httpx
from azure.core.exceptions import (
    AzureError,
    ClientAuthenticationError,
    HttpResponseError,
    ServiceRequestError,
    ServiceResponseError,
)

from firebreak.errors import FirebreakError, PermanentCloudError, TransientCloudError

DENIED_CODES = frozenset(
    {
        "AuthorizationFailed",  # Azure Resource Manager, "Troubleshoot common errors"
        "LinkedAuthorizationFailed",  # the same page: a resource that the request links to
        "DenyAssignmentAuthorizationFailed",  # Azure RBAC, "Troubleshoot Azure RBAC", deny assignments
        "AuthorizationPermissionMismatch",  # Blob service error codes
        "AuthorizationPermissionDenied",  # Blob service error codes
        "InsufficientAccountPermissions",  # Common REST API error codes (Storage)
        "Forbidden",  # Key Vault REST error codes; Cognitive Services; Cosmos DB through its SDK
        "ForbiddenByRbac",  # Key Vault, inner code of Forbidden
        "AccessDenied",  # Key Vault, inner code of Forbidden
        "Authorization_RequestDenied",  # Microsoft Graph error responses
        "InsufficientAccessError",  # Log Analytics query API errors
        "PermissionDenied",  # Cognitive Services
        "AuthenticationTypeDisabled",  # the same, "Disable local authentication": a key is refused
        "DENIED",  # container registry (OCI distribution specification, error codes)
        # Cosmos DB, with the sub-status: a firewall and a quota are "Forbidden" too ("HTTP status codes for
        # Azure Cosmos DB"). Refused by its roles are metadata (5301), data (5302, 5303) and any call (5400);
        # 5300 is what no Entra token may ever do.
        *(f"Forbidden {each}" for each in (5301, 5302, 5303, 5400)),
    }
)
DEAD_CREDENTIAL_CODES = frozenset(
    {
        # Azure Resource Manager, "Troubleshoot common errors": an expired, altered or foreign token
        "AuthenticationFailed",
        "ExpiredAuthenticationToken",
        "InvalidAuthenticationToken",
        "InvalidAuthenticationTokenTenant",
        "InvalidAuthenticationInfo",  # Common REST API error codes (Storage)
        "InvalidAuthenticationTokenAudience",
        "UNAUTHORIZED",  # container registry (OCI distribution specification, error codes)
        "Unauthorized",  # Key Vault REST error codes
    }
)
DEAD_PRINCIPAL_CODES = frozenset(
    {
        # Microsoft Entra authentication and authorization error codes
        "AADSTS50057",  # the user account is disabled
        "AADSTS50173",  # the grant was revoked
        "AADSTS500014",  # the service principal of the resource is disabled
        "AADSTS700016",  # no such application in the tenant
        "AADSTS7000112",  # the application is disabled
        "AADSTS7000116",  # the application's service principal is disabled
        "AADSTS7000215",  # the client secret is wrong: removed
        "AADSTS7000222",  # the client secret expired
        "AADSTS70021",  # no federated credential matches the assertion
        "AADSTS700211",  # the same, by issuer
        "AADSTS700212",  # the same, by audience
        "AADSTS700213",  # the same, by subject
        "AADSTS70025",  # the client has no federated credential
        "AADSTS700027",  # the key that signed the assertion is not registered: removed
    }
)
TRANSIENT_CODES = frozenset(
    {
        "AnotherOperationInProgress",  # Azure Resource Manager, "Troubleshoot common errors"
        "CanceledAndSupersededDueToAnotherOperation",
        "InUseSubnetCannotBeUpdated",
        "OperationNotAllowedDuringUpdate",
        "ReferencedResourceNotProvisioned",
        "RetryableError",
        "RetryableErrorDueToAnotherOperation",
        "ServerBusy",  # Common REST API error codes (Storage)
        "OperationTimedOut",
        "InternalError",
        "InternalServerError",
        "ServerTimeout",
        "SubscriptionRequestsThrottled",  # "Throttling Resource Manager requests"
        "TooManyRequests",
        "PrincipalNotFound",  # Azure RBAC, "Troubleshoot": a new principal has not replicated yet
        "PreconditionFailed",  # another writer came first: read again and repeat
        "ConditionNotMet",  # the same from Storage
        "AADSTS90033",  # Entra: a transient error
        "AADSTS90055",  # Entra: too many requests
    }
)
UNAUTHORIZED, FORBIDDEN, NOT_FOUND, PRECONDITION_FAILED = 401, 403, 404, 412
SERVER_ERROR = 500
TOO_MANY_REQUESTS = 429
REQUEST_TIMEOUT = 408

COSMOS_HOST = ".documents."
"""In the name of every Cosmos DB account's host, whichever the cloud."""

_AADSTS = re.compile(r"AADSTS\d{4,8}")


class RestError(Exception):
    """An error answer to a request that no SDK made: what ``HttpResponseError`` is to the SDKs."""

    def __init__(
        self, status: int, code: str, message: str, *, operation: str = "", request_id: str = ""
    ) -> None:
        super().__init__(f"({code}) {message}" if code else message)
        self.status = status
        self.code = code
        self.message = message
        self.operation = operation
        self.request_id = request_id

    @classmethod
    def of(cls, answer: httpx.Response) -> RestError:
        """Read an error answer; the body may be anything."""
        code, message = read_error(_json(answer))
        headers = answer.headers
        if COSMOS_HOST in answer.request.url.host:
            code = f"{code} {headers.get('x-ms-substatus', '0')}"
        return cls(
            answer.status_code,
            code or headers.get("x-ms-error-code", ""),
            message or answer.reason_phrase,
            operation=f"{answer.request.method} {answer.request.url.path}",
            request_id=headers.get("x-ms-request-id", headers.get("request-id", "")),
        )


class Outcome(StrEnum):
    """What an error says about the identity that made the call."""

    DENIED = "denied"
    """Authenticated, and refused by authorization."""
    DEAD = "dead credential"
    """The credential itself is refused."""
    INCONCLUSIVE = "inconclusive"


AzureFailure = AzureError | RestError | httpx.HTTPError


def read_error(body: Any) -> tuple[str, str]:
    """Read code and message from ARM's, Graph's, Entra's or a registry's error body."""
    if not isinstance(body, Mapping):
        return "", ""
    if "error_description" in body:  # Entra's token endpoint (RFC 6749, 5.2)
        text = str(body["error_description"])
        match = _AADSTS.search(text)
        return (match[0] if match else str(body.get("error", ""))), text.splitlines()[0] if text else ""
    error = body.get("error", body)
    if isinstance(body.get("errors"), list) and body["errors"]:
        error = body["errors"][0]  # OCI distribution specification, "Error codes"
    if not isinstance(error, Mapping):
        return str(error), ""
    return str(error.get("code", "")), str(error.get("message", ""))


def error_code(error: AzureFailure) -> str:
    """Read the service's error code, empty where it gave none."""
    if isinstance(error, RestError):
        return error.code
    if isinstance(error, ClientAuthenticationError):
        match = _AADSTS.search(str(error))
        if match:
            return match[0]
    given = getattr(error, "error_code", None)  # Storage's own attribute
    if given:
        return str(getattr(given, "value", given))
    code = getattr(getattr(error, "error", None), "code", None)
    return str(code) if code else _code_in_answer(error)


def _code_in_answer(error: AzureFailure) -> str:
    """Read the code where the SDK left it in the body or the header."""
    answer = getattr(error, "response", None)
    header = answer.headers.get("x-ms-error-code", "") if answer is not None else ""
    return str(header)


def status_of(error: AzureFailure) -> int:
    """Read the HTTP status of an error, 0 where there is none."""
    if isinstance(error, RestError):
        return error.status
    return int(getattr(error, "status_code", 0) or 0)


def request_id_of(error: AzureFailure) -> str:
    """Read the service's request id, empty where there is none."""
    if isinstance(error, RestError):
        return error.request_id
    answer = getattr(error, "response", None)
    return str(answer.headers.get("x-ms-request-id", "")) if answer is not None else ""


def outcome(error: AzureFailure) -> Outcome:
    """Say what the error proves about the identity; anything unknown proves nothing."""
    code, status = error_code(error), status_of(error)
    if code in DENIED_CODES and status in {FORBIDDEN, UNAUTHORIZED}:
        return Outcome.DENIED
    if code in DEAD_PRINCIPAL_CODES or (code in DEAD_CREDENTIAL_CODES and status == UNAUTHORIZED):
        return Outcome.DEAD
    return Outcome.INCONCLUSIVE


def translate(error: AzureFailure, resource: str) -> FirebreakError:
    """Name the error for the operator, and say whether trying again can help."""
    if isinstance(error, httpx.HTTPError | ServiceRequestError | ServiceResponseError):
        return TransientCloudError(f"Azure could not be reached: {error}", resource=resource)
    if isinstance(error, RestError | HttpResponseError) and (status_of(error) or error_code(error)):
        return _translate_answer(error, resource)
    return PermanentCloudError(
        f"the Azure SDK refused the call: {error}",
        resource=resource,
        remedy="check the credentials and settings",
    )


def _translate_answer(error: RestError | HttpResponseError, resource: str) -> FirebreakError:
    code, status = error_code(error), status_of(error)
    text = f"Azure answered {code or 'an error'} ({status}): {_first_line(error)}"
    if code in DENIED_CODES:
        return PermanentCloudError(
            f"the responder may not do this: {text}",
            resource=resource,
            remedy="apply the role printed by 'firebreak permissions --cloud azure'",
        )
    if code in TRANSIENT_CODES or status >= SERVER_ERROR or status in {TOO_MANY_REQUESTS, REQUEST_TIMEOUT}:
        return TransientCloudError(text, resource=resource)
    if code in DEAD_CREDENTIAL_CODES or code in DEAD_PRINCIPAL_CODES:
        # A token is replaced minutes before it ends, so that a later attempt has another one.
        return TransientCloudError(text, resource=resource, remedy="check the responder's credentials")
    return PermanentCloudError(text, resource=resource)


def _first_line(error: RestError | HttpResponseError) -> str:
    return next(iter(str(error.message).splitlines()), "")


@contextmanager
def translated(resource: str) -> Iterator[None]:
    """Turn every Azure error raised inside into a FirebreakError about ``resource``."""
    try:
        yield
    except (AzureError, RestError, httpx.HTTPError) as error:
        raise translate(error, resource) from error


@contextmanager
def already(resource: str, *codes: str) -> Iterator[None]:
    """Accept an error that says the wanted state is there: an earlier attempt, or its retry, made it so."""
    try:
        with translated(resource):
            yield
    except FirebreakError as error:
        cause = error.__cause__
        if not isinstance(cause, AzureError | RestError) or error_code(cause) not in codes:
            raise


def _json(answer: httpx.Response) -> Any:
    try:
        return answer.json()
    except ValueError:
        return None  # a proxy's or gateway's page: the status alone speaks
