"""Logging: structured events to standard error, with the incident bound and secrets redacted.

Standard output belongs to the commands' results. Events are past-tense dotted facts, for example
``measure.applied``.
"""

from __future__ import annotations

import logging
import os
import re
import sys
from collections.abc import Mapping
from io import TextIOWrapper
from logging.handlers import WatchedFileHandler
from pathlib import Path
from typing import TextIO

import structlog
from structlog.typing import EventDict, Processor, WrappedLogger

from firebreak.errors import SettingsError
from firebreak.settings import Settings

AUDIT = "firebreak.web.audit"
"""The logger of what people do at the console, the API and by link: logins, requests, refusals."""
REDACTED = "[redacted]"
_QUIET = (
    "apprise",
    "azure",
    "temporalio",
    "botocore",
    "httpcore",
    "httpx",
    "boto3",
    "s3transfer",
    "urllib3",
    "werkzeug",
    "asyncio",
    "securesystemslib",
)
"""Libraries that are heard from WARNING on; debug records of botocore and Apprise show what is sent."""

_SECRET_NAME = re.compile(
    r"secret|token|passw(?:or)?d|passphrase|authorization|credential|cookie"
    r"|(?:access|private|api|session|signing|payload)[-_]?keys?(?![a-z])",
    re.IGNORECASE,
)
_MAX_DEPTH = 6

# Every alternative begins at the start of a run of its characters, so that hostile text costs linear time.
_START = r"(?<![A-Za-z0-9/+])"
_MIXED = r"(?=[A-Za-z0-9/+]*[A-Z])(?=[A-Za-z0-9/+]*[a-z])(?=[A-Za-z0-9/+]*[0-9])"
_SECRET_VALUE = re.compile(
    "|".join(
        (
            r"-----BEGIN [A-Z0-9 ]{1,64}-----.*?(?:-----END [A-Z0-9 ]{1,64}-----|\Z)",  # PEM (RFC 7468)
            r"(?<![\w-])eyJ[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]{8,}(?:\.[A-Za-z0-9_-]*)+",  # JWT (RFC 7519)
            # An AWS secret access key is 40 characters of base64 (IAM user guide); a session token is a
            # long run of it. Digests are told apart: hex has no upper and lower case together.
            rf"{_START}{_MIXED}[A-Za-z0-9/+]{{40}}(?![A-Za-z0-9/+=])",
            rf"{_START}{_MIXED}[A-Za-z0-9/+]{{100,}}={{0,2}}",
            r"(?<=/answer/)[A-Za-z0-9._-]{16,}",  # what a signed link is worth (firebreak/links.py)
        )
    ),
    re.DOTALL,
)
_ASSIGNED = re.compile(
    r"((?:secret|token|passw(?:or)?d|authorization|signature|access[-_]?key(?:[-_]?id)?|api[-_]?key)"
    r"[\"']?\s?(?:=|:(?=\s?[\"']|\s?(?:Bearer|Basic)\s))\s?)"
    r"(\"[^\"]*\"|'[^']*'|(?:(?:Bearer|Basic)\s)?[^\s\"',;&)]+)",
    re.IGNORECASE,
)
"""A secret given by name in free text: ``password=...``, ``'SecretAccessKey': '...'``, a signed url."""


class _OwnersFile(WatchedFileHandler):
    """A file for its owner's eyes, made anew when it was moved away, as logrotate does."""

    def _open(self) -> TextIOWrapper:
        made = os.open(self.baseFilename, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        return os.fdopen(made, "a", encoding=self.encoding)


def configure(settings: Settings, stream: TextIO | None = None) -> None:
    """Send structlog's and the standard library's records through one chain to ``stream`` (standard error).

    JSON lines unless the stream is a terminal; colours on a terminal only. Calling it again replaces
    the configuration.
    """
    target = stream or sys.stderr
    handler = logging.StreamHandler(target)
    handler.setFormatter(_formatter(_renderer(settings.log_format, terminal=target.isatty())))
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(settings.log_level)
    for name in _QUIET:
        logging.getLogger(name).setLevel(max(logging.WARNING, root.level))
    structlog.configure(
        processors=[
            structlog.stdlib.filter_by_level,
            *_shared(),
            structlog.stdlib.ProcessorFormatter.wrap_for_formatter,
        ],
        wrapper_class=structlog.stdlib.BoundLogger,
        logger_factory=structlog.stdlib.LoggerFactory(),
        cache_logger_on_first_use=False,  # loggers made at import time must see a later configuration
    )


def keep_audit(path: Path, level: str) -> None:
    """Also append what people ask for and are refused to a file, one JSON line each, for its owner's eyes.

    The file keeps it whatever ``level`` the process's own log has. Raises SettingsError for a path that
    cannot be written: who asked for a record is not served without one.
    """
    try:
        handler = _OwnersFile(path, encoding="utf-8")
    except OSError as error:
        raise SettingsError(
            f"the audit log cannot be written: {error.strerror}",
            resource=str(path),
            remedy="set FIREBREAK_CONSOLE__AUDIT_LOG to a file in a folder of the process's own",
        ) from error
    handler.setFormatter(_formatter(structlog.processors.JSONRenderer(sort_keys=True)))
    audit = logging.getLogger(AUDIT)
    audit.handlers[:] = [handler]
    audit.setLevel(logging.INFO)
    for each in logging.getLogger().handlers:
        each.setLevel(level)


def bind_incident(incident_id: str) -> None:
    """Add the incident's id to every later record of this task or activity."""
    structlog.contextvars.bind_contextvars(incident_id=incident_id)


def redact(_: WrappedLogger, __: str, event: EventDict) -> EventDict:
    """Replace values that are secret by name or by look, at any depth."""
    return {name: REDACTED if _named_secret(name, value) else _clean(value) for name, value in event.items()}


def redacted_text(text: str) -> str:
    """Replace what looks like a secret in free text."""
    return _ASSIGNED.sub(rf"\1{REDACTED}", _SECRET_VALUE.sub(REDACTED, text))


def _shared() -> list[Processor]:
    return [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_logger_name,
        structlog.stdlib.add_log_level,
        structlog.stdlib.PositionalArgumentsFormatter(),
        structlog.processors.TimeStamper(fmt="iso", utc=True),
    ]


def _formatter(renderer: Processor) -> structlog.stdlib.ProcessorFormatter:
    return structlog.stdlib.ProcessorFormatter(
        foreign_pre_chain=_shared(),
        processors=[
            structlog.stdlib.ProcessorFormatter.remove_processors_meta,
            structlog.processors.format_exc_info,  # before redaction: messages of errors may hold secrets
            structlog.processors.StackInfoRenderer(),
            redact,
            renderer,
        ],
    )


def _renderer(log_format: str, *, terminal: bool) -> Processor:
    if log_format == "console" or (log_format == "auto" and terminal):
        return structlog.dev.ConsoleRenderer(
            colors=terminal, exception_formatter=structlog.dev.plain_traceback
        )
    return structlog.processors.JSONRenderer(sort_keys=True)


def _named_secret(name: object, value: object) -> bool:
    """A name alone condemns text and containers, not a number, a flag or nothing."""
    return not isinstance(value, bool | int | float | None) and bool(_SECRET_NAME.search(str(name)))


def _clean(value: object, depth: int = 0) -> object:
    if isinstance(value, bool | int | float | None):
        return value
    if isinstance(value, Mapping) and depth < _MAX_DEPTH:
        return {str(k): REDACTED if _named_secret(k, v) else _clean(v, depth + 1) for k, v in value.items()}
    if isinstance(value, list | tuple | set | frozenset) and depth < _MAX_DEPTH:
        return [_clean(item, depth + 1) for item in value]
    return redacted_text(value if isinstance(value, str) else repr(value))
