"""The page, read as text: totals to the millionth, nothing live from data, and small."""

from __future__ import annotations

import base64
import hashlib
import json
import re
from datetime import date, timedelta
from decimal import Decimal
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given

from kling_pricing.money import from_micro, plain
from kling_reports import spend
from kling_reports.render import html, pictures
from kling_reports.render.markup import Markup, tag
from kling_reports.render.values import visible
from kling_reports.report import Picture, Report
from tests.reports_any import KINDS, QUICK, report, reports, table, whole
from tests.reports_ledger import Made, ledger_of, query

SPENT, UNIT_AT = 5, 2


class Page(HTMLParser):
    """The cells of each part of each table of rows, the texts of scripts, and every element."""

    def __init__(self, written: bytes) -> None:
        super().__init__()
        self.tables: dict[str, dict[str, list[list[str]]]] = {}
        self.scripts: list[str] = []
        self.elements: set[str] = set()
        self.attributes: set[tuple[str, str]] = set()
        self._open: list[str] = []
        self._table, self._part = "", ""
        self.feed(written.decode())
        self.close()
        assert self._open == []

    def handle_startendtag(self, name: str, attributes: Any) -> None:
        self.elements.add(name)

    def handle_starttag(self, name: str, attributes: Any) -> None:
        self.elements.add(name)
        self.attributes |= {(key, value or "") for key, value in attributes}
        self._open.append(name)
        if name == "table":
            self._table = dict(attributes).get("id", "")
            self.tables[self._table] = {}
        if name in {"thead", "tbody", "tfoot"}:
            self._part = name
            self.tables[self._table][name] = []
        if name == "tr":
            self.tables[self._table][self._part].append([])
        if name in {"td", "th"}:
            self.tables[self._table][self._part][-1].append("")
        if name == "script":
            self.scripts.append("")

    def handle_endtag(self, name: str) -> None:
        assert self._open.pop() == name

    def handle_data(self, data: str) -> None:
        if {"td", "th"} & set(self._open):
            self.tables[self._table][self._part][-1][-1] += data
        if "script" in self._open:
            self.scripts[-1] += data

    def part(self, name: str, part: str) -> list[list[str]]:
        return self.tables.get(f"t-{name}-t", {}).get(part, [])

    @property
    def data(self) -> dict[str, Any]:
        told: dict[str, Any] = json.loads(self.scripts[0], parse_float=pytest.fail)
        return told


def amounts(rows: list[list[str]]) -> dict[str, Decimal]:
    sums: dict[str, Decimal] = {}
    for row in rows:
        amount = Decimal(row[SPENT].replace(",", "").strip() or 0)
        sums[row[UNIT_AT]] = sums.get(row[UNIT_AT], Decimal(0)) + amount
    return sums


@QUICK
@given(reports)
def test_rows_totals_and_data_read_back_equal_to_the_millionth(answered: Report):
    page = Page(html.render(answered))
    for one in answered.tables:
        expected = whole(one, "spent")
        assert amounts(page.part(one.name, "tbody")) == expected
        assert amounts(page.part(one.name, "tfoot")) == expected
        told = page.data["tables"][one.name]
        assert {row[UNIT_AT]: Decimal(row[SPENT]) for row in told["totals"]} == expected
        sums = amounts([[str(cell or "") for cell in row] for row in told["rows"]])
        assert sums == expected


@QUICK
@given(reports)
def test_text_from_the_ledger_is_text_in_the_page(answered: Report):
    page = Page(html.render(answered))
    assert not page.elements & {"img", "iframe", "link", "object", "form", "base"}
    assert len(page.scripts) == 2
    assert not {key for key, _ in page.attributes if key.startswith("on") or key == "style"}
    assert all(value.startswith("#") for key, value in page.attributes if key in {"href", "src"})
    names = [visible(str(row[0] or "")) for row in answered.main.rows()]
    assert [row[0] for row in page.part("any", "tbody")] == names


def test_a_name_that_ends_a_script_ends_none(tmp_path: Path):
    name = "</script><b>"
    with ledger_of(str(tmp_path / "l"), [Made(project=name)]) as ledger:
        answered = spend.report(ledger.database, query("project", where=[f"project={name}"]))
    written = html.render(answered)
    assert b"</script><b>" not in written
    page = Page(written)
    assert len(page.scripts) == 2
    assert page.data["tables"]["spend"]["rows"][0][0] == name
    assert page.data["filters"] == [f"project={name}"]


@pytest.mark.parametrize("name", ["</script x", "</script/", "<!--<script ", "<b", "a&amp;b"])
def test_no_sign_of_an_element_stands_in_the_data(tmp_path: Path, name: str):
    # A browser takes `</script` for the end of a script before a space or a slash too.
    with ledger_of(str(tmp_path / "l"), [Made(model=name)]) as ledger:
        answered = spend.report(ledger.database, query("model"))
    page = Page(html.render(answered))
    assert not {"<", ">", "&"} & set(page.scripts[0])
    assert page.data["tables"]["spend"]["rows"][0][0] == name


def test_only_our_own_style_and_script_are_let_into_effect():
    written = html.render(report(table([row()]))).decode()
    policy = re.search(r'Content-Security-Policy" content="([^"]*)"', written)
    assert policy is not None
    told = policy[1].replace("&#x27;", "'")
    assert "default-src 'none'" in told
    assert "unsafe" not in told
    for kind in ("style", "script"):
        inside = re.findall(f"<{kind}>(.*?)</{kind}>", written, re.DOTALL)
        digest = base64.b64encode(hashlib.sha256(inside[-1].encode()).digest()).decode()
        assert f"{kind}-src 'sha256-{digest}'" in told


def test_a_page_of_very_many_rows_stays_small_and_says_what_it_leaves_out():
    day = date(2025, 1, 1)
    rows = [
        row(name=f"project {at % 40}", day=day + timedelta(days=at % 365), spent_micro=at)
        for at in range(12_000)
    ]
    picture = Picture("over_time", x="day", value="spent_micro", series="name")
    written = html.render(report(table([row()], name="short"), table(rows, picture)))
    page = Page(written)
    assert len(written) < 300_000
    listed = len(page.part("any", "tbody"))
    assert 100 < listed < 12_000
    assert f"The first {listed:,} of 12,000 rows".encode() in written
    told = page.data["tables"]["any"]
    assert (told["count"], len(told["rows"])) == (12_000, listed)
    assert amounts(page.part("any", "tfoot")) == {"USD": from_micro(sum(range(12_000)))}
    assert len(page.part("short", "tbody")) == 1


def test_many_units_and_many_budgets_stay_small():
    units = [f"unit-{at}" for at in range(6)]
    day = date(2025, 1, 1)
    rows = [
        row(name=f"p{at % 9}", unit=unit, day=day + timedelta(days=at), spent_micro=at)
        for at in range(365)
        for unit in units
    ]
    along = Picture("over_time", x="day", value="spent_micro", series="name")
    limits = Picture("bullet", x="name", value="clips", limit="seconds")
    budgets = [row(name=f"budget {at}", seconds=at) for at in range(500)]
    written = html.render(report(table(rows, along), table(budgets, limits, name="budgets")))
    assert len(written) < 300_000
    assert b"the 30 of 500 that are used most" in written


def test_the_figures_behind_a_picture_of_time_add_up_to_the_table():
    rows = [row(name=f"p{at}", day=date(2026, 1, 1 + at), spent_micro=10**at) for at in range(12)]
    one = table(rows, Picture("over_time", x="day", value="spent_micro", series="name"))
    drawn = pictures.over_time(one)
    assert drawn is not None
    assert (len(drawn.series), drawn.series[-1], drawn.step) == (8, "all others", "day")
    assert sum(drawn.panels[0].values.values()) == sum(10**at for at in range(12))
    page = Page(html.render(report(one)))
    behind = page.tables[""]["tbody"]
    assert len(behind) == 12
    cells = (cell.replace(",", "") for row in behind for cell in row[2:])
    told = sum(map(Decimal, cells), Decimal(0))
    assert plain(told) == plain(from_micro(sum(10**at for at in range(12))))


def test_time_is_drawn_without_gaps_and_in_steps_that_fit():
    def steps(*days: date) -> tuple[str | None, int]:
        rows = [row(day=day) for day in days]
        drawn = pictures.over_time(table(rows, Picture("over_time", x="day", value="spent_micro")))
        assert drawn is not None
        return drawn.step, len(drawn.panels[0].places)

    assert steps(date(2026, 1, 1), date(2026, 1, 31)) == ("day", 31)
    assert steps(date(2026, 1, 1), date(2026, 12, 31)) == ("week", 53)
    assert steps(date(2020, 1, 1), date(2026, 12, 31)) == ("month", 84)
    assert steps(date(1900, 1, 1), date(1999, 12, 31)) == ("year", 100)


def test_what_does_not_add_up_is_not_drawn_where_rows_share_a_bar():
    picture = Picture("bars", x="name", value="rate_micro")
    apart = [row(name=name, rate_micro=1) for name in ("a", "b")]
    assert pictures.bars(table(apart, picture)) is not None
    assert pictures.bars(table([*apart, row(name="a", rate_micro=2)], picture)) is None


def test_markup_escapes_text_and_attributes_and_nothing_twice():
    inner = tag("b", "<&>", title='"<')
    assert inner == '<b title="&quot;&lt;">&lt;&amp;&gt;</b>'
    assert tag("p", inner, Markup("<br>"), class_="n", hidden=False, open=True) == (
        f'<p class="n" open>{inner}<br></p>'
    )


def test_an_empty_report_is_a_page_that_says_so():
    written = html.render(report(table([])))
    assert b"nothing to show" in written
    assert Page(written).part("any", "tbody") == []


def row(**given: Any) -> dict[str, Any]:
    """A row of any table, with some of its values given."""
    nothing: dict[str, Any] = dict.fromkeys(KINDS)
    return {**nothing, "unit": "USD", "clips": 1, "spent_micro": 1} | given
