"""Logs go to standard error, carry the incident, and hold no secret."""

from __future__ import annotations

import io
import json
import logging
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import pytest
import structlog
from structlog.testing import capture_logs

from firebreak.errors import SettingsError
from firebreak.logs import AUDIT, REDACTED, bind_incident, configure, keep_audit, redact, redacted_text
from firebreak.settings import Settings

SECRET_KEY = "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY"
SESSION = "IQoJb3JpZ2luX2VjEAMPLE1" + "aB3/+" * 60 + "=="
JWT = "eyJhbGciOiJSUzI1NiJ9.eyJzdWIiOiJhZ2VudCJ9.c2lnbmF0dXJl"
PEM = "-----BEGIN EC PRIVATE KEY-----\nMHcCAQEEIabc\n-----END EC PRIVATE KEY-----"
DIGEST = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.fixture(autouse=True)
def restored() -> Iterator[None]:
    root = logging.getLogger()
    handlers, level = list(root.handlers), root.level
    yield
    root.handlers[:] = handlers
    root.setLevel(level)
    audit = logging.getLogger(AUDIT)
    audit.handlers[:] = []
    audit.setLevel(logging.NOTSET)
    structlog.reset_defaults()
    structlog.contextvars.clear_contextvars()


def logged(stream: io.StringIO) -> list[dict[str, Any]]:
    return [json.loads(line) for line in stream.getvalue().splitlines()]


def configured(
    log_format: Literal["auto", "json", "console"] = "auto", level: Literal["DEBUG", "INFO"] = "INFO"
) -> io.StringIO:
    stream = io.StringIO()
    configure(Settings(log_format=log_format, log_level=level), stream)
    return stream


def test_records_go_to_standard_error_as_json_when_it_is_no_terminal(
    capsys: pytest.CaptureFixture[str],
) -> None:
    configure(Settings())
    structlog.get_logger("firebreak.steps").info("measure.applied", measure="aws.deny-all", changed=True)
    out, err = capsys.readouterr()
    assert out == ""
    record = json.loads(err)
    assert record["event"] == "measure.applied"
    assert (record["measure"], record["changed"], record["level"]) == ("aws.deny-all", True, "info")
    assert record["logger"] == "firebreak.steps"
    assert record["timestamp"].endswith("Z")


def test_a_terminal_gets_colours_and_a_pipe_does_not() -> None:
    terminal = Terminal()
    configure(Settings(), terminal)
    structlog.get_logger().info("phase.verified")
    assert "\x1b[" in terminal.getvalue()
    pipe = configured("console")
    structlog.get_logger().info("phase.verified")
    assert "phase.verified" in pipe.getvalue()
    assert "\x1b[" not in pipe.getvalue()


def test_the_incident_is_on_every_record_of_ours_and_of_libraries() -> None:
    stream = configured()
    bind_incident("INC-1")
    structlog.get_logger().info("phase.verified")
    logging.getLogger("somebody").warning("heard %s", "once")
    assert [record["incident_id"] for record in logged(stream)] == ["INC-1", "INC-1"]
    assert logged(stream)[1]["event"] == "heard once"


def test_chatty_libraries_are_heard_from_warning_on_even_when_debugging() -> None:
    stream = configured(level="DEBUG")
    for name in ("botocore.auth", "temporalio.worker", "urllib3.connectionpool"):
        logging.getLogger(name).debug("canonical request")
        logging.getLogger(name).info("canonical request")
        logging.getLogger(name).warning("trouble")
    structlog.get_logger("firebreak").debug("measure.observed")
    assert [record["event"] for record in logged(stream)] == ["trouble"] * 3 + ["measure.observed"]


def test_levels_below_the_setting_are_silent_and_reconfiguring_does_not_double() -> None:
    configured()
    stream = configured()
    log = structlog.get_logger()
    log.debug("measure.observed")
    log.info("measure.applied")
    assert len(logged(stream)) == 1


def test_loggers_made_before_the_configuration_follow_it() -> None:
    log = structlog.get_logger("firebreak.early")
    log_bound = log.bind(a=1)
    stream = configured()
    log.info("measure.applied")
    assert logged(stream)[0]["event"] == "measure.applied"
    assert log_bound is not None


@pytest.mark.parametrize("secret", [SECRET_KEY, SESSION, JWT, PEM, PEM[:45]])
@pytest.mark.parametrize("place", ["{}", "assumed with {} at once", "foo={}", '{{"x": "{}"}}'])
def test_what_looks_like_a_secret_is_replaced_wherever_it_stands(secret: str, place: str) -> None:
    clean = redacted_text(place.format(secret))
    assert REDACTED in clean
    assert secret[-20:] not in clean


@pytest.mark.parametrize(
    "text",
    [
        "password=hunter2",
        "Authorization: Bearer hunter2",
        "{'SecretAccessKey': 'hunter2'}",
        '{"SessionToken":"hunter2"}',
        "https://s3/x?X-Amz-Security-Token=hunter2&X-Amz-Expires=60",
        "https://s3/x?X-Amz-Signature=hunter2",
        "api_key='hunter2'",
        "https://firebreak.example.org/answer/.eJw9hunter2hunter2.aB-_c",
    ],
)
def test_secrets_named_in_free_text_are_replaced(text: str) -> None:
    assert "hunter2" not in redacted_text(text)


@pytest.mark.parametrize(
    "text",
    [
        DIGEST,
        "9b1deb4d3b7d4bad9bdd2b0d7b3dcb6d12345678",  # a commit, 40 hex digits
        "arn:aws:iam::222222222222:role/service/agent-runtime",
        "s3://evidence-bucket/firebreak/INC-1/data/phases/1/aws.deny-all/agent-1a2b/findings.json",
        "denied: AccessDenied (403)",
        "the session token is older than the revocation",
        "2026-01-02T03:04:05.000000Z",
    ],
)
def test_identifiers_and_words_stay_readable(text: str) -> None:
    assert redacted_text(text) == text


def test_secret_names_are_replaced_at_any_depth_and_plain_ones_kept() -> None:
    event = {
        "event": "session.obtained",
        "access_key_id": "AKIAX",
        "Credentials": {"anything": "x"},
        "response": {"SessionToken": "x", "Expiration": "soon", "list": [{"password": "x"}, SECRET_KEY]},
        "token_count": 12,
        "secret": None,
        "pair": ("a", 1, 2.5, True),
    }
    assert redact(None, "info", event) == {
        "event": "session.obtained",
        "access_key_id": REDACTED,
        "Credentials": REDACTED,
        "response": {
            "SessionToken": REDACTED,
            "Expiration": "soon",
            "list": [{"password": REDACTED}, REDACTED],
        },
        "token_count": 12,
        "secret": None,
        "pair": ["a", 1, 2.5, True],
    }


@dataclass
class Session:
    access_key: str
    region: str


def test_objects_are_cleaned_as_the_text_they_would_print() -> None:
    stream = configured()
    structlog.get_logger().info(
        "session.obtained", session=Session("hunter2", "eu-central-1"), raw=b"password=hunter2"
    )
    assert "hunter2" not in stream.getvalue()
    assert "eu-central-1" in stream.getvalue()


def test_a_structure_that_contains_itself_does_not_hang() -> None:
    loop: dict[str, Any] = {"password": "hunter2"}
    loop["self"] = loop
    assert "hunter2" not in str(redact(None, "info", {"loop": loop}))


def _fail(unseen: str) -> None:  # noqa: ARG001 - a traceback must not show it
    raise ValueError(f"cannot sign with {SECRET_KEY}") from KeyError("password=hunter2")


def test_tracebacks_are_cleaned_and_show_no_local_values() -> None:
    stream = configured()
    try:
        _fail("local" + "-value")
    except ValueError:
        structlog.get_logger().exception("measure.failed")
        logging.getLogger("somebody").exception("also failed")
    for record in logged(stream):
        assert "ValueError: cannot sign with [redacted]" in record["exception"]
        assert "in _fail" in record["exception"]
    assert SECRET_KEY not in stream.getvalue()
    assert "hunter2" not in stream.getvalue()
    assert "local-value" not in stream.getvalue()


def test_positional_arguments_of_libraries_are_cleaned() -> None:
    stream = configured()
    logging.getLogger("somebody").warning("request with %s", {"SessionToken": "hunter2"})
    assert "hunter2" not in stream.getvalue()


@pytest.mark.parametrize(
    "piece", ["a", "A", "eyJ", "token", "secret=", "-----BEGIN ", "A-----", "aB/", "eyJhbGciO."]
)
def test_hostile_text_costs_linear_time(piece: str) -> None:
    text = piece * (300_000 // len(piece))
    began = time.process_time()
    redacted_text(text)
    assert time.process_time() - began < 5


def test_events_can_be_captured_in_tests() -> None:
    configured()
    with capture_logs() as captured:
        structlog.get_logger().info("evidence.sealed", exhibits=3)
    assert captured == [{"event": "evidence.sealed", "exhibits": 3, "log_level": "info"}]


def test_the_audit_log_keeps_what_people_did_whatever_the_level_of_the_log(tmp_path: Path) -> None:
    shown, path = io.StringIO(), tmp_path / "audit.jsonl"
    configure(Settings(log_level="WARNING"), shown)
    keep_audit(path, "WARNING")
    structlog.get_logger(AUDIT).info("person.asked", name="casey", allowed=True, token=JWT)
    structlog.get_logger("firebreak.worker").warning("worker.stopping")
    path.rename(tmp_path / "audit.1")  # as logrotate does
    structlog.get_logger(AUDIT).warning("link.refused", subject="casey")
    (first,) = (tmp_path / "audit.1").read_text().splitlines()
    assert json.loads(first) | {"timestamp": ""} == {
        "event": "person.asked",
        "level": "info",
        "logger": AUDIT,
        "name": "casey",
        "allowed": True,
        "token": REDACTED,
        "timestamp": "",
    }
    assert json.loads(path.read_text())["event"] == "link.refused"
    assert not any(each.stat().st_mode & 0o077 for each in tmp_path.iterdir())
    assert "person.asked" not in shown.getvalue()
    assert "link.refused" in shown.getvalue()


def test_an_audit_log_that_cannot_be_written_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="the audit log cannot be written: No such file") as raised:
        keep_audit(tmp_path / "nowhere" / "audit.jsonl", "INFO")
    assert "FIREBREAK_CONSOLE__AUDIT_LOG" in str(raised.value.remedy)
