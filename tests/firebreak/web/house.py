"""A web process for people: an identity provider on loopback, accounts with roles, and their browsers."""

from __future__ import annotations

import itertools
import json
import secrets
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlencode, urlsplit

import httpx
import jwt
from cryptography.hazmat.primitives.asymmetric import rsa
from fastapi import FastAPI
from starlette.responses import Response
from temporalio.client import Client

from firebreak import runs, start
from firebreak.inventoryfile import InventoryFile
from firebreak.measure import now
from firebreak.model import Consent, Mode
from firebreak.policy.rules import Person
from firebreak.record import RunStatus, Trigger
from firebreak.settings import ConsoleSettings, Settings, WebSettings
from firebreak.start import Started
from firebreak.web.app import create_app
from firebreak.web.services import Services
from tests.firebreak.web.hooks import agent
from tests.workflows.script import Act, Script, standard
from tests.workflows.scripted import Recording
from tests.workflows.stage import Stage, until

HOUSES = itertools.count()
CLIENT_ID, AUDIENCE = "firebreak-console", "api://firebreak"
ROLES = {
    "fb-view": ("viewer",),
    "fb-respond": ("responder",),
    "fb-approve": ("approver",),
    "fb-command": ("commander",),
}


@dataclass
class Provider:
    """An OpenID Connect provider with accounts that need no password."""

    key: rsa.RSAPrivateKey = field(default_factory=lambda: rsa.generate_private_key(65537, 2048))
    url: str = ""
    accounts: dict[str, tuple[str, ...]] = field(default_factory=dict)
    """Address to groups."""
    codes: dict[str, dict[str, str]] = field(default_factory=dict)

    def token(self, name: str, *, audience: str = AUDIENCE, **claims: Any) -> str:
        """A signed token of an account."""
        moment = int(time.time())
        usual = {
            "iss": self.url,
            "aud": audience,
            "sub": f"sub-{name}",
            "email": name,
            "email_verified": True,
            "roles": list(self.accounts.get(name, ())),
            "iat": moment,
            "exp": moment + 300,
        }
        return jwt.encode(usual | claims, self.key, "RS256", headers={"kid": "k1"})

    def answer(self, path: str, form: dict[str, str]) -> dict[str, Any]:
        """What the provider answers to a program."""
        if path == "/.well-known/openid-configuration":
            places = {"authorization_endpoint": "/authorize", "token_endpoint": "/token", "jwks_uri": "/keys"}
            return {"issuer": self.url, **{name: self.url + place for name, place in places.items()}}
        if path == "/keys":
            public = json.loads(jwt.algorithms.RSAAlgorithm.to_jwk(self.key.public_key()))
            return {"keys": [{**public, "kid": "k1", "use": "sig", "alg": "RS256"}]}
        code = self.codes.pop(form.get("code", ""), None)
        if code is None:
            return {"error": "invalid_grant"}
        identity = self.token(code["name"], audience=CLIENT_ID, nonce=code["nonce"])
        return {"access_token": secrets.token_hex(8), "token_type": "Bearer", "id_token": identity}

    def consent(self, authorize: str, name: str) -> str:
        """What a browser is sent back to after a person logged in at the provider."""
        asked = {key: values[0] for key, values in parse_qs(urlsplit(authorize).query).items()}
        assert asked["code_challenge_method"] == "S256"
        code = secrets.token_hex(8)
        self.codes[code] = {"name": name, "nonce": asked["nonce"]}
        return f"{asked['redirect_uri']}?{urlencode({'code': code, 'state': asked['state']})}"


@contextmanager
def provider() -> Iterator[Provider]:
    """A provider on loopback for the length of a block."""
    made = Provider()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self._answer({})

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"])).decode()
            self._answer({key: values[0] for key, values in parse_qs(body).items()})

        def _answer(self, form: dict[str, str]) -> None:
            answer = made.answer(self.path, form)
            self.send_response(400 if "error" in answer else 200)
            self.send_header("Content-Type", "application/json")
            self.end_headers()
            self.wfile.write(json.dumps(answer).encode())

        def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the signature of http.server
            """Stay silent."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    made.url = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield made
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


@dataclass
class House:
    """The application, its provider, and what is behind both."""

    app: FastAPI
    stage: Stage
    services: Services
    provider: Provider
    free: list[str]

    def browser(self, person: Person | None = None) -> httpx.AsyncClient:
        """A browser; with a person, one that has logged in already, and sends the token of its forms."""
        client = httpx.AsyncClient(
            transport=httpx.ASGITransport(self.app), base_url="http://firebreak.test", timeout=60
        )
        if person is not None:
            sessions, answer = self.app.state.guard.sessions, Response()
            sessions.begin(answer, person)
            cookie = answer.headers["set-cookie"].split(";")[0].partition("=")[2]
            client.cookies.set(sessions.cookie, cookie, domain="firebreak.test", path="/")
            client.headers["x-csrf-token"] = sessions.read(cookie).csrf
        return client

    def program(self, name: str, **claims: Any) -> httpx.AsyncClient:
        """A program with a bearer token of that account."""
        client = self.browser()
        client.headers["authorization"] = f"Bearer {self.provider.token(name, **claims)}"
        return client

    def workload(self) -> str:
        """A workload that no other test has touched."""
        return self.free.pop()

    async def containment(
        self, *acts: Act, by: str = "riley@example.org", consent: Consent | None = None
    ) -> tuple[str, Recording]:
        """Start a containment that plays so; its incident id, and what is seen of it."""
        incident = f"INC-{secrets.token_hex(6)}"
        script = Script(standard(*acts), consent=consent or Consent())
        recording = self.stage.acting.expect(incident, script)
        workload = self.services.inventory.current().workload(self.workload())
        trigger = Trigger(source="siem", reason="x", requested_by=by, received_at=now())
        await start.contain(
            self.stage.client,
            self.services.settings,
            workload,
            trigger,
            incident_id=incident,
            mode=Mode.LIVE,
        )
        await until(lambda: self.known(incident), bool)
        return incident, recording

    async def known(self, incident: str) -> bool:
        """Whether visibility knows the run; it lags behind by a moment."""
        query = f"WorkflowType = 'containment' AND FirebreakIncident = '{incident}'"
        return [each async for each in self.stage.client.list_workflows(query)] != []

    async def status(self, incident: str) -> RunStatus:
        """The document of a containment."""
        return await runs.status(await runs.containment(self.stage.client, incident))

    async def asked(self, incident: str) -> RunStatus:
        """The document once the run waits for people."""
        return await until(lambda: self.status(incident), lambda document: document.awaiting is not None)

    async def ended(self, incident: str) -> RunStatus:
        """The document after the end."""
        return await until(lambda: self.status(incident), lambda document: document.finished)


def house_on(
    client: Client,
    stage: Stage,
    folder: Path,
    made: Provider,
    sections: dict[str, Any] | None = None,
    **console: Any,
) -> House:
    """A house whose front door is the provider's; ``sections`` are further settings."""
    inventory = folder / "workloads.yaml"
    first = 1000 + 100 * next(HOUSES)  # houses on one server share no workload, and so no run
    workloads = [agent(number) for number in range(first, first + 100)]
    inventory.write_text(json.dumps({"version": 1, "workloads": workloads}), encoding="utf-8")
    oidc = {"issuer": made.url, "client_id": CLIENT_ID, "api_audience": AUDIENCE, "role_map": ROLES}
    settings = Settings(
        inventory=inventory,
        task_queue=stage.settings.task_queue,
        web=WebSettings(embedded="one_time_logins" in console),
        console=ConsoleSettings.model_validate({"oidc": oidc, **console}),
        **(sections or {}),
    )
    services = Services(settings, client, InventoryFile(settings))
    names = [str(each["id"]) for each in workloads]
    return House(create_app(services), stage, services, made, names)


def person(name: str, *roles: str, **fields: bool) -> Person:
    """Somebody with these roles."""
    return Person(subject=f"sub-{name}", name=f"{name}@example.org", roles=frozenset(roles), **fields)


def started(answer: httpx.Response) -> Started:
    """The run that an answer tells of."""
    assert answer.status_code == 202, answer.text
    return Started.model_validate_json(answer.content)
