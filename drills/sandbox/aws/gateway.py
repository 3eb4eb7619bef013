"""Take one request through the sandbox: name it, delay it, authorise it, answer it from a stub or moto."""

from __future__ import annotations

import json
import logging
import socket
from collections.abc import Callable, Iterable
from dataclasses import replace
from typing import Any

from werkzeug.test import run_wsgi_app

from drills.sandbox.aws import control
from drills.sandbox.aws.actions import action_of, needs_of
from drills.sandbox.aws.calls import CallFacts, is_mutating, record
from drills.sandbox.aws.context import context_of
from drills.sandbox.aws.corrections import check_guards
from drills.sandbox.aws.credentials import Principal, authenticate
from drills.sandbox.aws.errors import ApiError, ConnectionDropError
from drills.sandbox.aws.faults import delay, error_of, strike
from drills.sandbox.aws.iam import Check, authorize, denied, refusal_of
from drills.sandbox.aws.identities import affected_entities, ledger
from drills.sandbox.aws.owners import resource_of
from drills.sandbox.aws.s3_actions import SHOWN_TO
from drills.sandbox.aws.state import emulator_lock
from drills.sandbox.aws.stubs import Stub, StubRequest, find_stub
from drills.sandbox.aws.wire import (
    MOTO_ERRORS,
    Answer,
    ApiCall,
    Environ,
    as_api_error,
    parse_call,
    read_body,
    render_error,
    render_result,
)
from drills.sandbox.faults import FaultKind

StartResponse = Callable[..., Any]
WsgiApp = Callable[[Environ, StartResponse], Iterable[bytes]]

# Services whose resources may live in another account than the caller's; moto is then asked as that account.
_CROSS_ACCOUNT = frozenset({"dynamodb", "ecr", "kms", "secretsmanager", "sns", "sqs"})
_REASONS = {200: "OK", 400: "Bad Request", 403: "Forbidden", 404: "Not Found"}
logger = logging.getLogger(__name__)


class Visit:
    """One call on its way through the sandbox, and what is learned about it."""

    def __init__(self, call: ApiCall, emulator: WsgiApp) -> None:
        """Start with the parsed call."""
        self.call = call
        self.emulator = emulator
        self.principal: Principal | None = None
        self.resources: tuple[str, ...] = ()

    def answer(self) -> Answer:
        """Return the answer, an AWS error included."""
        delay()
        fault = strike(self.call)
        if fault is FaultKind.DROP:
            raise ConnectionDropError
        try:
            answer = self._faulty(fault) if fault else self._authorised()
        except ApiError as error:
            answer = render_error(self.call, error)
        except MOTO_ERRORS as error:
            answer = render_error(self.call, as_api_error(self.call, error))
        except NotImplementedError as error:
            missing = f"the sandbox does not implement {self.call.model}.{self.call.operation}: {error}"
            answer = render_error(self.call, ApiError("NotImplemented", missing, 501))
        self._record(answer)
        if fault is FaultKind.DROP_AFTER:
            raise ConnectionDropError
        return answer

    def _faulty(self, fault: FaultKind) -> Answer:
        if fault is FaultKind.DROP_AFTER:
            return self._authorised()
        if fault is FaultKind.DENIED:
            with emulator_lock:
                self.principal = authenticate(self.call)
            action = action_of(self.call)
            raise denied(self.call, self.principal.caller.arn, action, "*", "because a fault was injected")
        raise error_of(fault, self.call)

    def _authorised(self) -> Answer:
        principal = self.principal = authenticate(self.call)
        with emulator_lock:
            checks = self._checks(principal)
            authorize(self.call, principal, checks, context_of(self.call, principal))
            return self._shown(self._served(principal, checks), principal, checks)

    def _checks(self, principal: Principal) -> list[Check]:
        stub = find_stub(self.call.model, self.call.operation)
        if stub and stub.resource:
            needs = [(action_of(self.call), stub.resource(self._request(principal)))]
        else:
            needs = needs_of(self.call, principal.caller.account)
        self.resources = tuple(arn for _, arn in needs)
        return [Check(action, resource_of(arn, action)) for action, arn in needs]

    def _request(self, principal: Principal, account: str | None = None) -> StubRequest:
        call = self.call
        return StubRequest(
            account=account or principal.caller.account,
            region=call.region,
            principal_arn=principal.caller.arn,
            service=call.model,
            operation=call.operation,
            params=call.params,
            access_key_id=call.access_key_id,
            headers=call.headers,
        )

    def _served(self, principal: Principal, checks: list[Check]) -> Answer:
        request = self._request(principal, self._owning_account(principal, checks))
        check_guards(request)
        changes = self.call.model == "iam" and is_mutating(self.call.operation)
        caller = principal.entity if principal.entity.kind == "user" else None
        entities = affected_entities(principal.caller.account, self.call.params, caller) if changes else []
        ledger.before_change(entities)
        answer = self._from_stub_or_emulator(request)
        ledger.after_change(entities)
        return answer

    def _shown(self, answer: Answer, principal: Principal, checks: list[Check]) -> Answer:
        """Leave out of a successful answer what the caller may not read."""
        if not {name.lower() for name, _ in answer.headers} & SHOWN_TO.keys():
            return answer
        context, resource = context_of(self.call, principal), checks[0].resource
        hidden = {
            header
            for header, action in SHOWN_TO.items()
            if refusal_of(principal, Check(action, resource), context)
        }
        return replace(answer, headers=[each for each in answer.headers if each[0].lower() not in hidden])

    def _owning_account(self, principal: Principal, checks: list[Check]) -> str:
        owner = checks[0].resource.account if self.call.model in _CROSS_ACCOUNT else None
        return owner or principal.caller.account

    def _from_stub_or_emulator(self, request: StubRequest) -> Answer:
        stub = find_stub(self.call.model, self.call.operation)
        return _stubbed(self.call, stub, request) if stub else self._emulated(request.account)

    def _emulated(self, account: str) -> Answer:
        self.call.environ["HTTP_X_MOTO_ACCOUNT_ID"] = account
        body, status, headers = run_wsgi_app(self.emulator, self.call.environ, buffered=True)
        code = int(status.split(" ", 1)[0])
        content = b"".join(body)
        error_code = _error_code(headers, content) if code >= 400 else None  # noqa: PLR2004 - HTTP errors
        return Answer(code, list(headers.items()), content, error_code)

    def _record(self, answer: Answer) -> None:
        principal, call = self.principal, self.call
        record(
            CallFacts(
                principal_arn=principal.caller.arn if principal else "",
                access_key_id=call.access_key_id,
                account=principal.caller.account if principal else "",
                region=call.region,
                service=call.model,
                operation=call.operation,
                status=answer.status,
                error_code=answer.error_code,
                resources=self.resources,
                params=call.params,
            ),
        )


def _stubbed(call: ApiCall, stub: Stub, request: StubRequest) -> Answer:
    return render_result(call, stub.handler(request))


def _error_code(headers: Any, content: bytes) -> str:
    text = content.decode(errors="replace")
    if "<Code>" in text:
        return text.partition("<Code>")[2].partition("</Code>")[0]
    try:
        kind = str(json.loads(text).get("__type", ""))
    except (ValueError, AttributeError):
        kind = ""  # not a JSON error document: the header names the error, or nothing does
    return kind.rpartition("#")[2] or str(headers.get("x-amzn-errortype", "Unknown"))


class Gateway:
    """The WSGI application of the sandbox."""

    def __init__(self, emulator: WsgiApp) -> None:
        """Put the sandbox's rules in front of this emulator."""
        self._emulator = emulator

    def __call__(self, environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
        """Serve one HTTP request."""
        body = read_body(environ)
        if environ["PATH_INFO"].startswith(control.PREFIX):
            return _control(environ, body, start_response)
        try:
            answer = self._visited(environ, body)
        except ConnectionDropError:
            _hang_up(environ)
            raise ConnectionAbortedError from None
        reason = _REASONS.get(answer.status, "Status")
        start_response(f"{answer.status} {reason}", _framed(answer, environ))
        return [answer.body]

    def _visited(self, environ: Environ, body: bytes) -> Answer:
        call = parse_call(environ, body)
        try:
            return Visit(call, self._emulator).answer()
        except (ConnectionDropError, KeyboardInterrupt):
            raise
        except Exception as error:  # a defect of the sandbox must reach the client as a 500, and the log
            logger.exception("call.crashed %s.%s", call.model, call.operation)
            return render_error(call, ApiError("InternalFailure", f"sandbox defect: {error!r}", 500))


def _control(environ: Environ, body: bytes, start_response: StartResponse) -> Iterable[bytes]:
    status, document = control.serve(
        environ["REQUEST_METHOD"],
        environ["PATH_INFO"],
        environ.get("QUERY_STRING", ""),
        body,
    )
    content = json.dumps(document).encode()
    headers = [("Content-Type", "application/json"), ("Content-Length", str(len(content)))]
    start_response(f"{status} {_REASONS.get(status, 'Status')}", headers)
    return [content]


def _framed(answer: Answer, environ: Environ) -> list[tuple[str, str]]:
    if environ["REQUEST_METHOD"] == "HEAD":
        return answer.headers  # the length of the body that a GET would carry
    kept = [
        (name, value)
        for name, value in answer.headers
        if name.lower() not in {"content-length", "connection"}
    ]
    return [*kept, ("Content-Length", str(len(answer.body)))]


def _hang_up(environ: Environ) -> None:
    connection = environ.get("werkzeug.socket")
    if isinstance(connection, socket.socket):
        connection.shutdown(socket.SHUT_RDWR)
