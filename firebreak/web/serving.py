"""The web process from its settings to its end."""

from __future__ import annotations

from collections.abc import Callable

from firebreak.connect import connect
from firebreak.inventoryfile import InventoryFile
from firebreak.settings import Settings
from firebreak.web.app import create_app
from firebreak.web.server import check, listening, serve
from firebreak.web.services import Services
from firebreak.web.webhook.configuration import load


async def run(settings: Settings, told: Callable[[str], None]) -> None:
    """Serve until SIGTERM or SIGINT; ``told`` hears where. Raises UsageError where it must not start."""
    sources = load(settings.web.sources) if settings.web.sources else ()
    check(settings.web, sources=len(sources))
    services = Services(settings, await connect(settings, lazy=True), InventoryFile(settings))
    app = create_app(services, sources)
    await serve(app, settings.web, listening(settings.web), told, app.state.console.close)
