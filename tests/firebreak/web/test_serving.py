"""``firebreak serve``: what it refuses to start with, and TLS with client certificates of its own."""

from __future__ import annotations

import asyncio
import json
import ssl
import subprocess
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx
import pytest
import trustme
from cryptography import x509
from cryptography.hazmat.primitives.hashes import SHA256

from firebreak.cli.app import run
from firebreak.errors import InventoryError, SettingsError, UsageError
from firebreak.settings import Settings, WebSettings
from firebreak.web.app import create_app
from firebreak.web.server import check, listening, serve, url
from firebreak.web.webhook.configuration import Source, load
from tests.firebreak.web.hooks import Hooks, ids_of, payload, settings_for, sources_file
from tests.firebreak.web.senders import Keys

SECRET = {"id": "a", "env": "WEBHOOK_TEST_TOKEN"}
TOKEN = {"mode": "static_token", "secrets": [SECRET]}
GOOD = {"name": "siem", "adapter": "ocsf", "authentication": TOKEN, "workloads": ["*"]}


def written(folder: Path, *sources: Any) -> Path:
    path = folder / "sources.yaml"
    path.write_text(json.dumps({"version": 1, "sources": sources}))
    return path


def test_a_start_says_nothing_of_what_a_library_wishes_for() -> None:
    command = [sys.executable, "-c", "import firebreak.web.serving"]
    assert subprocess.run(command, capture_output=True, text=True, check=True, timeout=120).stderr == ""


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"adapter": "qradar"}, "is not one of azure_monitor"),
        ({"name": "Has Spaces"}, "name"),
        ({"workloads": []}, "workloads"),
        ({"colour": "red"}, "colour"),
        ({"authentication": {"mode": "none"}}, "authentication"),
        ({"authentication": {"mode": "static_token", "secrets": [{"id": "a", "value": "hunter2"}]}}, "value"),
        ({"authentication": {"mode": "static_token", "secrets": [{"id": "a"}]}}, "either env or file"),
        ({"authentication": {"mode": "static_token", "secrets": []}}, "secrets"),
        ({"authentication": {"mode": "sns", "topics": ["*"]}}, "topics"),
        ({"authentication": {"mode": "mtls", "certificates": ["aa"]}}, "certificates"),
        ({"starts": "everything"}, "starts"),
    ],
)
def test_a_wrong_file_of_sources_is_refused_by_line(
    tmp_path: Path, change: dict[str, Any], told: str
) -> None:
    with pytest.raises(InventoryError, match=r"sources\.yaml:1") as raised:
        load(written(tmp_path, GOOD | change))
    assert told in str(raised.value)
    assert "hunter2" not in str(raised.value)


@pytest.mark.parametrize(
    "bad", [{"jwks_url": "http://login.example/keys"}, {"algorithms": ["none"]}, {"callers": []}]
)
def test_a_token_that_is_not_pinned_is_refused(tmp_path: Path, bad: dict[str, Any]) -> None:
    oidc = {
        "mode": "oidc",
        "issuer": "i",
        "audiences": ["a"],
        "jwks_url": "https://login.example/keys",
        "caller_claim": "azp",
        "callers": ["c"],
    }
    assert load(written(tmp_path, GOOD | {"authentication": oidc}))
    with pytest.raises(InventoryError):
        load(written(tmp_path, GOOD | {"authentication": oidc | bad}))


def test_two_sources_of_one_name_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InventoryError, match="same name"):
        load(written(tmp_path, GOOD, GOOD))


@pytest.mark.parametrize("value", [None, "short"])
async def test_a_secret_that_is_missing_or_short_is_named_and_not_shown(
    hooks: Hooks, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, value: str | None
) -> None:
    if value:
        monkeypatch.setenv("WEBHOOK_TEST_ABSENT", value)
    secret = {"id": "q1", "env": "WEBHOOK_TEST_ABSENT"}
    sources = load(written(tmp_path, GOOD | {"authentication": TOKEN | {"secrets": [secret]}}))
    with pytest.raises(SettingsError, match="q1") as raised:
        create_app(hooks.services, sources)
    assert "'short'" not in str(raised.value)


async def test_a_secret_may_lie_in_a_file(hooks: Hooks, tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("k" * 32 + "\n")
    secret = {"id": "q1", "file": str(tmp_path / "secret")}
    sources = load(written(tmp_path, GOOD | {"authentication": TOKEN | {"secrets": [secret]}}))
    assert create_app(hooks.services, sources).title == "Firebreak"


@pytest.mark.parametrize(
    ("settings", "sources", "told"),
    [
        (WebSettings(), 0, "no source of alerts"),
        (WebSettings(host="0.0.0.0", embedded=True), 0, "this machine only"),  # noqa: S104 - what is refused
        (WebSettings(host="firebreak.example", embedded=True), 1, "this machine only"),
        (WebSettings(tls_certificate=Path("c")), 1, "belong together"),
        (WebSettings(tls_client_ca=Path("c")), 1, "needs"),
    ],
)
def test_it_does_not_listen_unprotected(settings: WebSettings, sources: int, told: str) -> None:
    with pytest.raises(SettingsError, match=told):
        check(settings, sources=sources)


def test_the_embedded_stack_needs_no_source() -> None:
    check(WebSettings(embedded=True), sources=0)


def test_the_command_says_what_is_missing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    settings_for(tmp_path, "q", agents=1)
    monkeypatch.setenv("FIREBREAK_INVENTORY", str(tmp_path / "workloads.yaml"))
    assert run(["serve", "--port", "0"]) == 2
    assert "FIREBREAK_WEB__SOURCES" in capsys.readouterr().err


def test_an_address_that_is_taken_is_a_usage_error() -> None:
    with listening(WebSettings(port=0)) as taken:
        port = taken.getsockname()[1]
        assert url(WebSettings(), taken) == f"http://127.0.0.1:{port}"
        with pytest.raises(UsageError, match=f"cannot listen on 127.0.0.1:{port}"):
            listening(WebSettings(port=port))


@asynccontextmanager
async def served(hooks: Hooks, settings: Settings, sources: list[Source]) -> AsyncIterator[str]:
    """The application on a real socket."""
    app = create_app(replace(hooks.services, settings=settings), sources, read_keys=hooks.keys.read)
    told: asyncio.Future[str] = asyncio.get_running_loop().create_future()
    at = listening(settings.web)
    serving = asyncio.create_task(serve(app, settings.web, at, told.set_result))
    yield await told
    serving.cancel()
    await asyncio.gather(serving, return_exceptions=True)
    at.close()


def in_files(folder: Path, ca: trustme.CA) -> Callable[[str], trustme.LeafCert]:
    def issue(name: str) -> trustme.LeafCert:
        leaf = ca.issue_cert(name)
        leaf.private_key_pem.write_to_path(folder / f"{name}.key")
        (folder / f"{name}.pem").write_bytes(b"".join(blob.bytes() for blob in leaf.cert_chain_pems))
        return leaf

    ca.cert_pem.write_to_path(folder / "ca.pem")
    return issue


def pin_of(leaf: trustme.LeafCert) -> str:
    return x509.load_pem_x509_certificate(leaf.cert_chain_pems[0].bytes()).fingerprint(SHA256()).hex()


@pytest.mark.asyncio(loop_scope="session")
async def test_a_client_certificate_of_our_own_handshake_starts_a_containment(
    hooks: Hooks, tmp_path: Path
) -> None:
    issue = in_files(tmp_path, trustme.CA())
    issue("127.0.0.1")
    pinned = issue("falco.example")
    issue("other.example")
    web = WebSettings(
        port=0,
        answer_seconds=30,
        tls_certificate=tmp_path / "127.0.0.1.pem",
        tls_key=tmp_path / "127.0.0.1.key",
        tls_client_ca=tmp_path / "ca.pem",
    )
    mtls = {"mode": "mtls", "certificates": [pin_of(pinned)]}
    source = Source.model_validate(
        {"name": "falco", "adapter": "falcosidekick", "authentication": mtls, "workloads": ["*"]}
    )
    settings = hooks.services.settings.model_copy(update={"web": web})
    workload = hooks.workload()
    codes = {}
    async with served(hooks, settings, [source]) as where:
        for name in ("other.example", "falco.example", ""):
            context = ssl.create_default_context(cafile=str(tmp_path / "ca.pem"))
            if name:
                context.load_cert_chain(tmp_path / f"{name}.pem", tmp_path / f"{name}.key")
            async with httpx.AsyncClient(verify=context, timeout=30) as client:
                body = payload("falcosidekick", ids_of(workload))
                codes[name] = (await client.post(f"{where}/hooks/falco", json=body)).status_code
    assert codes == {"other.example": 401, "falco.example": 202, "": 401}
    assert await hooks.runs(workload) == 1


def test_every_source_of_the_tests_can_be_loaded(keys: Keys, tmp_path: Path) -> None:
    assert len(load(sources_file(tmp_path, keys))) == 20
