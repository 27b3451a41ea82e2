"""Frames: rows as columns of one dtype for each kind, however an engine gives the values."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any

import pandas as pd
import pytest

from kling_reports.division import divided, share_ppm
from kling_reports.frames import frame_by_place, frame_of, series_of
from kling_reports.report import DTYPES, Kind

AT = datetime(2026, 10, 25, 0, 30, tzinfo=UTC)
US = int(AT.timestamp()) * 1_000_000


@pytest.mark.parametrize(
    ("kind", "given", "kept"),
    [
        ("text", ["a", None, "b"], ["a", None, "b"]),
        ("text", ["a", 5, None], ["a", "5", None]),
        ("text", [], []),
        ("flag", [1, 0, None, True], [True, False, None, True]),
        ("integer", [1, None, Decimal(2), True], [1, None, 2, 1]),
        ("integer", [2**63 - 1, -(2**63 - 1)], [2**63 - 1, -(2**63 - 1)]),
        ("money", [Decimal(2**63 - 1), None], [2**63 - 1, None]),
        ("date", [date(2026, 10, 25), None], [date(2026, 10, 25), None]),
        ("month", [], []),
        ("instant", [US, None, US + 1], [AT, None, AT + timedelta(microseconds=1)]),
        ("instant", [Decimal(US), None], [AT, None]),
        ("instant", [None, None], [None, None]),
        ("instant", [], []),
        # Before and after what is read all at once.
        ("instant", [-62 * 10**15, 62 * 10**15], None),
        ("instant", [-62 * 10**15 - 1, 62 * 10**15 + 1, None], None),
    ],
)
def test_values_are_kept_exactly_and_in_the_dtype_of_their_kind(
    kind: Kind, given: list[Any], kept: list[Any] | None
):
    found = series_of(given, kind)
    assert str(found.dtype) == DTYPES[kind]
    if kept is None:
        epoch = datetime(1970, 1, 1, tzinfo=UTC)
        kept = [None if us is None else epoch + timedelta(microseconds=us) for us in given]
    told = [None if pd.isna(one) else one for one in found]
    if kind in {"date", "month"}:
        told = [one and one.date() for one in told]
    if kind == "instant":
        told = [one and one.to_pydatetime() for one in told]
    assert told == kept


def test_rows_by_name_and_by_place_are_one_frame():
    kinds: dict[str, Kind] = {"name": "text", "clips": "integer", "at": "instant"}
    by_name = frame_of([{"clips": 2, "at": US, "name": "a", "more": 1}], kinds)
    by_place = frame_by_place([("a", 2, US)], kinds)
    pd.testing.assert_frame_equal(by_name, by_place)
    pd.testing.assert_frame_equal(frame_of([], kinds), frame_by_place([], kinds))
    assert list(by_name.columns) == list(kinds)


@pytest.mark.parametrize("rows", [[("a", 1), ("b",)], [("a",)], [("a", 1, 2)]])
def test_rows_that_do_not_have_each_column_are_refused(rows: list[tuple[Any, ...]]):
    with pytest.raises(ValueError, match="zip"):
        frame_by_place(rows, {"name": "text", "clips": "integer"})


def test_a_quotient_stays_beside_what_it_was_divided_from():
    parts = series_of([1, 2**62, 5], "integer").set_axis([7, 3, 9])
    by = series_of([0, 2**62, None], "integer")
    for found, wanted in ((divided(parts, by), 1), (share_ppm(parts, by), 1_000_000)):
        assert list(found.index) == [7, 3, 9]
        assert list(found.isna()) == [True, False, True]
        assert found[3] == wanted
    unknown = divided(series_of([None, 1], "integer"), series_of([1, 0], "integer"))
    assert (str(unknown.dtype), list(unknown.isna())) == ("Int64", [True, True])
    with pytest.raises(ValueError, match="zip"):
        divided(parts, by.head(2))
