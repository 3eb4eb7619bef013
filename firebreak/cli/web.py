"""``firebreak serve``: the web process."""

from __future__ import annotations

import asyncio
import importlib
from types import ModuleType

import click

from firebreak import logs
from firebreak.errors import UsageError
from firebreak.settings import load_settings


@click.command()
@click.option("--host", help="Address to listen on, instead of FIREBREAK_WEB__HOST.")
@click.option(
    "--port", type=click.IntRange(0, 65_535), help="Port, instead of FIREBREAK_WEB__PORT; 0: a free one."
)
def serve(host: str | None, port: int | None) -> None:
    """Take alerts by webhook until told to stop (SIGTERM).

    An alert is acknowledged once its containment is durable. Sources, and how each proves who it is, stand in
    the file that FIREBREAK_WEB__SOURCES names; without one the command refuses to start.
    """
    settings = load_settings()
    chosen = {name: value for name, value in (("host", host), ("port", port)) if value is not None}
    web = settings.web.model_copy(update=chosen)
    logs.configure(settings)
    if settings.console.audit_log:
        logs.keep_audit(settings.console.audit_log, settings.log_level)
    settings = settings.model_copy(update={"web": web})
    asyncio.run(_part().run(settings, lambda where: click.echo(f"Listening on {where}")))


def _part() -> ModuleType:
    """The web's modules, or the extra that installs what they need."""
    try:
        return importlib.import_module("firebreak.web.serving")
    except ModuleNotFoundError as error:
        raise UsageError(f"the web process needs {error.name}", remedy="install firebreak[web]") from error
