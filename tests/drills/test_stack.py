"""The embedded stack: each worker sees its own cloud's variables and no other's, and none leads elsewhere."""

from __future__ import annotations

from pathlib import Path

import psutil
import pytest

from drills.stack import AWS_WORKER, AZURE_WORKER, WORKFLOW_WORKER, embedded, visible_to

SHARED = {"PATH": "/bin", "TEMPORAL_ADDRESS": "127.0.0.1:1", "FIREBREAK_EVIDENCE__STORE": "s3://evidence"}
AWS = {"AWS_SECRET_ACCESS_KEY": "a", "AWS_ENDPOINT_URL": "http://127.0.0.1:2"}
AZURE = {
    "AZURE_FEDERATED_TOKEN_FILE": "token",
    "AZURE_TENANT_ID": "tenant",
    "HTTPS_PROXY": "http://127.0.0.1:3",
    "REQUESTS_CA_BUNDLE": "ca.pem",
    "SSL_CERT_FILE": "ca.pem",
    "FIREBREAK_EVIDENCE_BY_CLOUD__AZURE__STORE": "https://evidence.blob.core.windows.net/evidence",
}


@pytest.mark.parametrize(
    ("command", "own"), [(WORKFLOW_WORKER, {}), (AWS_WORKER, AWS), (AZURE_WORKER, AZURE)]
)
def test_a_worker_sees_the_variables_of_its_own_cloud_only(
    command: tuple[str, ...], own: dict[str, str]
) -> None:
    assert visible_to(command, {**SHARED, **AWS, **AZURE}) == {**SHARED, **own}


ELSEWHERE = {
    "TEMPORAL_ADDRESS": "127.0.0.1:1",
    "TEMPORAL_API_KEY": "elsewhere",
    "TEMPORAL_NAMESPACE": "elsewhere",
    "TEMPORAL_CONFIG_FILE": "/elsewhere.toml",
    "FIREBREAK_TASK_QUEUE": "elsewhere",
    "FIREBREAK_NOTIFY__PAGERDUTY_KEY": "elsewhere",
    "FIREBREAK_PAYLOAD_KEY_ID": "elsewhere",
    "https_proxy": "http://127.0.0.1:1/elsewhere",
    "SSL_CERT_FILE": "/elsewhere.pem",
}
"""A responder's own shell."""


def test_nothing_of_the_surrounding_shell_leads_out_of_the_stack(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in ELSEWHERE.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("FIREBREAK_LOG_LEVEL", "WARNING")
    with embedded(tmp_path, clouds=()) as stack:
        started = psutil.Process().children()
        (seen,) = [each.environ() for each in started if "workflows" in each.cmdline()]
    assert stack.temporal_address.startswith("127.0.0.1:")
    for environment in (seen, stack.environment):
        assert environment["TEMPORAL_ADDRESS"] == stack.temporal_address != "127.0.0.1:1"
        assert {name for name, value in environment.items() if "elsewhere" in value} == set()
        assert environment["FIREBREAK_LOG_LEVEL"] == "WARNING"
