"""The embedded stack: Temporal dev server, sandbox accounts with live sample workloads, and workers.

Every part is a process of its own, started the way an operator would start it, so that the demo, the
tests and docker-compose run the same commands. What does not wait for another part starts beside it.
"""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from google.protobuf.duration_pb2 import Duration
from temporalio.api.namespace.v1 import NamespaceConfig
from temporalio.api.workflowservice.v1 import UpdateNamespaceRequest
from temporalio.client import Client

from drills.keys import signing_keys
from drills.sandbox.aws import client as aws_client
from drills.sandbox.aws import sample as aws_sample
from drills.sandbox.azure import client as azure_client
from drills.sandbox.azure import sample as azure_sample
from drills.sandbox.rogue import running_rogue
from drills.sandbox.sample import INVENTORY_FILE, Sample, Sandbox, joined_environment, joined_inventory
from firebreak import devserver
from firebreak.connect import RETENTION
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
FOREIGN = ("AWS_", "AZURE_", "TEMPORAL_", "FIREBREAK_", "SSL_CERT_", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE")
"""How variables begin by which the surrounding shell names its own accounts, server, channels and ways."""
KEPT = ("FIREBREAK_LOG_", "FIREBREAK_PROOF__")
"""What of them a stack goes by all the same: it reaches nobody."""


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

    It is always on this machine: no variable of the shell leads to another server, account or person.
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
            **surroundings(address),
            **_settings_of(played, inventory, folder),
            **(settings or {}),
        }
        for cloud in clouds:
            command, log = CLOUD_WORKERS[cloud], folder / f"worker-{cloud}.log"
            stack.enter_context(worker(command, environment, log))
        yield Stack(folder, address, ui, played, inventory, environment)


def _serve(stack: ExitStack, folder: Path, settings: Mapping[str, str]) -> tuple[str, str]:
    """Start Temporal and the workflow worker, which needs nothing of any cloud."""
    server = stack.enter_context(devserver.dev_server(folder))
    asyncio.run(_remember(server.address))
    environment = {**surroundings(server.address), **settings}
    stack.enter_context(worker(WORKFLOW_WORKER, environment, folder / "worker-workflows.log"))
    return server.address, server.ui


async def _remember(address: str) -> None:
    """Let the namespace keep ended runs as long as a release may need them."""
    client, kept = await Client.connect(address), Duration()
    kept.FromTimedelta(RETENTION)
    config = NamespaceConfig(workflow_execution_retention_ttl=kept)
    await client.workflow_service.update_namespace(
        UpdateNamespaceRequest(namespace=client.namespace, config=config)
    )


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


def foreign_variables() -> list[str]:
    """The variables of this process that lead out of an embedded stack."""
    return [
        name
        for name in os.environ
        if (name.startswith(FOREIGN) or name.upper().endswith("_PROXY")) and not name.startswith(KEPT)
    ]


def surroundings(address: str) -> dict[str, str]:
    """The variables of this process without foreign ones, and Temporal's at that address."""
    foreign = foreign_variables()
    own = {name: value for name, value in os.environ.items() if name not in foreign}
    # A profile in the user's own file would add its key, namespace and certificates to the address.
    return {**own, "TEMPORAL_ADDRESS": address, "TEMPORAL_CONFIG_FILE": os.devnull}


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
