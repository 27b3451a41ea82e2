"""The documents say what is true: commands exist, options are real, links lead somewhere."""

from __future__ import annotations

import html
import re
import sys

import click
import pytest

from kling_pricing.gateways import GATEWAYS
from tests.cli import COMMAND
from tests.page_reader import command_of, commands
from tests.pages import ROOT, tried


def page(name: str) -> str:
    return (ROOT / name).read_text(encoding="utf-8")


def shown(name: str) -> list[str]:
    """The command lines that a page shows, continued lines put together."""
    text = page(name).replace("\\\n", " ")
    return re.findall(r"(?:\$ |`|&& )kling-ledger ([a-z]+[^`\n|]*)", text)


@pytest.mark.parametrize("words", sorted(commands()))
def test_every_command_and_option_has_help(words: str):
    command = commands()[words]
    assert command.help
    unexplained = [
        option.name
        for option in command.params
        if isinstance(option, click.Option) and not option.help
    ]
    assert unexplained == []


def test_the_readme_is_read_in_a_few_minutes():
    assert len(page("README.md").split()) <= 700


@pytest.mark.parametrize("noun", sorted({words.split()[0] for words in commands()}))
def test_a_page_for_people_speaks_of_every_command(noun: str):
    assert any(re.search(rf"(`|\bkling-ledger ){noun}\b", one.text) for one in tried())


@pytest.mark.parametrize("name", ["pricing/README.md", *(one.path for one in tried())])
def test_every_command_that_is_shown_exists_with_its_options(name: str):
    for line in shown(name):
        command_of(line.split())


ROOMS = ("kling_ledger", "pricing/kling_pricing", "reports/kling_reports")


@pytest.mark.skipif(sys.platform == "win32", reason="needs a terminal of Unix")
def test_the_picture_of_the_demo_shows_what_it_prints():
    from docs.pictures import written

    drawn = re.findall(r">([^<>]+)</text>", page("docs/assets/demo.svg"))
    told = re.sub(r"\x1b\[[\d;]*m", "", written((COMMAND, "demo")))
    assert words_of(" ".join(map(html.unescape, drawn))) == [
        "kling-ledger",
        *words_of(f"$ kling-ledger demo {told}"),
    ], "take it again with: python -m docs.pictures"


def words_of(text: str) -> list[str]:
    """The words of a text; a port, which is another each time, is the same."""
    return re.sub(r":\d{4,5}\b", ":PORT", text).split()


def test_every_file_of_the_map_is_there():
    """A file may be named by the end of its path; `NAME` stands for every gateway."""
    known = [f"/{path.relative_to(ROOT)}" for room in ROOMS for path in (ROOT / room).rglob("*")]
    for named in re.findall(r"`([\w./]*(?:\.py|\.toml|/))`", page("ARCHITECTURE.md")):
        for gateway in GATEWAYS if "NAME" in named else ("",):
            target = named.replace("NAME", gateway).rstrip("/")
            is_there = (ROOT / target).exists() or any(one.endswith(f"/{target}") for one in known)
            assert is_there, target


def test_every_promise_names_a_test_that_is_there():
    page = (ROOT / "docs" / "explanation" / "proof.md").read_text(encoding="utf-8")
    named = re.findall(r"`(test_\w+\.py)::(test_\w+)`", page)
    assert len(named) == len(re.findall(r"^\| [^*|]+ \| `test_", page, flags=re.MULTILINE)) > 40
    for file, name in named:
        assert f"\ndef {name}(" in (ROOT / "tests" / file).read_text(encoding="utf-8"), name
