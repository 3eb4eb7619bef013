"""What the tests of every cloud's evidence store share."""

from __future__ import annotations

import pytest

from firebreak.errors import EvidenceError
from firebreak.evidence.vault import Vault


def assert_forgets_one_incident_alone(vault: Vault, incident: str) -> None:
    """The secrets of incidents whose ids begin alike stay."""
    running = [f"sealed/{incident}{more}/session" for more in ("0", "-b")]
    for each in (f"sealed/{incident}/session", *running):
        vault.hide(each, b"secret")
    with pytest.raises(EvidenceError, match="neighbours"):
        vault.forget(f"sealed/{incident}")
    vault.forget(f"sealed/{incident}/")
    assert vault.reveal(f"sealed/{incident}/session") is None
    assert [vault.reveal(each) for each in running] == [b"secret"] * 2
