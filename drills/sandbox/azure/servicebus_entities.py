"""Find a namespace's entities, and say who may do what with them.

Azure docs: "Suspend and reactivate messaging entities (disable)", "Authenticate and authorize an
application with Microsoft Entra ID to access Azure Service Bus entities". A link is judged when it attaches
and keeps its right until the token ends, as in the service.
"""

from __future__ import annotations

from typing import Any, Final
from urllib.parse import urlsplit

from drills.sandbox.azure import clock, hosts, rbac, tokens
from drills.sandbox.azure.call import Principal
from drills.sandbox.azure.errors import ArmError
from drills.sandbox.azure.servicebus_messages import DEAD_LETTERS, Queue, messages
from drills.sandbox.azure.store import Item, store

SEND: Final = "Microsoft.ServiceBus/namespaces/messages/send/action"
RECEIVE: Final = "Microsoft.ServiceBus/namespaces/messages/receive/action"
"""Data actions; browsing needs the right to receive ("Message browsing")."""
_NAMESPACE: Final = "Microsoft.ServiceBus/namespaces"
_DISABLED: Final = b"com.microsoft:entity-disabled"
_UNAUTHORIZED: Final = b"amqp:unauthorized-access"
_NOT_FOUND: Final = b"amqp:not-found"


class RefusedError(Exception):
    """The service says no, under an AMQP condition and a status for answers of the management link."""

    def __init__(self, condition: bytes, message: str, status: int = 401) -> None:
        super().__init__(message)
        self.condition = condition
        self.status = status


class Namespace:
    """A namespace as one connection sees it: the token that it was given last decides."""

    def __init__(self, item: Item) -> None:
        self.item = item
        self._claims: dict[str, Any] = {}

    def put_token(self, token: str, kind: str) -> None:
        """Take a token of Entra; raises RefusedError for any other."""
        if kind != "jwt":
            raise RefusedError(_UNAUTHORIZED, f"InvalidTokenType: {kind}")
        try:
            claims = tokens.claims_of(token)
        except ArmError as error:
            raise RefusedError(_UNAUTHORIZED, f"InvalidSignature: {error.message}") from error
        if str(claims["aud"]).rstrip("/") not in hosts.audiences("servicebus"):
            raise RefusedError(_UNAUTHORIZED, f"InvalidAudience: {claims['aud']}")
        self._claims = claims
        self.bearer()

    def bearer(self) -> Principal:
        """Who the connection is; raises RefusedError without a token in force."""
        if not self._claims or self._claims["exp"] <= clock.seconds():
            raise RefusedError(_UNAUTHORIZED, "ExpiredToken: the token is expired or was never put")
        return Principal(
            self._claims["oid"], self._claims["tid"], self._claims["appid"], "", claims=self._claims
        )

    def entity(self, address: str) -> Entity:
        """The entity of a link's address; raises RefusedError when there is none."""
        plain, dead = urlsplit(address).path.strip("/"), ""
        if plain.lower().endswith(DEAD_LETTERS):
            plain, dead = plain[: -len(DEAD_LETTERS)], DEAD_LETTERS
        topic, _, subscription = plain.partition("/")
        if subscription:
            place = f"topics/{topic}/subscriptions/{subscription.rpartition('/')[2]}"
            item = store.get(f"{self.item.id}/{place}")
        else:
            item = store.get(f"{self.item.id}/queues/{plain}") or store.get(f"{self.item.id}/topics/{plain}")
        if item is None:
            message = f"The messaging entity '{address}' could not be found."
            raise RefusedError(_NOT_FOUND, message, status=404)
        return Entity(self, item, dead)


class Entity:
    """A queue, topic or subscription (or its dead letters) as one connection sees it."""

    def __init__(self, namespace: Namespace, item: Item, dead: str) -> None:
        self._namespace = namespace
        self._item = item
        self._id = item.id + dead

    @property
    def messages(self) -> Queue:
        """The messages that wait here."""
        return messages.of(self._id)

    def admit_sender(self) -> None:
        """Raise RefusedError unless the connection may send here."""
        self._require(SEND, "SendDisabled")

    def admit_receiver(self) -> None:
        """Raise RefusedError unless the connection may receive here."""
        self._require(RECEIVE, "ReceiveDisabled")

    def admit_to_manage(self) -> None:
        """Raise RefusedError unless the connection may browse here."""
        self._require(RECEIVE, "ReceiveDisabled")

    def put(self, payload: bytes, annotations: dict[str | bytes, Any]) -> None:
        """Take a message in; a topic hands it to each of its subscriptions."""
        if self._item.type.lower().endswith("/topics"):
            for each in store.list(self._item.id, "Microsoft.ServiceBus/namespaces/topics/subscriptions"):
                messages.of(each.id).add(payload, annotations)
        else:
            self.messages.add(payload, annotations)

    def _require(self, action: str, disabled: str) -> None:
        bearer = self._namespace.bearer()
        current = store.get(self._item.id)
        if current is None:
            raise RefusedError(_NOT_FOUND, "The messaging entity was deleted.", status=404)
        status = str(current.properties.get("status", "Active"))
        if status in {"Disabled", disabled}:
            message = f"Messaging entity '{current.name}' is currently disabled ({status})."
            raise RefusedError(_DISABLED, message, status=403)
        if not rbac.allowed(bearer.object_id, action, current.id, data=True):
            claim = "Send" if action == SEND else "Listen"
            raise RefusedError(_UNAUTHORIZED, f"Unauthorized access. '{claim}' claim(s) are required.")


def find_namespace(hostname: str) -> Namespace | None:
    """The namespace of a host name, or None."""
    name = hostname.partition(":")[0].partition(".")[0].lower()
    found = (each for each in store.list(resource_type=_NAMESPACE) if each.name.lower() == name)
    item = next(found, None)
    return Namespace(item) if item else None


def counts(entity_id: str) -> dict[str, int]:
    """The ``countDetails`` of an entity's ARM document."""
    waiting = messages.of(entity_id)
    dead = waiting.dead_letters.count() if waiting.dead_letters else 0
    details = dict.fromkeys(
        ("scheduledMessageCount", "transferMessageCount", "transferDeadLetterMessageCount"), 0
    )
    return {**details, "activeMessageCount": waiting.count(), "deadLetterMessageCount": dead}
