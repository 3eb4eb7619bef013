"""Payloads and failures are unreadable without the key, and altered ones are refused."""

from __future__ import annotations

import base64
import os

import pytest
from pydantic import SecretStr, ValidationError
from temporalio.api.common.v1 import Payload
from temporalio.api.failure.v1 import Failure
from temporalio.converter import DataConverter
from temporalio.exceptions import ApplicationError

from firebreak.codec import ENCODING, KEY_ID, PLAIN, data_converter
from firebreak.errors import EvidenceError, SettingsError
from firebreak.model import Stored
from firebreak.settings import Settings

STORED = Stored(uri="s3://evidence/INC-1/data/a", version_id="v1", sha256="0" * 64, size=3)


def key() -> SecretStr:
    return SecretStr(base64.b64encode(os.urandom(32)).decode())


@pytest.fixture
def keys() -> dict[str, SecretStr]:
    return {"2026-01": key(), "2026-02": key()}


def converter(keys: dict[str, SecretStr], current: str) -> DataConverter:
    return data_converter(Settings(payload_keys=keys, payload_key_id=current))


async def test_payloads_come_back_and_say_nothing_on_the_way(keys: dict[str, SecretStr]) -> None:
    ours = converter(keys, "2026-02")
    (payload,) = await ours.encode([STORED])
    assert b"evidence" not in payload.SerializeToString()
    assert payload.metadata["encoding"] == ENCODING
    assert payload.metadata[KEY_ID] == b"2026-02"
    assert await ours.decode([payload], [Stored]) == [STORED]


async def test_equal_payloads_do_not_look_equal(keys: dict[str, SecretStr]) -> None:
    first, second = await converter(keys, "2026-02").encode([STORED, STORED])
    assert first.data != second.data


async def test_an_old_key_still_decrypts(keys: dict[str, SecretStr]) -> None:
    payloads = await converter(keys, "2026-01").encode([STORED])
    assert await converter(keys, "2026-02").decode(payloads, [Stored]) == [STORED]


async def test_a_key_that_was_dropped_is_named(keys: dict[str, SecretStr]) -> None:
    payloads = await converter(keys, "2026-01").encode([STORED])
    del keys["2026-01"]
    with pytest.raises(SettingsError, match=r"2026-01.*FIREBREAK_PAYLOAD_KEYS"):
        await converter(keys, "2026-02").decode(payloads, [Stored])


@pytest.mark.parametrize("position", [0, 11, 12, 40, -1])
async def test_a_tampered_payload_is_refused(keys: dict[str, SecretStr], position: int) -> None:
    ours = converter(keys, "2026-02")
    (payload,) = await ours.encode([STORED])
    data = bytearray(payload.data)
    data[position] ^= 1
    with pytest.raises(EvidenceError, match="altered"):
        await ours.decode([Payload(metadata=payload.metadata, data=bytes(data))], [Stored])


@pytest.mark.parametrize("data", [b"", b"short", b"x" * 12])
async def test_a_truncated_payload_is_refused(keys: dict[str, SecretStr], data: bytes) -> None:
    with pytest.raises(EvidenceError, match="altered"):
        await converter(keys, "2026-02").decode(
            [Payload(metadata={"encoding": ENCODING, KEY_ID: b"2026-02"}, data=data)], [Stored]
        )


async def test_the_key_id_cannot_be_exchanged(keys: dict[str, SecretStr]) -> None:
    keys["2026-01"] = keys["2026-02"]
    ours = converter(keys, "2026-02")
    (payload,) = await ours.encode([STORED])
    moved = Payload(metadata={"encoding": ENCODING, KEY_ID: b"2026-01"}, data=payload.data)
    with pytest.raises(EvidenceError, match="altered"):
        await ours.decode([moved], [Stored])


async def test_payloads_from_before_the_keys_stay_readable(keys: dict[str, SecretStr]) -> None:
    payloads = await data_converter(Settings()).encode([STORED])
    assert await converter(keys, "2026-02").decode(payloads, [Stored]) == [STORED]


def _refuse() -> None:
    raise ApplicationError(
        "arn:aws:iam::222222222222:role/agent refused", "detail-7", type="PermanentCloudError"
    )


async def test_failure_messages_details_and_stacks_are_encrypted(keys: dict[str, SecretStr]) -> None:
    ours = converter(keys, "2026-02")
    with pytest.raises(ApplicationError) as caught:
        _refuse()
    raised = caught.value
    failure = Failure()
    await ours.encode_failure(raised, failure)
    raw = failure.SerializeToString()
    for clear in (b"222222222222", b"detail-7", b"test_codec"):
        assert clear not in raw
    back = await ours.decode_failure(failure)
    assert isinstance(back, ApplicationError)
    assert (back.message, back.details, back.type) == (raised.message, ("detail-7",), "PermanentCloudError")


def test_without_keys_nothing_is_encrypted() -> None:
    assert data_converter(Settings()) is PLAIN
    assert PLAIN.payload_codec is None


@pytest.mark.parametrize("encrypted", [True, False])
async def test_a_field_of_a_newer_worker_is_left_out_and_everything_else_checked(
    keys: dict[str, SecretStr], encrypted: bool
) -> None:
    ours = converter(keys, "2026-02") if encrypted else data_converter(Settings())
    newer = await ours.encode([STORED.model_dump(mode="json") | {"of_a_later_version": 1}])
    assert await ours.decode(newer, [Stored]) == [STORED]
    wrong = await ours.encode([STORED.model_dump(mode="json") | {"size": "large"}])
    with pytest.raises(ValidationError, match="size"):
        await ours.decode(wrong, [Stored])


@pytest.mark.parametrize("bad", ["", "not base64!", "QUJD", base64.b64encode(b"x" * 16).decode()])
def test_a_malformed_key_is_a_settings_error_that_does_not_show_it(bad: str) -> None:
    with pytest.raises(SettingsError, match="'one' in FIREBREAK_PAYLOAD_KEYS is not 32 bytes") as refused:
        data_converter(Settings(payload_keys={"one": SecretStr(bad)}, payload_key_id="one"))
    assert not bad or bad not in str(refused.value)


@pytest.mark.parametrize("current", ["", "other"])
def test_the_current_key_must_be_there(keys: dict[str, SecretStr], current: str) -> None:
    with pytest.raises(SettingsError, match="FIREBREAK_PAYLOAD_KEY_ID"):
        converter(keys, current)


def test_a_key_id_without_keys_does_not_silently_mean_no_encryption() -> None:
    with pytest.raises(SettingsError, match="FIREBREAK_PAYLOAD_KEY_ID"):
        converter({}, "2026-02")
