from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

PROLOGUE = "import atexit, sys; from firebreak.cli.exit import run_and_exit\n"


def ended(program: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", PROLOGUE + program], capture_output=True, text=True, timeout=60, check=False
    )


@pytest.mark.parametrize("code", [0, 3])
def test_the_code_is_kept_and_output_is_flushed(code: int) -> None:
    result = ended(f"run_and_exit(lambda: (print('said', end=''), {code})[1])")
    assert (result.returncode, result.stdout) == (code, "said")


def test_the_interpreter_is_not_finalised() -> None:
    result = ended("atexit.register(lambda: print('finalised'))\nrun_and_exit(lambda: 0)")
    assert (result.returncode, result.stdout) == (0, "")


def test_an_error_on_the_way_is_shown_and_not_a_success() -> None:
    result = ended("run_and_exit(lambda: 1 // 0)")
    assert result.returncode == 1
    assert "ZeroDivisionError" in result.stderr


def test_a_closed_pipe_is_no_traceback() -> None:
    program = PROLOGUE + "run_and_exit(lambda: (sys.stdout.write('x' * 1_000_000), 0)[1])"
    with subprocess.Popen(
        [sys.executable, "-c", program], stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as process:
        assert process.stdout is not None
        process.stdout.close()
        assert process.stderr is not None
        assert b"Exception ignored" not in process.stderr.read()
    assert process.returncode == 1


COMMANDS = [["measures"], ["measures", "--json"], ["inventory", "schema"]]


@pytest.mark.parametrize("arguments", COMMANDS)
def test_a_command_whose_reader_is_gone_says_nothing(arguments: list[str]) -> None:
    with subprocess.Popen(
        [sys.executable, "-m", "firebreak", *arguments], stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.close()
        assert process.stderr.read() == b""
    assert process.returncode == 1


@pytest.mark.parametrize("arguments", COMMANDS)
def test_a_command_without_a_standard_output_says_nothing(arguments: list[str]) -> None:
    closed = ["sh", "-c", 'exec "$@" >&-', "sh", sys.executable, "-m", "firebreak", *arguments]
    result = subprocess.run(closed, capture_output=True, text=True, timeout=60, check=False)
    assert (result.returncode, result.stderr) == (0, "")


@pytest.mark.parametrize("arguments", COMMANDS)
def test_a_full_disk_is_one_line(arguments: list[str]) -> None:
    with Path("/dev/full").open("w") as full:
        result = subprocess.run(
            [sys.executable, "-m", "firebreak", *arguments],
            stdout=full, stderr=subprocess.PIPE, text=True, timeout=60, check=False,
        )  # fmt: skip
    assert result.returncode == 1
    assert result.stderr.startswith("error: ")
    assert "No space left" in result.stderr
    assert "Traceback" not in result.stderr
