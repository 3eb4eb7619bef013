"""The places where alerts are commented: one HTTP server, as strict as each vendor's reference."""

from __future__ import annotations

import json
import re
import threading
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import lru_cache
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

import jwt
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from firebreak.settings import CommentSettings

SECRET = "a-secret-that-nobody-may-see"
ISSUED = "an-issued-token-that-nobody-may-see"
WORKSPACE = (
    "/subscriptions/5b5b5b5b-0000-4000-8000-00000000000b/resourceGroups/soc"
    "/providers/Microsoft.OperationalInsights/workspaces/soc-workspace"
)
INCIDENTS = f"{WORKSPACE}/providers/Microsoft.SecurityInsights/Incidents"
ROBOT = "robot@agents.iam.gserviceaccount.com"


@lru_cache(maxsize=1)
def robot_key() -> rsa.RSAPrivateKey:
    """The service account's key."""
    return rsa.generate_private_key(public_exponent=65537, key_size=2048)


def key_file() -> str:
    """The key file of the service account; its token address is another's, and counts for nothing."""
    pem = robot_key().private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()
    return json.dumps(
        {
            "client_email": ROBOT,
            "private_key_id": "k1",
            "private_key": pem,
            "token_uri": "https://elsewhere.invalid/token",
        }
    )


@dataclass
class Call:
    """One request as it came."""

    method: str
    path: str
    query: dict[str, list[str]]
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def form(self) -> dict[str, str]:
        return {name: values[0] for name, values in parse_qs(self.body.decode()).items()}


class Refused(Exception):  # noqa: N818 - an answer, not an error
    """An answer other than success."""

    def __init__(self, status: int, why: str) -> None:
        super().__init__(why)
        self.status = status


@dataclass
class Vendors:
    """What was written where, and how the next requests are answered."""

    url: str = ""
    known: set[str] = field(default_factory=set)
    """Ids that exist; every other one is 404, or what the vendor says then."""
    comments: dict[str, list[str]] = field(default_factory=dict)
    calls: list[Call] = field(default_factory=list)
    refusals: list[str] = field(default_factory=list)
    status: int = 0
    """When set, the answer to everything."""
    location: str = ""
    away: str = ""
    """When set, what begins with it answers 503."""

    def settings(self, *places: str, **more: Any) -> CommentSettings:
        """Settings that lead here."""
        sections: dict[str, dict[str, Any]] = {
            "pagerduty": {
                "url": f"{self.url}/pagerduty",
                "token": SECRET,
                "from_email": "firebreak@example.org",
            },
            "splunk": {"url": f"{self.url}/splunk", "token": SECRET},
            "elastic": {"url": f"{self.url}/elastic", "api_key": SECRET},
            "sentinel": {
                "url": f"{self.url}/arm",
                "authority": f"{self.url}/entra",
                "workspace": WORKSPACE,
                "tenant_id": "tenant",
                "client_id": "client",
                "client_secret": SECRET,
            },
            "wiz": {
                "url": f"{self.url}/wiz/graphql",
                "token_url": f"{self.url}/wiz/oauth/token",
                "client_id": "client",
                "client_secret": SECRET,
            },
            "scc": {
                "url": f"{self.url}/scc",
                "token_url": f"{self.url}/google/token",
                "parent": "organizations/1",
                "service_account": key_file(),
            },
        }
        chosen = {name: sections[name] for name in places or sections}
        return CommentSettings.model_validate({**chosen, "timeout_seconds": 5, **more})

    def answer(self, call: Call) -> Any:
        """The document for a request; raises Refused."""
        if self.status:
            raise Refused(self.status, "as told")
        if self.away and call.path.startswith(self.away):
            raise Refused(503, "away")
        for method, path, handle in self._routes():
            found = re.fullmatch(path, call.path)
            if found and method == call.method:
                return handle(call, *found.groups())
        raise Refused(404, f"no such place: {call.method} {call.path}")

    def _routes(self) -> list[tuple[str, str, Callable[..., Any]]]:
        return [
            ("POST", "/pagerduty/incidents/([^/]+)/notes", self._pagerduty),
            ("POST", "/splunk/services/notable_update", self._splunk),
            ("PATCH", "/elastic/api/note", self._elastic),
            ("POST", "/entra/tenant/oauth2/v2.0/token", self._entra),
            ("PUT", f"/arm({re.escape(INCIDENTS)}/[^/]+)/comments/([^/]+)", self._sentinel),
            ("POST", "/wiz/oauth/token", self._wiz_token),
            ("POST", "/wiz/graphql", self._wiz),
            ("POST", "/google/token", self._google),
            ("PATCH", "/scc/v2/(.+)/securityMarks", self._scc),
        ]

    def _pagerduty(self, call: Call, uid: str) -> Any:
        self._authorized(call, f"Token token={SECRET}")
        if "@" not in call.headers.get("from", ""):
            raise Refused(400, "the From header is required")
        if call.headers.get("accept") != "application/vnd.pagerduty+json;version=2":
            raise Refused(406, "version 2 is required")
        self._found(uid)
        return {"note": self._write(uid, call.json, "note", "content")}

    def _splunk(self, call: Call) -> Any:
        self._authorized(call, f"Bearer {SECRET}")
        if set(call.form) != {"ruleUIDs", "comment", "output_mode"}:
            raise Refused(400, "unexpected arguments")
        if call.form["ruleUIDs"] not in self.known:
            return {"success": False, "message": "no event was updated", "failure_count": 1}
        self.comments.setdefault(call.form["ruleUIDs"], []).append(call.form["comment"])
        return {"success": True, "message": "1 event updated successfully", "success_count": 1}

    def _elastic(self, call: Call) -> Any:
        self._authorized(call, f"ApiKey {SECRET}")
        if not call.headers.get("kbn-xsrf"):
            raise Refused(400, "Request must contain a kbn-xsrf header")
        note = call.json["note"]
        if set(note) != {"eventId", "note", "timelineId"} or not isinstance(note["timelineId"], str):
            raise Refused(400, "unexpected body")
        self._found(note["eventId"])
        self._write(note["eventId"], call.json, "note", "note")
        return {"note": {**note, "noteId": "n", "version": "v"}}

    def _entra(self, call: Call) -> Any:
        wanted = {
            "grant_type": "client_credentials",
            "client_id": "client",
            "client_secret": SECRET,
            "scope": "https://management.azure.com/.default",
        }
        return self._issued(call.form == wanted)

    def _sentinel(self, call: Call, incident: str, comment: str) -> Any:
        self._authorized(call, f"Bearer {ISSUED}")
        if "api-version" not in call.query:
            raise Refused(400, "MissingApiVersionParameter")
        self._found(incident)
        uuid.UUID(comment)
        self._write(incident, call.json, "properties", "message")
        return {"name": comment}

    def _wiz_token(self, call: Call) -> Any:
        form = call.form
        return self._issued((form["audience"], form["client_secret"]) == ("wiz-api", SECRET))

    def _wiz(self, call: Call) -> Any:
        self._authorized(call, f"Bearer {ISSUED}")
        told = call.json["variables"]["input"]
        if "createIssueNote(input: $input)" not in call.json["query"] or told["issueId"] not in self.known:
            return {"errors": [{"message": "Resource not found"}], "data": None}
        self.comments.setdefault(told["issueId"], []).append(told["text"])
        return {"data": {"createIssueNote": {"issueNote": {"id": "n"}}}}

    def _google(self, call: Call) -> Any:
        form = call.form
        if form["grant_type"] != "urn:ietf:params:oauth:grant-type:jwt-bearer":
            raise Refused(400, "unsupported_grant_type")
        claims = jwt.decode(
            form["assertion"],
            robot_key().public_key(),
            algorithms=["RS256"],
            audience=f"{self.url}/google/token",
            issuer=ROBOT,
        )
        return self._issued(claims["scope"] == "https://www.googleapis.com/auth/cloud-platform")

    def _scc(self, call: Call, finding: str) -> Any:
        self._authorized(call, f"Bearer {ISSUED}")
        if call.query != {"updateMask": ["marks.firebreak"]}:
            raise Refused(400, "every other mark would be lost")
        self._found(finding)
        self._write(finding, call.json, "marks", "firebreak")
        return call.json

    def _authorized(self, call: Call, wanted: str) -> None:
        if call.headers.get("authorization") != wanted:
            raise Refused(401, "unauthorized")

    def _issued(self, right: bool) -> Any:
        if not right:
            raise Refused(401, "invalid_client")
        return {"access_token": ISSUED, "token_type": "Bearer", "expires_in": 3600}

    def _found(self, uid: str) -> None:
        if uid not in self.known:
            raise Refused(404, "not found")

    def _write(self, uid: str, body: Any, outer: str, inner: str) -> Any:
        if set(body) != {outer} or not isinstance(body[outer][inner], str):
            raise Refused(400, "unexpected body")
        self.comments.setdefault(uid, []).append(body[outer][inner])
        return body[outer]


@contextmanager
def vendors() -> Iterator[Vendors]:
    """All of them on one loopback address for the length of a block."""
    seen = Vendors()

    class Handler(BaseHTTPRequestHandler):
        def _do(self) -> None:
            parts = urlsplit(self.path)
            call = Call(
                self.command,
                parts.path,
                parse_qs(parts.query),
                {name.lower(): value for name, value in self.headers.items()},
                self.rfile.read(int(self.headers.get("Content-Length", 0))),
            )
            seen.calls.append(call)
            try:
                status, document = 200, seen.answer(call)
            except Refused as refused:
                seen.refusals.append(f"{call.method} {call.path}: {refused.status} {refused}")
                status, document = refused.status, {"error": str(refused)}
            self.send_response(status)
            if seen.location:
                self.send_header("Location", seen.location)
            self.send_header("Content-Type", "application/json")
            self.end_headers()
            self.wfile.write(json.dumps(document).encode())

        do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = _do  # noqa: N815 - the names of http.server

        def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the signature of http.server
            """Stay silent."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    seen.url = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield seen
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
