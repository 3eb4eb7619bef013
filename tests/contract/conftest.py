"""What the contract is tried on."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from firebreak.model import Cloud
from tests.grounds import Ground, grounds

pytest.register_assert_rewrite("tests.contract.checks", "tests.contract.lives")


@pytest.fixture(scope="module")
def places(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[[Cloud], Ground]]:
    """The ground of each cloud that is asked for; a module has its own, so that none depends on another."""
    with grounds(tmp_path_factory.mktemp("contract")) as of:
        yield of
