"""``firebreak evidence``: check, read and fetch sealed packages."""

from __future__ import annotations

import re
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TypeVar

import click
from rich.text import Text

from firebreak.cli import exit as codes
from firebreak.cli.options import cloud_option, clouds_here, folder_argument
from firebreak.cli.output import both_times, emit, json_option, plain, show, table
from firebreak.errors import EvidenceError, UsageError
from firebreak.evidence import custody
from firebreak.evidence.custody import CustodyEntry
from firebreak.evidence.export import export as download
from firebreak.evidence.folder import Folder
from firebreak.evidence.layout import ATTESTATION, BAG, CUSTODY, EXHIBITS
from firebreak.evidence.sign import TrustedKey, load_public_keys
from firebreak.evidence.vault import Vault
from firebreak.evidence.verify import Expected, Report
from firebreak.evidence.verify import verify as check
from firebreak.measure import now
from firebreak.model import Cloud, Exhibit, Mode
from firebreak.provider import provider
from firebreak.report import clocks, facts, page
from firebreak.settings import Settings, load_settings

CommandT = TypeVar("CommandT", bound=Callable[..., Any])

STORES = {
    re.compile(r"^s3://"): Cloud.AWS,
    # Azure Storage, "Storage account endpoints": the blob service in every Azure cloud.
    re.compile(
        r"^https://[a-z0-9]{3,24}\.blob\.core\.(?:windows\.net|usgovcloudapi\.net|chinacloudapi\.cn)/"
    ): Cloud.AZURE,
}
"""Which cloud's store a uri of that form lies in."""
EXAMPLES = "s3://BUCKET/ or https://ACCOUNT.blob.core.windows.net/CONTAINER/"


def _verification_options(command: CommandT) -> CommandT:
    """Add what a package is checked against: public keys, and the hash of its manifest."""
    key_file = click.Path(exists=True, dir_okay=False, path_type=Path)
    live = click.option("--trust", multiple=True, type=key_file, help="Public key (PEM) of live packages.")
    drill = click.option("--trust-drill", multiple=True, type=key_file, help="Public key (PEM) of drills.")
    manifest = click.option(
        "--manifest-sha256", default="", help="Hash of the manifest, as the run named it at its end."
    )
    return live(drill(manifest(command)))


@click.group()
def evidence() -> None:
    """Check, read and fetch sealed evidence packages."""


@evidence.command()
@click.argument("package")
@_verification_options
@json_option
def verify(
    package: str, trust: tuple[Path, ...], trust_drill: tuple[Path, ...], manifest_sha256: str, as_json: bool
) -> int:
    """Check PACKAGE (folder or uri) in numbered steps, with keys from outside the package.

    A folder is checked offline. At a uri, the package has to be of the incident that the uri ends with.
    """
    keys = _trusted(trust, trust_drill)
    with _folder(package) as folder:
        report = check(folder, keys, _expected(package, manifest_sha256))
    if as_json:
        emit(report)
    else:
        _show_report(report, keys)
    return codes.OK if report.ok else codes.NOT_CONTAINED


@evidence.command("show")
@click.argument("package")
@json_option
def show_package(package: str, as_json: bool) -> None:
    """List the exhibits and the custody of PACKAGE (folder or uri), without judging them."""
    with _folder(package) as folder:
        exhibits, entries = _exhibits(folder), _entries(folder)
    if as_json:
        emit(
            {
                "package": package,
                "exhibits": [each.model_dump(mode="json") for each in exhibits],
                "custody": [each.model_dump(mode="json") for each in entries],
            }
        )
        return
    show(_exhibit_table(exhibits))
    show(_custody_table(entries))
    show(Text("not verified: see firebreak evidence verify", style="dim"))


@evidence.command()
@click.argument("uri")
@folder_argument
@json_option
def export(uri: str, folder: Path, as_json: bool) -> None:
    """Fetch the package at URI into a new FOLDER; every file is compared with its recorded hash."""
    made = download(_vault(uri), uri, folder)
    if as_json:
        emit({"package": str(made), "uri": uri})
    else:
        click.echo(str(made))


@evidence.command("report")
@click.argument("package")
@_verification_options
@click.option("--html", type=click.Path(path_type=Path, dir_okay=False), help="Where the page goes.")
@click.option("--pdf", type=click.Path(path_type=Path, dir_okay=False), help="Where the PDF goes.")
@click.option("--duties", type=click.Path(path_type=Path), help="Your own file of reporting duties (YAML).")
@click.option("--aware-at", type=click.DateTime(["%Y-%m-%dT%H:%M:%SZ"]), help="When you became aware (UTC).")
@json_option
def report_of(
    package: str, as_json: bool, aware_at: datetime | None, manifest_sha256: str, **files: Any
) -> int:
    """Write the containment report of PACKAGE (folder or uri), from what its signature covers."""
    if not files["html"] and not files["pdf"]:
        raise UsageError("nowhere to write the report", remedy="give --html FILE or --pdf FILE")
    duties = clocks.load(files["duties"])
    keys = _trusted(files["trust"], files["trust_drill"])
    with _folder(package) as folder:
        verified = check(folder, keys, _expected(package, manifest_sha256))
        written = page.html(
            facts.read(folder, verified),
            duties,
            made_at=now(),
            aware_at=aware_at.replace(tzinfo=UTC) if aware_at else None,
        )
    for path in filter(None, [files["html"]]):
        path.write_text(written, encoding="utf-8")
    for path in filter(None, [files["pdf"]]):
        page.pdf(written, path)
    made = [str(path) for path in (files["html"], files["pdf"]) if path]
    if as_json:
        emit({"package": package, "genuine": verified.ok, "files": made})
    else:
        click.echo("\n".join(made))
    return codes.OK if verified.ok else codes.NOT_CONTAINED


@evidence.command()
@click.option("--drill", is_flag=True, help="The key that signs the packages of drills.")
@cloud_option(required=False)
@json_option
def key(drill: bool, cloud: Cloud | None, as_json: bool) -> None:
    """Print the public key (PEM) that verifies packages: keep it away from the evidence store."""
    mode = Mode.DRILL if drill else Mode.LIVE
    settings = load_settings()
    public = provider(cloud or _signing_cloud(settings, mode)).signer(settings, mode).public_key
    pem = str(public.keyval["public"]).strip()
    if as_json:
        emit({"mode": mode.value, "key_id": public.keyid, "scheme": public.scheme, "public_key": f"{pem}\n"})
    else:
        click.echo(pem)


def _trusted(live: tuple[Path, ...], drill: tuple[Path, ...]) -> tuple[TrustedKey, ...]:
    if not live and not drill:
        raise UsageError(
            "no key to trust was named: a package cannot vouch for itself",
            remedy="give --trust KEY.pub, or --trust-drill KEY.pub for a drill",
        )
    return (*load_public_keys(live), *load_public_keys(drill, Mode.DRILL))


def _expected(package: str, manifest_sha256: str) -> Expected | None:
    """What is known of the package beforehand; nothing is known of a folder alone."""
    if "://" in package:
        return Expected.at(package, manifest_sha256)
    return Expected(manifest_sha256=manifest_sha256.lower()) if manifest_sha256 else None


def _signing_cloud(settings: Settings, mode: Mode) -> Cloud:
    """The cloud whose key is meant: that of the general store, unless the clouds have keys of their own."""
    clouds = clouds_here()
    keys = {settings.evidence_of(cloud).signing_key_of(mode) for cloud in clouds}
    if len(keys) > 1:
        raise UsageError("the clouds sign with different keys", remedy="name --cloud")
    return _cloud_of(settings.evidence.store) or clouds[0]


def _cloud_of(uri: str) -> Cloud | None:
    return next((cloud for form, cloud in STORES.items() if form.match(uri)), None)


@contextmanager
def _folder(package: str) -> Iterator[Path]:
    """The package as a local folder, fetched first where it is a uri."""
    if "://" not in package:
        yield _existing(Path(package))
        return
    with tempfile.TemporaryDirectory(prefix="firebreak-evidence-") as parent:
        yield download(_vault(package), package, Path(parent) / "package")


def _existing(path: Path) -> Path:
    if not path.is_dir():
        raise UsageError(
            f"there is no evidence package at {path}", remedy=f"give the folder that holds {BAG}/"
        )
    if not (path / BAG).is_dir() and not (path / ATTESTATION).is_file():
        raise EvidenceError(f"{path} is not an evidence package", remedy=f"give the folder that holds {BAG}/")
    return path


def _vault(uri: str) -> Vault:
    cloud = _cloud_of(uri)
    if cloud is None:
        raise UsageError(
            f"{uri} is not in a known evidence store", remedy=f"give a uri that starts with {EXAMPLES}"
        )
    return provider(cloud).vault(load_settings())


def _exhibits(folder: Path) -> list[Exhibit]:
    return [
        _parsed(Exhibit.model_validate_json, line) for line in Folder.scan(folder).lines(f"{BAG}/{EXHIBITS}")
    ]


def _entries(folder: Path) -> list[CustodyEntry]:
    return [_parsed(custody.read, line) for line in Folder.scan(folder).lines(f"{BAG}/{CUSTODY}")]


RecordT = TypeVar("RecordT")


def _parsed(parse: Callable[[str], RecordT], line: str) -> RecordT:
    try:
        return parse(line)
    except ValueError as error:
        raise EvidenceError(
            "the package has a line that cannot be read", remedy="see firebreak evidence verify"
        ) from error


def _show_report(report: Report, keys: tuple[TrustedKey, ...]) -> None:
    for step in report.steps:
        mark = Text("ok    ", style="green") if not step.problems else Text("FAILED", style="bold red")
        show(Text.assemble(mark, f"  {step.number}. {step.title} ({step.checked})"))
        for problem in step.problems:
            show(Text(f"          {plain(str(problem))}"))
    show(Text())
    if report.ok:
        names = ", ".join(key.name for key in keys if key.key.keyid in report.signed_by)
        mode = "drill" if report.mode is Mode.DRILL else "incident"
        size = f"{report.exhibits} exhibits, {report.payload_bytes:,} bytes"
        show(Text(f"{mode} {report.incident_id}: genuine, signed with {plain(names)}; {size}", style="green"))
        show(Text(f"manifest sha256 {report.manifest_sha256}"))
    else:
        show(Text(f"{len(report.problems)} problems: do not rely on this package", style="bold red"))


def _exhibit_table(exhibits: list[Exhibit]) -> Any:
    rows = [
        (each.evidence_id, each.kind, f"{each.stored.size:,}", each.stored.sha256, each.source)
        for each in exhibits
    ]
    return table(("exhibit", "kind", "bytes", "sha256", "source"), rows)


def _custody_table(entries: list[CustodyEntry]) -> Any:
    rows = [
        (str(each.seq), both_times(each.at), each.action.value, each.actor.who, each.summary or each.purpose)
        for each in entries
    ]
    return table(("no", "at", "action", "by", "what"), rows, title="\ncustody")
