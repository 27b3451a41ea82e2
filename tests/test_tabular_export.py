"""Exports: workbooks, and what else stands around the tables that other programs make."""

from __future__ import annotations

import io
import zipfile
from datetime import date, datetime, timedelta
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import xlsxwriter
from openpyxl import Workbook

from kling_ledger.errors import ConfigError
from kling_ledger.tabular.cells import Written
from kling_ledger.tabular.export import Sheet, read_export
from tests.bills import bill_of, lines, question, refusal, told

HEADER = ["task_id", "amount", "status", "created_at"]


def workbook(**sheets: Any) -> bytes:
    book = Workbook()
    book.remove(book.active)
    for name, rows in sheets.items():
        sheet = book.create_sheet(name)
        for row in rows:
            sheet.append(row)
    file = io.BytesIO()
    book.save(file)
    return file.getvalue()


def written_by_another(*rows: Any, is_1904: bool = False) -> bytes:
    """Write a workbook with another library: texts in one table of strings, dates by format."""
    file = io.BytesIO()
    with xlsxwriter.Workbook(file, {"in_memory": True, "date_1904": is_1904}) as book:
        shown = book.add_format({"num_format": "dd.mm.yyyy hh:mm:ss"})
        money = book.add_format({"num_format": '[Red]"$"#,##0.00;-"days" 0'})
        sheet = book.add_worksheet("Usage")
        for number, row in enumerate(rows):
            for column, value in enumerate(row):
                is_date = isinstance(value, datetime)
                is_number = isinstance(value, float)
                sheet.write(
                    number, column, value, shown if is_date else money if is_number else None
                )
    return file.getvalue()


AT = datetime(2026, 11, 26, 16, 47, 38)  # noqa: DTZ001 - a workbook knows no zones
ROWS: list[Any] = [HEADER, ["t1", 0.675, "completed", AT], ["t2", 135, "failed", None]]
READ = [("charge", "t1", "0.675", "completed"), ("charge", "t2", "135", "failed")]


@pytest.mark.parametrize(
    "data",
    [
        workbook(Usage=ROWS),
        workbook(Read_me=[["Usage export"], ["of November"]], Usage=ROWS),
        workbook(Usage=[["Usage export"], [], *ROWS, [], ["Made by the console"]]),
        written_by_another(*ROWS),
        written_by_another(*ROWS, is_1904=True),
    ],
)
def test_a_workbook_is_read_whoever_wrote_it(tmp_path: Path, data: bytes):
    bill = bill_of(tmp_path, data, unit="USD", zone="Asia/Shanghai")
    assert [told(entry) for entry in bill.entries] == READ
    at = bill.entries[0].at
    assert at is not None
    assert at.isoformat() == "2026-11-26T08:47:38+00:00"


def test_a_stamp_in_a_workbook_has_no_zone(tmp_path: Path):
    bill = bill_of(tmp_path, workbook(Usage=ROWS), unit="USD")
    assert bill.has_unzoned_times
    assert bill.entries[0].at is None
    assert bill.entries[0].place == "row 2"


def test_several_sheets_of_charges_are_a_question_that_a_name_settles(tmp_path: Path):
    data = workbook(October=[HEADER, ["t0", 1, "completed", None]], November=ROWS)
    asked = question(tmp_path, data, unit="USD")
    assert asked.example == "task_id=November.task_id"
    assert "October, November" in asked.message
    assert lines(tmp_path, data, unit="USD", columns={"task_id": "November.task_id"}) == READ


def test_a_sheet_that_is_hidden_or_empty_is_none(tmp_path: Path):
    book = Workbook()
    book.active.title = "Old"
    for row in ROWS:
        book.active.append([*row[:1], 7, *row[2:]] if row != HEADER else row)
    book.active.sheet_state = "hidden"
    sheet = book.create_sheet("Usage")
    for row in ROWS:
        sheet.append(row)
    book.create_sheet("Empty").append(HEADER)
    file = io.BytesIO()
    book.save(file)
    assert lines(tmp_path, file.getvalue(), unit="USD") == READ


def test_a_number_of_a_workbook_is_what_was_typed(tmp_path: Path):
    # Three times a tenth: the workbook stores 0.30000000000000004.
    rows = [HEADER[:2], ["t1", 0.1 + 0.2], ["t2", 1.35], ["t3", 1e-7], ["t4", 1350]]
    read = [line[2] for line in lines(tmp_path, workbook(Usage=rows), unit="USD")]
    assert read == ["0.3", "1.35", "0", "1350"]


def test_an_id_that_a_workbook_holds_as_a_number_is_kept_if_its_digits_are(tmp_path: Path):
    rows = [HEADER[:2], [90001, 5]]
    assert lines(tmp_path, workbook(Usage=rows))[0][1] == "90001"
    rows = [HEADER[:2], [867283741759111023, 5]]
    assert "lost its digits" in question(tmp_path, workbook(Usage=rows)).message


def test_a_day_of_a_workbook_is_no_instant(tmp_path: Path):
    rows = [HEADER, ["t1", 5, "completed", date(2026, 11, 26)]]
    bill = bill_of(tmp_path, workbook(Usage=rows))
    assert bill.entries[0].at is None
    assert not bill.has_unzoned_times


def test_a_time_in_a_workbook_belongs_to_the_day_beside_it(tmp_path: Path):
    row = ["t1", 5, date(2026, 11, 26), AT.time()]
    rows = [["task_id", "amount", "date", "time"], row]
    at = bill_of(tmp_path, workbook(Usage=rows), zone="Asia/Shanghai").entries[0].at
    assert at is not None
    assert at.isoformat() == "2026-11-26T08:47:38+00:00"


def test_cells_of_a_workbook_are_text(tmp_path: Path):
    row = ["t", True, 2.5, timedelta(hours=36), "#N/A", None, "a b"]
    (tmp_path / "book").write_bytes(workbook(Usage=[list("abcdefg"), row]))
    (sheet,) = read(tmp_path / "book")
    (found,) = sheet.rows
    assert found.cells["a"] == "t"
    assert found.cells["b"] == "true"
    assert found.cells["c"] == "2.5"
    assert type(found.cells["c"]) is Written
    assert (found.cells["e"], found.cells["f"], found.cells["g"]) == ("#N/A", "", "a b")


def read(path: Path) -> list[Sheet]:
    return read_export(path, knows=lambda cells: cells.count("a"), is_chinese=bool)


@pytest.mark.parametrize("kept", [0.1, 0.5, 0.9])
def test_a_workbook_that_was_cut_off_is_refused(tmp_path: Path, kept: float):
    data = workbook(Usage=ROWS)
    assert "not a readable workbook" in refusal(tmp_path, data[: int(len(data) * kept)])


def test_an_archive_of_something_else_is_refused(tmp_path: Path):
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("bill.csv", "task_id,amount\nt,1\n")
    assert "not a readable workbook" in refusal(tmp_path, file.getvalue())


def test_a_workbook_with_entities_of_its_own_is_refused(tmp_path: Path):
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr(
            "xl/workbook.xml", '<!DOCTYPE a [<!ENTITY b "c">]><workbook>&b;</workbook>'
        )
    assert "too large for a sheet" in refusal(tmp_path, file.getvalue())


@pytest.mark.parametrize(
    ("start", "said"),
    [(b"%PDF-1.7", "a PDF"), (b"\xd0\xcf\x11\xe0", "old kind"), (b"\x1f\x8b\x08", "compressed")],
)
def test_what_is_no_table_says_what_it_is(tmp_path: Path, start: bytes, said: str):
    assert said in refusal(tmp_path, start + b"\0" * 100)


def test_parquet_is_read_as_text(tmp_path: Path):
    frame = pd.DataFrame(
        {"task_id": ["t1", "t2"], "amount": [0.675, 135], "status": ["done", None]}
    )
    frame.to_parquet(tmp_path / "bill.parquet")
    assert lines(tmp_path, (tmp_path / "bill.parquet").read_bytes(), unit="USD") == [
        ("charge", "t1", "0.675", "completed"),
        ("charge", "t2", "135", None),
    ]


@pytest.mark.parametrize("zone", [None, "UTC"])
def test_an_instant_of_parquet_keeps_its_zone(tmp_path: Path, zone: str | None):
    at = pd.Series(pd.to_datetime(["2026-11-26 08:47:38"])).dt.tz_localize(zone)
    frame = pd.DataFrame({"task_id": ["t1"], "amount": [5.0], "created_at": at})
    frame.to_parquet(tmp_path / "bill.parquet")
    bill = bill_of(tmp_path, (tmp_path / "bill.parquet").read_bytes())
    assert bill.has_unzoned_times is (zone is None)
    assert (bill.entries[0].at is None) is (zone is None)
    assert bill.notes == ()


def test_columns_without_a_name_are_numbered(tmp_path: Path):
    (tmp_path / "rows").write_text(",a,b,\n0,x,z,y\n")
    (sheet,) = read(tmp_path / "rows")
    assert sheet.columns == ["column 1", "a", "b", "column 4"]


def test_a_file_that_cannot_be_opened_is_told(tmp_path: Path):
    with pytest.raises(ConfigError, match="Is a directory"):
        read(tmp_path)
