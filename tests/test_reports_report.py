"""The shape of a report: what a table may hold, and what it gives to a reader."""

from __future__ import annotations

from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any
from zoneinfo import ZoneInfo

import pandas as pd
import pytest

from kling_pricing.errors import AmountError
from kling_reports.division import divided, share_ppm
from kling_reports.frames import frame_of, series_of
from kling_reports.report import Column, Kind, Picture, Report, Table

AT = datetime(2026, 10, 25, 0, 30, tzinfo=UTC)
KINDS: dict[str, Kind] = {
    "name": "text",
    "sound": "flag",
    "clips": "integer",
    "seconds": "seconds",
    "spent_micro": "money",
    "share_ppm": "percent",
    "at": "instant",
    "day": "date",
    "month": "month",
    "unit": "text",
}
COLUMNS = tuple(Column(name, name, kind) for name, kind in KINDS.items())
FULL = {
    "name": "a",
    "sound": 1,
    "clips": 2,
    "seconds": 10,
    "spent_micro": 9_007_199_254_740_993,
    "share_ppm": 125_000,
    "at": int(AT.timestamp()) * 1_000_000,
    "day": date(2026, 10, 25),
    "month": date(2026, 10, 1),
    "unit": "USD",
}


def table(*rows: dict[str, Any]) -> Table:
    return Table("any", "Any", COLUMNS, frame_of(rows, KINDS))


def test_a_row_is_read_back_exactly():
    [row] = table(FULL).rows("Europe/Berlin")
    at = datetime(2026, 10, 25, 2, 30, tzinfo=ZoneInfo("Europe/Berlin"))
    amount = Decimal("9007199254.740993")
    days = (date(2026, 10, 25), date(2026, 10, 1))
    assert row == ("a", True, 2, 10, amount, Decimal("0.125"), at, *days, "USD")
    assert [type(cell) for cell in row[:4]] == [str, bool, int, int]


def test_what_is_unknown_stays_unknown_beside_what_is_known():
    known, unknown = table(FULL, dict.fromkeys(FULL)).rows()
    assert known[4] == Decimal("9007199254.740993")
    assert unknown == (None,) * len(COLUMNS)


def test_a_table_without_rows_has_the_same_types():
    assert list(table().rows()) == []
    assert list(table().frame.dtypes) == list(table(FULL).frame.dtypes)


def test_keys_are_for_programs_and_say_no_scale():
    keys = [column.key for column in COLUMNS]
    assert keys[4:6] == ["spent", "share"]


@pytest.mark.parametrize(
    ("columns", "frame"),
    [
        ((Column("a", "a", "text"),), {"b": "string"}),
        (
            (Column("a_micro", "a", "money"), Column("unit", "u", "text")),
            {"a_micro": "float64", "unit": "string"},
        ),
        ((Column("a_micro", "a", "money"),), {"a_micro": "Int64"}),
        (
            (Column("a", "a", "money"), Column("unit", "u", "text")),
            {"a": "Int64", "unit": "string"},
        ),
        (
            (Column("a_ppm", "a", "percent"), Column("a", "a", "text")),
            {"a_ppm": "Int64", "a": "string"},
        ),
    ],
    ids=["another column", "a float", "no unit", "no scale", "one key twice"],
)
def test_a_table_that_does_not_say_what_it_holds_is_refused(
    columns: tuple[Column, ...], frame: dict[str, str]
):
    empty = pd.DataFrame({name: pd.Series([], dtype=dtype) for name, dtype in frame.items()})
    with pytest.raises(ValueError, match="any: "):
        Table("any", "Any", columns, empty)


@pytest.mark.parametrize(
    "picture",
    [
        Picture("bars", x="weekday", value="spent_micro"),
        Picture("bars", x="day", value="spent"),
        Picture("bars", x="day", value="clips", series="weekday"),
        Picture("bullet", x="name", value="clips", limit="clips_before"),
    ],
)
def test_a_picture_of_a_column_that_is_not_there_is_refused(picture: Picture):
    with pytest.raises(ValueError, match="any: it draws"):
        Table("any", "Any", COLUMNS, frame_of([], KINDS), picture=picture)


def test_a_report_finds_its_tables_by_name():
    report = Report("any", "Any", "What?", (table(FULL),), AT)
    assert report.main is report.table("any")
    with pytest.raises(KeyError):
        report.table("another")


@pytest.mark.parametrize("value", [2.0**63, 2**63, -(2**63), 1.0, Decimal("1.5"), Decimal(2**64)])
def test_a_sum_that_is_not_whole_or_beyond_64_bits_is_refused(value: Any):
    with pytest.raises(AmountError):
        series_of([value], "money")


def test_the_largest_sums_are_read_exactly_however_an_engine_gives_them():
    most = 2**63 - 1
    assert list(series_of([most, Decimal(most), -most, None], "money").dropna()) == [
        *(most, most, -most)
    ]


def test_division_rounds_once_and_knows_what_it_does_not_know():
    parts, by = (
        series_of(values, "integer")
        for values in ([1, 2, 5, None, 1, 2**62], [3, 3, 2, 1, 0, 2**62])
    )
    assert list(divided(parts, by).fillna(-1)) == [0, 1, 3, -1, -1, 1]
    assert list(share_ppm(parts, by).fillna(-1)) == [333_333, 666_667, 2_500_000, -1, -1, 1_000_000]
