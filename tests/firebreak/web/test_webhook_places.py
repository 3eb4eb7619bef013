"""As many alerts at one time as the server gets done in time."""

from __future__ import annotations

import asyncio

import pytest

from firebreak.web.webhook.places import Places


async def test_no_more_than_the_places_are_at_work() -> None:
    places, at_work, most = Places(3), 0, 0

    async def work() -> None:
        nonlocal at_work, most
        async with places.one(10):
            at_work += 1
            most = max(most, at_work)
            await asyncio.sleep(0)
            at_work -= 1

    await asyncio.gather(*(work() for _ in range(50)))
    assert most == 3
    assert places.allowed == 3


async def test_what_runs_out_of_time_together_halves_the_places_once_and_success_brings_them_back() -> None:
    places = Places(16)

    async def stuck() -> None:
        async with places.one(0.2):
            await asyncio.Event().wait()

    ends = await asyncio.gather(*(stuck() for _ in range(16)), return_exceptions=True)
    assert [type(each) for each in ends] == [TimeoutError] * 16
    assert places.allowed == 8
    for _ in range(200):
        async with places.one(10):
            pass
    assert places.allowed == 16


async def test_who_gets_no_place_in_time_is_told_and_takes_none() -> None:
    places, let_go = Places(1), asyncio.Event()

    async def hold() -> None:
        async with places.one(60):
            await let_go.wait()

    holding = asyncio.create_task(hold())
    await asyncio.sleep(0)
    with pytest.raises(TimeoutError):
        async with places.one(0.1):
            pytest.fail("there was no place")
    let_go.set()
    await holding
    async with places.one(1):
        assert places.allowed == 1


async def test_an_error_of_the_work_frees_its_place() -> None:
    places = Places(1)
    for _ in range(3):
        with pytest.raises(ValueError, match="broken"):
            async with places.one(5):
                raise ValueError("broken")
