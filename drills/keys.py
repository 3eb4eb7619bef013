"""The keys that sign evidence of sandbox accounts: files, one for incidents and one for drills."""

from __future__ import annotations

from pathlib import Path

from firebreak.evidence.sign import FILE_SCHEME, generate_key

LIVE_KEY, DRILL_KEY = "signing-key.pem", "drill-signing-key.pem"


def signing_keys(folder: Path) -> dict[str, str]:
    """Make both keys in the folder unless they exist; return the settings that name them."""
    for name in (LIVE_KEY, DRILL_KEY):
        if not (folder / name).exists():
            generate_key(folder / name)
    return {
        "FIREBREAK_EVIDENCE__SIGNING_KEY": f"{FILE_SCHEME}{folder / LIVE_KEY}",
        "FIREBREAK_EVIDENCE__DRILL_SIGNING_KEY": f"{FILE_SCHEME}{folder / DRILL_KEY}",
    }
