"""The page in a real browser: quiet, alone, drawn, sortable, and readable on a narrow screen."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import pytest

from kling_ledger.ledger.scopes import is_project
from kling_reports import overview
from kling_reports.frames import frame_of
from kling_reports.render import html
from kling_reports.report import Column, Picture, Table
from tests.browser import Browser, chromium
from tests.reports_any import HOSTILE, report, table
from tests.reports_ledger import START, Made, ledger_of, query
from tests.reports_year import year

pytestmark = pytest.mark.filterwarnings("ignore::ResourceWarning")

OVERVIEW = ["spend", "daily", "budgets", "projects", "per_second", "variance", "open"]


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


# --- filter, drill-down, columns, exact figures -----------------------------------------------


def visible_rows(browser: Browser, name: str) -> int:
    script = f"[...document.querySelectorAll('#t-{name}-t tbody tr')].filter(r => !r.hidden).length"
    found: int = browser.evaluate(script)
    return found


def totals_shown(browser: Browser, name: str) -> list[list[str]]:
    script = (
        f"[...document.querySelectorAll('#t-{name}-t tfoot tr')].filter(r => !r.hidden)"
        ".map(r => [...r.cells].map(c => c.textContent.trim()))"
    )
    found: list[list[str]] = browser.evaluate(script)
    return found


def key(browser: Browser, name: str, text: str = "") -> None:
    code = {"Tab": 9, "Enter": 13, " ": 32}[name]
    for kind in ("keyDown", "keyUp"):
        given = {"text": text} if text and kind == "keyDown" else {}
        browser.ask(
            "Input.dispatchKeyEvent", type=kind, key=name, windowsVirtualKeyCode=code, **given
        )


def small(tmp_path: Path) -> Path:
    """A page of two tables that share their projects."""
    columns = (
        Column("project", "project", "text"),
        Column("unit", "unit", "text"),
        Column("spent_micro", "spent", "money", adds_up=True),
        Column("clips", "clips", "integer", adds_up=True),
    )
    kinds = {column.name: column.kind for column in columns}

    def of(name: str, rows: list[tuple[str | None, int]]) -> Table:
        given = [
            {"project": project, "unit": "USD", "spent_micro": micro, "clips": 1}
            for project, micro in rows
        ]
        whole = {"project": None, "unit": "USD", "spent_micro": sum(one for _, one in rows)}
        totals = frame_of([{**whole, "clips": len(rows)}], kinds)
        return Table(name, name.title(), columns, frame_of(given, kinds), totals=totals)

    written = tmp_path / "small.html"
    tables = (
        of("projects", [("film", 4_050_012), ("ads", 1), (None, 7_000_000)]),
        of("jobs", [("film", 4_000_000), ("film", 50_012), ("filmed", 9), ("ads", 1)]),
    )
    written.write_bytes(html.render(report(*tables)))
    return written


def test_a_click_on_a_project_shows_it_alone_in_every_table_with_exact_sums(
    browser: Browser, tmp_path: Path
):
    browser.open(small(tmp_path))
    assert totals_shown(browser, "jobs") == [["Total", "USD", "4.05", "4"]]
    browser.evaluate("document.querySelector('#t-projects-t tbody button').click()")
    assert (visible_rows(browser, "projects"), visible_rows(browser, "jobs")) == (1, 2)
    # 4 + 0.050012 to the millionth.
    assert totals_shown(browser, "jobs") == [["Shown", "USD", "4.050012", "2"]]
    assert browser.evaluate("document.getElementById('said').textContent") == "3 of 7 rows"
    assert browser.evaluate("document.activeElement.textContent") == "project: film, remove ×"
    links = browser.evaluate("[...document.querySelectorAll('.found a')].map(a => a.textContent)")
    assert links == ["Projects (1)", "Jobs (2)"]
    browser.evaluate("document.activeElement.click()")
    assert (visible_rows(browser, "projects"), visible_rows(browser, "jobs")) == (3, 4)
    assert totals_shown(browser, "jobs") == [["Total", "USD", "4.05", "4"]]
    assert browser.evaluate("document.getElementById('said').textContent") == ""


def test_the_filter_keeps_rows_with_all_its_words_and_says_how_many(
    browser: Browser, tmp_path: Path
):
    browser.open(small(tmp_path))
    ask = (
        "(text => {const box = document.getElementById('filter'); box.value = text;"
        " box.dispatchEvent(new Event('input'))})"
    )
    browser.evaluate(f"{ask}('FILM usd')")
    assert (visible_rows(browser, "projects"), visible_rows(browser, "jobs")) == (1, 3)
    browser.evaluate(f"{ask}('no project')")
    assert (visible_rows(browser, "projects"), visible_rows(browser, "jobs")) == (1, 0)
    assert browser.evaluate("document.getElementById('said').textContent") == "1 of 7 rows"
    said = browser.evaluate("document.getElementById('said').getAttribute('aria-live')")
    assert said == "polite"
    browser.evaluate("document.querySelector('.clear').click()")
    assert visible_rows(browser, "jobs") == 4
    assert browser.evaluate("document.activeElement.id") == "filter"


def test_exact_figures_come_and_go_and_names_stay(browser: Browser, tmp_path: Path):
    browser.open(small(tmp_path))
    cells = "[...document.querySelectorAll('#t-projects-t tbody tr')].map(r => r.innerText)"
    rounded = browser.evaluate(cells)
    browser.evaluate("document.querySelector('.exact input').click()")
    assert browser.evaluate(cells) == [
        "film\tUSD\t4.050012\t1",
        "ads\tUSD\t0.000001\t1",
        "(no project)\tUSD\t7.00\u2007\u2007\u2007\u2007\t1",
    ]
    assert totals_shown(browser, "projects") == [["Total", "USD", "11.050013", "3"]]
    assert browser.evaluate("document.querySelector('.tiles b').textContent") == "11.050013"
    browser.evaluate("document.querySelector('.exact input').click()")
    assert browser.evaluate(cells) == rounded


def test_hostile_names_are_only_text_in_findings_and_choices(browser: Browser, tmp_path: Path):
    usual = [
        Made(minute=60 * 24 * day, project=f"film/{at}") for day in range(8) for at in range(6)
    ]
    names = filter(is_project, HOSTILE)
    wild = [Made(minute=60 * 24 * 9 + at, project=name) for name in names for at in range(12)]
    now = START + timedelta(days=10)
    with ledger_of(str(tmp_path / "l"), [*usual, *wild]) as ledger:
        answered = overview.report(ledger.database, query(now=now))
    assert len(answered.table("findings").frame) == 3
    written = tmp_path / "overview.html"
    written.write_bytes(html.render(answered))
    browser.open(written)
    for at in range(browser.evaluate("document.querySelectorAll('.drill').length")):
        browser.evaluate(f"document.querySelectorAll('.drill')[{at}].click()")
        assert browser.evaluate("document.querySelectorAll('.chips .chip').length") > 0
    assert (browser.complaints(), browser.requested()) == ([], [written.as_uri()])
    assert browser.evaluate("document.querySelectorAll('img').length") == 0


def test_jobs_without_a_project_can_be_chosen(browser: Browser, tmp_path: Path):
    browser.open(small(tmp_path))
    names = "[...document.querySelectorAll('#t-projects-t .drill')].map(b => b.textContent)"
    assert browser.evaluate(names) == ["film", "ads", "(no project)"]


def test_the_keyboard_reaches_a_project_and_chooses_it(browser: Browser, tmp_path: Path):
    browser.open(small(tmp_path))
    reached = []
    for _ in range(20):
        key(browser, "Tab")
        reached.append(
            browser.evaluate("document.activeElement.id || document.activeElement.textContent")
        )
        outline = browser.evaluate("getComputedStyle(document.activeElement).outlineStyle")
        assert outline != "none", reached
        if reached[-1] == "film":
            break
    assert reached == [
        "Skip to the tables",
        "filter",
        "exact",
        *[reached[3]],
        "project",
        "unit",
        "spent",
        "clips",
        "film",
    ]
    key(browser, "Enter", "\r")
    assert visible_rows(browser, "jobs") == 2
    # The focus is on what takes the choice back.
    key(browser, " ", " ")
    assert visible_rows(browser, "jobs") == 4


def test_a_click_in_the_overview_shows_a_projects_models_days_and_jobs(
    browser: Browser, page: Path
):
    browser.open(page)
    drill = (
        "[...document.querySelectorAll('#t-projects-t .drill')]"
        ".find(b => b.textContent === 'film/spot').click()"
    )
    browser.evaluate(drill)
    assert visible_rows(browser, "projects") == 1
    for name in ("project_models", "days", "jobs"):
        at = 0 if name == "project_models" else 1
        shown = browser.evaluate(
            f"[...new Set([...document.querySelectorAll('#t-{name}-t tbody tr')]"
            f".filter(r => !r.hidden).map(r => r.cells[{at}].textContent))]"
        )
        assert shown == ["film/spot"], name
    # What was not grouped by project stays whole.
    assert visible_rows(browser, "models") == 3


def test_a_finding_leads_to_its_row_even_where_it_was_filtered_away(browser: Browser, page: Path):
    browser.open(page)
    browser.evaluate("document.getElementById('filter').value = 'nothing has this'")
    browser.evaluate("document.getElementById('filter').dispatchEvent(new Event('input'))")
    links = browser.evaluate(
        "[...document.querySelectorAll('.findings a')].map(a => a.getAttribute('href'))"
    )
    assert 4 <= len(links) <= 7
    for link in links:
        assert browser.evaluate(f"document.querySelector('{link}').tagName") == "TR"
        browser.evaluate(f"location.hash = '{link}'")
    browser.evaluate("new Promise(done => setTimeout(done, 100))")
    assert visible_rows(browser, "projects") == 9


@pytest.mark.parametrize("width", [1280, 400])
def test_every_column_that_is_shown_can_be_read_and_the_others_come_back(
    browser: Browser, page: Path, width: int
):
    browser.open(page, width=width)
    cut = (
        "[...document.querySelectorAll('section > .scroll')]"
        ".filter(s => s.scrollWidth > s.clientWidth)"
    )
    assert browser.evaluate(f"{cut}.map(s => s.closest('section').id)") == []
    shown = browser.evaluate(
        "[...document.querySelectorAll('table[data-gives]')].map(t =>"
        " [t.id, [...t.tHead.rows[0].cells].filter(c => c.offsetWidth).map(c => c.dataset.key)])"
    )
    for name, keys in shown:
        assert len(keys) >= 2, name
    important = dict(shown)
    assert {"month", "spent_micro"} <= set(important["t-spend-t"])
    assert {"project", "spent_micro"} <= set(important["t-projects-t"])
    assert {"budget", "unit", "spent_micro"} <= set(important["t-budgets-t"])
    more = "document.querySelector('#t-budgets .more')"
    assert "more columns" in browser.evaluate(f"{more}.textContent")
    browser.evaluate(f"{more}.click()")
    hidden = browser.evaluate(
        "[...document.querySelector('#t-budgets-t').tHead.rows[0].cells]"
        ".filter(c => !c.offsetWidth).length"
    )
    assert (hidden, browser.evaluate(f"{more}.getAttribute('aria-expanded')")) == (0, "true")
    browser.evaluate(f"{more}.click()")
    assert browser.evaluate(f"{cut}.length") == 0


CONTRAST = """
(() => {
  const parse = text => text.match(/[\\d.]+/g).map(Number);
  const light = ([r, g, b]) => [r, g, b].map(v => v / 255)
    .map(v => v <= .04045 ? v / 12.92 : ((v + .055) / 1.055) ** 2.4)
    .reduce((sum, v, at) => sum + v * [.2126, .7152, .0722][at], 0);
  const ground = element => {
    for (let one = element; one; one = one.parentElement) {
      const colour = parse(getComputedStyle(one).backgroundColor);
      if (colour.length < 4 || colour[3] > 0) return colour;
    }
    return [255, 255, 255];
  };
  const told = new Map();
  for (const one of document.querySelectorAll('body *')) {
    const own = [...one.childNodes].some(node => node.nodeType === 3 && node.data.trim());
    if (!own || !one.getClientRects().length || one.closest('script, title, desc')) continue;
    const style = getComputedStyle(one);
    const ink = parse(one.closest('svg') ? style.fill : style.color);
    const [a, b] = [light(ink), light(ground(one))].sort((x, y) => y - x);
    const ratio = (a + .05) / (b + .05);
    if (ratio < 4.5) told.set(`${one.tagName}.${one.className}`, Math.round(ratio * 100) / 100);
  }
  return [...told];
})()
"""


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_every_text_stands_out_from_its_ground(browser: Browser, page: Path, scheme: str):
    browser.ask(
        "Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": scheme}]
    )
    browser.open(page)
    assert browser.evaluate(CONTRAST) == []


def test_a_screen_reader_is_told_what_everything_is(browser: Browser, page: Path):
    browser.open(page)
    landmarks = browser.evaluate(
        "['header', 'main', 'nav', 'footer', '[role=search]', 'h1']"
        ".map(s => document.querySelectorAll(s).length)"
    )
    assert landmarks == [1, 1, 1, 1, 1, 1]
    assert browser.evaluate("document.documentElement.lang") == "en"
    twice = browser.evaluate(
        "[...document.querySelectorAll('[id]')].map(e => e.id)"
        ".filter((id, at, all) => all.indexOf(id) !== at)"
    )
    assert twice == []
    nameless = browser.evaluate(
        "[...document.querySelectorAll('section, [role=region], nav')].filter(e => !(e.ariaLabel ||"
        " document.getElementById(e.getAttribute('aria-labelledby'))?.textContent)).length"
    )
    assert nameless == 0
    unlabelled = browser.evaluate(
        "[...document.querySelectorAll('input')].filter(e => !e.labels.length).length"
    )
    assert unlabelled == 0
    levels = browser.evaluate("[...document.querySelectorAll('h1,h2,h3')].map(h => h.tagName)")
    assert levels[0] == "H1"
    assert set(levels[1:]) == {"H2"}


def test_whoever_wants_no_motion_has_none(browser: Browser, page: Path):
    def scrolls(choice: str) -> str:
        features = [{"name": "prefers-reduced-motion", "value": choice}]
        browser.ask("Emulation.setEmulatedMedia", features=features)
        browser.open(page)
        found: str = browser.evaluate("getComputedStyle(document.documentElement).scrollBehavior")
        return found

    assert (scrolls("reduce"), scrolls("no-preference")) == ("auto", "smooth")


def test_the_page_is_readable_without_its_script(browser: Browser, page: Path):
    browser.ask("Emulation.setScriptExecutionDisabled", value=True)
    try:
        browser.open(page)
        shown = browser.ask("DOM.getDocument", depth=1)["root"]["nodeId"]
        tables = browser.ask("DOM.querySelectorAll", nodeId=shown, selector="table[data-gives]")
        tools = browser.ask("DOM.querySelectorAll", nodeId=shown, selector=".tools, .more")
        assert (len(tables["nodeIds"]), tools["nodeIds"]) == (14, [])
    finally:
        browser.ask("Emulation.setScriptExecutionDisabled", value=False)


def test_paper_has_no_controls_and_cuts_nothing_off(browser: Browser, page: Path):
    browser.open(page, width=1280)
    browser.ask("Emulation.setEmulatedMedia", media="print")
    try:
        gone = browser.evaluate(
            "[...document.querySelectorAll('nav, .tools, .more, .skip, thead button')]"
            ".filter(e => e.getClientRects().length).length"
        )
        assert gone == 0
        left_out = browser.evaluate(
            "[...document.querySelectorAll('main section')]"
            ".filter(s => !s.getClientRects().length)"
            ".map(s => s.querySelector('h2').firstChild.data)"
        )
        told = browser.evaluate("document.querySelector('.paper').innerText")
        assert told.endswith(f": {', '.join(left_out)}.")
        clipped = browser.evaluate(
            "[...document.querySelectorAll('.scroll')]"
            ".filter(s => getComputedStyle(s).overflow !== 'visible').length"
        )
        assert clipped == 0
    finally:
        browser.ask("Emulation.setEmulatedMedia", media="")


def row(**given: Any) -> dict[str, Any]:
    """A row of any table, with some of its values given."""
    nothing: dict[str, Any] = dict.fromkeys(
        ["name", "sound", "seconds", "share_ppm", "rate_micro", "at", "month"]
    )
    return {**nothing, "unit": "USD", "clips": 1, "spent_micro": 1, "day": date(2026, 1, 1)} | given
