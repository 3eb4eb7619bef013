"""Every source's alert, end to end in the sandbox: contained and proved, or without a single change."""

from __future__ import annotations

import asyncio
import hashlib
import json
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from drills.sandbox.aws.client import SandboxClient
from drills.sandbox.aws.sample import EVIDENCE_ACCOUNT
from firebreak.devserver import DevServer
from firebreak.evidence.sign import load_public_keys
from firebreak.evidence.verify import verify
from firebreak.model import Verdict, Workload
from firebreak.start import Started
from tests.e2e.aws import AwsScene, export_public_key
from tests.e2e.stack import Stack, running_stack, unproved
from tests.firebreak.web.hooks import UNKNOWN, Hooks, hooks_on, ids_of, payload, senders, sent, sources_file
from tests.firebreak.web.senders import Keys, Sent, keys_in_environment
from tests.firebreak.web.test_sources_end_to_end import CASES, Case

EXPORTED = ("sentinel", "guardduty-sns", "scc", "pagerduty")
"""Sources whose packages are exported and verified: bare, in SNS, in Pub/Sub, signed in a header."""


@dataclass(frozen=True)
class Hooked:
    """A sandbox with one workload for each source, workers, and the web application before them."""

    stack: Stack
    hooks: Hooks
    folder: Path

    def target(self, case: Case) -> Workload:
        """The source's own workload."""
        return self.stack.workload(self.stack.sample.workload_ids[CASES.index(case)])

    def send(self, requests: list[tuple[str, Sent]]) -> list[tuple[int, dict[str, Any]]]:
        """Deliver all of them at once."""

        async def together() -> list[tuple[int, dict[str, Any]]]:
            answers = await asyncio.gather(*(self.hooks.post(source, each) for source, each in requests))
            return [(answer.status_code, answer.json()) for answer in answers]

        return self.stack.loop.run(together())


@pytest.fixture(scope="module")
def keys() -> Iterator[Keys]:
    with keys_in_environment() as made:
        yield made


@pytest.fixture(scope="module")
def hooked(
    sandbox: SandboxClient, server: DevServer, keys: Keys, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Hooked]:
    folder = tmp_path_factory.mktemp("hooked")
    web = {"FIREBREAK_WEB__TRUSTED_PROXIES": '["10.9.8.7/32"]', "FIREBREAK_WEB__ANSWER_SECONDS": "30"}
    with running_stack(AwsScene(sandbox), server, folder, copies=len(CASES), settings=web) as stack:
        sources = sources_file(folder, keys, "*")
        yield Hooked(stack, hooks_on(stack.client, stack.settings, keys, sources), folder)


def bad_variants(hooked: Hooked, case: Case) -> Iterator[tuple[str, Sent, int]]:
    """Requests that must change nothing, with the answer that each is given."""
    sign, ids = senders(hooked.hooks.keys)[case.source], ids_of(hooked.target(case))
    old, good = datetime.now(UTC) - timedelta(days=30), payload(case.kind, ids)
    yield "unproved", Sent(json.dumps(good).encode()), 401
    yield "stale", sent(sign, payload(case.kind, ids, old), old), case.stale
    yield "oversized", sent(sign, {**good, "padding": "x" * 300_000}), 413
    yield "cut", sent(sign, b'{"cut": '), 422
    yield "malformed", sent(sign, payload(case.kind, ids, **{case.missing: None})), 422
    yield "unknown", sent(sign, payload(case.kind, UNKNOWN)), 202
    for done in (case.done, *case.more_done):
        yield "over", sent(sign, payload(case.kind, ids, **done)), 202
    if case.sample:
        yield "sample", sent(sign, payload(case.kind, ids, **case.sample)), 202


def test_bad_variants_of_every_source_make_no_mutating_call(hooked: Hooked) -> None:
    before = hooked.stack.seq()
    variants = [(case, *each) for case in CASES for each in bad_variants(hooked, case)]
    answers = hooked.send([(case.source, request) for case, _, request, _ in variants])
    for (case, name, _, code), (status, told) in zip(variants, answers, strict=True):
        assert status == code, (case.source, name, told)
        assert told.get("status") in {None, "paged", "ignored"}, (case.source, name, told)
    assert hooked.stack.mutating(before) == []


def test_every_source_contains_its_workload_and_its_bytes_are_exhibit_zero(hooked: Hooked) -> None:
    requests = {
        case.source: sent(
            senders(hooked.hooks.keys)[case.source], payload(case.kind, ids_of(hooked.target(case)))
        )
        for case in CASES
    }
    answers = dict(zip(requests, hooked.send(list(requests.items())), strict=True))
    repeated = hooked.send(list(requests.items()))
    for (source, (code, told)), (again, retold) in zip(answers.items(), repeated, strict=True):
        assert (code, told["status"], told["joined"]) == (202, "started", False), (source, told)
        assert (again, retold) == (202, told | {"repeated": True})
    for case in CASES:
        _, told = answers[case.source]
        started = Started(
            incident_id=told["incident_id"], workflow_id=told["workflow_id"], run_id="", joined=False
        )
        hooked.stack.started.add(started.workflow_id)
        if case.weak:
            hooked.stack.until(started, lambda d: d.awaiting is not None)
            hooked.stack.decide(told["incident_id"], "approve")
        document = hooked.stack.until(started, lambda d: d.finished)
        assert document.verdict is Verdict.CONTAINED, (case.source, unproved(document), document.refusals)
        assert (document.workload_id, document.alerts) == (hooked.target(case).id, 1)
        assert document.evidence is not None
        if case.source in EXPORTED:
            _check_package(hooked, document.evidence.uri, told["incident_id"], requests[case.source].body)


def _check_package(hooked: Hooked, uri: str, incident_id: str, raw: bytes) -> None:
    """The exported package is whole, holds the bytes that came in, and no secret of the sender."""
    target = hooked.folder / incident_id
    exported = hooked.stack.cli("evidence", "export", uri, str(target))
    assert exported.code == 0, exported.err
    pem = hooked.folder / "live.pub"
    key = export_public_key(hooked.stack.sandbox, EVIDENCE_ACCOUNT, hooked.stack.sample.signing_key_arn, pem)
    report = verify(target, load_public_keys([key]))
    assert report.ok, report
    bag = next(target.rglob("manifest-sha256.txt")).parent
    assert (bag / "data/trigger/raw-1.bin").read_bytes() == raw
    digest = hashlib.sha256(raw).hexdigest()
    assert f"{digest}  data/trigger/raw-1.bin" in (bag / "manifest-sha256.txt").read_text()
    custody = (bag / "data/custody/custody.jsonl").read_text()
    assert digest in custody.splitlines()[0]
    about = (bag / "data/trigger/headers-1.json").read_text()
    assert digest in about
    kept = about + custody + (bag / "data/trigger/trigger.json").read_text()
    assert not any(secret in kept for secret in hooked.hooks.keys.secrets.values())
