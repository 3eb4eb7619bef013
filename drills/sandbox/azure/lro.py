"""Answer now, finish later: long-running operations with Azure-AsyncOperation.

Source: "Track asynchronous Azure operations": 201 or 202, a status URL, terminal states Succeeded, Failed and
Canceled; a second write to a resource that is still being changed is refused with 409.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable
from dataclasses import dataclass, field
from http import HTTPStatus

from drills.sandbox.azure import clock, faults, ids
from drills.sandbox.azure.call import Answer, Call, JsonObject
from drills.sandbox.azure.errors import ArmError
from drills.sandbox.azure.state import on_reset, settings
from drills.sandbox.azure.store import Item, store
from drills.sandbox.azure.table import operation

Finish = Callable[[], JsonObject | None]
_SOURCE = "Track asynchronous Azure operations"
_ANY_VERSION = ("*",)
_FAILURE = "InternalExecutionError"


@dataclass
class Running:
    """An operation: what it does when its time has come, and what came of it."""

    id: str
    resource: str
    due_at: float
    finish: Finish
    undo: Callable[[], None] | None
    fails: bool
    status: str = "InProgress"
    result: JsonObject | None = None
    error: ArmError = field(
        default_factory=lambda: ArmError(500, _FAILURE, "The operation failed (injected).")
    )

    def settle(self) -> None:
        """Take effect once due."""
        if self.status != "InProgress" or clock.seconds() < self.due_at:
            return
        try:
            self._end()
        except ArmError as error:
            # what is refused this late is told to whoever asks for the status, not to the next caller
            self.status, self.error = "Failed", error
            if self.undo:
                self.undo()

    def _end(self) -> None:
        if self.fails:
            raise self.error
        self.result = self.finish()
        self.status = "Succeeded"

    def document(self) -> JsonObject:
        """Return what the status URL shows."""
        shown: JsonObject = {"id": self.id, "name": ids.name_of(self.id), "status": self.status}
        if self.status == "Failed":
            shown["error"] = {"code": self.error.code, "message": self.error.message}
        elif self.result is not None:
            shown["properties"] = {"output": self.result}
        return shown


_operations: dict[str, Running] = {}
on_reset(_operations.clear)


def settle() -> None:
    """Let every operation whose time has come take effect; called before each request."""
    for running in list(_operations.values()):
        running.settle()


def busy(resource_id: str) -> bool:
    """Tell whether a resource is still being changed."""
    wanted = ids.key(resource_id)
    return any(one.status == "InProgress" and one.resource == wanted for one in _operations.values())


def check(call: Call) -> None:
    """Refuse a write to a resource that is still being changed."""
    if call.method in {"PUT", "PATCH", "DELETE"} and busy(call.resource_id):
        message = f"Another operation on resource '{call.resource_id}' is in progress."
        raise ArmError(409, "AnotherOperationInProgress", message)


def accept(
    call: Call,
    resource_id: str,
    finish: Finish,
    *,
    answer: Answer | None = None,
    undo: Callable[[], None] | None = None,
) -> Answer:
    """Begin an operation on a resource; `finish` takes effect when it ends, `undo` when it fails.

    Its result is shown at the status URL (`properties.output`) and, as it is, at the Location of a 202.
    """
    fails = faults.fails_later(call)
    path = _path(resource_id)
    due_at = clock.seconds() + settings["lro_seconds"]
    running = Running(path, ids.key(resource_id), due_at, finish, undo, fails)
    _operations[ids.key(path)] = running
    running.settle()
    given = answer or Answer(202)
    return Answer(given.status, given.body, {**given.headers, **_headers(call, path, given.status)})


def put(call: Call, item: Item, *, created: bool) -> Answer:
    """Answer a PUT whose resource is provisioned later: Updating, then Succeeded or Failed."""
    item.properties["provisioningState"] = "Updating"

    def finish() -> None:
        _settle_state(item.id, "Succeeded")

    shown = item.document()
    answer = Answer(201 if created else 200, shown)
    return accept(call, item.id, finish, answer=answer, undo=lambda: _settle_state(item.id, "Failed"))


def delete(call: Call, item: Item) -> Answer:
    """Answer a DELETE whose resource, with all below it, is gone later; one that fails stays."""
    item.properties["provisioningState"] = "Deleting"

    def finish() -> None:
        store.delete(item.id)

    return accept(call, item.id, finish, undo=lambda: _settle_state(item.id, "Failed"))


def _settle_state(resource_id: str, state: str) -> None:
    item = store.get(resource_id)
    if item is not None:
        item.properties["provisioningState"] = state


def _path(resource_id: str) -> str:
    namespace = ids.type_of(resource_id).split("/")[0] or "Microsoft.Resources"
    item = store.get(resource_id)
    location = item.location if item and item.location else "global"
    subscription = ids.subscription_of(resource_id)
    return (
        f"/subscriptions/{subscription}/providers/{namespace}/locations/{location}/operations/{uuid.uuid4()}"
    )


def _headers(call: Call, path: str, status: int) -> dict[str, str]:
    version = {"api-version": call.version}
    headers = {"Azure-AsyncOperation": call.url(path, version)}
    if status == HTTPStatus.ACCEPTED:  # the result is fetched elsewhere
        headers["Location"] = call.url(path.replace("/operations/", "/operationResults/"), version)
    headers["Retry-After"] = "1" if settings["lro_seconds"] >= 1 else "0"
    return headers


_BELOW = "/subscriptions/{subscription}/providers/{namespace}/locations/{location}"


@operation("arm", "GET", f"{_BELOW}/operations/{{name}}", versions=_ANY_VERSION, source=_SOURCE)
def get_status(call: Call) -> JsonObject:
    """Show how far an operation is; whoever holds the URL may ask."""
    return _need(call.path, call.params["name"]).document()


@operation("arm", "GET", f"{_BELOW}/operationResults/{{name}}", versions=_ANY_VERSION, source=_SOURCE)
def get_result(call: Call) -> Answer:
    """Return an operation's result once it has one: 202 while it runs, 204 without a body."""
    lowered = call.path.lower().replace("/operationresults/", "/operations/")
    running = _need(lowered, call.params["name"])
    if running.status == "InProgress":
        return Answer(202, None, {"Location": call.url(query=call.query)})
    if running.status == "Failed":
        raise running.error
    return Answer(200, running.result) if running.result is not None else Answer(204)


def _need(path: str, name: str) -> Running:
    running = _operations.get(ids.key(path))
    if running is None:
        raise ArmError(404, "OperationNotFound", f"The operation '{name}' could not be found.")
    return running
