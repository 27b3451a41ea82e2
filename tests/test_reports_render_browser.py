"""The page in a real browser: quiet, alone, drawn, sortable, and readable on a narrow screen."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import date
from pathlib import Path
from typing import Any

import pytest

from kling_reports.render import html
from kling_reports.report import Picture
from tests.browser import Browser, chromium
from tests.reports_any import HOSTILE, report, table
from tests.reports_year import year

pytestmark = pytest.mark.filterwarnings("ignore::ResourceWarning")

OVERVIEW = ["spend", "per_second", "budgets", "variance", "open"]


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chromium() as one:
        yield one


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The overview of a year of ten thousand jobs."""
    folder = tmp_path_factory.mktemp("page")
    written = folder / "year.html"
    written.write_bytes(html.render(year(folder / "ledger.sqlite")))
    return written


def column(browser: Browser, name: str, place: int) -> list[str]:
    script = f"[...document.querySelectorAll('#t-{name}-t tbody tr')]"
    found: list[str] = browser.evaluate(f"{script}.map(r => r.cells[{place}].textContent.trim())")
    return found


def click(browser: Browser, name: str, place: int) -> str:
    head = f"document.querySelectorAll('#t-{name}-t thead th')[{place}]"
    browser.evaluate(f"{head}.querySelector('button').click()")
    said: str = browser.evaluate(f"{head}.getAttribute('aria-sort')")
    return said


def test_the_page_of_a_year_of_ten_thousand_jobs_is_below_300_kb(page: Path):
    assert page.stat().st_size < 300_000


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_page_asks_no_network_and_the_console_stays_empty(
    browser: Browser, page: Path, scheme: str
):
    browser.ask(
        "Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": scheme}]
    )
    browser.open(page)
    assert browser.requested() == [page.as_uri()]
    assert browser.complaints() == []
    paper = browser.evaluate("getComputedStyle(document.body).backgroundColor")
    lightness = sum(int(part) for part in paper.strip("rgb()").split(","))
    assert (lightness < 200) == (scheme == "dark")


def test_every_part_of_the_overview_is_drawn_and_says_what_it_shows(browser: Browser, page: Path):
    browser.open(page)
    for name in OVERVIEW:
        drawn = browser.evaluate(
            f"[...document.querySelectorAll('#t-{name} figure svg[role=img]')].map(s => ["
            "s.querySelectorAll('rect').length, s.getBoundingClientRect().width,"
            " ...s.getAttribute('aria-labelledby').split(' ')"
            ".map(id => document.getElementById(id).textContent)])"
        )
        assert drawn, name
        for rects, width, title, described in drawn:
            assert rects > 0
            assert width > 200
            assert title
            assert described


def test_a_column_of_figures_sorts_by_what_they_are_and_totals_stay(browser: Browser, page: Path):
    browser.open(page)
    heads = browser.evaluate(
        "[...document.querySelectorAll('#t-spend-t thead th')].map(h => h.textContent)"
    )
    spent = heads.index("spent")
    before = column(browser, "spend", spent)
    totals = browser.evaluate("document.querySelector('#t-spend-t tfoot').textContent")
    assert click(browser, "spend", spent) == "ascending"
    figures = [float(text.replace(",", "")) for text in column(browser, "spend", spent)]
    assert figures == sorted(figures)
    assert click(browser, "spend", spent) == "descending"
    assert column(browser, "spend", spent) == list(reversed(column_sorted(before)))
    assert totals == browser.evaluate("document.querySelector('#t-spend-t tfoot').textContent")
    states = browser.evaluate(
        "[...document.querySelectorAll('#t-spend-t thead th')]"
        ".filter(h => h.getAttribute('aria-sort') !== 'none').length"
    )
    assert states == 1


def column_sorted(texts: list[str]) -> list[str]:
    return sorted(texts, key=lambda text: float(text.replace(",", "")))


def test_amounts_sort_to_the_last_millionth_and_what_is_unknown_comes_last(
    browser: Browser, tmp_path: Path
):
    amounts = [9_007_199_254_740_991, None, -1, 9_007_199_254_740_990, 0]
    written = tmp_path / "any.html"
    written.write_bytes(html.render(report(table([row(spent_micro=one) for one in amounts]))))
    browser.open(written)
    click(browser, "any", 5)
    ascending = ["-0.000001", "0.00", "9,007,199,254.74099", "9,007,199,254.740991", ""]
    assert column(browser, "any", 5) == ["-0.000001", "0.00", *["9,007,199,254.74"] * 2, ""]
    browser.evaluate("document.getElementById('exact').click()")
    assert column(browser, "any", 5) == ascending
    click(browser, "any", 5)
    assert column(browser, "any", 5) == [*reversed(ascending[:-1]), ""]


def test_hostile_text_is_only_text(browser: Browser, tmp_path: Path):
    picture = Picture("bars", x="name", value="spent_micro", series="name")
    rows = [row(name=text, spent_micro=at + 1) for at, text in enumerate(HOSTILE)]
    written = tmp_path / "any.html"
    written.write_bytes(html.render(report(table(rows, picture))))
    browser.open(written)
    assert (browser.complaints(), browser.requested()) == ([], [written.as_uri()])
    assert browser.evaluate("document.querySelectorAll('img, a[href^=http]').length") == 0
    told = json.loads(browser.evaluate("document.getElementById('data').textContent"))
    assert [one[0] for one in told["tables"]["any"]["rows"]] == list(HOSTILE)


@pytest.mark.parametrize("width", [400, 320])
def test_a_narrow_screen_shows_the_page_without_scrolling_it_sideways(
    browser: Browser, page: Path, width: int
):
    browser.open(page, width=width)
    assert browser.evaluate("document.documentElement.scrollWidth") <= width
    sizes = browser.evaluate(
        "[...document.querySelectorAll('body *')].filter(e => e.textContent.trim()"
        " && e.getClientRects().length).map(e => parseFloat(getComputedStyle(e).fontSize))"
    )
    assert min(sizes) >= 11
    drawn = browser.evaluate(
        "[...document.querySelectorAll('svg[role=img]')].map(s => s.getBoundingClientRect())"
        ".every(box => box.width > 150 && box.right <= innerWidth)"
    )
    assert drawn
    overflowing = browser.evaluate(
        "[...document.querySelectorAll('svg[role=img] text')].filter(t => {"
        "const box = t.getBoundingClientRect(); return box.width && (box.left < 0 ||"
        " box.right > innerWidth)}).map(t => t.textContent)"
    )
    assert overflowing == []


def test_every_control_is_reached_by_the_keyboard_and_has_a_name(browser: Browser, page: Path):
    browser.open(page)
    told = browser.evaluate(
        "[...document.querySelectorAll('button, a, summary, .scroll')].filter(e =>"
        " e.tabIndex < 0 || !(e.textContent.trim())).length"
    )
    assert told == 0
    loose = browser.evaluate(
        "[...document.querySelectorAll('table')].filter(t => !t.caption ||"
        " [...t.querySelectorAll('th')].some(h => !h.scope)).length"
    )
    assert loose == 0


def row(**given: Any) -> dict[str, Any]:
    """A row of any table, with some of its values given."""
    nothing: dict[str, Any] = dict.fromkeys(
        ["name", "sound", "seconds", "share_ppm", "rate_micro", "at", "month"]
    )
    return {**nothing, "unit": "USD", "clips": 1, "spent_micro": 1, "day": date(2026, 1, 1)} | given
