"""Every page says what is true: what it shows works, where it leads is something."""

from __future__ import annotations

import ast
import re
import shlex
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Final

import pytest

from kling_ledger.sandbox import Sandbox
from tests.page_reader import READ, Reader, command_of
from tests.pages import ROOT, Block, Page, every, tried, under_docs

RUN: Final = {"console", "python", "sh", "bash", "sql"}

NOT_RUN: Final = {
    "README.md": 1,
    "docs/explanation/reservation.md": 1,
    "docs/how-to/add-a-gateway.md": 1,
    "docs/how-to/agents/claude-code.md": 3,
    "docs/how-to/agents/hermes.md": 2,
    "docs/how-to/agents/openclaw.md": 2,
    "docs/how-to/backup.md": 1,
    "docs/how-to/postgresql.md": 5,
    "docs/how-to/release.md": 3,
    "docs/how-to/run-as-a-service.md": 3,
    "docs/how-to/windows-macos.md": 1,
    "docs/reference/postgresql.md": 3,
    "docs/reference/sql.md": 1,
}
"""How many blocks of each page are not tried. Each says why in its comment, for a reviewer."""


@pytest.mark.parametrize("page", tried(), ids=lambda page: page.path)
def test_what_a_page_shows_works(page: Page, tmp_path: Path, sandbox: Sandbox):
    with ExitStack() as stack:
        reader = Reader(tmp_path, sandbox, stack)
        for block in page.blocks():
            reader.reads(block)


def test_what_follows_an_installation_is_run(tmp_path: Path, sandbox: Sandbox):
    with ExitStack() as stack:
        reader = Reader(tmp_path, sandbox, stack)
        reader.reads(Block("page.md", 1, "sh", "pip install . && echo shown > file\n"))
        reader.reads(Block("page.md", 2, "console", "$ pip install '.[test]'\n$ cat file\nshown\n"))
        with pytest.raises(AssertionError):
            reader.reads(Block("page.md", 3, "sh", "pip install . && false\n"))


def test_no_block_goes_untried_unseen():
    blocks = [block for page in tried() for block in page.blocks() if block.not_run is not None]
    assert [str(block) for block in blocks if not block.not_run] == []
    counted = {page: sum(one.page == page for one in blocks) for page in {b.page for b in blocks}}
    assert counted == NOT_RUN


@pytest.mark.parametrize("page", tried(), ids=lambda page: page.path)
def test_every_block_says_what_it_is(page: Page):
    unknown = [
        str(block)
        for block in page.blocks()
        if block.language not in RUN | set(READ) and not (block.is_printed or block.not_run)
    ]
    assert unknown == []


def test_a_block_that_is_tried_elsewhere_names_a_test_that_is_there():
    for block in (block for page in tried() for block in page.blocks() if block.tested):
        file, _, name = str(block.tested).partition("::")
        tree = ast.parse((ROOT / "tests" / file).read_text(encoding="utf-8"))
        assert name in {node.name for node in tree.body if isinstance(node, ast.FunctionDef)}, block


@pytest.mark.parametrize("page", under_docs(), ids=lambda page: page.path)
def test_commands_in_blocks_that_are_not_run_exist_with_their_options(page: Page):
    for block in (block for block in page.blocks() if block.not_run or page.is_generated):
        for line in re.findall(
            r"^(?:\$ )?kling-ledger ([a-z].*)", block.text.replace("\\\n", " "), re.MULTILINE
        ):
            command_of(shlex.split(re.split(r"[|>;]", line)[0]))


@pytest.mark.parametrize("page", tried(), ids=lambda page: page.path)
def test_servers_that_settings_start_exist_with_their_options(page: Page):
    for block in page.blocks():
        if block.language in {"json", "yaml"}:
            for words in arguments_in(READ[block.language](block.text)):
                command_of(list(map(str, words)))


def arguments_in(settings: Any) -> Iterator[list[str]]:
    """The arguments of every server of ours that settings start."""
    if isinstance(settings, dict):
        if settings.get("command") == "kling-ledger":
            yield settings["args"]
        for inner in settings.values():
            yield from arguments_in(inner)


def slugs(page: Page) -> set[str]:
    """The anchors of a page's headings, as both the site and a forge make them."""
    found: set[str] = set()
    for heading in page.headings():
        slug = re.sub(r"[^\w\- ]", "", heading.words.lower()).strip().replace(" ", "-")
        again = (number for number in range(1, 99) if f"{slug}-{number}" not in found)
        found.add(slug if slug not in found else f"{slug}-{next(again)}")
    return found


@pytest.mark.parametrize("page", every(), ids=lambda page: page.path)
def test_every_link_and_anchor_leads_somewhere(page: Page):
    for link in page.links():
        if re.match("[a-z]+:", link):
            continue
        path, _, anchor = link.partition("#")
        target = (page.file.parent / path).resolve() if path else page.file
        assert target.exists(), link
        if anchor:
            assert anchor in slugs(Page(str(target.relative_to(ROOT)))), link
