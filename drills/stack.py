"""The embedded stack: Temporal dev server, sandbox accounts with live sample workloads, and workers.

Every part is a process of its own, started the way an operator would start it, so that the demo, the
tests and docker-compose run the same commands. What does not wait for another part starts beside it.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from drills.keys import signing_keys
from drills.sandbox.aws import client as aws_client
from drills.sandbox.aws import sample as aws_sample
from drills.sandbox.azure import client as azure_client
from drills.sandbox.azure import sample as azure_sample
from drills.sandbox.rogue import running_rogue
from drills.sandbox.sample import INVENTORY_FILE, Sample, Sandbox, joined_environment, joined_inventory
from firebreak import devserver
from firebreak.model import Cloud

CLOUDS = (Cloud.AWS, Cloud.AZURE)
WORKFLOW_WORKER = ("worker", "--role", "workflows")
AWS_WORKER = ("worker", "--role", "aws")
AZURE_WORKER = ("worker", "--role", "azure")
CLOUD_WORKERS = {Cloud.AWS: AWS_WORKER, Cloud.AZURE: AZURE_WORKER}

OWN_VARIABLES = {
    Cloud.AWS: ("AWS_",),
    Cloud.AZURE: (
        *("AZURE_", "HTTPS_PROXY", "NO_PROXY", "REQUESTS_CA_BUNDLE", "SSL_CERT_FILE"),
        "FIREBREAK_EVIDENCE_BY_CLOUD__AZURE__",
    ),
}
"""How the variables begin that only one cloud's worker gets to see: credentials, and ways to the sandbox."""
CREDENTIAL_PREFIXES = tuple(prefix for each in OWN_VARIABLES.values() for prefix in each)
"""What the workflow worker never gets to see."""
SIGNING_VARIABLES = ("SIGNING_KEY", "DRILL_SIGNING_KEY")


@dataclass(frozen=True)
class Played:
    """One cloud as a sandbox plays it."""

    sandbox: Sandbox
    sample: Sample


@dataclass(frozen=True)
class Stack:
    """A running stack."""

    folder: Path
    temporal_address: str
    temporal_ui: str
    clouds: Mapping[Cloud, Played]
    inventory_path: Path
    """The workloads of every cloud."""
    environment: dict[str, str]
    """Variables that point a command at this stack and at nothing else."""


@contextmanager
def embedded(
    folder: Path, *, settings: Mapping[str, str] | None = None, clouds: Sequence[Cloud] = CLOUDS
) -> Iterator[Stack]:
    """Run the whole stack for the length of a block; files and logs lie in ``folder``.

    A Temporal server named by ``TEMPORAL_ADDRESS`` is used in place of the embedded one.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with ExitStack() as stack:
        with ThreadPoolExecutor(len(clouds) + 1) as pool:
            playing = {cloud: pool.submit(_play, stack, cloud, folder) for cloud in clouds}
            serving = pool.submit(_serve, stack, folder, settings or {})
        address, ui = serving.result()
        played = {cloud: each.result() for cloud, each in playing.items()}
        inventory = joined_inventory(
            folder / INVENTORY_FILE, [each.sample.inventory_path for each in played.values()]
        )
        environment = {
            **os.environ,
            **_settings_of(played, inventory, folder),
            "TEMPORAL_ADDRESS": address,
            **(settings or {}),
        }
        for cloud in clouds:
            command, log = CLOUD_WORKERS[cloud], folder / f"worker-{cloud}.log"
            stack.enter_context(worker(command, environment, log))
        yield Stack(folder, address, ui, played, inventory, environment)


def _serve(stack: ExitStack, folder: Path, settings: Mapping[str, str]) -> tuple[str, str]:
    """Start Temporal and the workflow worker, which needs nothing of any cloud."""
    address, ui = stack.enter_context(temporal(folder))
    environment = {**os.environ, "TEMPORAL_ADDRESS": address, **settings}
    stack.enter_context(worker(WORKFLOW_WORKER, environment, folder / "worker-workflows.log"))
    return address, ui


def _play(stack: ExitStack, cloud: Cloud, folder: Path) -> Played:
    """Start a cloud's sandbox and seed it."""
    own, log = folder / cloud.value, folder / f"sandbox-{cloud}.log"
    own.mkdir(exist_ok=True)
    inventory = own / INVENTORY_FILE
    if cloud is Cloud.AWS:
        aws = stack.enter_context(aws_client.start_sandbox(log=log))
        return Played(aws, aws_sample.seed(aws, inventory))
    azure = stack.enter_context(azure_client.start_sandbox(log=log))
    return Played(azure, azure_sample.seed(azure, inventory))


def _settings_of(played: Mapping[Cloud, Played], inventory: Path, folder: Path) -> dict[str, str]:
    """Every sample's variables; evidence is signed with files, since no key of a sandbox outlives it."""
    joined = joined_environment(inventory, [each.sample.environment() for each in played.values()])
    in_clouds = [f"FIREBREAK_EVIDENCE_BY_CLOUD__AZURE__{name}" for name in SIGNING_VARIABLES]
    own = {name: value for name, value in joined.items() if name not in in_clouds}
    return {**own, **signing_keys(folder)}


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
    with log.open("ab") as output:
        process = subprocess.Popen(
            [sys.executable, "-m", "firebreak", *command],
            env=visible_to(command, environment),
            stdout=output,
            stderr=output,
        )
    try:
        yield process
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait()


def visible_to(command: tuple[str, ...], environment: Mapping[str, str]) -> dict[str, str]:
    """The variables that the worker of this command may see: no other cloud's."""
    hidden = tuple(
        prefix
        for cloud, prefixes in OWN_VARIABLES.items()
        for prefix in prefixes
        if CLOUD_WORKERS[cloud] != command
    )
    return {name: value for name, value in environment.items() if not name.startswith(hidden)}


@contextmanager
def rogue_agents(stack: Stack) -> Iterator[tuple[subprocess.Popen[bytes], ...]]:
    """The compromised agents, alive for the length of a block; their reports are read from the sandboxes."""
    with ExitStack() as agents:
        yield tuple(
            agents.enter_context(_rogue_agent(stack.folder / f"rogue-{cloud}.log", each.sample))
            for cloud, each in stack.clouds.items()
        )


def _rogue_agent(log: Path, sample: Sample) -> AbstractContextManager[subprocess.Popen[bytes]]:
    if sample.rogue_config_path is None:
        raise ValueError(f"nobody attacks through {', '.join(sample.workload_ids)}")
    return running_rogue(sample.rogue_module, sample.endpoint, sample.rogue_config_path, log=log)
