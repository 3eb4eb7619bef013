"""The embedded stack: Temporal dev server, sandbox accounts with a live sample workload, and workers.

Every part is a process of its own, started the way an operator would start it, so that the demo, the
tests and docker-compose run the same commands.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from drills.keys import signing_keys
from drills.sandbox.aws.client import SandboxClient, start_sandbox
from drills.sandbox.aws.sample import Sample, seed
from firebreak import devserver

WORKFLOW_WORKER = ("worker", "--role", "workflows")
AWS_WORKER = ("worker", "--role", "aws")

CREDENTIAL_PREFIXES = ("AWS_",)
"""What the workflow worker never gets to see."""


@dataclass(frozen=True)
class Stack:
    """A running stack."""

    folder: Path
    temporal_address: str
    temporal_ui: str
    sandbox: SandboxClient
    sample: Sample
    environment: dict[str, str]
    """Variables that point a command at this stack and at nothing else."""


@contextmanager
def embedded(folder: Path, *, settings: Mapping[str, str] | None = None) -> Iterator[Stack]:
    """Run the whole stack for the length of a block; files and logs lie in ``folder``.

    A Temporal server named by ``TEMPORAL_ADDRESS`` is used in place of the embedded one.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with ExitStack() as stack:
        address, ui = stack.enter_context(temporal(folder))
        sandbox = stack.enter_context(start_sandbox(log=folder / "sandbox.log"))
        sample = seed(sandbox, folder / "workloads.yaml")
        environment = {
            **os.environ,
            **sample.environment(),
            **signing_keys(folder),
            "TEMPORAL_ADDRESS": address,
            **(settings or {}),
        }
        for name, command in (("workflows", WORKFLOW_WORKER), ("aws", AWS_WORKER)):
            stack.enter_context(worker(command, environment, folder / f"worker-{name}.log"))
        yield Stack(folder, address, ui, sandbox, sample, environment)


@contextmanager
def temporal(folder: Path) -> Iterator[tuple[str, str]]:
    """Address and web page of the user's own Temporal, or of an embedded one."""
    own = os.environ.get("TEMPORAL_ADDRESS")
    if own:
        yield own, ""
        return
    with devserver.dev_server(folder) as server:
        yield server.address, server.ui


@contextmanager
def worker(
    command: tuple[str, ...], environment: Mapping[str, str], log: Path
) -> Iterator[subprocess.Popen[bytes]]:
    """A worker process; only workers of a cloud get that cloud's credentials."""
    if command == WORKFLOW_WORKER:
        environment = {k: v for k, v in environment.items() if not k.startswith(CREDENTIAL_PREFIXES)}
    with log.open("ab") as output:
        process = subprocess.Popen(
            [sys.executable, "-m", "firebreak", *command], env=dict(environment), stdout=output, stderr=output
        )
    try:
        yield process
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait()


@contextmanager
def rogue_agent(stack: Stack) -> Iterator[subprocess.Popen[bytes]]:
    """The compromised agent, alive for the length of a block; its reports are read from the sandbox."""
    config = stack.sample.rogue_config_path
    arguments = ("--endpoint", stack.sandbox.url, "--config", str(config))
    command = [sys.executable, "-m", "drills.sandbox.aws.rogue", *arguments]
    with (stack.folder / "rogue.log").open("ab") as output:
        process = subprocess.Popen(command, stdout=output, stderr=output)
    try:
        yield process
    finally:
        process.terminate()
        process.wait()
