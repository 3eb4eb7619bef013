from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import click
import jsonschema
import pytest
import yaml

from firebreak.cli.app import COMMANDS, firebreak
from firebreak.cli.docs import documents
from firebreak.errors import FirebreakError
from firebreak.model import Phase, Verdict
from tests.firebreak.test_inventory import WHOLE

ROOT = Path(__file__).resolve().parent.parent
WRITTEN = [ROOT / "README.md", ROOT / "SECURITY.md", *sorted((ROOT / "docs").rglob("*.md"))]
LINK = re.compile(r"\]\((?!https?:|#)([^)#]+)")
NOT_YET_WRITTEN = {"docs/performance.md"}  # make bench writes it


@pytest.fixture(scope="module")
def generated() -> dict[str, str]:
    return documents()


@pytest.mark.parametrize(
    "name", ["measures.md", "coverage.md", "permissions.md", "cli.md", "workloads.schema.json"]
)
def test_generated_documents_are_up_to_date(name: str, generated: dict[str, str]) -> None:
    assert (ROOT / "docs" / name).read_text(encoding="utf-8") == generated[name], "run make docs"


@pytest.mark.parametrize("path", WRITTEN, ids=lambda path: path.name)
def test_links_lead_somewhere(path: Path) -> None:
    targets = {(path.parent / target).resolve() for target in LINK.findall(path.read_text(encoding="utf-8"))}
    missing = {str(each.relative_to(ROOT)) for each in targets if not each.exists()}
    assert missing <= NOT_YET_WRITTEN


@pytest.mark.parametrize("path", WRITTEN, ids=lambda path: path.name)
def test_every_command_that_is_shown_exists_with_its_options(path: Path) -> None:
    for line in _command_lines(path.read_text(encoding="utf-8")):
        words = shlex.split(line, comments=True)
        command, rest = _resolved(words[1:])
        known = {option for parameter in command.params for option in parameter.opts}
        used = {word.partition("=")[0] for word in rest if word.startswith("--")}
        assert used <= known | {"--help"}, line


def test_every_command_is_documented(generated: dict[str, str]) -> None:
    for name in COMMANDS:
        assert f"## `firebreak {name}`" in generated["cli.md"]


def test_the_first_screen_shows_the_two_commands_before_any_other() -> None:
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    first = re.findall(r"```sh\n(.*?)```", text, re.DOTALL)[0]
    assert [line.split("#")[0].split() for line in first.splitlines()] == [["make", "demo"], ["make", "test"]]


def test_every_verdict_and_its_exit_code_is_explained() -> None:
    runbook = (ROOT / "docs/runbook.md").read_text(encoding="utf-8")
    for verdict in Verdict:
        assert f"| `{verdict}` |" in runbook


def test_the_runbook_carries_the_requirement_of_each_phase() -> None:
    runbook = (ROOT / "docs/runbook.md").read_text(encoding="utf-8")
    for phase in Phase:
        assert f"| {int(phase)} | {phase.title.upper()} |" in runbook


def test_the_published_schema_accepts_an_inventory(generated: dict[str, str]) -> None:
    schema = yaml.safe_load(generated["workloads.schema.json"])
    jsonschema.Draft202012Validator(schema).validate(yaml.safe_load(WHOLE))


def test_every_error_of_the_tree_says_what_it_is_for() -> None:
    def below(parent: type[FirebreakError]) -> Iterator[type[FirebreakError]]:
        for each in parent.__subclasses__():
            yield each
            yield from below(each)

    assert all((each.__doc__ or "").strip() for each in below(FirebreakError))


def _command_lines(text: str) -> Iterator[str]:
    """``firebreak ...`` lines of code blocks, and inline code that starts with the command."""
    indented = re.findall(r"^(?: {4,}|)(firebreak (?!Usage).+)$", text, re.MULTILINE)
    inline = re.findall(r"`(firebreak [^`\n]+)`", text)
    yield from (each for each in [*indented, *inline] if not each.startswith("firebreak/"))


def _resolved(words: list[str]) -> tuple[click.Command, list[str]]:
    command: click.Command = firebreak
    context = click.Context(firebreak)
    while words and isinstance(command, click.Group) and not words[0].startswith("-"):
        found = command.get_command(context, words[0])
        assert found is not None, f"there is no command {words[0]}"
        command, words = found, words[1:]
    return command, words
