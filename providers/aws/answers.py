"""What AWS answers mean: denied, dead credential, busy or refused for good; one translation of errors."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from botocore.exceptions import (
    BotoCoreError,
    ClientError,
    HTTPClientError,
    IncompleteReadError,
)
from botocore.exceptions import (
    ConnectionError as BotoConnectionError,
)

from firebreak.errors import FirebreakError, PermanentCloudError, TransientCloudError

DENIED_CODES = frozenset(
    {
        "AccessDenied",
        "AccessDeniedException",
        "AuthorizationError",  # SNS
        "AuthorizationErrorException",
        "KMS.AccessDeniedException",
        "UnauthorizedOperation",  # EC2
        "Client.UnauthorizedOperation",
    }
)
DEAD_CREDENTIAL_CODES = frozenset(
    {
        "AuthFailure",  # EC2
        "ExpiredToken",
        "ExpiredTokenException",
        "InvalidAccessKeyId",  # S3
        "InvalidClientTokenId",
        "UnrecognizedClientException",
    }
)
TRANSIENT_CODES = frozenset(
    {
        "BandwidthLimitExceeded",
        "ConcurrentModification",
        "ConcurrentModificationException",
        "EC2ThrottledException",
        "InternalError",
        "InternalFailure",
        "InternalServerError",
        "InvalidTokenException",  # Network Firewall: another update came first
        "OperationAborted",
        "PriorRequestNotComplete",
        "ProvisionedThroughputExceededException",
        "RequestLimitExceeded",
        "RequestThrottled",
        "RequestThrottledException",
        "RequestTimeout",
        "RequestTimeoutException",
        "ResourceInUseException",
        "ServiceUnavailable",
        "ServiceUnavailableException",
        "SlowDown",
        "Throttled",
        "ThrottledException",
        "Throttling",
        "ThrottlingException",
        "TooManyRequestsException",
        "TransactionInProgressException",
        "Unavailable",
    }
)
SERVER_ERROR = 500
TOO_MANY_REQUESTS = 429


def error_code(error: ClientError) -> str:
    """Read the service's error code."""
    return str(error.response.get("Error", {}).get("Code", ""))


def status_of(error: ClientError) -> int:
    """Read the HTTP status of an error, 0 where there is none."""
    return int(error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0))


def translate(error: ClientError | BotoCoreError, resource: str) -> FirebreakError:
    """Name the error for the operator, and say whether trying again can help."""
    if isinstance(error, ClientError):
        return _translate_answer(error, resource)
    if isinstance(error, BotoConnectionError | HTTPClientError | IncompleteReadError):
        return TransientCloudError(f"AWS could not be reached: {error}", resource=resource)
    return PermanentCloudError(
        f"the AWS SDK refused the call: {error}",
        resource=resource,
        remedy="check the credentials and settings",
    )


def _translate_answer(error: ClientError, resource: str) -> FirebreakError:
    code, status, operation = error_code(error), status_of(error), error.operation_name
    if code in DENIED_CODES:
        return PermanentCloudError(
            f"the responder may not {operation}: {error}",
            resource=resource,
            remedy="apply the policy printed by 'firebreak permissions --cloud aws'",
        )
    text = f"{operation} failed: {code} ({status}): {error.response.get('Error', {}).get('Message', '')}"
    if code in TRANSIENT_CODES or status >= SERVER_ERROR or status == TOO_MANY_REQUESTS:
        return TransientCloudError(text, resource=resource)
    if code in DEAD_CREDENTIAL_CODES:
        # The next attempt assumes the role again, so an expired session heals itself.
        return TransientCloudError(text, resource=resource, remedy="check the responder's credentials")
    return PermanentCloudError(text, resource=resource)


@contextmanager
def translated(resource: str) -> Iterator[None]:
    """Turn every SDK error raised inside into a FirebreakError about ``resource``."""
    try:
        yield
    except (ClientError, BotoCoreError) as error:
        raise translate(error, resource) from error


@contextmanager
def already(resource: str, *codes: str) -> Iterator[None]:
    """Accept an error that says the wanted state is there: an earlier attempt, or its retry, made it so."""
    try:
        with translated(resource):
            yield
    except FirebreakError as error:
        cause = error.__cause__
        if not isinstance(cause, ClientError) or error_code(cause) not in codes:
            raise


@contextmanager
def settling(resource: str, *codes: str) -> Iterator[None]:
    """Let an error be tried again that says that AWS does not know what we made a moment ago.

    EC2 API reference, "Ensuring idempotency and eventual consistency": an id may be unknown at first.
    """
    try:
        with translated(resource):
            yield
    except PermanentCloudError as error:
        cause = error.__cause__
        if isinstance(cause, ClientError) and error_code(cause) in codes:
            raise TransientCloudError(error.message, resource=error.resource) from cause
        raise
