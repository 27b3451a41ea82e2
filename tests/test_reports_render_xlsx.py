"""The workbook: totals to the millionth, real numbers and dates, and no formula but ours."""

from __future__ import annotations

import io
import re
import zipfile
from dataclasses import replace
from datetime import date, datetime
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from openpyxl import Workbook, load_workbook
from openpyxl.worksheet.worksheet import Worksheet

from kling_pricing.money import MAX_MICRO
from kling_reports.render import xlsx
from kling_reports.render.workbook import parts
from kling_reports.report import Picture, Report
from tests.reports_any import HOSTILE, QUICK, report, reports, table, whole

MILLIONTH = Decimal("0.000001")
OURS = re.compile(
    r"=(ROUND\(((SUBTOTAL\(109,|SUM\()R\)|SUMPRODUCT\(--EXACT\(R,C\)(,R){1,2}\))"
    r"|--\(SUBTOTAL\(103,R\)>0\)|ROUND\(D\d+-E\d+)(,6\))?"
)
ROW = {
    "name": "film",
    "sound": True,
    "unit": "USD",
    "clips": 3,
    "seconds": 15,
    "spent_micro": -675_000,
    "share_ppm": 125_000,
    "rate_micro": None,
    "at": 1_793_404_800_000_000,
    "day": date(2026, 10, 30),
    "month": date(2026, 10, 1),
}


def read(answered: Report, *, formulas: bool = False) -> Workbook:
    return load_workbook(io.BytesIO(xlsx.render(answered)), data_only=not formulas)


def heads(sheet: Worksheet, row: int) -> dict[str, int]:
    return {str(cell.value): cell.column for cell in sheet[row] if cell.value is not None}


def amount(sheet: Worksheet, row: int, places: dict[str, int], title: str) -> Decimal:
    """An amount as the sheet has it to the last digit: from its twin of text if it has one."""
    exact = places.get(f"{title}, exact")
    if exact is not None:
        return Decimal(sheet.cell(row, exact).value or 0)
    return Decimal(str(sheet.cell(row, places[title]).value or 0)).quantize(MILLIONTH)


@QUICK
@given(reports)
def test_rows_and_totals_read_back_equal_to_the_millionth(answered: Report):
    book = read(answered)
    one = answered.main
    sheet = book["Any"]
    units = 0 if one.totals is None else len(one.totals)
    places = heads(sheet, units + 3)
    unit_at = places["unit"]
    totals = {
        sheet.cell(row, unit_at).value: amount(sheet, row, places, "spent")
        for row in range(2, 2 + units)
    }
    rows: dict[str, Decimal] = {}
    for row in range(units + 4, units + 4 + len(one.frame)):
        unit = sheet.cell(row, unit_at).value
        rows[unit] = rows.get(unit, Decimal(0)) + amount(sheet, row, places, "spent")
    assert totals == rows == whole(one, "spent")


@QUICK
@given(reports)
def test_no_formula_or_link_comes_from_data(answered: Report):
    written = xlsx.render(answered)
    book = load_workbook(io.BytesIO(written))
    for sheet in book.worksheets:
        for cell in (cell for row in sheet.iter_rows() for cell in row):
            assert cell.hyperlink is None
            if cell.data_type == "f":
                shape = re.sub(r"('[^']*'!)?\$[A-Z]+\$\d+:\$[A-Z]+\$\d+", "R", cell.value)
                shape = re.sub(r"('[^']*'!)?\$[A-Z]+\$\d+", "C", shape)
                assert OURS.fullmatch(shape), cell.value
            elif isinstance(cell.value, str):
                assert not cell.value.startswith(tuple("=+-@\t\r\n")) or is_number(cell.value)
    with zipfile.ZipFile(io.BytesIO(written)) as parts:
        assert not [name for name in parts.namelist() if "external" in name.lower()]
        links = [parts.read(name) for name in parts.namelist() if name.endswith(".rels")]
        assert not any(b"External" in link for link in links)


def is_number(text: str) -> bool:
    """An exact amount below zero is written as text of digits, and by us."""
    return re.fullmatch(r"-[0-9]+(\.[0-9]+)?", text) is not None


@pytest.mark.parametrize("text", [text for text in HOSTILE if text[0] in "=+-@\t\r＝"])
def test_text_that_could_be_a_formula_has_a_quote_before_it(text: str):
    sheet = read(report(table([{**ROW, "name": text}])))["Any"]
    cell = sheet.cell(5, 1)
    assert (cell.data_type, cell.value[0]) == ("s", "'")


def test_figures_are_numbers_and_times_are_times():
    book = read(report(table([ROW]), zone="Europe/Berlin"))
    sheet = book["Any"]
    places = heads(sheet, 4)
    found: dict[str, Any] = {title: sheet.cell(5, place).value for title, place in places.items()}
    assert found == {
        "name": "film",
        "sound": "yes",
        "unit": "USD",
        "clips": 3,
        "seconds": 15,
        "spent": -0.675,
        "share": 0.125,
        "per clip": None,
        "at": datetime(2026, 10, 31, 1, 0),  # noqa: DTZ001 - a sheet knows no zones
        "day": datetime(2026, 10, 30),  # noqa: DTZ001
        "month": datetime(2026, 10, 1),  # noqa: DTZ001
    }
    assert sheet.cell(5, places["month"]).number_format == "yyyy-mm"


def test_an_amount_that_no_cell_holds_has_a_twin_of_text_and_the_assumptions_say_so():
    rows = [{**ROW, "spent_micro": MAX_MICRO}, {**ROW, "spent_micro": 1}]
    book = read(report(table(rows)))
    sheet = book["Any"]
    places = heads(sheet, 4)
    exact = [sheet.cell(row, places["spent, exact"]).value for row in (2, 5, 6)]
    assert exact == ["9007199254.740992", "9007199254.740991", "0.000001"]
    told = " ".join(str(row[0].value) for row in book["Assumptions"].iter_rows())
    assert "Any, spent: a cell holds fifteen digits" in told
    assert not any("exact" in title for title in heads(read(report(table([ROW])))["Any"], 4))


def test_totals_follow_the_filter_unit_by_unit():
    one = read(report(table([ROW, ROW])), formulas=True)["Any"]
    place = heads(one, 4)["spent"]
    assert one.cell(2, place).value == "=ROUND(SUBTOTAL(109,$F$5:$F$6),6)"
    two = read(report(table([ROW, {**ROW, "unit": "CNY"}])), formulas=True)["Any"]
    expected = "=ROUND(SUMPRODUCT(--EXACT($C$6:$C$7,$C$2),$L$6:$L$7,$F$6:$F$7),6)"
    assert two.cell(2, place).value == expected
    assert two.cell(6, 12).value == "=--(SUBTOTAL(103,$A$6:$K$6)>0)"
    assert two.column_dimensions["L"].hidden


def test_a_sheet_is_ready_to_be_read_filtered_and_printed():
    book = read(report(table([ROW, ROW], title="Spend: [a]/b * 'c'? and a name beyond its end")))
    names = book.sheetnames
    assert (names[0], names[2:]) == ("Summary", ["Control totals", "Assumptions"])
    assert len(names[1]) <= 31
    answered = report(table([ROW], title="Projects: November 2026 so far, 28 of 30 days"))
    book_of_studio = read(replace(answered, ledger="studio"))
    assert book_of_studio.sheetnames[1] == "Projects"
    assert book_of_studio["Summary"]["A1"].value == f"studio: {answered.title}"
    sheet = book.worksheets[1]
    assert sheet.freeze_panes == "B5"
    assert sheet.auto_filter.ref == "A4:K6"
    assert sheet.print_title_rows == "$4:$4"
    assert sheet.column_dimensions["A"].width > 20


def test_every_sum_of_the_report_is_reconciled_with_its_sheet():
    sheet = read(report(table([ROW, {**ROW, "unit": "CNY"}])))["Control totals"]
    found = [tuple(cell.value for cell in row) for row in sheet.iter_rows(min_row=5)]
    assert [row[:3] for row in found] == [
        ("Any", title, unit) for unit in ("CNY", "USD") for title in ("clips", "seconds", "spent")
    ]
    assert all(row[3] == row[4] == float(row[6]) and row[5] == 0 for row in found)


def test_the_same_report_gives_the_same_bytes():
    answered = report(table([ROW]))
    assert xlsx.render(answered) == xlsx.render(answered)


def test_more_rows_than_a_sheet_has_go_on_in_a_next_one():
    amounts = [1_000_000, 2_000_000, 4_000_000, 8_000_000, 16_000_000]
    rows = [
        {**ROW, "unit": unit, "spent_micro": amount}
        for amount, unit in zip(amounts, ("USD", "CNY", "USD", "USD", "USD"), strict=True)
    ]
    book = load_workbook(io.BytesIO(xlsx.render(report(table(rows)), most_rows=2)), data_only=True)
    assert book.sheetnames[1:4] == ["Any", "Any (2)", "Any (3)"]
    sheets = [book[name] for name in book.sheetnames[1:4]]
    places = heads(sheets[0], 5)
    spent, unit = places["spent"], places["unit"]
    found = [[one.cell(row, spent).value for row in range(6, one.max_row + 1)] for one in sheets]
    assert found == [[1, 2], [4, 8], [16]]
    # The totals of each sheet are of its own rows: CNY comes before USD.
    assert [one.cell(2, unit).value for one in sheets] == ["CNY"] * 3
    assert [[one.cell(row, spent).value for row in (2, 3)] for one in sheets] == [
        [2, 1],
        [0, 12],
        [0, 16],
    ]
    told = [str(row[1].value) for row in book["Summary"].iter_rows(min_col=1, max_col=2)]
    assert "5 rows, in sheet Any and Any (2) and Any (3)" in told


def test_all_sheets_of_a_table_are_reconciled_with_its_totals():
    rows = [{**ROW, "unit": unit} for unit in ("USD", "CNY", "USD")]
    written = xlsx.render(report(table(rows)), most_rows=2)
    sheet = load_workbook(io.BytesIO(written))["Control totals"]
    sums = {
        (row[1].value, row[2].value): (row[3].value, row[4].value)
        for row in sheet.iter_rows(min_row=5)
    }
    first = "SUMPRODUCT(--EXACT('Any'!$C$6:$C$7,'Any'!$C$3),'Any'!$D$6:$D$7)"
    second = "SUMPRODUCT(--EXACT('Any (2)'!$C$6:$C$6,'Any (2)'!$C$3),'Any (2)'!$D$6:$D$6)"
    assert sums["clips", "USD"] == (f"=ROUND({first}+{second},6)", 6)


@pytest.mark.parametrize(
    ("value", "is_exact"),
    [
        (Decimal("999999999.999999"), True),
        (Decimal("1000000000.000001"), False),
        (Decimal(9007199254), True),
        (10**15 - 1, True),
        (10**15 + 1, False),
        (None, True),
    ],
)
def test_a_cell_holds_fifteen_digits(value: Decimal | int | None, is_exact: bool):
    assert parts.is_exact(value) == is_exact


# --- charts -----------------------------------------------------------------------------------


def charts_of(written: bytes) -> list[str]:
    """The files of the charts of a workbook, in their order."""
    with zipfile.ZipFile(io.BytesIO(written)) as parts:
        names = [name for name in parts.namelist() if name.startswith("xl/charts/chart")]
        ordered = sorted(names, key=lambda name: int(re.sub("[^0-9]", "", name)))
        return [parts.read(name).decode() for name in ordered]


def chart_texts(chart: str, tag: str) -> list[str]:
    return re.findall(f"<{tag}>([^<]*)</{tag}>", chart)


def test_spending_over_time_is_drawn_as_stacked_columns_a_chart_for_each_unit():
    along = Picture("over_time", x="month", value="spent_micro", series="name")
    made = [
        ("film", "USD", 9, 3_000_000),
        ("ads", "USD", 9, 1_000_000),
        ("film", "USD", 11, 2_000_000),
        ("film", "CNY", 10, 7_000_000),
        ("film", "CNY", 11, 8_000_000),
    ]
    rows = [
        {**ROW, "name": name, "unit": unit, "month": date(2026, month, 1), "spent_micro": spent}
        for name, unit, month, spent in made
    ]
    written = xlsx.render(report(table(rows, along, title="Spend")))
    cny, usd = charts_of(written)
    assert all('<c:grouping val="stacked"/>' in one for one in (cny, usd))
    assert chart_texts(usd, "a:t") == ["Spend, USD", "by month", "spent, USD"]
    assert chart_texts(cny, "a:t") == ["Spend, CNY", "by month", "spent, CNY"]
    # The name of a series, then each month, then its values: October has none.
    months = ["2026-09", "2026-10", "2026-11"]
    assert chart_texts(usd, "c:v") == [
        *("film", *months, "3", "0", "2"),
        *("ads", *months, "1", "0", "0"),
    ]
    assert chart_texts(cny, "c:v") == ["film", *months, "0", "7", "8"]
    assert load_workbook(io.BytesIO(written)).sheetnames[:3] == ["Summary", "Charts", "Spend"]


def test_of_many_series_the_largest_are_drawn_and_the_others_as_one():
    along = Picture("over_time", x="month", value="spent_micro", series="name")
    rows = [{**ROW, "name": f"project {at}", "spent_micro": at * 1_000_000} for at in range(1, 13)]
    (chart,) = charts_of(xlsx.render(report(table(rows, along))))
    told = chart_texts(chart, "c:v")
    names, values = told[0::3], told[2::3]
    assert names == [*(f"project {at}" for at in range(12, 5, -1)), "all others"]
    assert values == ["12", "11", "10", "9", "8", "7", "6", "15"]


def test_a_budget_is_drawn_as_what_is_spent_and_reserved_against_its_limit():
    limits = Picture("bullet", x="name", value="clips", series="seconds", limit="rate_micro")
    rows = [{**ROW, "clips": 12, "seconds": 6, "rate_micro": 24}]
    (chart,) = charts_of(xlsx.render(report(table(rows, limits))))
    assert (chart.count("<c:barChart>"), chart.count("<c:lineChart>")) == (1, 1)
    names = ["clips", "film", "12", "seconds", "film", "6", "per clip", "film", "24"]
    assert chart_texts(chart, "c:v") == names


def test_a_single_bar_compares_nothing_and_is_not_drawn():
    across = Picture("bars", x="name", value="spent_micro")
    assert charts_of(xlsx.render(report(table([ROW], across)))) == []
    assert charts_of(xlsx.render(report(table([ROW])))) == []
    (chart,) = charts_of(xlsx.render(report(table([ROW, {**ROW, "name": "ads"}], across))))
    # Below zero, a scale begins where it has to.
    assert "<c:min " not in chart


@QUICK
@given(reports)
def test_a_chart_shows_cells_of_its_own_sheet_alone(answered: Report):
    for chart in charts_of(xlsx.render(answered)):
        for formula in chart_texts(chart, "c:f"):
            assert re.fullmatch(r"Charts!\$[A-Z]+\$\d+(:\$[A-Z]+\$\d+)?", formula), formula


def test_a_sheet_is_told_how_far_it_goes_and_holds_its_texts_as_they_are():
    hostile = ["_x0041_", " spaces ", "a<b>&c", "x" * 40_000, "😀" * 20_000, "-5"]
    rows = [{**ROW, "name": text} for text in hostile]
    written = xlsx.render(report(table(rows)))
    with zipfile.ZipFile(io.BytesIO(written)) as parts:
        sheet = parts.read("xl/worksheets/sheet2.xml").decode()
    assert '<dimension ref="A1:K10"/>' in sheet
    # The format would read _x0041_ as an A: the escape of its own sign says that it is none.
    assert "<t>_x005F_x0041_</t>" in sheet
    assert '<t xml:space="preserve"> spaces </t>' in sheet
    assert "<t>a&lt;b&gt;&amp;c</t>" in sheet
    found = [cell.value for cell in read(report(table(rows)))["Any"]["A"][4:]]
    assert (len(found[3]), len(found[4]), found[5]) == (32_767, 16_383, "'-5")
