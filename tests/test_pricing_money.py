"""Money: an exact amount and its unit, rounded nowhere but here."""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal
from fractions import Fraction
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kling_pricing import AmountError, Money
from kling_pricing.money import MAX_MICRO, from_micro, plain, read_decimal, round_to, to_micro
from tests.ledgers import usd

LARGEST = Decimal("9007199254.740991")  # 2**53 - 1 millionths
ONE_MORE = Decimal("9007199254.740992")

micros = st.integers(-MAX_MICRO, MAX_MICRO)


def cny(amount: str) -> Money:
    return Money(Decimal(amount), "CNY")


# --- what an amount may be ------------------------------------------------------------------


@pytest.mark.parametrize("not_a_decimal", [0.5, 1, "1", None, True])
def test_an_amount_is_a_decimal_and_nothing_else(not_a_decimal: Any):
    with pytest.raises(AmountError, match="never a float") as refused:
        Money(not_a_decimal, "USD")
    assert refused.value.got is not_a_decimal


@pytest.mark.parametrize("endless", ["NaN", "sNaN", "Infinity", "-Infinity"])
def test_an_amount_is_finite(endless: str):
    with pytest.raises(AmountError, match="a finite number"):
        usd(endless)


@pytest.mark.parametrize("fine", ["0.000001", "-0.000001", "0.1234560000", "1e-6"])
def test_six_decimals_are_held(fine: str):
    assert usd(fine).amount == Decimal(fine)


@pytest.mark.parametrize("too_fine", ["0.0000001", "1.0000001", "-0.0000015", "1e-7", "1e-999999"])
def test_a_seventh_decimal_is_refused_and_never_rounded(too_fine: str):
    with pytest.raises(AmountError, match="at most six decimals"):
        usd(too_fine)


def test_a_digit_lost_far_behind_a_large_amount_is_refused():
    with pytest.raises(AmountError, match="at most six decimals"):
        usd("1." + "0" * 70 + "1")


def test_the_largest_amount_is_one_millionth_below_two_to_the_53():
    assert Money(LARGEST, "USD").micro == 9_007_199_254_740_991
    assert Money(-LARGEST, "USD").micro == -9_007_199_254_740_991


@pytest.mark.parametrize("amount", [ONE_MORE, -ONE_MORE, Decimal("1e12")])
def test_two_to_the_53_millionths_are_refused(amount: Decimal):
    with pytest.raises(AmountError, match=r"at most 9007199254\.740991"):
        Money(amount, "USD")


@pytest.mark.parametrize("absurd", ["1e999999", "1e999999999", "9" * 100])
def test_an_absurd_amount_is_refused_at_once(absurd: str):
    with pytest.raises(AmountError):
        usd(absurd)


@pytest.mark.parametrize("unit", ["USD", "CNY", "evolink-credit", "x", "a1", "U" * 32])
def test_a_unit_is_a_short_name(unit: str):
    assert Money(Decimal(1), unit).unit == unit


@pytest.mark.parametrize("unit", ["", "1x", "-x", "US D", "USD\n", " USD", "€", "a_b", "U" * 33])
def test_a_unit_that_is_no_name_is_refused(unit: str):
    with pytest.raises(AmountError, match="a name such as USD"):
        Money(Decimal(1), unit)


def test_money_cannot_be_changed():
    with pytest.raises(AttributeError):
        usd("1").amount = Decimal(2)  # type: ignore[misc]


# --- units never mix ------------------------------------------------------------------------


@pytest.mark.parametrize(
    "operation",
    [
        lambda a, b: a + b,
        lambda a, b: a - b,
        lambda a, b: a < b,
        lambda a, b: a <= b,
        lambda a, b: a > b,
        lambda a, b: a >= b,
    ],
    ids=["+", "-", "<", "<=", ">", ">="],
)
def test_amounts_of_two_units_never_meet(operation: Callable[[Money, Money], object]):
    with pytest.raises(AmountError, match='unit: got "CNY", allowed: USD'):
        operation(usd("1"), cny("1"))


def test_the_same_amount_of_another_unit_is_another_amount():
    assert usd("1") != cny("1")


def test_ten_times_a_tenth_is_one():
    total = Money.zero("USD")
    for _ in range(10):
        total = total + usd("0.1")
    assert total == usd("1")


def test_a_difference_may_be_negative():
    assert usd("0.07") - usd("0.10") == usd("-0.03")


def test_a_sum_beyond_the_largest_amount_is_refused():
    with pytest.raises(AmountError, match="at most"):
        Money(LARGEST, "USD") + usd("0.000001")


# --- sums and products ----------------------------------------------------------------------


def test_amounts_of_one_unit_are_summed_exactly():
    assert sum([usd("0.1")] * 10) == usd("1")
    assert Money.total([usd("0.1")] * 10, unit="USD") == usd("1")


def test_the_total_of_no_amounts_is_nothing_in_its_unit():
    assert Money.total([], unit="crun-credit") == Money.zero("crun-credit")


def test_a_sum_over_two_units_names_both():
    with pytest.raises(AmountError, match='unit: got "CNY", allowed: USD'):
        sum([usd("1"), cny("1")])


def test_a_total_in_another_unit_than_its_amounts_is_refused():
    with pytest.raises(AmountError, match='unit: got "CNY", allowed: USD'):
        Money.total([cny("1")], unit="USD")


@pytest.mark.parametrize("number", [1, -1, False, 0.0, Decimal(0)])
def test_a_bare_number_is_never_added(number: Any):
    with pytest.raises(AmountError, match="money in USD"):
        number + usd("1")
    with pytest.raises(AmountError, match="money in USD"):
        usd("1") + number


@pytest.mark.parametrize(
    ("factor", "product"),
    [(3, "0.675"), (0, "0"), (-1, "-0.225"), (Decimal("0.2"), "0.045"), (Decimal(3), "0.675")],
)
def test_a_product_is_exact_from_either_side(factor: int | Decimal, product: str):
    assert usd("0.225") * factor == factor * usd("0.225") == usd(product)


@pytest.mark.parametrize("factor", [1.5, True, "2", None, Fraction(1, 2)])
def test_a_factor_is_an_int_or_a_decimal_and_nothing_else(factor: Any):
    with pytest.raises(AmountError, match="an int or a Decimal, never a float"):
        usd("1") * factor


def test_money_times_money_is_nothing():
    with pytest.raises(AmountError, match="factor"):
        usd("1") * usd("1")  # type: ignore[operator]


@pytest.mark.parametrize("factor", [Decimal("0.1"), Decimal("1." + "0" * 70 + "1")])
def test_a_product_finer_than_a_millionth_is_refused_and_never_rounded(factor: Decimal):
    assert usd("0.00001") * Decimal("0.1") == usd("0.000001")
    with pytest.raises(AmountError, match="at most six decimals"):
        usd("0.000001") * factor


def test_a_product_up_to_the_largest_amount_is_held_and_one_beyond_is_refused():
    assert usd("0.000001") * MAX_MICRO == Money(LARGEST, "USD")
    with pytest.raises(AmountError, match=r"at most 9007199254\.740991"):
        usd("0.000001") * (MAX_MICRO + 1)


@given(st.integers(-1000, 1000), st.integers(-1000, 1000))
def test_a_product_is_the_product_of_the_millionths(micro: int, factor: int):
    assert (Money.from_micro(micro, "USD") * factor).micro == micro * factor


def test_amounts_are_ordered_within_their_unit():
    assert usd("0.099999") < usd("0.1") <= usd("0.10") < usd("0.100001")
    assert usd("0.100001") > usd("0.1") >= usd("0.10")


def test_trailing_zeros_make_no_difference():
    assert usd("0.10") == usd("0.1")
    assert hash(usd("0.10")) == hash(usd("0.1"))


# --- reading and writing --------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "amount", "unit"),
    [
        ("10 USD", "10", "USD"),
        ("10USD", "10", "USD"),
        ("  0.675   USD ", "0.675", "USD"),
        ("27 evolink-credit", "27", "evolink-credit"),
        (".5 USD", "0.5", "USD"),
        ("5. USD", "5", "USD"),
        ("-1.5 CNY", "-1.5", "CNY"),
        ("+2 CNY", "2", "CNY"),
    ],
)
def test_an_amount_is_read_with_its_unit(text: str, amount: str, unit: str):
    assert Money.parse(text) == Money(Decimal(amount), unit)


@pytest.mark.parametrize(
    ("amount", "spec", "written"),
    [
        ("12.5", ".2f", "12.50 USD"),
        ("0.005", ".2f", "0.01 USD"),
        ("0.004999", ".2f", "0.00 USD"),
        ("0.015", ".2f", "0.02 USD"),
        ("0.025", ".2f", "0.03 USD"),
        ("-0.004", ".2f", "0.00 USD"),
        ("-0.005", ".2f", "-0.01 USD"),
        ("1234567.891", ",.2f", "1,234,567.89 USD"),
        ("2.5", ".0f", "3 USD"),
        ("9007199254.740991", ",.6f", "9,007,199,254.740991 USD"),
        ("0.675", "", "0.675 USD"),
    ],
)
def test_a_format_writes_an_amount_for_people_rounded_half_up(amount: str, spec: str, written: str):
    assert format(usd(amount), spec) == written


@pytest.mark.parametrize("spec", [".7f", "f", ".2e", ".2%", ">12", "d"])
def test_a_format_that_is_not_one_of_money_is_refused(spec: str):
    with pytest.raises(ValueError, match="writes no money"):
        format(usd("1"), spec)


def test_an_amount_without_a_unit_takes_the_callers():
    assert Money.parse("10", default_unit="USD") == usd("10")


def test_a_written_unit_wins_over_the_callers():
    assert Money.parse("10 CNY", default_unit="USD") == cny("10")


@pytest.mark.parametrize(
    ("text", "amount"),
    [
        ("$10", "10"),
        ("-$0.5", "-0.5"),
        ("$10 usd", "10"),
        ("1,000 USD", "1000"),
        ("$1,234,567.5", "1234567.5"),
        ("0.5 Usd", "0.5"),
    ],
)
def test_dollar_signs_and_commas_between_thousands_are_read(text: str, amount: str):
    assert Money.parse(text, default_unit="crun-credit") == usd(amount)


def test_capitals_of_the_callers_unit_are_forgiven():
    assert Money.parse("5 Crun-Credit", default_unit="crun-credit").unit == "crun-credit"
    assert Money.parse("5 Crun-Credit").unit == "Crun-Credit"


def test_an_amount_without_any_unit_is_refused():
    with pytest.raises(AmountError, match="an amount and its unit"):
        Money.parse("10")


@pytest.mark.parametrize(
    "text",
    [
        *("", "USD", "USD 10", "1,5 USD", "1e3 USD", "1_0 USD", "NaN USD", ". USD", "١ USD"),
        *("0,500 USD", "1,00 USD", "1,0000 USD", "1000,000 USD", ",500 USD", "$1 EUR", "€1", "$"),
    ],
)
def test_anything_else_is_no_amount(text: str):
    with pytest.raises(AmountError, match="an amount and its unit"):
        Money.parse(text)


def test_a_seventh_decimal_is_refused_when_read_too():
    with pytest.raises(AmountError, match="at most six decimals"):
        Money.parse("0.0000001 USD")


@pytest.mark.parametrize(
    ("amount", "written"),
    [
        ("7.198200", "7.1982"),
        ("27", "27"),
        ("100", "100"),
        ("1E+3", "1000"),
        ("1E-6", "0.000001"),
        ("0", "0"),
        ("0.000", "0"),
        ("-0", "0"),
        ("-0.00", "0"),
        ("0E+5", "0"),
        ("-0.50", "-0.5"),
    ],
)
def test_an_amount_is_written_plainly(amount: str, written: str):
    assert plain(Decimal(amount)) == written
    assert str(usd(amount)) == f"{written} USD"


@given(micros)
def test_what_is_written_is_read_back(micro: int):
    money = Money.from_micro(micro, "USD")
    assert Money.parse(str(money)) == money
    assert "E" not in plain(money.amount)


# --- millionths -----------------------------------------------------------------------------


def test_the_worked_request_is_675000_millionths():
    assert usd("0.675").micro == 675_000
    assert Money.from_micro(675_000, "USD") == usd("0.675")


@given(micros)
def test_millionths_become_a_decimal_and_come_back(micro: int):
    assert to_micro(from_micro(micro)) == micro


@given(st.decimals(min_value=-LARGEST, max_value=LARGEST, places=6))
def test_a_decimal_becomes_millionths_and_comes_back(amount: Decimal):
    assert from_micro(to_micro(amount)) == amount


@given(micros, micros)
def test_sums_are_the_sums_of_the_millionths(a: int, b: int):
    if abs(a + b) <= MAX_MICRO:
        total = Money.from_micro(a, "USD") + Money.from_micro(b, "USD")
        assert total.micro == a + b
        assert total - Money.from_micro(b, "USD") == Money.from_micro(a, "USD")


@given(st.decimals(allow_nan=True, allow_infinity=True))
def test_any_decimal_is_held_exactly_or_refused(amount: Decimal):
    try:
        money = Money(amount, "USD")
    except AmountError:
        return
    assert from_micro(money.micro) == amount


# --- rounding -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("mode", "rounded"),
    [
        ("half_up", ["-3", "-2", "1", "2", "3"]),
        ("half_even", ["-2", "-2", "0", "2", "2"]),
        ("up", ["-2", "-1", "1", "2", "3"]),
        ("down", ["-2", "-1", "0", "1", "2"]),
    ],
)
def test_halves_go_where_the_mode_says(mode: Any, rounded: list[str]):
    halves = [Decimal(half) for half in ("-2.5", "-1.5", "0.5", "1.5", "2.5")]
    assert [round_to(half, Decimal(1), mode) for half in halves] == [Decimal(r) for r in rounded]


@pytest.mark.parametrize(
    ("amount", "cents"), [("0.344999", "0.34"), ("0.345", "0.35"), ("0.345001", "0.35")]
)
def test_half_a_cent_rounds_up_and_just_less_does_not(amount: str, cents: str):
    assert round_to(Decimal(amount), Decimal("0.01"), "half_up") == Decimal(cents)


@pytest.mark.parametrize(("amount", "rounded"), [("0.10", "0.10"), ("0.100001", "0.11")])
def test_up_moves_only_what_is_not_there_yet(amount: str, rounded: str):
    assert round_to(Decimal(amount), Decimal("0.01"), "up") == Decimal(rounded)


def test_a_quantum_need_not_be_a_power_of_ten():
    assert round_to(Decimal("0.12"), Decimal("0.05"), "up") == Decimal("0.15")


def test_by_default_an_amount_rounds_to_the_millionth():
    assert round_to(Decimal(1) / Decimal(3)) == Decimal("0.333333")
    assert round_to(Decimal("0.0000005")) == Decimal("0.000001")
    assert round_to(Decimal("0.00000049")) == Decimal(0)


@given(micros)
def test_what_is_exact_already_is_never_rounded(micro: int):
    assert round_to(from_micro(micro)) == from_micro(micro)


# --- numbers from outside -------------------------------------------------------------------


@pytest.mark.parametrize(
    ("value", "read"),
    [
        (0.675, "0.675"),
        (0.1, "0.1"),
        (0.1 + 0.2, "0.30000000000000004"),
        (1e-7, "0.0000001"),
        (1e22, "10000000000000000000000"),
        (27, "27"),
        ("0.05", "0.05"),
        (" 1.50 ", "1.5"),
        (Decimal("7.1982"), "7.1982"),
    ],
)
def test_a_number_is_read_as_it_was_written(value: object, read: str):
    assert read_decimal(value) == Decimal(read)


@pytest.mark.parametrize("value", [None, True, False, [], {}, b"1", "", "x", "1,5", "0x10", 1j])
def test_what_is_no_number_is_refused(value: object):
    with pytest.raises(AmountError, match="a finite number"):
        read_decimal(value)


@pytest.mark.parametrize(
    "value", [float("nan"), float("inf"), float("-inf"), "NaN", "sNaN", "-Infinity", Decimal("NaN")]
)
def test_a_number_from_outside_is_finite(value: object):
    with pytest.raises(AmountError, match="a finite number"):
        read_decimal(value)


@given(st.floats(allow_nan=False, allow_infinity=False))
def test_a_json_float_is_read_without_loss(value: float):
    assert float(read_decimal(value)) == value


@pytest.mark.parametrize("written", ["1 usd", "1Usd", "1 USD"])
def test_a_currency_is_read_in_any_case(written: str) -> None:
    assert Money.parse(written) == usd("1")


def test_another_unit_is_taken_as_it_is_written() -> None:
    assert Money.parse("1 crun-credit").unit == "crun-credit"
    assert Money.parse("1 Credits").unit == "Credits"
