from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from securesystemslib.dsse import Envelope
from securesystemslib.exceptions import UnverifiedSignatureError
from securesystemslib.signer import SSlibKey

from firebreak.errors import SettingsError
from firebreak.model import Mode
from firebreak.settings import Settings
from providers.aws.signing import KmsSigner, open_signer


def pem(folder: Path, key: ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey, name: str = "key.pem") -> str:
    path = folder / name
    path.write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    return f"file:{path}"


def settings(**evidence: str) -> Settings:
    return Settings.model_validate({"evidence": evidence})


def test_a_file_key_signs_a_verifiable_envelope(tmp_path: Path) -> None:
    signer = open_signer(
        settings(signing_key=pem(tmp_path, ec.generate_private_key(ec.SECP256R1()))), Mode.LIVE
    )
    envelope = Envelope(b'{"a": 1}', "application/vnd.in-toto+json", {})
    envelope.sign(signer)
    assert envelope.verify([signer.public_key], 1)
    envelope.payload += b" "
    with pytest.raises(Exception, match=r"[Ss]ignature"):
        envelope.verify([signer.public_key], 1)


@pytest.mark.parametrize("size", [10, 4096, 4097, 100_000])
def test_kms_signatures_verify_offline(world: Any, size: int) -> None:
    """RAW up to 4096 bytes, DIGEST above: the verifier cannot tell."""
    signer = open_signer(world.settings, Mode.LIVE)
    signature = signer.sign(b"x" * size)
    offline = SSlibKey.from_dict(signer.public_key.keyid, signer.public_key.to_dict())
    offline.verify_signature(signature, b"x" * size)
    with pytest.raises(UnverifiedSignatureError):
        offline.verify_signature(signature, b"y" * size)


def test_the_kms_signer_opens_by_uri_only_for_its_own_key(world: Any, tmp_path: Path) -> None:
    live = open_signer(world.settings, Mode.LIVE)
    other = open_signer(
        settings(signing_key=pem(tmp_path, ec.generate_private_key(ec.SECP256R1()))), Mode.LIVE
    )
    assert isinstance(live, KmsSigner)
    arn, access = live.arn, world.settings.evidence.access
    assert KmsSigner(arn, access).public_key == live.public_key
    assert KmsSigner(arn, access).public_key != other.public_key


def test_drills_never_sign_with_the_live_key(tmp_path: Path) -> None:
    live = pem(tmp_path, ec.generate_private_key(ec.SECP256R1()), "live.pem")
    drill = pem(tmp_path, ec.generate_private_key(ec.SECP256R1()), "drill.pem")
    both = settings(signing_key=live, drill_signing_key=drill)
    assert open_signer(both, Mode.DRILL).public_key != open_signer(both, Mode.LIVE).public_key
    with pytest.raises(SettingsError, match="DRILL_SIGNING_KEY names no key"):
        open_signer(settings(signing_key=live), Mode.DRILL)
    with pytest.raises(SettingsError, match="live key"):
        open_signer(settings(signing_key=live, drill_signing_key=live), Mode.DRILL)
    with pytest.raises(SettingsError, match="SIGNING_KEY names no key"):
        open_signer(settings(drill_signing_key=drill), Mode.LIVE)


def test_unfit_keys_are_refused(tmp_path: Path) -> None:
    wrong_curve = pem(tmp_path, ec.generate_private_key(ec.SECP384R1()), "p384.pem")
    wrong_type = pem(tmp_path, rsa.generate_private_key(65537, 2048), "rsa.pem")
    (tmp_path / "junk.pem").write_text("junk")
    for uri in (
        wrong_curve,
        wrong_type,
        f"file:{tmp_path}/junk.pem",
        f"file:{tmp_path}/none.pem",
        "env:X",
        "",
    ):
        with pytest.raises(SettingsError, match="SIGNING_KEY"):
            open_signer(settings(signing_key=uri), Mode.LIVE)


def test_a_kms_key_of_another_kind_is_refused(world: Any) -> None:
    rsa_key = world.admin("kms", "333333333333").create_key(KeySpec="RSA_2048", KeyUsage="SIGN_VERIFY")
    arn = rsa_key["KeyMetadata"]["Arn"]
    evidence = {**world.settings.evidence.model_dump(), "signing_key": f"awskms:{arn}", "access": {}}
    with pytest.raises(Exception, match=r"AccessDenied|not an ECC_NIST_P256"):
        open_signer(Settings.model_validate({"evidence": evidence}), Mode.LIVE)
