"""Reading the console's pages as a browser does: elements, forms, and what a policy would refuse."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from html.parser import HTMLParser
from typing import Any

import httpx

from firebreak.policy.rules import Person
from tests.firebreak.web.house import House

HTML = {"accept": "text/html"}


@dataclass
class Page(HTMLParser):
    """A page that was parsed."""

    text: str
    elements: list[tuple[str, dict[str, str]]] = field(default_factory=list)
    words: list[str] = field(default_factory=list)
    inline: list[str] = field(default_factory=list)
    """Scripts and styles that stand in the page itself."""

    def __post_init__(self) -> None:
        HTMLParser.__init__(self)
        self.feed(self.text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        found = {name: value or "" for name, value in attrs}
        self.elements.append((tag, found))
        if tag == "style" or (tag == "script" and "src" not in found):
            self.inline.append(tag)
        self.inline += [name for name in found if name.startswith("on") or name in {"style", "hx-on"}]

    def handle_data(self, data: str) -> None:
        self.words.append(data)

    @property
    def shown(self) -> str:
        """Its words."""
        return " ".join(" ".join(self.words).split())

    def all(self, tag: str, **attributes: str) -> list[dict[str, str]]:
        """The elements of that kind."""
        wanted = attributes.items()
        return [found for name, found in self.elements if name == tag and wanted <= found.items()]

    @property
    def actions(self) -> set[str]:
        """Where its forms and its links to confirmation pages lead."""
        forms = {form["action"] for form in self.all("form")}
        links = {link["href"] for link in self.all("a") if link["href"].endswith("/contain")}
        return (forms - {"/logout"}) | links | {a["href"] for a in self.all("a") if "/actions/" in a["href"]}

    @property
    def foreign(self) -> list[str]:
        """What it would load from elsewhere."""
        addresses = [
            e.get("src") or e.get("href", "") for t, e in self.elements if t in {"script", "link", "img"}
        ]
        return [each for each in addresses if not each.startswith("/static/")]


async def page(house: House, who: Person | None, path: str, status: int = 200) -> Page:
    """A page as somebody sees it."""
    async with house.browser(who) as browser:
        answer = await browser.get(path, headers=HTML)
    assert answer.status_code == status, answer.text
    return Page(answer.text)


async def sent(house: House, who: Person, path: str, **form: Any) -> httpx.Response:
    """A form of that person's own session, sent as their browser would."""
    async with house.browser(who) as browser:
        csrf = browser.headers.pop("x-csrf-token")
        return await browser.post(path, data={"csrf": csrf, **form}, headers=HTML)


async def events(answer: httpx.Response) -> AsyncIterator[tuple[str, str]]:
    """The events of a stream, comments included as events without a name."""
    name, data = "", []
    async for line in answer.aiter_lines():
        if line.startswith("event: "):
            name = line.removeprefix("event: ")
        elif line.startswith("data: "):
            data.append(line.removeprefix("data: "))
        elif line.startswith(":"):
            yield "", line
        elif not line and name:
            yield name, "\n".join(data)
            name, data = "", []
