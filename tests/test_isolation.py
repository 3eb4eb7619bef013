from __future__ import annotations

import os
import socket

import pytest


@pytest.mark.parametrize("host", ["192.0.2.1", "2001:db8::1", "example.invalid"])
def test_a_test_cannot_reach_beyond_this_machine(host: str) -> None:
    with pytest.raises(RuntimeError, match="a test tried to") as caught:
        socket.create_connection((host, 443), timeout=0.1)
    assert not isinstance(caught.value, OSError)


def test_datagrams_are_refused_too() -> None:
    with (
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender,
        pytest.raises(RuntimeError, match=r"a test tried to reach 192\.0\.2\.1"),
    ):
        sender.sendto(b"x", ("192.0.2.1", 53))


def test_this_machine_can_be_reached() -> None:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        socket.create_connection(listener.getsockname(), timeout=5).close()


def test_no_credentials_of_the_developer_are_in_reach() -> None:
    assert os.environ["AWS_SHARED_CREDENTIALS_FILE"] == os.devnull
    assert "AWS_PROFILE" not in os.environ
