"""``--wait`` on a terminal: what is left when somebody stops watching."""

from __future__ import annotations

import os
import pty
import select
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from temporalio.service import RPCError, RPCStatusCode

from firebreak.cli import session
from firebreak.devserver import dev_server
from tests.firebreak.test_inventory import WHOLE

FRAME = b"\x1b[?25l"
"""A live screen hides the cursor before its first frame."""
PATIENCE = 60.0
INTERRUPTIBLE = (
    "import runpy, signal;"
    "signal.signal(signal.SIGINT, signal.default_int_handler);"
    "runpy.run_module('firebreak', run_name='__main__')"
)
"""As in a terminal: tests in the background of a shell ignore the interrupt, and hand that on."""
CONTAIN = ("contain", "support-agent", "--reason", "drill", "--by", "ada", "--wait")


def test_an_interrupted_wait_leaves_the_incident_and_how_to_see_it(tmp_path: Path) -> None:
    (tmp_path / "workloads.yaml").write_text(WHOLE)
    (tmp_path / "temporal").mkdir()
    leader, follower = pty.openpty()
    with dev_server(tmp_path / "temporal", memory=True) as server:
        process = subprocess.Popen(
            [sys.executable, "-c", INTERRUPTIBLE, *CONTAIN],
            cwd=tmp_path,
            stdout=follower,
            stderr=follower,
            env={**os.environ, "TEMPORAL_ADDRESS": server.address, "TERM": "xterm", "COLUMNS": "200"},
        )
        os.close(follower)
        written = _read_until(leader, b"nobody answers for the run yet")
        process.send_signal(signal.SIGINT)
        written += _read_until(leader, b"interrupted")
        assert process.wait(PATIENCE) == 130
    os.close(leader)
    kept, _, erased = written.partition(FRAME)
    assert b"interrupted" in erased
    assert kept.startswith(b"INC-")
    assert b"goes on" in kept
    assert b"firebreak status containment-" in kept


@pytest.mark.parametrize("status", [RPCStatusCode.CANCELLED, RPCStatusCode.DEADLINE_EXCEEDED])
def test_a_question_that_no_worker_takes_names_the_worker(status: RPCStatusCode) -> None:
    error = session._explained(RPCError("Timeout expired", status, b""))
    assert error.message == "nobody answered in time: Timeout expired"
    assert "firebreak worker --role workflows" in error.remedy


def _read_until(descriptor: int, wanted: bytes) -> bytes:
    written, deadline = b"", time.monotonic() + PATIENCE
    while wanted not in written:
        ready, _, _ = select.select([descriptor], [], [], max(0.0, deadline - time.monotonic()))
        assert ready, f"waited in vain: {written!r}"
        written += os.read(descriptor, 65_536)
    return written
