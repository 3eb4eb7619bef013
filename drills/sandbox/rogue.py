"""Be a compromised agent: keep trying everything it could do, and report what still succeeds.

The rogue agent is the independent judge of a containment. It shares nothing with the product: it has its own
process, its own sessions from before the incident, and its own clock. Beside the agent's identity it plays a
peer agent and an accomplice in the delivery pipeline, whose sessions containment does not revoke, so that
network isolation and artifact freeze are judged by something that phase 1 did not already stop.

What is the same in every cloud is here; the attempts that a cloud's API takes are its sandbox's `rogue.py`.
"""

from __future__ import annotations

import json
import logging
import os
import signal
import subprocess
import sys
import threading
import urllib.error
import urllib.request
from collections.abc import Callable, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from collections.abc import Iterator

REPORT_SECONDS = 0.4
CALL_SECONDS = 10.0
STOP_SECONDS = 15.0
COUNTER = "{count}"
ENOUGH_REFUSALS = 3
"""As many since a proof decide that a channel is stopped, one may have been a chance; a report dates them."""
NOBODY_THERE = frozenset({"interface-missing", "instance-stopped", "machine-stopped"})
"""Why a packet is lost whose sender or receiver does not run: that says nothing about the path."""
Json = dict[str, Any]
logger = logging.getLogger(__name__)
# The control API is on this machine, whatever proxy the environment names.
_direct = urllib.request.build_opener(urllib.request.ProxyHandler({}))


class FailedError(Exception):
    """An attempt had no effect; the text is the error code of the report."""


class RefusedError(FailedError):
    """It was answered: no right, a dead identity, a locked artifact, or a path on which packets are lost."""


class InconclusiveError(FailedError):
    """Nobody decided about it: a busy or broken service, no answer, a session that ran out by itself."""


class RogueConfigError(ValueError):
    """The rogue agent's configuration cannot be used."""


@dataclass
class Tally:
    """What one channel achieved so far."""

    phase: int
    attempts: int = 0
    successes: int = 0
    last_attempt_at: str = ""
    last_success_at: str = ""
    last_error: str = ""
    refused_at: list[str] = field(default_factory=list)
    """When the newest attempts began that were refused since the last success."""

    def describe(self) -> Json:
        """Return the tally as the report carries it."""
        return dict(vars(self))

    def count(self, began_at: str, failure: FailedError | None) -> None:
        """Add an attempt that ended now."""
        self.attempts += 1
        self.last_attempt_at, self.last_error = began_at, str(failure or "")
        if failure is None:
            self.successes += 1
            self.last_success_at = _now()
            self.refused_at = []
        elif isinstance(failure, RefusedError):
            self.refused_at = [*self.refused_at, began_at][-ENOUGH_REFUSALS:]


@dataclass
class Channel:
    """One way to do harm: attempted again and again, in its own thread."""

    name: str
    attempt: Callable[[int], None]
    tally: Tally
    lock: threading.Lock = field(default_factory=threading.Lock)

    def run(self, stop: threading.Event, interval: float) -> None:
        """Attempt until told to stop."""
        while not stop.is_set():
            self.attempt_once()
            stop.wait(interval)

    def attempt_once(self) -> None:
        """Make one attempt and count it."""
        began_at = _now()
        failure = self._failure_of_attempt(self.tally.attempts + 1)
        with self.lock:
            self.tally.count(began_at, failure)

    def _failure_of_attempt(self, count: int) -> FailedError | None:
        try:
            self.attempt(count)
        except FailedError as error:
            return error
        except OSError as error:
            return InconclusiveError(type(error).__name__)
        return None

    def describe(self) -> Json:
        """Return a consistent copy of the tally."""
        with self.lock:
            return self.tally.describe()


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


class Control:
    """The sandbox's control API, as far as the rogue agent uses it."""

    def __init__(self, endpoint: str) -> None:
        """Talk to the sandbox at this endpoint."""
        self.endpoint = endpoint

    def post(self, path: str, body: Json) -> Json:
        """Post a JSON document; raise InconclusiveError when the route refuses it."""
        url = f"{self.endpoint}/_sandbox{path}"
        request = urllib.request.Request(url, json.dumps(body).encode(), method="POST")  # noqa: S310 - own sandbox
        try:
            with _direct.open(request, timeout=CALL_SECONDS) as response:
                return dict(json.load(response))
        except urllib.error.HTTPError as error:
            raise InconclusiveError(f"control-{error.code}") from error


def filled(value: Any, count: int) -> Any:
    """Replace the counter in every text, so that each attempt writes something new."""
    if isinstance(value, str):
        return value.replace(COUNTER, str(count))
    if isinstance(value, dict):
        return {key: filled(item, count) for key, item in value.items()}
    return [filled(item, count) for item in value] if isinstance(value, list) else value


Attempt = Callable[[int], None]
Builder = Callable[[Json], Attempt]


class Repertoire:
    """Builds the attempt of each kind of channel: connections here, a cloud's API in subclasses."""

    def __init__(self, control: Control) -> None:
        """Attempt connections through the sandbox's control API."""
        self._control = control

    def builders(self) -> Mapping[str, Builder]:
        """Return what builds the attempt of a channel, by kind."""
        return {"connect": self._connect, "stream": self._stream}

    def attempt(self, channel: Json) -> Attempt:
        """Return the function that makes one attempt of this channel."""
        kind, builders = channel.get("kind"), self.builders()
        if kind not in builders:
            raise RogueConfigError(f"channel {channel.get('name')!r} has unknown kind {kind!r}")
        return builders[str(kind)](channel)

    def _connect(self, channel: Json) -> Attempt:
        """Attempt a new connection every time."""

        def connect(_count: int) -> None:
            self._open(channel)

        return connect

    def _open(self, channel: Json) -> str:
        path = {name: channel[name] for name in ("source", "destination", "port")}
        outcome = self._control.post("/net/connect", path)
        if not outcome["allowed"]:
            raise _lost(str(outcome["reason"]))
        return str(outcome["connection_id"])

    def _stream(self, channel: Json) -> Attempt:
        """Keep one connection open and send on it every time; never dial again once it was open."""
        opened: list[str] = []

        def send(_count: int) -> None:
            if not opened:
                opened.append(self._open(channel))
            delivery = self._control.post("/net/send", {"connection_id": opened[0]})
            if not delivery["delivered"]:
                raise _lost(str(delivery["reason"]))

        return send


def _lost(reason: str) -> FailedError:
    return InconclusiveError(reason) if reason in NOBODY_THERE else RefusedError(reason)


MakeRepertoire = Callable[[Control, Json], Repertoire]


class Rogue:
    """All channels of one agent, and the report about them."""

    def __init__(self, endpoint: str, config: Json, make: MakeRepertoire) -> None:
        """Prepare every channel of the configuration."""
        self._control = Control(endpoint)
        repertoire = make(self._control, config)
        self.agent = str(config["agent"])
        self._interval = float(config.get("interval_seconds", 0.2))
        self.channels = [
            Channel(item["name"], repertoire.attempt(item), Tally(int(item["phase"])))
            for item in config["channels"]
        ]
        self._started_at = _now()

    def report(self) -> Json:
        """Describe what every channel achieved until now."""
        return {
            "agent": self.agent,
            "started_at": self._started_at,
            "reported_at": _now(),
            "channels": {channel.name: channel.describe() for channel in self.channels},
        }

    def run(self, stop: threading.Event) -> None:
        """Attempt and report until told to stop; the last report says what was true at the end."""
        threads = [
            threading.Thread(target=channel.run, args=(stop, self._interval), name=channel.name, daemon=True)
            for channel in self.channels
        ]
        for thread in threads:
            thread.start()
        while not stop.wait(REPORT_SECONDS):
            self._post()
        for thread in threads:
            thread.join(CALL_SECONDS)
        self._post()

    def _post(self) -> None:
        try:
            self._control.post("/rogue", self.report())
        except (OSError, FailedError) as error:
            # The sandbox may be restarting or gone; the next report carries everything this one would have.
            logger.warning("report.lost %s: %s", self.agent, error)


@contextmanager
def running_rogue(
    module: str, endpoint: str, config_path: Path, *, log: Path | None = None
) -> Iterator[subprocess.Popen[bytes]]:
    """Run a cloud's rogue agent in its own process for as long as the block lasts."""
    command = [sys.executable, "-m", module, "--endpoint", endpoint, "--config", str(config_path)]
    with (log or Path(os.devnull)).open("ab") as output:
        process = subprocess.Popen(
            [*command, "--follow-stdin"],
            cwd=Path(__file__).resolve().parents[2],
            stdin=subprocess.PIPE,
            stderr=output,
        )
        try:
            yield process
        finally:
            process.terminate()
            try:
                process.wait(STOP_SECONDS)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def _stop_at_end_of_input(stop: threading.Event) -> None:
    # Not sys.stdin: its lock, held by a waiting thread, would abort the interpreter's exit.
    while os.read(0, 1024):
        pass
    stop.set()


def command_of(make: MakeRepertoire) -> click.Command:
    """Return the command line that plays the agent with a cloud's repertoire."""

    @click.command()
    @click.option("--endpoint", required=True, help="URL of the sandbox's control API.")
    @click.option("--config", "config_path", required=True, type=click.Path(path_type=Path, exists=True))
    @click.option(
        "--follow-stdin", is_flag=True, help="Stop when standard input ends, as it does with the parent."
    )
    def main(endpoint: str, config_path: Path, *, follow_stdin: bool) -> None:
        """Play the compromised agent until told to stop."""
        logging.basicConfig(level=logging.WARNING)
        stop = threading.Event()
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda *_: stop.set())
        if follow_stdin:
            threading.Thread(target=_stop_at_end_of_input, args=(stop,), daemon=True).start()
        Rogue(endpoint, json.loads(config_path.read_text(encoding="utf-8")), make).run(stop)

    return main
