"""Temporal's data converter: pydantic payloads; with keys, AES-256-GCM over payloads and failures.

The one module besides the worker's side that knows Temporal's payloads.
"""

from __future__ import annotations

import base64
import binascii
import os
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from pydantic import SecretStr, TypeAdapter
from temporalio.api.common.v1 import Payload
from temporalio.contrib.pydantic import PydanticJSONPlainPayloadConverter
from temporalio.converter import (
    CompositePayloadConverter,
    DataConverter,
    DefaultFailureConverterWithEncodedAttributes,
    DefaultPayloadConverter,
    JSONPlainPayloadConverter,
    PayloadCodec,
)

from firebreak.errors import EvidenceError, SettingsError
from firebreak.settings import Settings

ENCODING = b"binary/encrypted"
"""The encoding name of Temporal's published encryption samples; their tools show it as encrypted."""
KEY_ID = "encryption-key-id"
_KEY_BYTES = 32
_NONCE_BYTES = 12
"""NIST SP 800-38D section 8.2: 96-bit nonces; random ones serve for 2**32 payloads under one key."""


class TolerantJson(PydanticJSONPlainPayloadConverter):
    """Leaves out what a newer worker added: while both run, a field more must not end a live containment.

    Everything else is checked as ever, and so are the inventory and requests, which do not come this way.
    """

    def from_payload(self, payload: Payload, type_hint: type | None = None) -> Any:
        """The value of a payload."""
        adapter: TypeAdapter[Any] = self._type_adapter(Any if type_hint is None else type_hint)
        return adapter.validate_json(payload.data, extra="ignore")


class TolerantConverter(CompositePayloadConverter):
    """Temporal's pydantic converter with the tolerant JSON in it."""

    def __init__(self) -> None:
        super().__init__(
            *(
                TolerantJson() if isinstance(each, JSONPlainPayloadConverter) else each
                for each in DefaultPayloadConverter.default_encoding_payload_converters
            )
        )


PLAIN = DataConverter(payload_converter_class=TolerantConverter)


class EncryptionCodec(PayloadCodec):
    """Encrypts each payload whole, metadata included; the key's id travels in clear and is authenticated."""

    def __init__(self, keys: Mapping[str, bytes], current: str) -> None:
        self._ciphers = {key_id: AESGCM(key) for key_id, key in keys.items()}
        self._current = current

    async def encode(self, payloads: Sequence[Payload]) -> list[Payload]:
        """Encrypt with the current key."""
        return [self._encrypt(payload) for payload in payloads]

    async def decode(self, payloads: Sequence[Payload]) -> list[Payload]:
        """Decrypt with the key that each payload names.

        Payloads in clear pass: histories that began before keys were set must stay readable.
        """
        return [self._decrypt(p) if p.metadata.get("encoding") == ENCODING else p for p in payloads]

    def _encrypt(self, payload: Payload) -> Payload:
        key_id, nonce = self._current.encode(), os.urandom(_NONCE_BYTES)
        sealed = self._ciphers[self._current].encrypt(nonce, payload.SerializeToString(), key_id)
        return Payload(metadata={"encoding": ENCODING, KEY_ID: key_id}, data=nonce + sealed)

    def _decrypt(self, payload: Payload) -> Payload:
        key_id = payload.metadata.get(KEY_ID, b"")
        cipher = self._ciphers.get(key_id.decode("utf-8", "backslashreplace"))
        if cipher is None:
            raise SettingsError(
                f"a payload was encrypted with the key {key_id!r}, which this process does not have",
                remedy="add it to FIREBREAK_PAYLOAD_KEYS",
            )
        nonce, sealed = payload.data[:_NONCE_BYTES], payload.data[_NONCE_BYTES:]
        try:
            return Payload.FromString(cipher.decrypt(nonce, sealed, key_id))
        except (InvalidTag, ValueError) as error:
            raise EvidenceError(f"a payload encrypted with the key {key_id!r} was altered") from error


def data_converter(settings: Settings) -> DataConverter:
    """Build the converter that every client and worker uses; encrypting when the settings hold keys.

    Failures are encrypted too: their messages and stack traces are in clear text by default (Temporal
    documentation, data encryption).
    """
    if not settings.payload_keys and not settings.payload_key_id:
        return PLAIN
    keys = {key_id: _key(key_id, secret) for key_id, secret in settings.payload_keys.items()}
    if settings.payload_key_id not in keys:
        raise SettingsError(
            f"FIREBREAK_PAYLOAD_KEY_ID is {settings.payload_key_id!r}, which is not in FIREBREAK_PAYLOAD_KEYS"
        )
    return replace(
        PLAIN,
        payload_codec=EncryptionCodec(keys, settings.payload_key_id),
        failure_converter_class=DefaultFailureConverterWithEncodedAttributes,
    )


def _key(key_id: str, secret: SecretStr) -> bytes:
    try:
        key = base64.b64decode(secret.get_secret_value(), validate=True)
    except binascii.Error:
        key = b""
    if len(key) != _KEY_BYTES:
        raise SettingsError(
            f"the key {key_id!r} in FIREBREAK_PAYLOAD_KEYS is not {_KEY_BYTES} bytes in base64",
            remedy="make one with: openssl rand -base64 32",
        )
    return key
