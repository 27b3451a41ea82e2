"""Amounts as people write them: two places, never nothing for something, and no float."""

from __future__ import annotations

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kling_pricing.money import MAX_MICRO, from_micro
from kling_reports.amounts import lasting, short


@pytest.mark.parametrize(
    ("value", "amount", "rate"),
    [
        ("0", "0.00", "0.00"),
        ("-0.000", "0.00", "0.00"),
        ("4.05", "4.05", "4.05"),
        ("1234567.895", "1,234,567.90", "1,234,567.90"),
        ("0.675", "0.68", "0.675"),
        ("0.1125", "0.11", "0.113"),
        ("0.01", "0.01", "0.01"),
        ("0.009999", "0.01", "0.01"),
        ("0.005625", "0.00563", "0.00563"),
        ("0.0056", "0.0056", "0.0056"),
        ("0.000001", "0.000001", "0.000001"),
        ("-0.004", "-0.004", "-0.004"),
        ("-28.4999", "-28.50", "-28.50"),
        ("0.999999", "1.00", "1.00"),
        ("9007199254.740991", "9,007,199,254.74", "9,007,199,254.74"),
    ],
)
def test_an_amount_has_two_places_and_a_rate_three_digits(value: str, amount: str, rate: str):
    assert short(Decimal(value)) == amount
    assert short(Decimal(value), is_rate=True) == rate


@given(st.integers(-MAX_MICRO, MAX_MICRO), st.booleans())
def test_something_is_never_shown_as_nothing_and_is_near_what_it_is(micro: int, is_rate: bool):
    exact = from_micro(micro)
    shown = Decimal(short(exact, is_rate=is_rate).replace(",", ""))
    assert (shown == 0) == (micro == 0)
    assert abs(shown - exact) <= Decimal("0.005")
    assert shown * exact >= 0


@pytest.mark.parametrize(
    ("seconds", "told"),
    [
        (0, "0 s"),
        (59, "59 s"),
        (90, "1 min 30 s"),
        (3_600, "1 h"),
        (3_601, "1 h"),
        (86_399, "23 h 59 min"),
        (90_000, "1 d 1 h"),
        (863_999, "9 d 23 h"),
        (864_000, "10 d"),
        (10 * 86_400 + 7_200, "10 d"),
        (11 * 86_400 - 1, "10 d"),
        (13_775_219, "159 d"),
    ],
)
def test_a_stretch_of_time_is_told_in_its_largest_parts(seconds: int, told: str):
    assert lasting(seconds) == told
