"""A person is who a reader takes them for; blanks are nobody."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import TypeAdapter, ValidationError

from firebreak.people import PersonName, Reason, same_person

NOTHING = (" ", "\u200b", "\u00a0 \u2060", "\ufeff\u00ad")


@pytest.mark.parametrize(
    ("other", "same"),
    [
        ("Casey  Doe", True),
        (" casey doe ", True),
        ("Casey\u200b Doe", True),
        ("Casey\u00a0Doe", True),
        ("\uff23asey Doe", True),
        ("\u202aCasey Doe\u202c", True),
        ("Casey", False),
        ("Casey Do", False),
    ],
)
def test_spellings_of_one_name_are_one_person(other: str, same: bool) -> None:
    assert same_person("Casey Doe", other) is same


@pytest.mark.parametrize("text", NOTHING)
@pytest.mark.parametrize("kind", [PersonName, Reason])
def test_what_nobody_can_read_is_no_name_and_no_reason(kind: Any, text: str) -> None:
    with pytest.raises(ValidationError):
        TypeAdapter(kind).validate_python(text)


def test_what_was_said_is_kept_as_it_was_said() -> None:
    assert TypeAdapter(PersonName).validate_python(" Zo\u00eb  Doe ") == " Zo\u00eb  Doe "
