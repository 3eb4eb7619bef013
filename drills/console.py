"""The console of an embedded stack: ``firebreak serve`` on this machine, with a login link for two people."""

from __future__ import annotations

import json
import secrets
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlencode

from drills.keys import DRILL_KEY, LIVE_KEY
from drills.stack import Stack
from firebreak.errors import FirebreakError

PEOPLE = ("ada", "ben")
"""Two, since one person neither approves nor releases alone."""
LISTENING = "Listening on "
LOG = "web.log"


@dataclass(frozen=True)
class Console:
    """A running console."""

    url: str
    links: Mapping[str, str]
    """Name to an address that logs that person in, once."""


@contextmanager
def console(stack: Stack, people: Sequence[str] = PEOPLE) -> Iterator[Console]:
    """Serve the console of a stack for the length of a block; raises FirebreakError if it does not start."""
    tokens = {name: secrets.token_urlsafe(24) for name in people}
    with (stack.folder / LOG).open("ab") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "firebreak", "serve", "--host", "127.0.0.1", "--port", "0"],
            env={**stack.environment, **_settings(stack.folder, tokens)},
            stdout=subprocess.PIPE,
            stderr=log,
            text=True,
        )
    with process:  # closes the pipe and waits for the end
        try:
            url = _listening(process, stack.folder / LOG)
            yield Console(url, {name: f"{url}/login/once?{_query(name, tokens[name])}" for name in tokens})
        finally:
            process.terminate()


def _settings(folder: Path, tokens: Mapping[str, str]) -> dict[str, str]:
    """What the console needs beside the stack's own variables: people, and the keys that verify evidence."""
    return {
        "FIREBREAK_WEB__EMBEDDED": "true",
        "FIREBREAK_CONSOLE__ONE_TIME_LOGINS": json.dumps(tokens),
        "FIREBREAK_CONSOLE__EVIDENCE_KEYS": json.dumps([f"{folder / LIVE_KEY}.pub"]),
        "FIREBREAK_CONSOLE__DRILL_EVIDENCE_KEYS": json.dumps([f"{folder / DRILL_KEY}.pub"]),
    }


def _listening(process: subprocess.Popen[str], log: Path) -> str:
    assert process.stdout is not None  # noqa: S101 - it is a pipe
    for line in process.stdout:
        if line.startswith(LISTENING):
            return line.removeprefix(LISTENING).strip()
    raise FirebreakError("the console does not come up", resource=str(process.args), remedy=f"see {log}")


def _query(name: str, token: str) -> str:
    return urlencode({"name": name, "token": token})
