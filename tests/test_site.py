"""The site is built without a warning, works without a network, and has its Markdown beside it."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from docs.build import build
from docs.generate import pages as generated
from docs.generate import stale
from tests.pages import BESIDE_THE_CODE, under_docs

pytest.importorskip("zensical")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the site was built, without a warning: the pages as laid out, and the site."""
    folder = tmp_path_factory.mktemp("site")
    build(folder)
    return folder


@pytest.fixture(scope="module")
def pages(folder: Path) -> list[str]:
    """Every page by its path on the site, without the ending."""
    return sorted(
        str(one.relative_to(folder / "pages").with_suffix(""))
        for one in (folder / "pages").rglob("*.md")
    )


def test_every_page_of_the_project_is_on_the_site(pages: list[str]):
    # README.md is the front page of a forge; the site has one of its own.
    assert len(pages) == len(under_docs()) + len(BESIDE_THE_CODE) - 1


def test_every_page_has_its_markdown_beside_it(folder: Path, pages: list[str]):
    for page in pages:
        assert (folder / "site" / f"{page}.html").is_file(), page
        twin = (folder / "site" / f"{page}.md").read_bytes()
        assert twin == (folder / "pages" / f"{page}.md").read_bytes(), page


def test_the_list_for_programs_has_every_page_once(folder: Path, pages: list[str]):
    listed = (folder / "site" / "llms.txt").read_text("utf-8")
    assert sorted(re.findall(r"^- \[[^\]]+\]\((.+)\.md\): .", listed, re.MULTILINE)) == sorted(
        set(pages) - {"index"}
    )
    whole = (folder / "site" / "llms-full.txt").read_text("utf-8")
    assert all(
        (folder / "pages" / f"{page}.md").read_text("utf-8").strip() in whole for page in pages
    )


LOADED = re.compile(
    r"<(?:script|img|iframe|source|video|link)\b[^>]*\b(?:src|href)=[\"']?([^\s\"'>]+)"
)


def test_the_site_loads_nothing_from_elsewhere(folder: Path):
    for page in (folder / "site").rglob("*.html"):
        loaded = LOADED.findall(page.read_text("utf-8"))
        assert loaded
        assert [one for one in loaded if re.match("(https?:)?//", one)] == [], page
    for sheet in (folder / "site").rglob("*.css"):
        text = sheet.read_text("utf-8")
        assert not re.search(r"(@import|url\()\s*[\"']?(https?:)?//", text), sheet


def test_the_generated_pages_are_what_the_code_says():
    assert stale(dict(generated())) == [], "write them again with: python -m docs.generate"
