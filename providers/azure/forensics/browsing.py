# ruff: noqa: SLF001 - the SDK has a client with the management link alone, and keeps it to itself
"""Browse a Service Bus entity without receiving: over the management link alone.

The SDK's receiver opens a receiving link with one credit even to peek, so that the service hands it a
message, locked until the SDK lets go of it (azure-sdk-for-python, "get_queue_receiver will lock 1
message"). A capture must not touch what it looks at, so this receiver opens none ("AMQP 1.0 in Azure
Service Bus: request-response-based operations", com.microsoft:peek-message).
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, cast
from urllib.parse import urlsplit

from azure.servicebus import ServiceBusReceivedMessage, ServiceBusReceiver, TransportType
from azure.servicebus._pyamqp.error import AMQPLinkError
from azure.servicebus.exceptions import (
    MessagingEntityDisabledError,
    MessagingEntityNotFoundError,
    ServiceBusAuthenticationError,
    ServiceBusAuthorizationError,
    ServiceBusError,
)

from firebreak.errors import PermanentCloudError, TransientCloudError
from providers.azure.clients import RETRIES
from providers.azure.credentials import Credential

TIMEOUT_SECONDS = 30.0
_REASON_ATTEMPTS, _REASON_SECONDS = 10, 0.2
_PERMANENT = (
    MessagingEntityDisabledError,
    MessagingEntityNotFoundError,
    ServiceBusAuthenticationError,
    ServiceBusAuthorizationError,
)


class Browser(ServiceBusReceiver):
    """A receiver that can only peek: it has no link to receive on.

    The SDK has such a client for its own use. Its parts are private, so the dependency is pinned, and
    the tests against an AMQP server say when they move.
    """

    def _create_handler(self, auth: Any) -> None:
        transport: Any = self._amqp_transport
        self._handler: Any = transport.create_mgmt_client(
            config=self._config,
            auth=auth,
            properties=self._properties,
            retry_policy=self._error_policy,
            client_name=self._name,
        )

    def _mgmt_request_response(self, *arguments: Any, **more: Any) -> Any:
        """Ask over the management link; what it was refused for is told, which the SDK keeps to itself."""
        try:
            return super()._mgmt_request_response(*arguments, **more)
        except AMQPLinkError as error:
            raise self._refusal() or error from error

    def _refusal(self) -> Exception | None:
        """Why the service detached the management link; it says so right behind the link's answer."""
        handler: Any = self._handler
        pairs = [each._mgmt_link for each in handler._mgmt_links.values()]
        links = [link for pair in pairs for link in (pair._request_link, pair._response_link)]
        for _ in range(_REASON_ATTEMPTS):
            refused = next((link._error for link in links if link._error is not None), None)
            if refused is not None:
                return cast("Exception", refused)
            handler._connection.listen(wait=_REASON_SECONDS)
        return None


@contextmanager
def browser(credential: Credential, host: str, path: str) -> Iterator[ServiceBusReceiver]:
    """Lend a browser of ``QUEUE`` or ``TOPIC/Subscriptions/NAME``, or of its ``/$DeadLetterQueue``."""
    # WebSockets pass where only HTTPS is let out, also through a proxy.
    options: dict[str, Any] = {
        "queue_name": path,
        "transport_type": TransportType.AmqpOverWebsocket,
        "connection_verify": os.environ.get("REQUESTS_CA_BUNDLE") or os.environ.get("SSL_CERT_FILE"),
        "http_proxy": _proxy(),
        "retry_total": RETRIES,
        # A look is over long before a connection falls idle; ending the thread would take up to a second.
        "keep_alive": 0,
    }
    with told(f"{host}/{path}"), Browser(host, credential, **options) as opened:
        yield opened


def peeked(opened: ServiceBusReceiver, behind: int, most: int) -> list[ServiceBusReceivedMessage]:
    """The next messages behind a sequence number; fewer than asked may come, none only at the end."""
    found: list[ServiceBusReceivedMessage] = opened.peek_messages(
        most, sequence_number=behind + 1, timeout=TIMEOUT_SECONDS
    )
    return found


@contextmanager
def told(resource: str) -> Iterator[None]:
    """Turn every error of Service Bus raised inside into a FirebreakError about ``resource``."""
    try:
        yield
    except _PERMANENT as error:
        raise PermanentCloudError(f"Service Bus refused: {error}", resource=resource) from error
    except ServiceBusError as error:
        raise TransientCloudError(f"Service Bus failed: {error}", resource=resource) from error


def _proxy() -> dict[str, Any] | None:
    """The proxy of the environment, as the SDK wants it."""
    named = os.environ.get("HTTPS_PROXY") or os.environ.get("https_proxy")
    if not named:
        return None
    parts = urlsplit(named)
    found: dict[str, Any] = {"proxy_hostname": parts.hostname, "proxy_port": parts.port or 80}
    if parts.username:
        found |= {"username": parts.username, "password": parts.password or ""}
    return found
