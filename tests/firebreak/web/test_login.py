"""The ways in: the identity provider, links of an embedded stack, and the sealed account."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx
import pytest

from firebreak.errors import SettingsError
from firebreak.web.app import create_app
from firebreak.web.identity import breakglass
from tests.firebreak.web.house import House, Provider, house_on, person, provider
from tests.workflows.stage import Stage, until

pytestmark = pytest.mark.asyncio(loop_scope="session")

SEALED = "correct horse battery staple of the safe"


@pytest.fixture(scope="module")
def idp() -> Iterator[Provider]:
    with provider() as running:
        running.accounts["sam@example.org"] = ("fb-approve",)
        yield running


@pytest.fixture(scope="module")
def sealed_hash() -> str:
    return breakglass.hashed(SEALED)


def built(stage: Stage, idp: Provider, folder: Path, **console: Any) -> House:
    return house_on(stage.client, stage, folder, idp, **console)


async def logged_in(house: House, name: str) -> tuple[httpx.AsyncClient, httpx.Response]:
    browser = house.browser()
    away = await browser.get("/login/oidc")
    assert away.status_code == 302
    return browser, await browser.get(house.provider.consent(away.headers["location"], name))


async def test_a_person_logs_in_at_the_provider_and_has_its_roles(
    stage: Stage, idp: Provider, tmp_path: Path
) -> None:
    house = built(stage, idp, tmp_path)
    browser, back = await logged_in(house, "sam@example.org")
    assert (back.status_code, back.headers["location"]) == (303, "/")
    me = await browser.get("/api/v1/me")
    assert me.json() == {"name": "sam@example.org", "roles": ["approver"]}


async def test_an_answer_of_the_provider_serves_one_browser_once(
    stage: Stage, idp: Provider, tmp_path: Path
) -> None:
    house = built(stage, idp, tmp_path)
    browser = house.browser()
    away = await browser.get("/login/oidc")
    back = house.provider.consent(away.headers["location"], "sam@example.org")
    assert (await house.browser().get(back)).status_code == 401  # another browser: no such login under way
    assert (await browser.get(back)).status_code == 303
    assert (await browser.get(back)).status_code == 401


async def test_the_session_cookie_is_out_of_reach_of_scripts_and_other_sites(
    stage: Stage, idp: Provider, tmp_path: Path
) -> None:
    house = built(stage, idp, tmp_path, public_url="https://firebreak.example.org")
    secure = house.app.state.guard.sessions
    assert secure.cookie.startswith("__Host-")
    browser = house.browser()
    away = await browser.get("/login/oidc")
    assert "redirect_uri=https%3A%2F%2Ffirebreak.example.org%2Flogin%2Fcallback" in away.headers["location"]
    assert "secure" in away.headers["set-cookie"].lower()


async def test_a_link_of_an_embedded_stack_works_once(stage: Stage, idp: Provider, tmp_path: Path) -> None:
    house = built(stage, idp, tmp_path, one_time_logins={"ada": "token-of-ada-0123456789"})
    browser = house.browser()
    assert (await browser.get("/login/once?name=ada&token=guess")).status_code == 401
    assert (await browser.get("/login/once?name=bob&token=token-of-ada-0123456789")).status_code == 401
    link = "/login/once?name=ada&token=token-of-ada-0123456789"
    assert (await browser.get(link)).status_code == 303
    assert (await browser.get("/api/v1/me")).json()["name"] == "ada"
    assert (await house.browser().get(link)).status_code == 401


async def test_links_outside_an_embedded_stack_are_refused_at_the_start(
    stage: Stage, idp: Provider, tmp_path: Path
) -> None:
    house = built(stage, idp, tmp_path)
    own = house.services.settings.console.model_copy(update={"one_time_logins": {"ada": "x"}})
    settings = house.services.settings.model_copy(update={"console": own})
    with pytest.raises(SettingsError, match="embedded stack only"):
        create_app(replace(house.services, settings=settings))


async def test_the_sealed_account_works_without_the_provider_and_pages_the_on_call(
    stage: Stage, idp: Provider, tmp_path: Path, sealed_hash: str
) -> None:
    house = built(stage, idp, tmp_path, break_glass_hash=sealed_hash)
    house.provider.url, away = "http://127.0.0.1:9", house.provider.url
    browser = house.browser()
    answer = await browser.post("/login/break-glass", data={"password": SEALED})
    house.provider.url = away
    assert answer.status_code == 303, answer.text
    assert (await browser.get("/api/v1/me")).json()["name"] == "break-glass"

    async def paged() -> bool:
        pages = [page for run in stage.acting.runs.values() for page in run.pages]
        return any(page.kind == "break_glass" for page in pages)

    assert await until(paged, bool)


async def test_the_sealed_account_is_not_guessed(
    stage: Stage, idp: Provider, tmp_path: Path, sealed_hash: str
) -> None:
    house = built(stage, idp, tmp_path, break_glass_hash=sealed_hash)
    browser = house.browser()
    codes = [
        (await browser.post("/login/break-glass", data={"password": f"guess {n}"})).status_code
        for n in range(7)
    ]
    assert codes == [401] * 5 + [429] * 2


async def test_where_there_is_no_sealed_account_there_is_nothing_to_try(
    stage: Stage, idp: Provider, tmp_path: Path
) -> None:
    house = built(stage, idp, tmp_path)
    answer = await house.browser().post("/login/break-glass", data={"password": SEALED})
    assert answer.status_code == 404


async def test_logging_out_takes_the_form_of_the_session(stage: Stage, idp: Provider, tmp_path: Path) -> None:
    house = built(stage, idp, tmp_path)
    browser = house.browser(person("sam", "approver"))
    assert (await browser.post("/logout", data={"csrf": "guess"})).status_code == 403
    token = browser.headers["x-csrf-token"]
    left = await browser.post("/logout", data={"csrf": token})
    assert (left.status_code, left.headers["location"]) == (303, "/login")
    assert (await browser.get("/api/v1/me")).status_code == 401
