"""Options that several commands share."""

from __future__ import annotations

from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Any, TypeVar

import click

from firebreak.model import Cloud
from firebreak.settings import load_settings

CommandT = TypeVar("CommandT", bound=Callable[..., Any])


def inventory_option(command: CommandT) -> CommandT:
    """Add ``--inventory FILE``; without it the setting decides."""
    return click.option(
        "--inventory",
        "inventory_path",
        type=click.Path(path_type=Path),
        default=lambda: load_settings().inventory,
        show_default="FIREBREAK_INVENTORY, or workloads.yaml",
        help="The inventory file.",
    )(command)


def folder_argument(command: CommandT) -> CommandT:
    """Add a FOLDER to write to."""
    return click.argument("folder", type=click.Path(path_type=Path, file_okay=False))(command)


def clouds_here() -> tuple[Cloud, ...]:
    """The clouds that this build has measures for."""
    return tuple(cloud for cloud in Cloud if find_spec(f"providers.{cloud.value}"))


def cloud_option(*, required: bool) -> Callable[[CommandT], CommandT]:
    """Add ``--cloud``."""
    return click.option(
        "--cloud",
        type=click.Choice([cloud.value for cloud in clouds_here()]),
        required=required,
        callback=lambda _context, _option, value: Cloud(value) if value else None,
        help="The cloud.",
    )
