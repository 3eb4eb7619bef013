"""Names of people and what they give as reasons, as other people read them."""

from __future__ import annotations

import unicodedata
from typing import Annotated

from pydantic import AfterValidator, Field


def _visible(text: str) -> str:
    """What a reader sees: no formatting characters, compatibility forms as one, every space alike."""
    shown = unicodedata.normalize("NFKC", text)
    return " ".join("".join(each for each in shown if unicodedata.category(each) != "Cf").split())


def _readable(text: str) -> str:
    if not _visible(text):
        msg = "there is nothing to read in it"
        raise ValueError(msg)
    return text


PersonName = Annotated[
    str, Field(min_length=1, max_length=128, pattern=r"^[^\x00-\x1f]+$"), AfterValidator(_readable)
]
Reason = Annotated[str, Field(min_length=1, max_length=2000), AfterValidator(_readable)]


def same_person(one: str, other: str) -> bool:
    """Whether two names are spellings of one, to a reader."""
    return _visible(one).casefold() == _visible(other).casefold()
