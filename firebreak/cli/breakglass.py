"""``firebreak break-glass``: the hash of the sealed account's password."""

from __future__ import annotations

import importlib

import click

from firebreak.cli.output import emit, json_option
from firebreak.errors import UsageError


@click.command("break-glass")
@json_option
def break_glass(as_json: bool) -> None:
    """Ask for the password of the console's sealed account, and print its hash for the settings.

    Put the password into a safe and the hash into FIREBREAK_CONSOLE__BREAK_GLASS_HASH. The account contains
    and stops when the identity provider is away; every use pages the on-call.
    """
    password = click.prompt(
        "Password (20 characters or more)", hide_input=True, confirmation_prompt=True, err=True
    )
    try:
        hashed = str(importlib.import_module("firebreak.web.identity.breakglass").hashed(password))
    except ModuleNotFoundError as error:
        raise UsageError(f"the console needs {error.name}", remedy="install firebreak[web]") from error
    if as_json:
        emit({"hash": hashed})
    else:
        click.echo(hashed)
