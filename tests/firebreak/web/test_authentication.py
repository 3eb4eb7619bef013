"""Every way of proving a sender: what passes, what does not, and that nobody learns why."""

from __future__ import annotations

import base64
import hashlib
import json
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Any
from urllib.parse import quote

import jwt
import pytest
from cryptography.hazmat.primitives.serialization import Encoding
from hypothesis import HealthCheck, given
from hypothesis import settings as examples
from hypothesis import strategies as st
from pydantic import TypeAdapter

from firebreak.settings import WebSettings
from firebreak.web.webhook.authenticate import authenticator
from firebreak.web.webhook.authenticate.fetch import MAX_BYTES, FetchError, fetch
from firebreak.web.webhook.authenticate.oidc import KeySet
from firebreak.web.webhook.authenticate.sns import Certificates
from firebreak.web.webhook.configuration import Authentication
from firebreak.web.webhook.request import Authenticator, Caller, Received, UnauthenticatedError
from tests.firebreak.web.hooks import PEER, Hooks, ids_of, payload, sent
from tests.firebreak.web.senders import (
    AUDIENCE,
    CALLER,
    CERTIFICATE_URL,
    ISSUER,
    JWKS_URL,
    TOPIC,
    Keys,
    Sent,
    Sign,
    certificate,
)

pytestmark = pytest.mark.asyncio(loop_scope="session")

BODY = b'{"finding": 1}'
OIDC: dict[str, Any] = {
    "mode": "oidc",
    "issuer": ISSUER,
    "audiences": [AUDIENCE],
    "jwks_url": JWKS_URL,
    "caller_claim": "appid",
    "callers": [CALLER],
}
SNS: dict[str, Any] = {"mode": "sns", "topics": [TOPIC]}


def now() -> datetime:
    return datetime.now(UTC)


def secret_refs(*names: str) -> list[dict[str, str]]:
    return [{"id": name.lower().replace("_", "-"), "env": f"WEBHOOK_TEST_{name}"} for name in names]


def mode_of(**fields: Any) -> Authentication:
    parsed: Authentication = TypeAdapter(Authentication).validate_python(fields)
    return parsed


def made(keys: Keys, **fields: Any) -> Authenticator:
    return authenticator(mode_of(**fields), WebSettings(trusted_proxies=(f"{PEER}/32",)), keys.read)


def received(request: Sent, *, peer: str = PEER, der: bytes | None = None) -> Received:
    headers = tuple((name.lower(), value) for name, value in request.headers.items())
    return Received(request.body, headers, request.query, peer, der, now())


async def caller(keys: Keys, sign: Sign, at: datetime | None = None, **mode: Any) -> Caller:
    return await made(keys, **mode).authenticate(received(sign(BODY, at or now())))


async def refused(keys: Keys, request: Sent | Sign, at: datetime | None = None, **mode: Any) -> str:
    asked = request if isinstance(request, Sent) else request(BODY, at or now())
    with pytest.raises(UnauthenticatedError) as raised:
        await made(keys, **mode).authenticate(received(asked))
    return str(raised.value)


STANDARD: dict[str, Any] = {"mode": "standard_webhooks", "secrets": secret_refs("STANDARD", "OLD_STANDARD")}
PAGERDUTY: dict[str, Any] = {"mode": "hmac", "secrets": secret_refs("HMAC", "OLD_HMAC")}


async def test_standard_webhooks_names_the_key_and_takes_the_old_one_too(keys: Keys) -> None:
    assert await caller(keys, keys.standard(), **STANDARD) == Caller("key standard")
    assert await caller(keys, keys.standard("OLD_STANDARD"), **STANDARD) == Caller("key old-standard")


@pytest.mark.parametrize("minutes", [-6, 6])
async def test_standard_webhooks_bounds_the_signed_time_both_ways(keys: Keys, minutes: int) -> None:
    at = now() + timedelta(minutes=minutes)
    assert "outside the time" in await refused(keys, keys.standard(), at, **STANDARD)


@pytest.mark.parametrize(
    ("header", "value"),
    [
        ("webhook-signature", "v1"),
        ("webhook-signature", "v1,%%%"),
        ("webhook-signature", "v1,é"),
        ("webhook-signature", ",".join(["v1"] * 999)),
        ("webhook-timestamp", "soon"),
        ("webhook-timestamp", "9" * 400),
        ("webhook-timestamp", "-5"),
        ("webhook-timestamp", "nan"),
        ("webhook-timestamp", "٣٣٣"),
        ("webhook-id", ""),
    ],
)
async def test_standard_webhooks_refuses_hostile_headers(keys: Keys, header: str, value: str) -> None:
    request = keys.standard()(BODY, now())
    request.headers[header] = value
    await refused(keys, request, **STANDARD)


async def test_standard_webhooks_refuses_bytes_that_are_no_text(keys: Keys) -> None:
    request = keys.standard()(BODY, now())
    request.body = b"\xff\xfe\x00"
    await refused(keys, request, **STANDARD)


async def test_pagerduty_takes_one_good_signature_of_several(keys: Keys) -> None:
    request = keys.hmac_hex()(BODY, now())
    request.headers["X-PagerDuty-Signature"] = f"v1={'0' * 64},{request.headers['X-PagerDuty-Signature']}"
    proved = await made(keys, **PAGERDUTY).authenticate(received(request))
    assert proved == Caller("key hmac", replayable=True)
    assert (await caller(keys, keys.hmac_hex("OLD_HMAC"), **PAGERDUTY)).name == "key old-hmac"


@pytest.mark.parametrize("value", ["", "v1=", "v1=zz", "v2=00", "v1=é", "=" * 500, "v1=," * 500])
async def test_pagerduty_refuses_other_signatures(keys: Keys, value: str) -> None:
    await refused(keys, Sent(BODY, {"X-PagerDuty-Signature": value}), **PAGERDUTY)


async def test_a_signed_time_makes_an_hmac_unreplayable(keys: Keys) -> None:
    mode: dict[str, Any] = PAGERDUTY | {"timestamp_header": "X-Time", "prefix": "", "header": "X-Sig"}

    def sign(body: bytes, at: datetime) -> Sent:
        stamp = str(int(at.timestamp()))
        signature = keys._digest("HMAC", f"{stamp}.".encode() + body).hex()
        return Sent(body, {"X-Sig": signature, "X-Time": stamp})

    assert await caller(keys, sign, **mode) == Caller("key hmac")
    assert "outside the time" in await refused(keys, sign, now() - timedelta(minutes=6), **mode)


async def test_a_header_given_twice_is_refused(keys: Keys) -> None:
    request = received(keys.hmac_hex()(BODY, now()))
    twice = Received(BODY, request.headers * 2, {}, PEER, None, now())
    with pytest.raises(UnauthenticatedError, match="2 times"):
        await made(keys, **PAGERDUTY).authenticate(twice)


async def test_a_static_token_is_always_weak(keys: Keys) -> None:
    mode: dict[str, Any] = {"mode": "static_token", "secrets": secret_refs("TOKEN")}
    assert (await caller(keys, keys.token(), **mode)).weak
    assert (await caller(keys, keys.url_token(), **(mode | {"query": "token"}))).weak
    for wrong in ("", "x", keys.secrets["TOKEN"][:-1], keys.secrets["TOKEN"] + "x", "é"):
        await refused(keys, Sent(BODY, {"Authorization": f"Bearer {wrong}"}), **mode)


async def test_oidc_names_the_caller(keys: Keys) -> None:
    assert await caller(keys, keys.oidc(), **OIDC) == Caller(f"appid {CALLER}")


@pytest.mark.parametrize(
    "claims",
    [
        {"iss": "https://login.evil/"},
        {"iss": None},
        {"aud": "api://other"},
        {"aud": None},
        {"appid": "logic-app-2"},
        {"appid": None},
        {"appid": ["logic-app-1"]},
        {"exp": None},
        {"exp": 1},
        {"exp": "soon"},
        {"nbf": int(time.time()) + 3600},
        {"key_id": "key-2"},
        {"key_id": ""},
    ],
)
async def test_oidc_refuses_a_token_that_is_not_for_us(keys: Keys, claims: dict[str, Any]) -> None:
    await refused(keys, keys.oidc(**claims), **OIDC)


async def test_oidc_refuses_other_keys_and_algorithms(keys: Keys) -> None:
    claims = {"iss": ISSUER, "aud": AUDIENCE, "appid": CALLER, "exp": int(time.time()) + 60}
    forged = (
        jwt.encode(claims, keys.other_rsa, algorithm="RS256", headers={"kid": "key-1"}),
        jwt.encode(claims, keys.rsa, algorithm="RS512", headers={"kid": "key-1"}),
        jwt.encode(claims, "k" * 64, algorithm="HS256", headers={"kid": "key-1"}),
        jwt.encode(claims, "", algorithm="none", headers={"kid": "key-1"}),
        "a.b.c",
        "",
        "." * 5000,
    )
    for token in forged:
        await refused(keys, Sent(BODY, {"Authorization": f"Bearer {token}"}), **OIDC)


async def test_oidc_wants_a_verified_address(keys: Keys) -> None:
    mode: dict[str, Any] = OIDC | {
        "caller_claim": "email",
        "callers": ["push@agents.iam.gserviceaccount.com"],
    }
    who: dict[str, Any] = {"email": "push@agents.iam.gserviceaccount.com", "appid": None}
    assert "not verified" in await refused(keys, keys.oidc(**who), **mode)
    assert "not verified" in await refused(keys, keys.oidc(**who, email_verified="true"), **mode)
    assert (await caller(keys, keys.oidc(**who, email_verified=True), **mode)).name.startswith("email push@")


async def test_unknown_key_ids_do_not_hammer_the_issuer(keys: Keys) -> None:
    clock = [1000.0]
    key_set, before = KeySet(JWKS_URL, keys.read, lambda: clock[0]), len(keys.reads)
    await key_set.key("key-1")
    for number in range(50):
        with pytest.raises(UnauthenticatedError):
            await key_set.key(f"made-up-{number}")
    assert len(keys.reads) - before == 1
    clock[0] += 61
    with pytest.raises(UnauthenticatedError):
        await key_set.key("made-up")
    assert len(keys.reads) - before == 2


async def test_keys_at_hand_serve_while_the_issuer_is_away(keys: Keys) -> None:
    clock, answers = [1000.0], [json.dumps({"keys": [keys.jwk("key-1")]}).encode()]

    async def read(url: str) -> bytes:
        if answers:
            return answers.pop()
        raise FetchError("answered 503", resource=url)

    key_set = KeySet(JWKS_URL, read, lambda: clock[0])
    assert (await key_set.key("key-1")).key_id == "key-1"
    clock[0] += 7200
    assert (await key_set.key("key-1")).key_id == "key-1"
    with pytest.raises(UnauthenticatedError, match="cannot be read"):
        await KeySet(JWKS_URL, read).key("key-1")


@pytest.mark.parametrize(
    "answer", [b"", b"[]", b'{"keys": 7}', b'{"keys": ["x"]}', b'{"keys": [{"kid": "a"}]}']
)
async def test_a_key_set_that_is_none_is_refused(answer: bytes) -> None:
    async def read(_: str) -> bytes:
        return answer

    with pytest.raises(UnauthenticatedError):
        await KeySet(JWKS_URL, read).key("a")


async def test_sns_names_the_topic(keys: Keys) -> None:
    assert await caller(keys, keys.sns(), **SNS) == Caller(f"topic {TOPIC}")
    assert await caller(keys, keys.sns(Subject="an alert"), **SNS) == Caller(f"topic {TOPIC}")


@pytest.mark.parametrize(
    "fields",
    [
        {"TopicArn": TOPIC.replace("findings", "other")},
        {"SignatureVersion": "1"},
        {"Signature": "AAAA"},
        {"Signature": "é"},
        {"Type": "Other"},
        {"Timestamp": "yesterday"},
        {
            "SigningCertURL": "https://sns.eu-central-1.amazonaws.com.evil.example/SimpleNotificationService-0a.pem"
        },
        {"SigningCertURL": "https://evil.example/SimpleNotificationService-0a.pem"},
        {"SigningCertURL": "http://sns.eu-central-1.amazonaws.com/SimpleNotificationService-0a.pem"},
        {
            "SigningCertURL": "https://sns.eu-central-1.amazonaws.com@evil.example/SimpleNotificationService-0a.pem"
        },
        {"SigningCertURL": "https://sns.us-east-1.amazonaws.com/SimpleNotificationService-0a1b2c3d.pem"},
        {"SigningCertURL": "https://sns.eu-central-1.amazonaws.com/x/../SimpleNotificationService-0a.pem"},
        {"SigningCertURL": CERTIFICATE_URL + "?x=1"},
        {"SigningCertURL": CERTIFICATE_URL + "\n"},
        {"SigningCertURL": 7},
    ],
)
async def test_sns_refuses_what_is_not_its_own(keys: Keys, fields: dict[str, Any]) -> None:
    before = len(keys.reads)

    def sign(body: bytes, at: datetime) -> Sent:
        message = json.loads(keys.sns()(body, at).body) | fields
        return Sent(json.dumps(message).encode())

    await refused(keys, sign, **SNS)
    assert all(url == CERTIFICATE_URL for url in keys.reads[before:])


async def test_sns_refuses_a_message_that_was_changed(keys: Keys) -> None:
    for name in ("Message", "MessageId", "Timestamp"):
        message = json.loads(keys.sns()(BODY, now()).body)
        message[name] = now().isoformat() if name == "Timestamp" else "changed"
        assert "not SNS's" in await refused(keys, Sent(json.dumps(message).encode()), **SNS)


async def test_sns_refuses_an_old_message(keys: Keys) -> None:
    assert "outside" in await refused(keys, keys.sns(), now() - timedelta(hours=2), **SNS)


async def test_an_sns_certificate_is_read_once_and_made_up_ones_rarely(keys: Keys) -> None:
    clock = [1000.0]
    certificates, before = Certificates(keys.read, lambda: clock[0]), len(keys.reads)
    for _ in range(5):
        await certificates.get(CERTIFICATE_URL)
    assert len(keys.reads) - before == 1
    for number in range(50):
        with pytest.raises(UnauthenticatedError):
            await certificates.get(CERTIFICATE_URL.replace("0a1b2c3d", f"{number:08x}"))
    assert len(keys.reads) - before == 2
    await certificates.get(CERTIFICATE_URL)


async def test_a_pinned_certificate_counts_only_from_the_ingress(keys: Keys) -> None:
    mode: dict[str, Any] = {"mode": "mtls", "certificates": [keys.pin], "header": "X-Client-Cert"}
    asked = keys.mtls()(BODY, now())
    assert (await made(keys, **mode).authenticate(received(asked))).name == f"certificate {keys.pin[:16]}"
    for peer in ("10.9.8.8", "", "unix"):
        with pytest.raises(UnauthenticatedError, match="no trusted ingress"):
            await made(keys, **mode).authenticate(received(asked, peer=peer))
    other = quote(certificate(keys.other_rsa).public_bytes(Encoding.PEM).decode())
    for header in (other, "", "-----BEGIN CERTIFICATE-----", "%ff"):
        await refused(keys, Sent(BODY, {"X-Client-Cert": header}), **mode)


async def test_a_pinned_certificate_of_our_own_handshake(keys: Keys) -> None:
    mode: dict[str, Any] = {"mode": "mtls", "certificates": [keys.pin]}
    der = keys.certificate.public_bytes(Encoding.DER)
    proved = await made(keys, **mode).authenticate(received(Sent(BODY), der=der, peer="203.0.113.9"))
    assert not proved.weak
    await refused(keys, keys.mtls(), **mode)  # a header says nothing where no ingress is declared


@examples(max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    body=st.binary(max_size=200) | st.just(b'{"Type": "Notification", "SignatureVersion": "2"}'),
    value=st.text(st.characters(max_codepoint=255), max_size=120),
)
@pytest.mark.parametrize(
    ("mode", "names"),
    [
        (STANDARD, ("webhook-id", "webhook-timestamp", "webhook-signature")),
        (PAGERDUTY, ("X-PagerDuty-Signature",)),
        (OIDC, ("Authorization",)),
        (SNS, ("x",)),
        ({"mode": "static_token", "secrets": secret_refs("TOKEN")}, ("Authorization",)),
        ({"mode": "mtls", "certificates": ["0" * 64], "header": "X-Client-Cert"}, ("X-Client-Cert",)),
    ],
    ids=lambda value: value["mode"] if isinstance(value, dict) else "",
)
async def test_nothing_hostile_gets_anything_but_a_refusal(
    keys: Keys, mode: dict[str, Any], names: tuple[str, ...], body: bytes, value: str
) -> None:
    for each in (value, f"Bearer {value}", f"v1,{value}", f"v1={value}"):
        request = Sent(body, dict.fromkeys(names, each))
        if "webhook-timestamp" in names:
            request.headers["webhook-timestamp"] = str(int(time.time()))
        await refused(keys, request, **mode)


async def test_every_failure_looks_the_same_from_outside(hooks: Hooks) -> None:
    workload = hooks.workload()
    body, keys = payload("ocsf", ids_of(workload)), hooks.keys
    old = sent(keys.standard(), body, now() - timedelta(hours=1))
    wrong = sent(keys.standard(), body)
    wrong.body += b" "
    answers = [
        await hooks.post("ocsf", old),
        await hooks.post("ocsf", wrong),
        await hooks.post("ocsf", Sent(wrong.body)),
        await hooks.post("no-such-source", wrong),
        await hooks.post("pagerduty", wrong),
        await hooks.post("sentinel", Sent(b"", {"Authorization": "Bearer x"})),
    ]
    seen = {(a.status_code, a.text, str(sorted(a.headers.items()))) for a in answers}
    assert len(seen) == 1
    assert answers[0].status_code == 401
    assert await hooks.runs(workload) == 0


class _Vendor(BaseHTTPRequestHandler):
    """A key server that also misbehaves."""

    def do_GET(self) -> None:
        if self.path == "/moved":
            self.send_response(302)
            self.send_header("Location", "/good")
            self.end_headers()
            return
        self.send_response(500 if self.path == "/broken" else 200)
        self.end_headers()
        self.wfile.write(b"k" * (MAX_BYTES + 1) if self.path == "/large" else b"key")

    def log_message(self, *_: object) -> None:
        return


@pytest.fixture(scope="module")
def vendor() -> Iterator[str]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Vendor)
    thread = Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    thread.join()
    server.server_close()


async def test_keys_are_read_without_redirects_and_within_bounds(vendor: str) -> None:
    assert await fetch(f"{vendor}/good") == b"key"
    for path in ("moved", "broken", "large"):
        with pytest.raises(FetchError):
            await fetch(f"{vendor}/{path}")
    with pytest.raises(FetchError):
        await fetch("http://127.0.0.1:1/nobody")


async def test_a_signature_made_by_hand_from_the_specification_is_accepted(keys: Keys) -> None:
    key = base64.b64decode(keys.secrets["STANDARD"].removeprefix("whsec_")).ljust(64, b"\0")
    stamp = str(int(time.time()))
    inner = bytes(b ^ 0x36 for b in key) + f"msg_1.{stamp}.".encode() + BODY
    digest = hashlib.sha256(bytes(b ^ 0x5C for b in key) + hashlib.sha256(inner).digest()).digest()
    headers = {
        "webhook-id": "msg_1",
        "webhook-timestamp": stamp,
        "webhook-signature": f"v1,{base64.b64encode(digest).decode()}",
    }
    proved = await made(keys, **STANDARD).authenticate(received(Sent(BODY, headers)))
    assert proved.name == "key standard"
