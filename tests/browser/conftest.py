"""Real browsers in front of a real server; skipped only where no Chromium is installed."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from firebreak.settings import LinkSettings
from tests.browser.chromium import Browser, browsers, missing
from tests.browser.site import Site, site


@pytest.fixture
def opened(tmp_path: Path) -> Iterator[Callable[[], Browser]]:
    """Opens browsers, each with a profile of its own; they end with the test, since idle ones add up."""
    if why := missing():
        pytest.skip(why)
    with browsers(tmp_path / "chromedriver.log") as open_one:
        yield open_one


@pytest.fixture(scope="session")
def live(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """A console on loopback with scripted containments."""
    if why := missing():
        pytest.skip(why)
    logins = {"ada": "token-of-ada-0123456789", "ben": "token-of-ben-0123456789"}
    sam = {"subject": "sub-sam", "name": "sam@example.org", "roles": ["approver"], "url": "json://127.0.0.1"}
    links = LinkSettings.model_validate({"people": [sam], "secrets": ["long enough for every test here 1"]})
    with site(
        tmp_path_factory.mktemp("site"),
        one_time_logins=logins,
        public_url="http://127.0.0.1",
        sections={"links": links},
    ) as running:
        yield running


@pytest.fixture
def browser(opened: Callable[[], Browser]) -> Iterator[Browser]:
    """One browser, whose page may complain of nothing."""
    made = opened()
    yield made
    assert made.complaints() == []
