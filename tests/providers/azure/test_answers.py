"""What an answer means is decided by its code and status, never by the mere fact that it failed."""

from __future__ import annotations

import httpx
import pytest
from azure.core.exceptions import (
    ClientAuthenticationError,
    HttpResponseError,
    ResourceNotFoundError,
    ServiceRequestError,
)

from firebreak.errors import FirebreakError, PermanentCloudError, TransientCloudError
from providers.azure.answers import (
    AzureFailure,
    Outcome,
    RestError,
    already,
    error_code,
    outcome,
    request_id_of,
    translate,
    translated,
)

NIC = "/subscriptions/s/resourceGroups/g/providers/Microsoft.Network/networkInterfaces/n"


def rest(status: int, code: str) -> RestError:
    return RestError(status, code, "the message")


def answer(status: int, body: object, headers: dict[str, str] | None = None) -> RestError:
    request = httpx.Request("GET", "https://management.azure.com/x")
    return RestError.of(httpx.Response(status, json=body, headers=headers, request=request))


def disabled() -> ClientAuthenticationError:
    return ClientAuthenticationError("Authentication failed: AADSTS7000112: Application 'x' is disabled.")


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (rest(403, "AuthorizationFailed"), Outcome.DENIED),
        (rest(403, "AuthorizationPermissionMismatch"), Outcome.DENIED),
        (rest(403, "Forbidden"), Outcome.DENIED),
        (rest(401, "ExpiredAuthenticationToken"), Outcome.DEAD),
        (rest(401, "InvalidAuthenticationToken"), Outcome.DEAD),
        (rest(400, "AADSTS700016"), Outcome.DEAD),
        (rest(401, "AADSTS70021"), Outcome.DEAD),
        (disabled(), Outcome.DEAD),
        (rest(404, "AuthorizationFailed"), Outcome.INCONCLUSIVE),
        (rest(403, "AccountIsDisabled"), Outcome.INCONCLUSIVE),
        (rest(403, ""), Outcome.INCONCLUSIVE),
        (rest(401, ""), Outcome.INCONCLUSIVE),
        (rest(429, "TooManyRequests"), Outcome.INCONCLUSIVE),
        (rest(500, "InternalServerError"), Outcome.INCONCLUSIVE),
        (rest(400, "AADSTS900023"), Outcome.INCONCLUSIVE),
        (httpx.ConnectError("no route"), Outcome.INCONCLUSIVE),
        (ServiceRequestError("no route"), Outcome.INCONCLUSIVE),
    ],
)
def test_only_known_codes_prove_anything(error: AzureFailure, expected: Outcome) -> None:
    assert outcome(error) is expected


@pytest.mark.parametrize(
    ("body", "code"),
    [
        ({"error": {"code": "AuthorizationFailed", "message": "m"}}, "AuthorizationFailed"),
        ({"code": "Conflict", "message": "m"}, "Conflict"),
        ({"errors": [{"code": "DENIED", "message": "m"}]}, "DENIED"),
        (
            {"error": "invalid_client", "error_description": "AADSTS7000112: disabled.\r\nTrace ID: x"},
            "AADSTS7000112",
        ),
        ({"error": "invalid_request", "error_description": "nothing else"}, "invalid_request"),
        ([], ""),
        ("text", ""),
    ],
)
def test_codes_are_found_in_every_services_body(body: object, code: str) -> None:
    assert answer(400, body).code == code


def test_storage_tells_its_code_in_a_header() -> None:
    error = answer(403, None, {"x-ms-error-code": "AuthorizationFailure", "x-ms-request-id": "r"})
    assert (error_code(error), request_id_of(error)) == ("AuthorizationFailure", "r")


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (rest(403, "AuthorizationFailed"), PermanentCloudError),
        (rest(429, "TooManyRequests"), TransientCloudError),
        (rest(409, "AnotherOperationInProgress"), TransientCloudError),
        (rest(412, "PreconditionFailed"), TransientCloudError),
        (rest(503, ""), TransientCloudError),
        (rest(401, "ExpiredAuthenticationToken"), TransientCloudError),
        (rest(400, "InvalidRequestContent"), PermanentCloudError),
        (rest(409, "ScopeLocked"), PermanentCloudError),
        (httpx.ReadTimeout("slow"), TransientCloudError),
        (ServiceRequestError("no route"), TransientCloudError),
        (disabled(), TransientCloudError),
        (HttpResponseError("nothing known"), PermanentCloudError),
    ],
)
def test_the_operator_hears_whether_trying_again_helps(
    error: AzureFailure, expected: type[FirebreakError]
) -> None:
    assert type(translate(error, NIC)) is expected


def test_a_denial_says_what_to_apply_and_where() -> None:
    with pytest.raises(PermanentCloudError) as raised, translated(NIC):
        raise rest(403, "AuthorizationFailed")
    assert raised.value.resource == NIC
    assert "firebreak permissions --cloud azure" in raised.value.remedy


def test_an_accepted_code_is_the_wanted_state() -> None:
    with already(NIC, "ResourceNotFound"):
        raise rest(404, "ResourceNotFound")


def test_another_code_is_not_the_wanted_state() -> None:
    with pytest.raises(PermanentCloudError), already(NIC, "ResourceNotFound"):
        raise rest(404, "ResourceGroupNotFound")


def test_an_sdk_error_without_an_answer_is_no_accepted_code() -> None:
    with pytest.raises(PermanentCloudError), already(NIC, "ResourceNotFound"):
        raise ResourceNotFoundError("gone")


def test_what_is_no_azure_error_passes_through() -> None:
    with pytest.raises(ZeroDivisionError), translated(NIC):
        raise ZeroDivisionError
