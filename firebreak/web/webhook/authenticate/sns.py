"""Amazon SNS, signature version 2 (SNS developer guide, verifying the signatures of Amazon SNS messages)."""

from __future__ import annotations

import base64
import binascii
import re
import time
from collections.abc import Callable
from datetime import timedelta

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
from cryptography.hazmat.primitives.hashes import SHA256

from firebreak.model import JsonObject
from firebreak.web.webhook.alert import MalformedError
from firebreak.web.webhook.authenticate.fetch import Fetch, FetchError
from firebreak.web.webhook.configuration import SnsMode
from firebreak.web.webhook.fields import moment, parsed
from firebreak.web.webhook.replay import check
from firebreak.web.webhook.request import Caller, Received, UnauthenticatedError

_CERTIFICATE = re.compile(
    r"https://sns\.([a-z0-9-]{3,32})\.amazonaws\.com(?:\.cn)?/SimpleNotificationService-[0-9a-f]{1,64}\.pem"
)
_SIGNED = {
    "Notification": ("Message", "MessageId", "Subject", "Timestamp", "TopicArn", "Type"),
    "SubscriptionConfirmation": (
        "Message",
        "MessageId",
        "SubscribeURL",
        "Timestamp",
        "Token",
        "TopicArn",
        "Type",
    ),
}
_SIGNED["UnsubscribeConfirmation"] = _SIGNED["SubscriptionConfirmation"]
MAX_AGE = timedelta(hours=1)
"""A retried message keeps the time of its publication; SNS retries for an hour by default."""
COOLDOWN_SECONDS = 20.0
"""Between two certificates that are not known yet: made-up URLs must not make us hammer SNS."""
MAX_CERTIFICATES = 16


class Certificates:
    """SNS's signing certificates, each read once."""

    def __init__(self, fetch: Fetch, clock: Callable[[], float] = time.monotonic) -> None:
        self._fetch = fetch
        self._clock = clock
        self._known: dict[str, x509.Certificate] = {}
        self._tried_at = float("-inf")

    async def get(self, url: str) -> x509.Certificate:
        """The certificate at a URL whose form was checked; UnauthenticatedError where there is none."""
        if url in self._known:
            return self._known[url]
        if self._clock() - self._tried_at < COOLDOWN_SECONDS:
            raise UnauthenticatedError("another unknown certificate was asked for a moment ago")
        self._tried_at = self._clock()
        try:
            certificate = x509.load_pem_x509_certificate(await self._fetch(url))
        except (FetchError, ValueError) as error:
            raise UnauthenticatedError("the signing certificate cannot be read") from error
        if len(self._known) >= MAX_CERTIFICATES:
            self._known.pop(next(iter(self._known)))
        self._known[url] = certificate
        self._tried_at = float("-inf")
        return certificate


class SnsSignature:
    """Allows certain topics, and verifies each message against SNS's certificate."""

    secret_headers: frozenset[str] = frozenset()

    def __init__(self, mode: SnsMode, fetch: Fetch) -> None:
        self._topics = frozenset(mode.topics)
        self._certificates = Certificates(fetch)

    async def authenticate(self, request: Received) -> Caller:
        """The topic whose message this is."""
        message = _message(request.body)
        topic = str(message["TopicArn"])
        if topic not in self._topics:
            raise UnauthenticatedError("the topic is not an allowed one")
        published_at = moment(message, "Timestamp")
        if published_at is None:
            raise UnauthenticatedError("the message has no time")
        check(published_at, request.received_at, past=MAX_AGE)
        certificate = await self._certificates.get(_certificate_url(message, topic))
        if not certificate.not_valid_before_utc <= request.received_at <= certificate.not_valid_after_utc:
            raise UnauthenticatedError("the signing certificate is not valid now")
        _verify(certificate, message)
        return Caller(name=f"topic {topic}")


def string_to_sign(message: JsonObject) -> bytes:
    """Names and values, a line each, in the documented order; a Subject that is missing is left out."""
    names = [name for name in _SIGNED[message["Type"]] if isinstance(message.get(name), str)]
    return "".join(f"{name}\n{message[name]}\n" for name in names).encode("utf-8", "surrogatepass")


def _message(body: bytes) -> JsonObject:
    try:
        message = parsed(body)
    except MalformedError as error:
        raise UnauthenticatedError("the body is not a message of SNS") from error
    kind = message.get("Type")
    names = _SIGNED.get(kind) if isinstance(kind, str) else None
    if names is None or any(not isinstance(message.get(n), str) for n in names if n != "Subject"):
        raise UnauthenticatedError("the body is not a message of SNS")
    if message.get("SignatureVersion") != "2":
        raise UnauthenticatedError("the message is not signed with version 2: set it on the topic")
    return message


def _certificate_url(message: JsonObject, topic: str) -> str:
    url = message.get("SigningCertURL", message.get("SigningCertUrl"))
    matched = _CERTIFICATE.fullmatch(url) if isinstance(url, str) else None
    region = topic.split(":")[3:4]
    if matched is None or [matched[1]] != region:
        raise UnauthenticatedError("the certificate's URL is not one of SNS in the topic's region")
    return matched[0]


def _verify(certificate: x509.Certificate, message: JsonObject) -> None:
    key = certificate.public_key()
    try:
        signature = base64.b64decode(str(message.get("Signature")), validate=True)
        if not isinstance(key, RSAPublicKey):
            raise UnauthenticatedError("the signing certificate has no RSA key")
        key.verify(signature, string_to_sign(message), PKCS1v15(), SHA256())
    except (InvalidSignature, binascii.Error, ValueError) as error:
        raise UnauthenticatedError("the signature is not SNS's") from error
