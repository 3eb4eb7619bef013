"""The ``firebreak`` command: its groups, and how errors become messages and exit codes."""

from __future__ import annotations

import ast
import importlib
import importlib.util
import json
import traceback
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import cast

import click

from firebreak import __version__
from firebreak.cli import exit as codes
from firebreak.cli.output import plain
from firebreak.errors import FirebreakError
from firebreak.logs import redacted_text
from firebreak.model import JsonObject

COMMANDS = {
    "demo": "firebreak.cli.serve:demo",
    "up": "firebreak.cli.serve:up",
    "contain": "firebreak.cli.contain:contain",
    "status": "firebreak.cli.contain:status",
    "approve": "firebreak.cli.decide:approve",
    "reject": "firebreak.cli.decide:reject",
    "retry": "firebreak.cli.decide:retry",
    "proceed": "firebreak.cli.decide:proceed",
    "stop": "firebreak.cli.decide:stop",
    "release": "firebreak.cli.decide:release",
    "evidence": "firebreak.cli.evidence:evidence",
    "inventory": "firebreak.cli.inventory:inventory",
    "measures": "firebreak.cli.registry:measures",
    "permissions": "firebreak.cli.registry:permissions",
    "worker": "firebreak.cli.serve:worker",
    "serve": "firebreak.cli.web:serve",
    "break-glass": "firebreak.cli.breakglass:break_glass",
    "doctor": "firebreak.cli.doctor:doctor",
}
"""Each command by the place it is defined in; only the one that is called is imported."""


WIDE = 200
"""No short help is cut off."""


class LazyGroup(click.Group):
    """A group that imports a command when it is asked for."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """The names of all commands, in the order of an incident."""
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import one command; None when there is none of that name."""
        if cmd_name not in COMMANDS:
            return None
        module, _, name = COMMANDS[cmd_name].partition(":")
        return cast("click.Command", getattr(importlib.import_module(module), name))

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """List the commands by what their source says: to import them all would load every cloud's SDK."""
        with formatter.section("Commands"):
            formatter.write_dl(
                [(name, summary(place) or self._help(ctx, name)) for name, place in COMMANDS.items()]
            )

    def _help(self, ctx: click.Context, name: str) -> str:
        """What a command says of itself that is made by a function: asked by importing it."""
        command = self.get_command(ctx, name)
        return command.get_short_help_str(WIDE) if command else ""


def summary(place: str) -> str:
    """The first line of the docstring of ``module:function``, read without importing the module."""
    module, _, name = place.partition(":")
    # The parents are imported by the search for a module: they are packages without code of their own.
    spec = importlib.util.find_spec(module)
    tree = ast.parse(Path(str(spec and spec.origin)).read_text(encoding="utf-8"))
    functions = [each for each in tree.body if isinstance(each, ast.FunctionDef) and each.name == name]
    return next(iter((ast.get_docstring(functions[0]) or "").splitlines()), "") if functions else ""


@click.group(cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="firebreak")
@click.option("--debug", is_flag=True, help="Show the traceback of an unexpected error.")
def firebreak(debug: bool) -> None:
    """Contain a compromised AI workload in four proved phases within 15 minutes.

    Exit codes: 0 contained or ok, 1 internal error, 2 invalid input, 3 not fully contained or unproven,
    4 refused by a guard, 5 rejected.
    """


def run(arguments: Sequence[str]) -> int:
    """Run one command line; every error becomes a message and an exit code."""
    try:
        code = firebreak.main(list(arguments), prog_name="firebreak", standalone_mode=False)
    except FirebreakError as error:
        return _report(arguments, _document(error))
    except click.ClickException as error:
        return _report(arguments, _usage(error))
    except (click.Abort, KeyboardInterrupt):
        click.echo("interrupted", err=True)
        return codes.INTERRUPTED
    except SystemExit:  # click and rich: the reader has seen enough, as with ``| head``
        return codes.INTERNAL_ERROR
    except Exception as error:  # noqa: BLE001 - the last line of defence: one line instead of a traceback
        if "--debug" in arguments:
            click.echo(redacted_text(traceback.format_exc()), err=True)
        return _report(arguments, _unexpected(error))
    return code if isinstance(code, int) else codes.OK


def _report(arguments: Sequence[str], document: JsonObject) -> int:
    """Tell what went wrong: people on standard error, programs on standard output."""
    if "--json" in arguments:
        with suppress(OSError):  # where standard output itself is what failed, people are told all the same
            click.echo(json.dumps({"error": document}, indent=2, ensure_ascii=False))
    click.echo(plain(f"error: {document['message']}"), err=True)
    if document["remedy"]:
        click.echo(plain(f"next: {document['remedy']}"), err=True)
    return int(document["exit_code"])


def _document(error: FirebreakError) -> JsonObject:
    named = f" [{error.resource}]" if error.resource and error.resource not in error.message else ""
    return {
        "type": type(error).__name__,
        "message": f"{error.message}{named}",
        "resource": error.resource,
        "remedy": error.remedy,
        "exit_code": error.exit_code,
    }


def _usage(error: click.ClickException) -> JsonObject:
    context = error.ctx if isinstance(error, click.UsageError) else None
    return {
        "type": "UsageError",
        "message": error.format_message(),
        "resource": "",
        "remedy": f"{context.command_path} --help" if context else "",
        "exit_code": codes.USAGE,
    }


def _unexpected(error: Exception) -> JsonObject:
    first = redacted_text(next(iter(str(error).splitlines()), ""))
    return {
        "type": type(error).__name__,
        "message": f"unexpected {type(error).__name__}: {first}",
        "resource": "",
        "remedy": "run firebreak --debug ... for the traceback, and report it",
        "exit_code": codes.INTERNAL_ERROR,
    }
