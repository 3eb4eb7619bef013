"""Move an interface through the open group into the closed one, and never leave it in the open one.

The swap takes two steps, as in AWS's own runbook AWSSupport-ContainEC2Instance: first a group that allows
everything, so that flows stop being tracked, then a group without rules, which interrupts untracked flows
at once (EC2 user guide, "Security group connection tracking"). A tracked flow would outlive a single swap.
"""

from __future__ import annotations

from collections.abc import Sequence

from firebreak.errors import FirebreakError
from providers.aws.answers import settling, translated
from providers.aws.network.groups import GONE
from providers.aws.network.interfaces import interface
from providers.aws.session import AwsAccess


def isolate(access: AwsAccess, eni: str, *, opened: str, closed: str, own: Sequence[str]) -> None:
    """Open and then close; when this raises, it is closed or back in its ``own`` groups, if EC2 lets it."""
    try:
        _move_to_ours(access, eni, opened)
    except FirebreakError:
        _go_back(access, eni, closed, own)  # the answer may be lost and the interface open all the same
        raise
    try:
        _move_to_ours(access, eni, closed)
    except FirebreakError:
        _close_or_go_back(access, eni, closed, own)


def move(access: AwsAccess, eni: str, groups: Sequence[str]) -> None:
    """Give an interface exactly these groups."""
    with translated(eni):
        access.client("ec2").modify_network_interface_attribute(NetworkInterfaceId=eni, Groups=list(groups))


def _close_or_go_back(access: AwsAccess, eni: str, closed: str, own: Sequence[str]) -> None:
    """Once more at once: every moment that it is open counts."""
    try:
        _move_to_ours(access, eni, closed)
    except FirebreakError:
        _go_back(access, eni, closed, own)
        raise


def _go_back(access: AwsAccess, eni: str, closed: str, own: Sequence[str]) -> None:
    """Never out of the closed group: only the answer may be lost, or another attempt have got there."""
    if interface(access, eni).groups != (closed,):
        move(access, eni, own)


def _move_to_ours(access: AwsAccess, eni: str, group: str) -> None:
    with settling(eni, *GONE):
        move(access, eni, [group])
