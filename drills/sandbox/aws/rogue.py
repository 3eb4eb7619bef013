"""Be the compromised agent: keep trying everything it could do, and report what still succeeds.

The rogue agent is the independent judge of a containment. It shares nothing with the product: it has its own
process, its own sessions from before the incident, and its own clock. Beside the agent's identity it plays a
peer agent and an accomplice in the delivery pipeline, whose sessions containment does not revoke, so that
network isolation and artifact freeze are judged by something that phase 1 did not already stop.

    python -m drills.sandbox.aws.rogue --endpoint URL --config FILE
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
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import boto3
import click
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

REPORT_SECONDS = 0.4
CALL_SECONDS = 10.0
STOP_SECONDS = 15.0
COUNTER = "{count}"
Json = dict[str, Any]
logger = logging.getLogger(__name__)


class RefusedError(Exception):
    """An attempt had no effect; the text is the error code of the report."""


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

    def describe(self) -> Json:
        """Return the tally as the report carries it."""
        return dict(vars(self))


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
        attempted_at = _now()
        error = self._error_of_attempt(self.tally.attempts + 1)
        finished_at = _now()
        with self.lock:
            self.tally.attempts += 1
            self.tally.last_attempt_at = attempted_at
            self.tally.last_error = error
            if not error:
                self.tally.successes += 1
                self.tally.last_success_at = finished_at

    def _error_of_attempt(self, count: int) -> str:
        try:
            self.attempt(count)
        except ClientError as error:
            return str(error.response.get("Error", {}).get("Code", "Unknown"))
        except (RefusedError, BotoCoreError, OSError) as error:
            return str(error) if isinstance(error, RefusedError) else type(error).__name__
        return ""

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
        self._endpoint = endpoint

    def post(self, path: str, body: Json) -> Json:
        """Post a JSON document; raise RefusedError when the route refuses it."""
        url = f"{self._endpoint}/_sandbox{path}"
        request = urllib.request.Request(url, json.dumps(body).encode(), method="POST")  # noqa: S310 - own sandbox
        try:
            with urllib.request.urlopen(request, timeout=CALL_SECONDS) as response:  # noqa: S310 - own sandbox
                return dict(json.load(response))
        except urllib.error.HTTPError as error:
            raise RefusedError(f"control-{error.code}") from error


class Clients:
    """AWS clients of the principals the rogue agent has sessions of."""

    def __init__(self, endpoint: str, region: str, principals: Mapping[str, Mapping[str, str]]) -> None:
        """Use these principals' credentials at the endpoint."""
        self._endpoint = endpoint
        self._region = region
        self._principals = principals
        self._made: dict[tuple[str, str], Any] = {}

    def get(self, principal: str, service: str) -> Any:
        """Return the client of a service as a principal."""
        key = (principal, service)
        if key not in self._made:
            # One attempt each: a retried denial would be counted late.
            config = Config(
                retries={"total_max_attempts": 1}, connect_timeout=CALL_SECONDS, read_timeout=CALL_SECONDS
            )
            self._made[key] = boto3.client(
                service,  # type: ignore[call-overload]
                region_name=self._region,
                endpoint_url=self._endpoint,
                config=config,
                **self._principals[principal],
            )
        return self._made[key]


def _filled(value: Any, count: int) -> Any:
    """Replace the counter in every text, so that each attempt writes something new."""
    if isinstance(value, str):
        return value.replace(COUNTER, str(count))
    if isinstance(value, dict):
        return {key: _filled(item, count) for key, item in value.items()}
    return [_filled(item, count) for item in value] if isinstance(value, list) else value


class Repertoire:
    """Builds the attempt of each kind of channel."""

    def __init__(self, control: Control, clients: Clients) -> None:
        """Attempt through these."""
        self._control = control
        self._clients = clients

    def attempt(self, channel: Json) -> Callable[[int], None]:
        """Return the function that makes one attempt of this channel."""
        builders = {
            "call": self._call,
            "connect": self._connect,
            "stream": self._stream,
            "promote": self._promote,
        }
        kind = channel.get("kind")
        if kind not in builders:
            raise RogueConfigError(f"channel {channel.get('name')!r} has unknown kind {kind!r}")
        return builders[kind](channel)

    def _call(self, channel: Json) -> Callable[[int], None]:
        client = self._clients.get(channel["principal"], channel["service"])
        operation, parameters = getattr(client, channel["operation"]), channel["parameters"]
        return lambda count: operation(**_filled(parameters, count))

    def _connect(self, channel: Json) -> Callable[[int], None]:
        """Attempt a new connection every time."""

        def connect(_count: int) -> None:
            self._open(channel)

        return connect

    def _open(self, channel: Json) -> str:
        path = {name: channel[name] for name in ("source", "destination", "port")}
        outcome = self._control.post("/net/connect", path)
        if not outcome["allowed"]:
            raise RefusedError(str(outcome["reason"]))
        return str(outcome["connection_id"])

    def _stream(self, channel: Json) -> Callable[[int], None]:
        """Keep one connection open and send on it every time; never dial again once it was open."""
        opened: list[str] = []

        def send(_count: int) -> None:
            if not opened:
                opened.append(self._open(channel))
            delivery = self._control.post("/net/send", {"connection_id": opened[0]})
            if not delivery["delivered"]:
                raise RefusedError(str(delivery["reason"]))

        return send

    def _promote(self, channel: Json) -> Callable[[int], None]:
        """Start a pipeline execution and see whether it reaches the last stage."""
        client = self._clients.get(channel["principal"], "codepipeline")
        name = channel["pipeline"]

        def promote(_count: int) -> None:
            execution_id = client.start_pipeline_execution(name=name)["pipelineExecutionId"]
            answer = client.get_pipeline_execution(pipelineName=name, pipelineExecutionId=execution_id)
            status = str(answer["pipelineExecution"]["status"])
            if status != "Succeeded":
                raise RefusedError(f"NotPromoted-{status}")

        return promote


class Rogue:
    """All channels of one agent, and the report about them."""

    def __init__(self, endpoint: str, config: Json) -> None:
        """Prepare every channel of the configuration."""
        self._control = Control(endpoint)
        clients = Clients(endpoint, config["region"], config["principals"])
        repertoire = Repertoire(self._control, clients)
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
        except (OSError, RefusedError) as error:
            # The sandbox may be restarting or gone; the next report carries everything this one would have.
            logger.warning("report.lost %s: %s", self.agent, error)


@contextmanager
def running_rogue(
    endpoint: str, config_path: Path, *, log: Path | None = None
) -> Iterator[subprocess.Popen[bytes]]:
    """Run the rogue agent in its own process for as long as the block lasts."""
    command = [
        sys.executable,
        "-m",
        "drills.sandbox.aws.rogue",
        "--endpoint",
        endpoint,
        "--config",
        str(config_path),
    ]
    with (log or Path(os.devnull)).open("wb") as output:
        process = subprocess.Popen(
            [*command, "--follow-stdin"],
            cwd=Path(__file__).resolve().parents[3],
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


@click.command()
@click.option("--endpoint", required=True, help="URL of the sandbox.")
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
    Rogue(endpoint, json.loads(config_path.read_text(encoding="utf-8"))).run(stop)


if __name__ == "__main__":
    main()
