"""A small but complete package, sealed through the production path."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import pytest

from firebreak.evidence import custody
from firebreak.evidence.bag import Contents, Sealed, seal
from firebreak.evidence.custody import Action, Actor, CustodyEvent
from firebreak.evidence.export import export
from firebreak.evidence.layout import payload_key
from firebreak.evidence.local import LocalVault
from firebreak.evidence.sign import TrustedKey, generate_key, load_public_keys, open_signer
from firebreak.model import Exhibit, Mode

AT = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
INCIDENT = "INC-1"


@dataclass
class Desk:
    """What a test works with: a vault, a key, and shorthands over the production functions."""

    root: Path
    vault: LocalVault
    key: Path

    def exhibit(self, name: str, body: bytes | Iterable[bytes]) -> Exhibit:
        return Exhibit(
            evidence_id=name,
            kind="log",
            source="arn:aws:logs:eu-central-1:222222222222:log-group:agent",
            acquired_by="logs:FilterLogEvents",
            collected_at=AT,
            stored=self.vault.put(payload_key(INCIDENT, name), body),
        )

    def events(self, exhibits: Iterable[Exhibit]) -> list[CustodyEvent]:
        responder = Actor(
            who="arn:aws:sts::222222222222:assumed-role/responder/INC-1", software="firebreak 0.1.0"
        )
        person = Actor(who="alex@example.org", human=True)
        decided = CustodyEvent(
            event_id="e-0", action=Action.DECIDED, actor=person, at=AT, purpose="containment"
        )
        return [
            decided,
            *(
                CustodyEvent(
                    event_id=f"e-{number}",
                    action=Action.COLLECTED,
                    actor=responder,
                    at=AT,
                    evidence_ids=(exhibit.evidence_id,),
                )
                for number, exhibit in enumerate(exhibits, start=1)
            ),
        ]

    def contents(self, exhibits: list[Exhibit], mode: Mode = Mode.LIVE) -> Contents:
        lines, _ = custody.extend(custody.genesis(INCIDENT), self.events(exhibits))
        return Contents(INCIDENT, mode, exhibits, lines, {"verdict": "contained", "phases": [1, 2]}, AT)

    def seal(self, exhibits: list[Exhibit], mode: Mode = Mode.LIVE) -> Sealed:
        return seal(self.vault, self.contents(exhibits, mode), open_signer(f"file:{self.key}"))

    def small(self) -> list[Exhibit]:
        return [
            self.exhibit("trigger/raw.bin", b"\x00\xffalert"),
            self.exhibit("phases/1/aws.deny-all/agent-1a2b/findings.json", b'[{"holds": true}]'),
            self.exhibit("phases/4/aws.capture-audit-log/events-00001.jsonl", b'{"a": 1}\n' * 20),
        ]

    def export(self, sealed: Sealed, name: str = "package") -> Path:
        return export(self.vault, sealed.uri, self.root / name)

    def trusted(self, mode: Mode = Mode.LIVE) -> tuple[TrustedKey, ...]:
        return load_public_keys([self.key.with_name(f"{self.key.name}.pub")], mode)


@pytest.fixture
def desk(tmp_path: Path) -> Desk:
    key = tmp_path / "signing.pem"
    generate_key(key)
    return Desk(tmp_path, LocalVault(tmp_path / "vault"), key)


@pytest.fixture(scope="session")
def original(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, tuple[TrustedKey, ...]]:
    """An exported package that no test may touch, and the keys that verify it."""
    root = tmp_path_factory.mktemp("original")
    generate_key(root / "signing.pem")
    desk = Desk(root, LocalVault(root / "vault"), root / "signing.pem")
    return desk.export(desk.seal(desk.small())), desk.trusted()


@pytest.fixture(scope="session")
def copy(
    original: tuple[Path, tuple[TrustedKey, ...]], tmp_path_factory: pytest.TempPathFactory
) -> Callable[[], Path]:
    """Makes a fresh copy of the package, replacing the one before."""
    place = tmp_path_factory.mktemp("copies") / "package"

    def fresh() -> Path:
        shutil.rmtree(place, ignore_errors=True)
        shutil.copytree(original[0], place)
        return place

    return fresh
