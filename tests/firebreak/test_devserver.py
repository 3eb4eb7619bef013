from __future__ import annotations

import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from firebreak import devserver
from firebreak.errors import FirebreakError


@pytest.fixture
def taken() -> Iterator[int]:
    """A port that somebody else listens on."""
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        yield other.getsockname()[1]


def test_a_port_lost_to_another_process_is_replaced(
    taken: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    free, handed_out = devserver.free_port, iter([taken])
    monkeypatch.setattr(devserver, "free_port", lambda: next(handed_out, 0) or free())
    with devserver.dev_server(tmp_path, memory=True) as server:
        assert server.process.poll() is None
        assert not server.address.endswith(f":{taken}")


def test_a_chosen_port_that_is_taken_is_an_error(taken: int, tmp_path: Path) -> None:
    with (
        pytest.raises(FirebreakError, match="the Temporal dev server ended"),
        devserver.dev_server(tmp_path, port=taken, ui_port=devserver.free_port(), memory=True),
    ):
        pytest.fail("a server runs on a port that is taken")
