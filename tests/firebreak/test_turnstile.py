from __future__ import annotations

import asyncio

from firebreak.turnstile import URGENCY, Turnstile


async def pass_through(
    turnstile: Turnstile, name: str, urgency: int, passed: list[str], gate: asyncio.Event
) -> None:
    URGENCY.set(urgency)
    async with turnstile:
        passed.append(name)
        await gate.wait()


async def standing_in_line(
    turnstile: Turnstile, *line: tuple[str, int]
) -> tuple[list[str], list[asyncio.Task[None]], asyncio.Event]:
    passed: list[str] = []
    gate = asyncio.Event()
    tasks = [asyncio.create_task(pass_through(turnstile, name, n, passed, gate)) for name, n in line]
    for _ in line:
        await asyncio.sleep(0)
    return passed, tasks, gate


async def test_the_most_urgent_passes_first_and_equals_in_order() -> None:
    passed, tasks, gate = await standing_in_line(
        Turnstile(1), ("drill", 5), ("drill again", 5), ("live", 1), ("live again", 1)
    )
    assert passed == ["drill"]
    gate.set()
    await asyncio.gather(*tasks)
    assert passed == ["drill", "live", "live again", "drill again"]


async def test_no_more_pass_at_one_time_than_there_are_places() -> None:
    passed, tasks, gate = await standing_in_line(Turnstile(2), ("a", 3), ("b", 3), ("c", 3))
    assert passed == ["a", "b"]
    gate.set()
    await asyncio.gather(*tasks)


async def test_a_cancelled_caller_costs_no_place() -> None:
    turnstile = Turnstile(1)
    passed, tasks, gate = await standing_in_line(turnstile, ("a", 3), ("b", 1), ("c", 3))
    tasks[1].cancel()
    gate.set()
    await asyncio.gather(*tasks, return_exceptions=True)
    assert passed == ["a", "c"]
    async with asyncio.timeout(1), turnstile:
        passed.append("d")
    assert passed[-1] == "d"


async def test_a_place_given_in_the_moment_of_the_cancellation_is_handed_on() -> None:
    turnstile = Turnstile(1)
    passed, tasks, gate = await standing_in_line(turnstile, ("a", 3), ("b", 3), ("c", 3))
    gate.set()
    await asyncio.sleep(0)  # "a" leaves and gives its place to "b" ...
    tasks[1].cancel()  # ... which does not want it any more
    await asyncio.gather(*tasks, return_exceptions=True)
    assert passed[-1] == "c"
