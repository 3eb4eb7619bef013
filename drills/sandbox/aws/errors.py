"""Name the refusals of the sandbox as the AWS protocols carry them."""

from __future__ import annotations


class ApiError(Exception):
    """An AWS error answer: code, message and HTTP status."""

    def __init__(self, code: str, message: str, status: int = 400) -> None:
        """Answer with this error code, message and HTTP status."""
        super().__init__(message)
        self.code = code
        self.message = message
        self.status = status


class ConnectionDropError(Exception):
    """The connection must end without an answer."""
