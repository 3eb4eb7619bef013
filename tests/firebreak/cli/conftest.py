from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from firebreak.cli.app import run


@dataclass(frozen=True)
class Result:
    """How one ``firebreak`` process ended."""

    code: int
    stdout: str
    stderr: str

    @property
    def json(self) -> Any:
        """The one document on standard output."""
        return json.loads(self.stdout)


Cli = Callable[..., Result]


@pytest.fixture
def cli(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Cli:
    """Run a command line in this process, in an empty folder."""
    monkeypatch.chdir(tmp_path)

    def run_here(*arguments: str, environment: Mapping[str, str] | None = None) -> Result:
        for name, value in (environment or {}).items():
            monkeypatch.setenv(name, value)
        capsys.readouterr()
        code = run(arguments)
        captured = capsys.readouterr()
        return Result(code, captured.out, captured.err)

    return run_here


@pytest.fixture
def process(tmp_path: Path) -> Cli:
    """Run ``firebreak`` as a user does: a process of its own, without a terminal."""

    def run_apart(*arguments: str, environment: Mapping[str, str] | None = None) -> Result:
        ended = subprocess.run(
            [sys.executable, "-m", "firebreak", *arguments],
            cwd=tmp_path,
            env={**os.environ, **(environment or {})},
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        return Result(ended.returncode, ended.stdout, ended.stderr)

    return run_apart
