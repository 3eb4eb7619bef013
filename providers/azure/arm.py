"""Raw Azure Resource Manager: long-running operations awaited, pages followed, 404 read as absence.

For resource providers without a stable SDK. api-versions are pinned by the caller.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from typing import Any

import httpx

from firebreak.errors import PermanentCloudError, TransientCloudError
from firebreak.model import JsonObject
from providers.azure.answers import NOT_FOUND, RestError, read_error
from providers.azure.rest import Query, Rest, body_of, seconds

# Azure Resource Manager, "Track asynchronous Azure operations": the terminal states are exactly these.
SUCCEEDED = "succeeded"
TERMINAL = frozenset({SUCCEEDED, "failed", "canceled"})
ACCEPTED = 202
FIRST_POLL_SECONDS = 0.05
"""Most operations end at once; each wait after that is twice as long, unless Azure says how long."""
POLL_SECONDS = 1.0
LONGEST_POLL_SECONDS = 10.0
OPERATION_SECONDS = 300.0
"""How long one operation is awaited; the measure's next attempt finds it where it is."""


class Arm(Rest):
    """ARM verbs on resource ids. Errors are ``RestError``; wrap calls in ``translated``."""

    def get(self, path: str, version: str, *, query: Query | None = None) -> JsonObject | None:
        """Read a resource, or None when there is none."""
        return self.find(path, query=_versioned(version, query))

    def put(
        self,
        path: str,
        body: JsonObject,
        version: str,
        *,
        etag: str = "",
        create_only: bool = False,
    ) -> JsonObject:
        """Create or replace a resource and wait until it is provisioned; returns it as read back."""
        return self._change("PUT", path, body, version, _conditions(etag, create_only=create_only))

    def patch(self, path: str, body: JsonObject, version: str, *, etag: str = "") -> JsonObject:
        """Update a resource and wait until it is provisioned; returns it as read back."""
        return self._change("PATCH", path, body, version, _conditions(etag))

    def post(
        self,
        path: str,
        body: JsonObject | None,
        version: str,
        *,
        query: Query | None = None,
    ) -> JsonObject:
        """Run an action and wait for its end; returns its result, empty where there is none."""
        answer = self.request("POST", path, query=_versioned(version, query), json=body)
        return self._action_result(answer)

    def delete(self, path: str, version: str, *, etag: str = "") -> bool:
        """Delete a resource and wait until it is gone; False when there was none."""
        try:
            answer = self.request("DELETE", path, query=_versioned(version), headers=_conditions(etag))
        except RestError as error:
            if error.status != NOT_FOUND:
                raise
            return False
        self._awaited(answer)
        return answer.status_code != httpx.codes.NO_CONTENT

    def pages(self, path: str, version: str, *, query: Query | None = None) -> Iterator[JsonObject]:
        """Every item of a collection, following ``nextLink`` on the same host only."""
        page = body_of(self.request("GET", path, query=_versioned(version, query)))
        while True:
            yield from page.get("value", ())
            link = page.get("nextLink") or ""
            if not link:
                return
            page = body_of(self.request("GET", link))

    def _change(
        self, method: str, path: str, body: JsonObject, version: str, headers: Mapping[str, str]
    ) -> JsonObject:
        answer = self.request(method, path, query=_versioned(version), json=body, headers=headers)
        if _monitor(answer):
            self._awaited(answer)
        elif _provisioned(body_of(answer)):
            return body_of(answer)
        return self._provisioned(path, version)

    def _provisioned(self, path: str, version: str) -> JsonObject:
        """Read the resource until its provisioning ended."""
        patience = _Patience(path)
        while True:
            found = self.get(path, version)
            if found is None:
                raise PermanentCloudError("the resource is gone right after it was written", resource=path)
            if _provisioned(found):
                return found
            patience.pause(None)

    def _action_result(self, answer: httpx.Response) -> JsonObject:
        last = self._awaited(answer)
        if last is answer or "azure-asyncoperation" not in answer.headers:
            return body_of(last)
        if location := answer.headers.get("location"):
            return body_of(self.request("GET", location))
        status = body_of(last)
        found = status.get("properties", status.get("output", {}))
        return found if isinstance(found, dict) else {"value": found}

    def _awaited(self, answer: httpx.Response) -> httpx.Response:
        """Follow an operation to its end; returns the last answer."""
        monitor = _monitor(answer)
        if not monitor:
            return answer
        patience, last = _Patience(monitor), answer
        while True:
            patience.pause(last)
            last = self.request("GET", monitor)
            if "azure-asyncoperation" not in answer.headers:
                if last.status_code != ACCEPTED:
                    return last
                monitor = last.headers.get("location", monitor)
                continue
            if _ended(body_of(last)):
                return last


def _versioned(version: str, query: Query | None = None) -> dict[str, str | int]:
    return {"api-version": version, **(query or {})}


def _conditions(etag: str, *, create_only: bool = False) -> dict[str, str]:
    if create_only:
        return {"If-None-Match": "*"}
    return {"If-Match": etag} if etag else {}


def _monitor(answer: httpx.Response) -> str:
    """Where to follow the operation. ``Azure-AsyncOperation`` wins over ``Location`` (the same page)."""
    headers = answer.headers
    if "azure-asyncoperation" in headers:
        return str(headers["azure-asyncoperation"])
    return str(headers.get("location", "")) if answer.status_code == ACCEPTED else ""


def _provisioned(resource: JsonObject) -> bool:
    """Tell whether provisioning succeeded; raises RestError when it failed."""
    state = str(_of(resource, "properties").get("provisioningState", SUCCEEDED))
    if state.lower() in TERMINAL - {SUCCEEDED}:
        raise RestError(0, f"Provisioning{state}", f"the resource's provisioning {state.lower()}")
    return state.lower() == SUCCEEDED


def _ended(status: JsonObject) -> bool:
    """Tell whether an operation succeeded; raises RestError when it failed or was canceled."""
    state = str(status.get("status", ""))
    if state.lower() in TERMINAL - {SUCCEEDED}:
        code, message = read_error(status)
        raise RestError(0, code or f"Operation{state}", message or f"the operation {state.lower()}")
    return state.lower() == SUCCEEDED


def _of(resource: JsonObject, key: str) -> Mapping[str, Any]:
    found = resource.get(key)
    return found if isinstance(found, Mapping) else {}


class _Patience:
    """Waits between two looks at an operation; raises TransientCloudError when it takes too long."""

    def __init__(self, place: str) -> None:
        self._place = place.partition("?")[0]
        self._deadline = time.monotonic() + OPERATION_SECONDS
        self._next = FIRST_POLL_SECONDS

    def pause(self, last: httpx.Response | None) -> None:
        """Wait as long as the last answer asks for, or a little longer than the time before."""
        if time.monotonic() > self._deadline:
            raise TransientCloudError("the operation has not ended yet", resource=self._place)
        header = last.headers.get("Retry-After", "") if last is not None else ""
        time.sleep(min(seconds(header, self._next), LONGEST_POLL_SECONDS))
        self._next = min(self._next * 2, POLL_SECONDS)
