"""Senders of alerts for tests: each proves itself as its vendor documents it, with keys made here."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import secrets
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import quote

import jwt
import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import NameOID
from standardwebhooks import Webhook

from firebreak.web.webhook.authenticate.fetch import FetchError
from firebreak.web.webhook.authenticate.sns import string_to_sign

JWKS_URL = "https://login.example/keys"
ISSUER, AUDIENCE, CALLER = "https://login.example/", "api://firebreak", "logic-app-1"
TOPIC = "arn:aws:sns:eu-central-1:222222222222:findings"
CERTIFICATE_URL = "https://sns.eu-central-1.amazonaws.com/SimpleNotificationService-0a1b2c3d.pem"


@dataclass
class Sent:
    """A request, ready to be sent or tampered with."""

    body: bytes
    headers: dict[str, str] = field(default_factory=dict)
    query: dict[str, str] = field(default_factory=dict)


Sign = Callable[[bytes, datetime], Sent]
"""Signs a body at a time."""


def certificate(key: rsa.RSAPrivateKey, name: str = "sns.amazonaws.com") -> x509.Certificate:
    """A certificate over that key, valid now."""
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    now = datetime.now(UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=30))
        .sign(key, SHA256())
    )


class Keys:
    """Every secret of the senders, and the seam through which public keys are read."""

    def __init__(self) -> None:
        self.rsa = rsa.generate_private_key(65537, 2048)
        self.other_rsa = rsa.generate_private_key(65537, 2048)
        self.certificate = certificate(self.rsa)
        self.secrets = {name: secrets.token_hex(20) for name in ("TOKEN", "HMAC", "OLD_HMAC")}
        self.secrets["STANDARD"] = f"whsec_{base64.b64encode(secrets.token_bytes(32)).decode()}"
        self.secrets["OLD_STANDARD"] = f"whsec_{base64.b64encode(secrets.token_bytes(32)).decode()}"
        self.reads: list[str] = []

    async def read(self, url: str) -> bytes:
        """What a vendor answers with at that URL."""
        self.reads.append(url)
        if url == JWKS_URL:
            return json.dumps({"keys": [self.jwk("key-1")]}).encode()
        if url == CERTIFICATE_URL:
            return self.certificate.public_bytes(Encoding.PEM)
        raise FetchError("answered 404", resource=url)

    def jwk(self, key_id: str) -> dict[str, Any]:
        """The public key as a key set holds it."""
        made: dict[str, Any] = jwt.algorithms.RSAAlgorithm.to_jwk(self.rsa.public_key(), as_dict=True)
        return {**made, "kid": key_id, "use": "sig"}

    @property
    def pin(self) -> str:
        """SHA-256 of the client certificate."""
        return hashlib.sha256(self.certificate.public_bytes(Encoding.DER)).hexdigest()

    def standard(self, which: str = "STANDARD") -> Sign:
        """Standard Webhooks."""

        def sign(body: bytes, at: datetime) -> Sent:
            message_id = f"msg_{secrets.token_hex(8)}"
            signature = Webhook(self.secrets[which]).sign(message_id, at, body.decode("utf-8", "replace"))
            stamp = str(int(at.replace(tzinfo=UTC).timestamp()))
            return Sent(
                body,
                {"webhook-id": message_id, "webhook-timestamp": stamp, "webhook-signature": signature},
            )

        return sign

    def hmac_hex(self, which: str = "HMAC") -> Sign:
        """PagerDuty's."""
        return lambda body, _: Sent(body, {"X-PagerDuty-Signature": f"v1={self._digest(which, body).hex()}"})

    def hmac_base64(self, which: str = "HMAC") -> Sign:
        """Splunk Observability's."""
        return lambda body, _: Sent(
            body, {"X-SFX-Signature": base64.b64encode(self._digest(which, body)).decode()}
        )

    def token(self) -> Sign:
        """In a header."""
        return lambda body, _: Sent(body, {"Authorization": f"Bearer {self.secrets['TOKEN']}"})

    def url_token(self) -> Sign:
        """In the URL."""
        return lambda body, _: Sent(body, query={"token": self.secrets["TOKEN"]})

    def mtls(self) -> Sign:
        """Passed on by the ingress."""
        pem = quote(self.certificate.public_bytes(Encoding.PEM).decode())
        return lambda body, _: Sent(body, {"X-Client-Cert": pem})

    def oidc(self, **claims: Any) -> Sign:
        """A token for us, valid for five minutes from the time of signing."""
        return lambda body, at: Sent(body, {"Authorization": f"Bearer {self.bearer(at, **claims)}"})

    def bearer(self, at: datetime, *, key_id: str = "key-1", algorithm: str = "RS256", **claims: Any) -> str:
        """A token, with claims changed as given."""
        issued = int(at.timestamp())
        usual = {"iss": ISSUER, "aud": AUDIENCE, "appid": CALLER, "iat": issued, "exp": issued + 300}
        made = {name: value for name, value in (usual | claims).items() if value is not None}
        return jwt.encode(made, self.rsa, algorithm=algorithm, headers={"kid": key_id})

    def sns(self, **fields: Any) -> Sign:
        """A notification with the alert as its message."""

        def sign(body: bytes, at: datetime) -> Sent:
            message = {
                "Type": "Notification",
                "MessageId": secrets.token_hex(8),
                "TopicArn": TOPIC,
                "Message": body.decode("utf-8", "replace"),
                "Timestamp": at.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.000Z"),
                "SignatureVersion": "2",
                "SigningCertURL": CERTIFICATE_URL,
            } | fields
            signature = self.rsa.sign(string_to_sign(message), padding.PKCS1v15(), SHA256())
            message.setdefault("Signature", base64.b64encode(signature).decode())
            return Sent(json.dumps(message).encode())

        return sign

    def pubsub(self) -> Sign:
        """A Pub/Sub push with the alert as its data, and Google's token."""

        def sign(body: bytes, at: datetime) -> Sent:
            pushed = {
                "message": {"data": base64.b64encode(body).decode(), "messageId": secrets.token_hex(6)},
                "subscription": "projects/agents/subscriptions/firebreak",
            }
            who: dict[str, Any] = {
                "appid": None,
                "email": "push@agents.iam.gserviceaccount.com",
                "email_verified": True,
            }
            token = self.bearer(at, **who)
            return Sent(json.dumps(pushed).encode(), {"Authorization": f"Bearer {token}"})

        return sign

    def _digest(self, which: str, body: bytes) -> bytes:
        return hmac.digest(self.secrets[which].encode(), body, "sha256")


@contextmanager
def keys_in_environment() -> Iterator[Keys]:
    """Keys whose secrets stand where the sources file looks for them."""
    made = Keys()
    with pytest.MonkeyPatch.context() as patch:
        for name, secret in made.secrets.items():
            patch.setenv(f"WEBHOOK_TEST_{name}", secret)
        yield made


def moments(at: datetime) -> dict[str, str]:
    """A time in every way in which a payload writes one."""
    return {
        "$NOW": at.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ"),
        "$EPOCH": f"{at.timestamp():.3f}",
        "$SECONDS": str(int(at.timestamp())),
        "$MILLISECONDS": str(int(at.timestamp() * 1000)),
    }


def waiting(seconds: float) -> float:
    """A deadline on the monotonic clock."""
    return time.monotonic() + seconds
