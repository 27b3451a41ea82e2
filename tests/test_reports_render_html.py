"""The page, read as text: totals to the millionth, nothing live from data, and small."""

from __future__ import annotations

import base64
import hashlib
import json
import re
import time
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given

from kling_pricing.money import from_micro, plain
from kling_reports import spend, statement
from kling_reports.frames import frame_of
from kling_reports.render import html, pictures
from kling_reports.render.markup import Markup, tag
from kling_reports.render.page import cells
from kling_reports.render.page.cells import Shown
from kling_reports.render.values import shown, visible
from kling_reports.report import Column, Picture, Report, Span, Table
from tests.reports_any import KINDS, QUICK, report, reports, table, whole
from tests.reports_ledger import Made, ledger_of, query

SPENT, UNIT_AT = 5, 2


class Page(HTMLParser):
    """The exact cells of each part of each table, the texts of scripts, and every element.

    `rounded` are the texts that stand for an exact one, with it.
    """

    def __init__(self, written: bytes) -> None:
        super().__init__()
        self.tables: dict[str, dict[str, list[list[str]]]] = {}
        self.scripts: list[str] = []
        self.elements: set[str] = set()
        self.rounded: list[tuple[str, str]] = []
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
            self._exact = dict(attributes).get("title")
        if name == "script":
            self.scripts.append("")

    def handle_endtag(self, name: str) -> None:
        assert self._open.pop() == name
        if name == "td" and self._exact is not None:
            # What was rounded for show has the exact figure as its title.
            self.rounded.append((self.tables[self._table][self._part][-1][-1], self._exact))
            self.tables[self._table][self._part][-1][-1] = self._exact

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


def test_money_is_rounded_for_show_and_exact_on_demand():
    amounts = [4_050_012, 675_000, 4, 1_000_000, None]
    rates = [112_500, 1_125, 135_000, 0, None]
    rows = [
        row(spent_micro=amount, rate_micro=rate)
        for amount, rate in zip(amounts, rates, strict=True)
    ]
    written = html.render(report(table(rows)))
    page = Page(written)
    assert [(text.strip(), exact) for text, exact in page.rounded] == [
        ("4.05", "4.050012"),
        ("0.11", "0.1125"),
        ("0.68", "0.675"),
        ("0.00113", "0.001125"),
        ("0.14", "0.135"),
        # The total is the one of the exact figures.
        ("5.73", "5.725016"),
    ]
    told = page.data["tables"]["any"]["rows"]
    assert [one[SPENT] for one in told] == ["4.050012", "0.675", "0.000004", "1", None]


def test_a_price_has_three_digits():
    column = Column("per_second_micro", "per second", "money")
    assert cells.cell(Decimal("0.1125"), column) == Shown("0.113", "0.1125")


def test_what_lasts_is_told_in_days_and_a_clips_seconds_are_counted():
    age = Column("age_seconds", "open for", "seconds")
    assert cells.cell(13_775_219, age) == Shown("159 d", "13,775,219 s")
    assert cells.cell(13_775_219, Column("seconds", "seconds", "seconds")) == Shown("13,775,219")
    assert shown(13_775_219, age) == "159 d 10:26:59"
    assert shown(59, age) == "00:00:59"


def test_the_month_and_the_day_that_are_not_over_say_so():
    # The report is of 31 October 2026, 22:00 UTC: in Berlin the clocks went back, it is 23:00.
    rows = [row(month=date(2026, at, 1), day=date(2026, at, 31)) for at in (8, 10)]
    told = [one[-2:] for one in Page(html.render(report(table(rows)))).part("any", "tbody")]
    assert told == [["2026-08-31", "2026-08"], ["2026-10-31 so far", "2026-10 so far"]]
    over = Span(None, datetime(2026, 10, 31, 22, tzinfo=UTC))
    page = Page(html.render(replace(report(table(rows)), span=over)))
    assert page.part("any", "tbody")[1][-2:] == ["2026-10-31", "2026-10"]


def test_a_picture_hatches_what_is_not_over():
    rows = [row(month=date(2026, at, 1)) for at in (8, 9, 10)]
    answered = report(table(rows, Picture("over_time", x="month", value="spent_micro")))
    written = html.render(answered).decode()
    assert written.count('fill="url(#t-any-0-hatch)"') == 1
    assert "hatched: 2026-10, which is not over" in written
    over = replace(answered, span=Span(None, answered.generated_at))
    assert "hatch)" not in html.render(over).decode()


def test_a_picture_of_one_value_is_left_out():
    picture = Picture("bars", x="name", value="spent_micro")
    one = table([row(name="a", spent_micro=5), row(name="b", unit="crun-credit")], picture)
    assert pictures.bars(one) is None
    nothing = table([row(name=name, spent_micro=0) for name in "ab"], picture)
    assert pictures.bars(nothing) is None
    two = pictures.bars(table([row(name="a"), row(name="b"), row(unit="x")], picture))
    assert two is not None
    assert [panel.unit for panel in two.panels] == ["USD"]


def test_a_limit_of_nothing_is_drawn_as_a_limit():
    limits = Picture("bullet", x="name", value="clips", limit="seconds")
    rows = [row(name=name, clips=used, seconds=0) for name, used in (("a", 0), ("b", 5))]
    written = html.render(report(table(rows, limits))).decode()
    assert "no limit" not in written
    assert re.findall(r'class="value">([^<]*)<', written) == ["nothing allowed", "over its limit"]
    assert "of a limit of 0.00 USD" in written


def test_jobs_without_a_project_say_so_and_what_is_no_job_stays_blank():
    columns = (
        Column("project", "project", "text"),
        Column("reservation_id", "reservation", "text"),
    )
    kinds = {column.name: column.kind for column in columns}
    rows = [{"project": None, "reservation_id": one} for one in ("res_1", None)]
    lines = Table("lines", "Lines", columns, frame_of(rows, kinds))
    assert [one[0] for one in Page(html.render(report(lines))).part("lines", "tbody")] == [
        "(no project)",
        "",
    ]


def test_the_ledgers_name_is_in_the_title_and_the_heading():
    written = html.render(replace(report(table([row()])), ledger="<studio>")).decode()
    assert "<title>&lt;studio&gt;: Any report &lt;&amp;&gt; – 2026-10-31</title>" in written
    assert "<h1>&lt;studio&gt;: Any report &lt;&amp;&gt;</h1>" in written


def test_a_statement_has_its_closing_balance_at_the_top(tmp_path: Path):
    with ledger_of(str(tmp_path / "l"), [Made()]) as ledger:
        written = html.render(statement.report(ledger.database, query())).decode()
    tiles = re.findall(r"<li><span>(\w+)</span><b[^>]*>([^<]*)</b> <span[^>]*>([^<]*)<", written)
    # Two wallets of a million USD each, of which 0.675 was spent, and one of credits.
    assert tiles == [("closing", "1,999,999.33", "USD"), ("closing", "1,000,000.00", "crun-credit")]


def test_a_table_that_is_not_whole_says_where_every_row_is():
    rows = [row(name=f"project {at}") for at in range(5_000)]
    written = html.render(report(table(rows)))
    assert b"kling-ledger report any --out DIR/ has every row" in written


def test_rows_that_are_not_listed_are_not_written():
    def taken(count: int) -> float:
        answered = report(table([row(name=f"p{at % 40}", spent_micro=at) for at in range(count)]))
        started = time.process_time()
        html.render(answered)
        return time.process_time() - started

    taken(10)
    # Ten times as many rows are not ten times the work: the page lists as many of either.
    assert taken(50_000) < 3 * taken(5_000) + 0.2


def test_an_empty_report_is_a_page_that_says_so():
    written = html.render(report(table([])))
    assert b"nothing to show" in written
    assert Page(written).part("any", "tbody") == []


def row(**given: Any) -> dict[str, Any]:
    """A row of any table, with some of its values given."""
    nothing: dict[str, Any] = dict.fromkeys(KINDS)
    return {**nothing, "unit": "USD", "clips": 1, "spent_micro": 1} | given
