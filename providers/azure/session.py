"""Reach an Azure subscription as the responder: one identity, shared clients, and the guards of every run.

Addresses come from ``Endpoints``, credentials from the SDK's own conventions (``AZURE_*``), proxies and
certificates from ``HTTPS_PROXY`` and ``REQUESTS_CA_BUNDLE``.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any, TypeVar, overload

from firebreak.errors import GuardError
from firebreak.model import JsonObject, Target, Workload
from firebreak.session import CloudMeasure, WorkloadAccess
from providers.azure import clients
from providers.azure.answers import FORBIDDEN, NOT_FOUND, UNAUTHORIZED, RestError, translated
from providers.azure.arm import Arm
from providers.azure.credentials import Credential, Environment, credential_of, environment, work_on
from providers.azure.endpoints import Endpoints, endpoints
from providers.azure.graph import Graph
from providers.azure.rest import Rest, body_of

if TYPE_CHECKING:
    from azure.storage.blob import BlobServiceClient

ClientT = TypeVar("ClientT")

SUBSCRIPTIONS_VERSION = "2022-12-01"
"""api-version of ``Microsoft.Resources/subscriptions``."""


@dataclass(frozen=True)
class AzureAccess(WorkloadAccess):
    """The responder's way into one workload's subscription, for one run."""

    @property
    def scope(self) -> str:
        """The subscription's ARM id."""
        return f"/subscriptions/{self.account}"

    @property
    def endpoints(self) -> Endpoints:
        """The addresses of the workload's cloud."""
        return endpoints(self.run.workload.access.get("cloud", ""))

    def credential(self) -> Credential:
        """Return the responder's credential; asking binds the calling thread to this run's incident."""
        work_on(self.run.incident_id)
        access = self.run.workload.access
        return credential_of(
            access.get("cloud", ""), access.get("tenant_id", ""), access.get("client_id", "")
        )

    def reached(self) -> Credential:
        """Return the credential once it has proved to be the right one for the subscription.

        Raises GuardError when it is another application's or tenant's, or does not reach the subscription.
        """
        credential = self.credential()
        _require_subscription(environment(), credential, self.account)
        return credential

    @overload
    def client(self, of: type[ClientT]) -> ClientT: ...
    @overload
    def client(self, of: str) -> Any: ...

    def client(self, of: Any) -> Any:
        """Return a shared management client for the workload's subscription, acting as the responder.

        ``of`` is the class, or ``azure.mgmt.network:NetworkManagementClient`` to have it imported when used.
        Ask for the client where it is used: asking also binds the calling thread to this run's incident.
        """
        return clients.management(of, self.reached(), self.account)

    def arm(self) -> Arm:
        """Return raw ARM as the responder."""
        credential = self.reached()
        return Arm(self.endpoints.arm, lambda: credential.token(self.endpoints.arm_scope))

    def graph(self) -> Graph:
        """Return Microsoft Graph v1.0 as the responder."""
        credential = self.reached()
        return Graph(f"{self.endpoints.graph}/v1.0", lambda: credential.token(self.endpoints.graph_scope))

    def blobs(self, account_url: str) -> BlobServiceClient:
        """Return the blob data plane of a storage account as the responder."""
        return clients.blobs(self.reached(), account_url)

    def data(self, url: str, scope: str) -> Rest:
        """Return another data plane as the responder; ``scope`` is the token's, ending in ``/.default``."""
        credential = self.reached()
        return Rest(url.rstrip("/"), lambda: credential.token(scope))

    def borrowed(self, token: str) -> Arm:
        """Return raw ARM that signs with one given token: a probe. The token is kept nowhere."""
        work_on(self.run.incident_id)
        return Arm(self.endpoints.arm, lambda: token)

    def borrowed_data(self, url: str, token: str) -> Rest:
        """Return a data plane that signs with one given token: a probe. The token is kept nowhere."""
        work_on(self.run.incident_id)
        return Rest(url.rstrip("/"), lambda: token)

    def issue(self, tenant_id: str, form: Mapping[str, str]) -> JsonObject:
        """Ask Entra's token endpoint (v2.0) in somebody's name; raises RestError with its AADSTS code.

        Not cached and not retried by an SDK: the answer to a fresh attempt is what a probe is about.
        """
        work_on(self.run.incident_id)
        authority = Rest(f"https://{self.endpoints.authority}", None)
        return body_of(authority.request("POST", f"{tenant_id}/oauth2/v2.0/token", form=form))


@lru_cache(maxsize=1024)
def _require_subscription(_: Environment, credential: Credential, subscription: str) -> None:
    """Check the bearer and what it reaches; cached, because neither changes within one environment."""
    at = credential.at
    with translated("the SDK's own credentials"):
        bearer = credential.claims(at.arm_scope)
    _require("tenant", "tid", bearer, credential.tenant_id)
    _require("application", "appid", bearer, credential.client_id)
    arm = Arm(at.arm, lambda: credential.token(at.arm_scope))
    place = f"/subscriptions/{subscription}"
    with translated(place):
        found = _subscription(arm, place)
    home = str(found.get("tenantId", "")).lower()
    if home and home != str(bearer.get("tid", "")).lower():
        raise GuardError(
            f"wrong tenant: the responder's token is for {bearer.get('tid')}, the subscription is in {home}",
            resource=place,
            remedy="correct access.tenant_id in the inventory",
        )


def _subscription(arm: Arm, place: str) -> JsonObject:
    try:
        found = arm.get(place, SUBSCRIPTIONS_VERSION)
    except RestError as error:
        if error.status not in {UNAUTHORIZED, FORBIDDEN}:
            raise
        raise _unreached(place, f"{error.code} ({error.status})") from error
    if found is None:
        raise _unreached(place, f"SubscriptionNotFound ({NOT_FOUND})")
    return found


def _unreached(place: str, answer: str) -> GuardError:
    return GuardError(
        f"the responder does not reach the subscription: {answer}",
        resource=place,
        remedy="correct account and access in the inventory, or assign the responder's role there",
    )


def _require(what: str, claim: str, bearer: JsonObject, wanted: str) -> None:
    actual = str(bearer.get(claim, ""))
    if wanted and actual.lower() != wanted.lower():
        raise GuardError(
            f"wrong {what}: the responder's token is for {actual}, the inventory names {wanted}",
            remedy="correct access in the inventory, or AZURE_CLIENT_ID and AZURE_TENANT_ID",
        )


class AzureMeasure(CloudMeasure[AzureAccess]):
    """The parent of every Azure measure."""

    @classmethod
    def places(cls, action: str, target: Target, workload: Workload) -> tuple[str, ...]:  # noqa: ARG003
        """The ARM scopes of what an action of scope ANY touches; by default the subscription."""
        return (f"/subscriptions/{workload.account}",)
