"""A place where alerts can be commented: the form of its ids, and requests to its pinned address."""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from http import HTTPStatus
from typing import Any, ClassVar, Protocol

import httpx

from firebreak.errors import CommentRefusedError, NotCommentedError
from firebreak.model import JsonObject
from firebreak.notify.comments.line import Note
from firebreak.notify.http import client

GUID = r"[0-9A-Fa-f]{8}(-[0-9A-Fa-f]{4}){3}-[0-9A-Fa-f]{12}"

_SUCCESS = range(200, 300)
_SERVER_ERRORS = 500
PASSING = frozenset({HTTPStatus.REQUEST_TIMEOUT, HTTPStatus.TOO_EARLY, HTTPStatus.TOO_MANY_REQUESTS})
"""Answers that another attempt may change, beside 5xx; a wrong token tried again could lock an account."""


class Sending(Protocol):
    """One request; the errors name the place, and never an address or a header, which may hold secrets."""

    async def __call__(self, method: str, url: str, **request: Any) -> httpx.Response:
        """The answer; raises NotCommentedError or CommentRefusedError for every other than success."""
        ...


class Place(ABC):
    """One account of one product. Redirects are not followed: the address is the one of the settings."""

    name: ClassVar[str]
    ids: ClassVar[re.Pattern[str]]
    """The whole of an id; ASCII only, and nothing that means anything in a URL."""
    expects: ClassVar[str]
    """The same in words."""

    def __init__(self, settings: Any, timeout: float) -> None:
        self.settings = settings
        self._timeout = timeout

    def identified(self, finding: str) -> str | None:
        """The alert's id at this place, or None where it has another form."""
        return finding if self.ids.fullmatch(finding) else None

    @abstractmethod
    async def comment(self, uid: str, note: Note) -> None:
        """Write one comment; raises NotCommentedError or CommentRefusedError."""

    async def send(self, method: str, url: str, **request: Any) -> httpx.Response:
        """See Sending."""
        try:
            async with client(self._timeout) as sender:
                answer = await sender.request(method, url, **request)
        except httpx.HTTPError as error:
            raise NotCommentedError(f"{self.name} cannot be reached: {type(error).__name__}") from error
        if answer.status_code not in _SUCCESS:
            raise _error(answer.status_code)(f"{self.name} answered {answer.status_code} to a comment")
        return answer

    def document(self, answer: httpx.Response) -> JsonObject:
        """The JSON object of an answer; raises CommentRefusedError for anything else."""
        try:
            found = answer.json()
        except ValueError as error:
            raise CommentRefusedError(f"{self.name} did not answer with JSON") from error
        if not isinstance(found, dict):
            raise CommentRefusedError(f"{self.name} did not answer with a JSON object")
        return found


def _error(status: int) -> type[NotCommentedError | CommentRefusedError]:
    return NotCommentedError if status in PASSING or status >= _SERVER_ERRORS else CommentRefusedError
