from __future__ import annotations

import json

from click.testing import CliRunner

from firebreak.cli.app import firebreak
from firebreak.web.identity import breakglass

SEALED = "correct horse battery staple of the safe"


def test_the_hash_is_printed_and_the_password_is_not() -> None:
    done = CliRunner().invoke(firebreak, ["break-glass", "--json"], input=f"{SEALED}\n{SEALED}\n")
    assert done.exit_code == 0, done.output
    assert SEALED not in done.output
    assert breakglass.matches(SEALED, json.loads(done.stdout)["hash"])


def test_two_passwords_that_differ_are_asked_for_again() -> None:
    done = CliRunner().invoke(firebreak, ["break-glass"], input=f"{SEALED}\nother\n{SEALED}\n{SEALED}\n")
    assert done.exit_code == 0
    assert breakglass.matches(SEALED, done.stdout.strip().splitlines()[-1])
