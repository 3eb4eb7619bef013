"""The embedded stack: each worker sees its own cloud's variables and no other's."""

from __future__ import annotations

import pytest

from drills.stack import AWS_WORKER, AZURE_WORKER, WORKFLOW_WORKER, visible_to

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
