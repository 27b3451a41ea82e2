"""Every form says the same of the same table, and what a form writes is what it always wrote."""

from __future__ import annotations

import csv as csv_file
import io
import json as json_text
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import IO, Any

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from openpyxl import load_workbook

from kling_reports.render import csv, json, jsonl, parquet, terminal, xlsx
from kling_reports.render.json import columns, heading
from kling_reports.render.values import harmless, written
from kling_reports.report import Cell, Column, Kind, Picture, Report, Stream, Table
from kling_reports.tenants import joined
from tests.reports_any import HOSTILE, QUICK, report, reports, rows, table

WRITERS: dict[str, Callable[[Report, IO[bytes]], None]] = {
    "json": json.write,
    "jsonl": jsonl.write,
    "csv": csv.write,
    "parquet": parquet.write,
    "xlsx": xlsx.write,
    "terminal": lambda answered, to: terminal.write(answered, to, width=10_000),
}
SIGNS = (
    '"\\/\b\f\n\r\t',
    "\x00\x01\x1f\x7f\x80",
    "\u2028\u2029",
    "🎬👩‍🚀",
    "\ufeff",
    "%s %(a)d %%",
    "'",
)


def plainly(answered: Report) -> bytes:
    """A report as JSON, an object a row: by the library alone, with nothing made beforehand."""

    def row(one: Table, values: tuple[Cell, ...]) -> dict[str, Any]:
        pairs = zip(one.columns, values, strict=True)
        return {column.key: written(value, column.kind) for column, value in pairs}

    zone = answered.timezone
    tables = {
        one.name: {
            "title": one.title,
            "columns": columns(one),
            "rows": [row(one, values) for values in one.rows(zone)],
            "totals": [row(one, values) for values in one.total_rows(zone)],
        }
        for one in answered.tables
    }
    whole = {**heading(answered), "tables": tables}
    return f"{json_text.dumps(whole, indent=2, ensure_ascii=False)}\n".encode()


def plainly_as_csv(one: Table, zone: str) -> bytes:
    """A table as CSV, row by row."""

    def cell(value: Cell, column: Column) -> object:
        if isinstance(value, bool):
            return "yes" if value else "no"
        return harmless(value) if isinstance(value, str) else written(value, column.kind)

    lines: list[str] = []
    to = io.StringIO()
    writer = csv_file.writer(to, lineterminator="\r\n")
    for values in ([column.key for column in one.columns], *one.rows(zone)):
        to.seek(0)
        to.truncate()
        pairs = zip(values, one.columns, strict=True)
        writer.writerow([cell(value, column) for value, column in pairs])
        lines.append(to.getvalue().removesuffix("\r\n") + "\n")
    return "".join(lines).encode()


def bytes_of(answered: Report, form: str) -> bytes:
    to = io.BytesIO()
    WRITERS[form](answered, to)
    return to.getvalue()


def streamed(one: Table, size: int) -> Table:
    """The same table, of which nobody holds more than so many rows."""
    frames = [one.frame.iloc[at : at + size] for at in range(0, len(one.frame), size)]

    def batches() -> Iterator[pd.DataFrame]:
        return iter(frames)

    first = frames[0] if frames else one.frame
    return replace(one, frame=first, stream=Stream(len(one.frame), batches))


@QUICK
@given(reports)
def test_json_is_to_the_byte_what_the_library_writes_row_by_row(answered: Report):
    assert bytes_of(answered, "json") == plainly(answered)


@pytest.mark.parametrize("text", [*HOSTILE, *SIGNS])
def test_json_and_csv_have_hostile_texts_as_the_libraries_write_them(text: str):
    base: dict[str, Any] = dict.fromkeys(
        ("sound", "seconds", "spent_micro", "share_ppm", "rate_micro", "at", "day", "month")
    )
    one = table([{**base, "name": text, "unit": "USD", "clips": 1}], name=text, title=text)
    # The name of a column is text too: a label may be called anything.
    named = replace(one.columns[0], title=text, meaning=text)
    answered = report(replace(one, columns=(named, *one.columns[1:])))
    assert bytes_of(answered, "json") == plainly(answered)
    assert bytes_of(answered, "csv") == plainly_as_csv(answered.main, "UTC")
    assert json_text.loads(bytes_of(answered, "jsonl"))["name"] == text


def test_the_name_of_a_column_may_hold_any_sign():
    name = 'label:"a"\n%s%%\\'
    columns = (Column(name, name, "text"), Column("clips", "clips", "integer"))
    frame = pd.DataFrame(
        {name: pd.Series(["x"], dtype="string"), "clips": pd.Series([1], dtype="Int64")}
    )
    answered = report(Table("any", "Any", columns, frame))
    assert bytes_of(answered, "json") == plainly(answered)
    assert json_text.loads(bytes_of(answered, "jsonl")) == {name: "x", "clips": 1}


@QUICK
@given(reports)
def test_csv_is_to_the_byte_what_the_library_writes_row_by_row(answered: Report):
    for one in answered.tables:
        alone = replace(answered, tables=(one,))
        assert bytes_of(alone, "csv") == plainly_as_csv(one, answered.timezone)


@QUICK
@given(reports, st.integers(1, 4))
def test_every_form_has_the_same_bytes_however_many_rows_come_at_a_time(
    answered: Report, size: int
):
    whole = replace(answered, tables=tuple(replace(one, picture=None) for one in answered.tables))
    long = replace(answered, tables=tuple(streamed(one, size) for one in whole.tables))
    for form in WRITERS:
        assert bytes_of(long, form) == bytes_of(whole, form), form


@QUICK
@given(st.lists(rows, min_size=1, max_size=8), st.sampled_from(["UTC", "Asia/Kolkata"]))
def test_json_csv_lines_parquet_and_workbook_say_the_same(given_rows: list[Any], zone: str):
    pq = pytest.importorskip("pyarrow.parquet")
    answered = report(table(given_rows), zone=zone)
    one = answered.main
    kinds: dict[str, Kind] = {column.key: column.kind for column in one.columns}
    expected = [dict(zip(kinds, row, strict=True)) for row in one.rows(zone)]
    as_json = json_text.loads(bytes_of(answered, "json"))["tables"]["any"]["rows"]
    lines = bytes_of(answered, "jsonl").split(b"\n")[:-1]
    assert as_json == [json_text.loads(line) for line in lines]
    assert [{key: read(row[key], kinds[key]) for key in kinds} for row in as_json] == expected
    as_parquet = pq.read_table(io.BytesIO(bytes_of(answered, "parquet"))).to_pylist()
    assert as_parquet == expected
    as_csv = csv_file.DictReader(io.StringIO(bytes_of(answered, "csv").decode(), newline=""))
    assert list(as_csv) == [
        {key: csv_cell(row[key], kinds[key]) for key in kinds} for row in expected
    ]
    assert amounts_of(answered) == [(row["clips"], row["spent"], row["rate"]) for row in expected]


def read(value: Any, kind: Kind) -> Any:
    """A value of JSON as the report has it."""
    if value is None:
        return None
    if kind in {"money", "percent"}:
        return Decimal(value)
    if kind == "instant":
        return datetime.fromisoformat(value)
    if kind in {"date", "month"}:
        return date.fromisoformat(f"{value}-01" if kind == "month" else value)
    return value


def csv_cell(value: Any, kind: Kind) -> str:
    if value is None:
        return ""
    if kind == "flag":
        return "yes" if value else "no"
    return harmless(value) if kind == "text" else str(written(value, kind))


def amounts_of(answered: Report) -> list[tuple[int, Decimal | None, Decimal | None]]:
    """The amounts of a workbook's sheet, to the last digit: from their twins if they have any."""
    sheet = load_workbook(io.BytesIO(bytes_of(answered, "xlsx")))["Any"]
    head = 3 + len(answered.main.totals if answered.main.totals is not None else ())
    places = {str(cell.value): cell.column for cell in sheet[head] if cell.value}

    def amount(row: int, title: str) -> Decimal | None:
        value = sheet.cell(row, places.get(f"{title}, exact", places[title])).value
        return None if value is None else Decimal(str(value)).quantize(Decimal("0.000001"))

    return [
        (sheet.cell(row, places["clips"]).value, amount(row, "spent"), amount(row, "per clip"))
        for row in range(head + 1, head + 1 + answered.main.count)
    ]


def test_names_of_things_are_never_altered_and_other_text_is_guarded():
    kinds = ("id", "reservation_id", "task_id", "actor")
    columns = tuple(Column(name, name, "text") for name in kinds)
    frame = pd.DataFrame({name: pd.Series(["=1+1"], dtype="string") for name in kinds})
    answered = report(Table("any", "Any", columns, frame))
    assert bytes_of(answered, "csv") == f"{','.join(kinds)}\n=1+1,=1+1,=1+1,'=1+1\n".encode()
    sheet = load_workbook(io.BytesIO(bytes_of(answered, "xlsx")))["Any"]
    cells = next(iter(sheet.iter_rows(min_row=sheet.max_row)))
    assert [cell.value for cell in cells] == ["=1+1", "=1+1", "=1+1", "'=1+1"]
    assert {cell.data_type for cell in cells} <= {"s", "inlineStr"}


def test_an_instant_before_clocks_were_set_alike_has_its_seconds():
    at = datetime(1880, 1, 1, tzinfo=UTC)
    base = dict.fromkeys(("name", "sound", "seconds", "spent_micro", "share_ppm", "rate_micro"))
    us = int(at.timestamp()) * 1_000_000 + 5
    row = {**base, "unit": "USD", "clips": 1, "at": us, "day": None, "month": None}
    answered = report(table([row, {**row, "at": None}]), zone="Europe/Amsterdam")
    assert bytes_of(answered, "json") == plainly(answered)


def test_a_table_that_nobody_holds_has_no_picture():
    with pytest.raises(ValueError, match="picture"):
        replace(streamed(table([]), 1), picture=Picture("bars", x="name", value="spent_micro"))


@QUICK
@given(st.lists(rows, max_size=5), st.lists(rows, max_size=5), st.integers(1, 3))
def test_long_tables_of_several_tenants_are_joined_as_short_ones_are(
    one: list[Any], other: list[Any], size: int
):
    short = joined({"ann": report(table(one)), "ben": report(table(other))})
    long = joined(
        {"ann": report(streamed(table(one), size)), "ben": report(streamed(table(other), size))}
    )
    for form in WRITERS:
        assert bytes_of(long, form) == bytes_of(short, form), form
    # What is shown first is what comes first.
    shown = list(replace(long.main, stream=None).rows())
    assert shown == list(short.main.rows())[: len(shown)]
