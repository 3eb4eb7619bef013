from __future__ import annotations

import os
import pty
import subprocess
import sys

import pytest

from firebreak.cli.live import showing
from firebreak.model import Verdict
from tests.firebreak.cli.test_view import phase, run

PROGRAM = """
from firebreak.cli.live import showing
from tests.firebreak.cli.test_view import phase, run
with showing() as seen:
    seen(run(phase(1, started=0, verified=5)))
"""


def test_without_a_terminal_each_change_is_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    with showing() as seen:
        for elapsed in (1, 2, 3):
            seen(run(phase(1, started=0), elapsed_seconds=elapsed))
        seen(run(finished=True, verdict=Verdict.CONTAINED))
    captured = capsys.readouterr()
    assert captured.out == ""
    assert [line.partition("Z ")[2] for line in captured.err.splitlines()] == [
        "INC-1 | agent | phase 1 identity revoke: 0 of 0 measures proved",
        "INC-1 | agent | contained",
    ]


@pytest.mark.parametrize(("variables", "coloured"), [({}, True), ({"NO_COLOR": "1"}, False)])
def test_on_a_terminal_the_screen_is_drawn_and_colour_is_a_choice(
    variables: dict[str, str], coloured: bool
) -> None:
    leader, follower = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, "-c", PROGRAM],
        stderr=follower,
        stdout=subprocess.PIPE,
        env={**os.environ, "TERM": "xterm-256color", "COLUMNS": "140", "LINES": "50", **variables},
    )
    os.close(follower)
    written = b""
    while chunk := _read(leader):
        written += chunk
    out, _ = process.communicate(timeout=60)
    assert process.returncode == 0
    assert out == b""
    assert b"IDENTITY REVOKE" in written
    assert (b"\x1b[1;32m" in written) is coloured


def _read(descriptor: int) -> bytes:
    try:
        return os.read(descriptor, 65_536)
    except OSError:  # Linux says so when the other end of a pseudo-terminal is closed
        return b""
