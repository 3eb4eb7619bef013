"""Microsoft Graph v1.0, as few verbs as containment needs: service principals, applications, users."""

from __future__ import annotations

from collections.abc import Iterator

from firebreak.model import JsonObject
from providers.azure.answers import NOT_FOUND, RestError
from providers.azure.rest import Query, Rest, body_of


class Graph(Rest):
    """Graph verbs on paths below ``/v1.0``. Errors are ``RestError``; wrap calls in ``translated``."""

    def get(self, path: str, *, query: Query | None = None) -> JsonObject | None:
        """Read an object, or None when there is none."""
        return self.find(path, query=query)

    def post(self, path: str, body: JsonObject | None = None) -> JsonObject:
        """Create an object or run an action; returns the answer, empty where there is none."""
        return body_of(self.request("POST", path, json=body if body is not None else {}))

    def patch(self, path: str, body: JsonObject) -> JsonObject:
        """Update an object; Graph answers 204 without a body."""
        return body_of(self.request("PATCH", path, json=body))

    def put(self, path: str, body: JsonObject) -> JsonObject:
        """Create or replace an object."""
        return body_of(self.request("PUT", path, json=body))

    def delete(self, path: str) -> bool:
        """Delete an object; False when there was none."""
        try:
            self.request("DELETE", path)
        except RestError as error:
            if error.status != NOT_FOUND:
                raise
            return False
        return True

    def pages(self, path: str, *, query: Query | None = None) -> Iterator[JsonObject]:
        """Every item of a collection, following ``@odata.nextLink`` on the same host only."""
        page = body_of(self.request("GET", path, query=query))
        while True:
            yield from page.get("value", ())
            link = page.get("@odata.nextLink") or ""
            if not link:
                return
            page = body_of(self.request("GET", link))
