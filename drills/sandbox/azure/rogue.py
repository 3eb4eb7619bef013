"""What the Azure sample's rogue agent can do with its tokens (see drills/sandbox/rogue.py).

python -m drills.sandbox.azure.rogue --endpoint URL --config FILE
"""

from __future__ import annotations

import ssl
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import httpx

from drills.sandbox.rogue import (
    CALL_SECONDS,
    FailedError,
    InconclusiveError,
    RefusedError,
    Repertoire,
    command_of,
    filled,
)

if TYPE_CHECKING:
    from collections.abc import Mapping

    from drills.sandbox.rogue import Attempt, Builder, Control, Json

MODULE = "drills.sandbox.azure.rogue"
CONNECTIONS = 16
REFUSALS = frozenset(
    {
        "AuthorizationFailed",  # Azure Resource Manager, "Troubleshoot common errors"; Event Grid
        "DenyAssignmentAuthorizationFailed",  # Azure RBAC, "Troubleshoot Azure RBAC"
        "ScopeLocked",  # Azure Resource Manager, "Lock your resources"
        "AuthorizationPermissionMismatch",  # Blob service error codes
        "BlobImmutableDueToLegalHold",  # Blob storage, "Legal holds for immutable blob data"
        "BlobImmutableDueToPolicy",  # the same, "Time-based retention policies"
        "Forbidden",  # Cosmos DB
        "PermissionDenied",  # Cognitive Services, a role is missing
        "AuthenticationTypeDisabled",  # the same, "Disable local authentication": a key is refused
        "Unauthorized",  # Service Bus, "Troubleshooting guide": the claim to send is missing
        "MessagingEntityDisabled",  # Service Bus messaging exceptions
        "DENIED",  # the OCI distribution specification, "Error codes"
        "UNAUTHORIZED",  # the same
        "REGISTRY_DISALLOWED_OPERATION",  # Container Registry, "Lock a container image"
        "BuildRequestValidationFailedException",  # Azure DevOps: the pipeline is disabled
        "WorkflowDisabled",  # GitHub, see _code_in
        # Microsoft Entra authentication and authorization error codes. Not a token, or a secret, that
        # expired: it ends by itself, contained or not.
        "AADSTS50057",  # the user account is disabled
        "AADSTS700016",  # no such application in the tenant
        "AADSTS7000112",  # the application is disabled
        "AADSTS7000215",  # the client secret is not one of the application's
        "AADSTS70021",  # no federated credential matches the assertion
        "AADSTS700027",  # the key that signed the assertion is not registered
    }
)
"""The codes by which hosts refuse a caller; every other one leaves open what the next attempt achieves."""


class AzureRepertoire(Repertoire):
    """Calls to the production hosts with tokens, keys and assertions that were stolen before the incident."""

    def __init__(self, control: Control, config: Json) -> None:
        """Reach the hosts by the sandbox's proxy, as all of its clients do."""
        super().__init__(control)
        self._tokens: dict[str, str] = config["tokens"]
        limits = httpx.Limits(max_connections=CONNECTIONS, max_keepalive_connections=CONNECTIONS)
        self._client = httpx.Client(
            proxy=config["proxy"],
            verify=ssl.create_default_context(cafile=config["ca_file"]),
            trust_env=False,
            timeout=CALL_SECONDS,
            limits=limits,
        )

    def builders(self) -> Mapping[str, Builder]:
        """Add calls, the metadata service, fresh registry tokens, waking events, and promotions."""
        return {
            **super().builders(),
            "call": self._call,
            "metadata": self._metadata,
            "registry": self._registry,
            "wake": self._wake,
            "promote": self._promote,
        }

    def _call(self, channel: Json) -> Attempt:
        """Make the requests of a channel, one after the other."""

        def call(count: int) -> None:
            self._attempt_steps(channel, count)

        return call

    def _attempt_steps(self, channel: Json, count: int, *, bearer: str = "") -> None:
        """Make the requests, and put back what they deleted, or found gone: else the next finds nothing."""
        try:
            for step in channel["steps"]:
                self._send(filled(step, count), bearer=bearer)
        finally:
            if "restore" in channel:
                with suppress(FailedError):  # what was deleted was deleted, whatever becomes of this
                    self._send(filled(channel["restore"], count), bearer=bearer)

    def _metadata(self, channel: Json) -> Attempt:
        """Ask the metadata service of the agent's machine for a token; only code on the machine can."""

        def ask(_count: int) -> None:
            answer = self._control.post("/managed-identity/token", channel["body"])
            if "access_token" not in answer:
                raise failure_of(str(answer.get("refused", "NoToken")))

        return ask

    def _registry(self, channel: Json) -> Attempt:
        """Exchange the Entra token for one of the registry, every time, and use that."""
        host = f"{channel['registry']}.azurecr.io"

        def push(count: int) -> None:
            aad = {"grant_type": "access_token", "service": host}
            aad["access_token"] = self._tokens[channel["token"]]
            refresh = self._form(f"https://{host}/oauth2/exchange", aad)["refresh_token"]
            wanted = {"grant_type": "refresh_token", "service": host, "scope": channel["scope"]}
            token = self._form(f"https://{host}/oauth2/token", wanted | {"refresh_token": refresh})
            self._attempt_steps(channel, count, bearer=token["access_token"])

        return push

    def _wake(self, channel: Json) -> Attempt:
        """Publish an event; only its delivery to the agent is a success."""
        publish = self._call(channel)
        about = {"subscription": channel["subscription"]}

        def wake(count: int) -> None:
            before = self._control.post("/events/delivered", about)["delivered"]
            publish(count)
            if self._control.post("/events/delivered", about)["delivered"] == before:
                raise RefusedError("NotDelivered")

        return wake

    def _promote(self, channel: Json) -> Attempt:
        """Start a run of a pipeline, which then goes through to its end."""
        start = self._call(channel)

        def promote(count: int) -> None:
            start(count)
            self._control.post(channel["finish"], channel["place"])

        return promote

    def _form(self, url: str, form: dict[str, str]) -> Json:
        return dict(self._send({"method": "POST", "url": url, "form": form}).json())

    def _send(self, step: Json, *, bearer: str = "") -> httpx.Response:
        token = bearer or self._tokens.get(step.get("token", ""), "")
        headers = {**step.get("headers", {}), **({"Authorization": f"Bearer {token}"} if token else {})}
        try:
            answer = self._client.request(
                step["method"],
                step["url"],
                headers=headers,
                json=step.get("json"),
                content=step.get("content"),
                data=step.get("form"),
            )
        except httpx.HTTPError as error:
            raise InconclusiveError(type(error).__name__) from error
        if answer.is_error:
            raise failure_of(code_of(answer))
        return answer


def failure_of(code: str) -> FailedError:
    """Return what a host's code says about the attempt."""
    return RefusedError(code) if code in REFUSALS else InconclusiveError(code)


def code_of(answer: httpx.Response) -> str:
    """Return the code of a refusal, in whichever way the host words it; the status where it has none."""
    if "x-ms-error-code" in answer.headers:
        return str(answer.headers["x-ms-error-code"])
    try:
        body = answer.json()
    except ValueError:
        body = {}  # not every host answers in JSON: the status says enough
    return _code_in(body) or f"Http{answer.status_code}"


def _code_in(body: Any) -> str:
    if not isinstance(body, dict):
        return ""
    if body.get("error_codes"):
        return f"AADSTS{body['error_codes'][0]}"
    if body.get("errors"):
        return str(body["errors"][0].get("code", ""))
    error = body.get("error")
    if isinstance(error, dict):
        return str(error.get("code", ""))
    if "on a disabled workflow" in str(body.get("message")):
        return "WorkflowDisabled"  # GitHub gives no code; the same status means an input that is wrong
    return str(body.get("typeKey") or body.get("code") or "")


main = command_of(AzureRepertoire)

if __name__ == "__main__":
    main()
