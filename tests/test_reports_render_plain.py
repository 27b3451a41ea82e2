"""The forms for programs, and the terminal: exact, whole, and harmless to what reads them."""

from __future__ import annotations

import csv
import io
import json
import sys
from collections import defaultdict
from datetime import date
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given

from kling_ledger.errors import ConfigError
from kling_reports.render import csv as as_csv
from kling_reports.render import json as as_json
from kling_reports.render import parquet, terminal
from kling_reports.render.values import harmless, visible
from kling_reports.report import Picture, Report
from tests.reports_any import HOSTILE, QUICK, report, reports, table

FORMULA_STARTS = "=+-@\t\r\n\0"
ROW = {
    "name": "film",
    "sound": True,
    "unit": "USD",
    "clips": 1234,
    "seconds": None,
    "spent_micro": -1_234_675_000,
    "share_ppm": 125_000,
    "rate_micro": 9_007_199_254_740_991,
    "at": 1_793_404_800_123_456,
    "day": None,
    "month": None,
}


def read_csv(answered: Report) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(as_csv.render(answered).decode(), newline="")))


def sums(found: list[dict[str, Any]]) -> dict[str, Decimal]:
    added: dict[str, Decimal] = defaultdict(Decimal)
    for row in found:
        added[row["unit"]] += Decimal(row["spent"] or 0)
    return dict(added)


@QUICK
@given(reports)
def test_the_rows_of_every_plain_form_add_up_to_the_totals(answered: Report):
    written = json.loads(as_json.render(answered))["tables"]["any"]
    totals = {row["unit"]: Decimal(row["spent"]) for row in written["totals"]}
    assert sums(written["rows"]) == totals
    assert sums(read_csv(answered)) == totals


@QUICK
@given(reports)
def test_csv_has_every_row_and_no_text_that_begins_a_formula(answered: Report):
    found = read_csv(answered)
    names = [row[0] for row in answered.main.rows()]
    assert [row["name"] for row in found] == [harmless(str(name or "")) for name in names]
    for row in found:
        assert not row["name"].startswith(tuple(FORMULA_STARTS))
        assert row["spent"] == "" or Decimal(row["spent"]).is_finite()


def test_a_quote_is_put_before_text_and_never_before_a_number():
    row = read_csv(report(table([{**ROW, "name": "-1"}])))[0]
    assert (row["name"], row["spent"], row["sound"]) == ("'-1", "-1234.675", "yes")


def test_csv_keeps_a_bare_line_break_within_its_field():
    found = read_csv(report(table([{**ROW, "name": text} for text in ("a\rb", "a\nb", "a\r\nb")])))
    assert [row["name"] for row in found] == ["a\rb", "a\nb", "a\r\nb"]


def test_json_says_how_the_question_was_asked_and_holds_no_float():
    written = as_json.render(report(table([ROW])))
    told = json.loads(written, parse_float=pytest.fail)
    assert (told["from"], told["to"]) == ("2026-01-01T00:00:00+00:00", None)
    row = told["tables"]["any"]["rows"][0]
    assert (row["spent"], row["rate"], row["share"]) == ("-1234.675", "9007199254.740991", "0.125")
    assert (row["clips"], row["seconds"]) == (1234, None)


@QUICK
@given(reports)
def test_parquet_holds_the_rows_exactly(answered: Report):
    pq = pytest.importorskip("pyarrow.parquet")
    read = pq.read_table(io.BytesIO(parquet.render(answered)))
    assert [tuple(row.values()) for row in read.to_pylist()] == list(
        answered.main.rows(answered.timezone)
    )
    assert json.loads(read.schema.metadata[b"kling_ledger"])["report"] == "any"


def test_parquet_without_its_library_says_what_to_install(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(ConfigError) as refused:
        parquet.render(report(table([ROW])))
    assert "kling-ledger[parquet]" in str(refused.value.hint)


@QUICK
@given(reports)
def test_nothing_in_the_data_steers_a_terminal(answered: Report):
    for width in (20, 80, 10_000):
        told = terminal.render(answered, width=width)
        assert not set(told) & set("\x1b\r\t\0\u202e")


def test_a_wide_terminal_shows_every_figure_with_its_points_under_each_other():
    told = terminal.render(report(table([ROW, {**ROW, "spent_micro": 1}])), width=10_000)
    lines = [line for line in told.splitlines() if "film" in line or "Total" in line]
    assert ["-1,234.675" in lines[0], "0.000001" in lines[1], "-1,234.674999" in lines[2]] == [
        True
    ] * 3
    assert len({line.index(".") for line in lines}) == 1


def test_a_narrow_terminal_drops_columns_says_so_and_cuts_no_figure():
    told = terminal.render(report(table([ROW])), width=100)
    assert "Not shown: " in told
    assert "9,007,199,254.740991" in told
    assert "-1,234.675" in told


def test_colour_is_for_terminals(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.delenv("NO_COLOR", raising=False)
    answered = report(table([ROW]))
    assert "\x1b[" not in terminal.render(answered, width=80)
    assert "\x1b[31m" in terminal.render(answered, width=200, is_terminal=True)


@pytest.mark.parametrize("text", HOSTILE)
def test_what_is_made_visible_is_one_line(text: str):
    assert len(visible(text).splitlines()) <= 1


def test_where_not_even_the_figures_stand_beside_each_other_each_row_has_lines_of_its_own():
    told = terminal.render(report(table([ROW])), width=40)
    assert "   spent  -1,234.675" in told
    assert "per clip  9,007,199,254.740991" in told


def test_text_is_folded_where_it_is_long_and_wide_signs_count_twice():
    rows = [{**ROW, "name": "東京 " * 12}, {**ROW, "name": "a" * 40}]
    wide = terminal.render(report(table(rows)), width=10_000)
    narrow = terminal.render(report(table(rows)), width=100)
    assert "東京 " * 11 in wide
    assert "東京 " * 11 not in narrow
    assert narrow.count("東") == 12
    assert "a" * 12 in narrow
    assert "a" * 40 not in narrow


def test_time_is_a_sparkline_and_a_budget_a_bar():
    days = [date(2026, 10, at) for at in (1, 2, 4)]
    along = Picture("over_time", x="day", value="spent_micro", series="name")
    rows = [
        {**ROW, "day": day, "spent_micro": amount * 1_000_000}
        for day, amount in zip(days, (1, 4, 8), strict=True)
    ]
    assert "film  ▁▄ █  13.00 USD" in terminal.render(report(table(rows, along)), width=10_000)
    limits = Picture("bullet", x="name", value="clips", series="seconds", limit="rate_micro")
    row = {**ROW, "clips": 12, "seconds": 6, "rate_micro": 24}
    told = terminal.render(report(table([row], limits)), width=10_000)
    assert f"film  {'█' * 12}{'▒' * 6}{'·' * 6}    75 %" in told
