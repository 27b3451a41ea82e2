"""The arithmetic of a price, rule by rule: each figure here is worked out by hand."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest

from kling_pricing import (
    AmountError,
    BookError,
    Clip,
    ClipError,
    Money,
    PriceBook,
    Quote,
    quote,
    read_book,
)
from kling_pricing.errors import Problem
from tests.ledgers import usd

AT = datetime(2026, 11, 21, 12, tzinfo=UTC)
HEAD = """
format = 1
provider = "tiny"
name = "Tiny"
unit = "USD"
[sources.page]
url = "https://tiny.example/prices"
checked = 2026-11-01
evidence = "published"
[sources.other]
url = "https://tiny.example/other"
checked = 2026-11-02
evidence = "published"
[rates.one]
family = "tiny"
models = { m = ["text_to_video"] }
from = 2026-01-01
source = "page"
"""
SECONDS = 'per = "second"\nprices = "2"\nrequest = { min_s = 1, max_s = 20 }\n'


def book_of(rules: str) -> PriceBook:
    return read_book(HEAD + rules, name="tiny")


def ask(rules: str, **options: Any) -> Quote:
    return quote(Clip("tiny", "m", **options), at=AT, book=book_of(rules))


def problem_of(rules: str, **options: Any) -> Problem:
    with pytest.raises(ClipError) as refusal:
        ask(rules, **options)
    (problem,) = refusal.value.problems
    return problem


# --- what one more costs ----------------------------------------------------------------------

FEES = """fees = [
  { label = "voice", when = { voice = true }, amount = "100", per = "clip" },
  { label = "upscaling", amount = "0.5", per = "second" },
  { label = "priority", multiply = "3" },
  { label = "upload", amount = "7", per = "clip" },
]
"""


@pytest.mark.parametrize(
    ("per", "one_more", "of_ten"),
    [
        # A second costs 2, and its share of the upscaling 0.5: 2.5, tripled. Ten: 75, and the 7.
        (SECONDS, "7.5", "82"),
        # A block of five seconds costs 2, and five times 0.5: 4.5, tripled. Two: 27, and the 7.
        (
            'per = "block"\nblock_s = 5\nprices = "2"\nrequest = { min_s = 1, max_s = 20 }\n',
            "13.5",
            "34",
        ),
        # A clip costs 2, tripled, and the 7; of the upscaling nobody knows how much. Ten: 2 and 5.
        ('per = "clip"\nprices = "2"\n', "13", "28"),
        ('per = "request"\nprices = "2"\n', "13", "28"),
    ],
)
def test_one_more_costs_its_price_and_its_share_of_every_fee(per: str, one_more: str, of_ten: str):
    answer = ask(per + FEES, seconds=10, voice=False)
    assert answer.unit_price == Decimal(one_more)
    assert answer.amount == usd(of_ten)
    assert sum(line.amount for line in answer.lines) == Decimal(of_ten)


# --- line by line -----------------------------------------------------------------------------


def told(answer: Quote) -> list[str]:
    """The lines of a quote in words: label, quantity, what of, price of one."""
    return [f"{x.label}: {x.quantity} {x.per} at {x.unit_price}" for x in answer.lines]


@pytest.mark.parametrize(
    ("rules", "seconds", "lines"),
    [
        (
            SECONDS + FEES,
            5,
            [
                "tiny: 5 second at 2",
                "upscaling: 5 second at 0.5",
                # Tripled is twice more of the 12.5 before.
                "priority: 12.5 of what is above at 2",
                "upload: 1 clip at 7",
            ],
        ),
        (
            'per = "block"\nblock_s = 5\nprices = "2"\nrequest = { min_s = 1, max_s = 20 }\n',
            6,
            ["tiny: 2 block of 5 seconds at 2"],
        ),
        # A fee that says nothing else is one of the clip.
        (
            SECONDS + 'fees = [{ label = "upload", amount = "7" }]\n',
            1,
            ["tiny: 1 second at 2", "upload: 1 clip at 7"],
        ),
        (
            SECONDS + 'rounding = { mode = "half_up", quantum = "2.5" }\n',
            3,
            ["tiny: 3 second at 2", "rounded half up to 2.5: 1 clip at -1.0"],
        ),
        (
            SECONDS + 'total = { min = "5", max = "30" }\n',
            1,
            ["tiny: 1 second at 2", "charged at least 5: 1 clip at 3"],
        ),
        (
            SECONDS + 'total = { min = "5", max = "30" }\n',
            20,
            ["tiny: 20 second at 2", "charged at most 30: 1 clip at -10"],
        ),
    ],
)
def test_every_line_says_how_much_of_what_at_which_price(
    rules: str, seconds: int, lines: list[str]
):
    answer = ask(rules, seconds=seconds, **({"voice": False} if "voice" in rules else {}))
    assert told(answer) == lines
    assert sum(line.amount for line in answer.lines) == answer.amount.amount


# --- which seconds count ----------------------------------------------------------------------


def test_an_input_of_unknown_length_is_billed_within_the_bounds_of_its_billing():
    answer = ask('per = "second"\nprices = "2"\nbilling = { count = "input", min_s=3, max_s=10 }')
    assert (answer.low, answer.expected, answer.amount) == (usd("6"), None, usd("20"))


@pytest.mark.parametrize(
    "rules",
    [
        # No most: nobody can say what the longest input would cost.
        'per = "second"\nprices = "2"\nbilling = { count = "input", min_s = 3 }',
        # The most of what is billed is none of what goes in: the output counts too.
        SECONDS + 'billing = { count = "input_and_output", max_s = 10 }',
    ],
)
def test_an_input_of_unknown_length_without_bounds_is_asked_for(rules: str):
    assert problem_of(rules, seconds=5).path == "input_seconds"


def test_a_length_that_no_file_has_is_refused_by_the_name_of_what_said_it():
    rules = 'per = "second"\nprices = "2"\nbilling = { count = "produced", FOLLOWS output = [%s] }'
    rules %= "{ min_s = 3, max_s = 10 }"
    following, apart = (rules.replace("FOLLOWS", way) for way in ("follows_input = true,", ""))
    assert problem_of(following, seconds=11).path == "seconds"
    assert problem_of(following, input_seconds=11).path == "input_seconds"
    assert problem_of(apart, seconds=2, input_seconds=5).path == "seconds"


@pytest.mark.parametrize(
    ("length", "amount"),
    [("2.4", None), ("2.5", "6"), ("3", "6"), ("7", "14"), ("10.4", "20"), ("10.5", None)],
)
def test_a_file_is_priced_by_its_own_length_within_what_this_clip_may_be(
    length: str, amount: str | None
):
    produced = ask(
        'per = "second"\nprices = "2"\n'
        'billing = { count="produced", round="nearest", output=[{ min_s = 3, max_s = 10 }] }'
    )
    assert produced.of_produced(Decimal(length)) == (None if amount is None else usd(amount))


def test_a_file_says_nothing_where_the_price_does_not_follow_it():
    assert ask(SECONDS, seconds=5).of_produced(5) is None
    flat = 'per = "clip"\nprices = "2"\nbilling = { count="produced", output=[{min_s=3,max_s=9}] }'
    assert ask(flat).of_produced(5) is None


# --- what is known before the run ---------------------------------------------------------------


def test_a_flat_clip_without_a_length_is_expected_to_cost_its_price():
    answer = ask('per = "clip"\nprices = "2"\n')
    assert (answer.low, answer.expected, answer.amount) == (usd("2"),) * 3
    assert answer.billed_seconds is None


def test_two_figures_of_a_seller_are_both_of_the_highest_that_the_run_may_come_to():
    answer = ask(
        'per = "second"\nprices = "2"\n'
        'billing = { count = "produced", output = [{ min_s = 3, max_s = 10 }] }\n'
        'disputed = { source = "other", times = "1.5", because = "two pages" }\n'
    )
    # 10 s at 2 and at 3; the low of either, 6 and 9, is not what is set aside.
    assert (answer.amount, answer.disputed, answer.hold) == (usd("20"), usd("30"), usd("30"))
    assert answer.as_dict()["disputed"] == {
        "amount": "30",
        "source": "https://tiny.example/other",
        "checked": "2026-11-02",
        "because": "two pages",
    }
    (said,) = answer.assumptions
    assert said == (
        "two figures of Tiny disagree: 20 USD by https://tiny.example/prices,"
        " 30 USD by https://tiny.example/other: two pages; 30 USD is held unless"
        " the seller's own estimate decides"
    )


def test_a_lower_figure_of_a_seller_is_shown_and_not_held():
    rules = SECONDS + 'disputed = { source = "other", times = "0.5", because = "two pages" }\n'
    answer = ask(rules, seconds=5)
    assert (answer.amount, answer.disputed, answer.hold) == (usd("10"), usd("5"), usd("10"))


def test_lines_are_of_the_clip_that_the_provider_makes_and_not_of_the_one_asked_for():
    answer = ask(
        'per = "second"\ndimensions = ["sound"]\nrequest = { min_s = 1, max_s = 20 }\n'
        'forced = [{ when = { voice = true }, set = { sound = true }, because = "voices sound" }]\n'
        'fees = [{ label = "mixing", when = { sound = true }, amount = "1", per = "clip" }]\n'
        'prices = { off = "2", on = "3" }\n',
        seconds=5,
        sound=False,
        voice=True,
    )
    # With sound after all: five seconds at 3, and the mixing.
    assert (answer.amount, answer.unit_price) == (usd("16"), Decimal(3))
    assert [(line.label, line.amount) for line in answer.lines] == [
        ("with sound", Decimal(15)),
        ("mixing", Decimal(1)),
    ]
    assert answer.notes == ("voices sound",)


def test_an_option_that_is_not_given_is_said_with_what_the_provider_takes():
    rules = 'per = "clip"\ndimensions = ["resolution"]\ndefaults = { resolution = "720p" }\n'
    answer = ask(rules + 'prices = { 720p = "2", 1080p = "3" }\n')
    assert answer.amount == usd("2")
    assert answer.notes == ("resolution is not given: Tiny takes 720p",)
    # What was asked for is kept as it was.
    assert (answer.clip.resolution, answer.priced.resolution) == (None, "720p")


# --- how long it holds --------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("ends_after", "holds"),
    [(timedelta(hours=23), timedelta(hours=23)), (timedelta(hours=25), timedelta(hours=24))],
)
def test_a_quote_holds_for_a_day_or_until_its_rate_ends(ends_after: timedelta, holds: timedelta):
    ends = (AT + ends_after).isoformat()
    answer = ask(f"{SECONDS}until = {ends}\n", seconds=5)
    assert answer.expires_at == AT + holds


@pytest.mark.parametrize(("days", "warned"), [(90, 0), (91, 1)])
def test_a_price_is_told_to_be_old_after_ninety_days(days: int, warned: int):
    at = datetime(2026, 11, 1, 12, tzinfo=UTC) + timedelta(days=days)
    answer = quote(Clip("tiny", "m", seconds=5), at=at, book=book_of(SECONDS))
    said = f"nobody has looked at this price since 2026-11-01, {days} days before"
    assert list(answer.warnings) == [said] * warned


def test_an_instant_without_a_zone_is_no_instant():
    with pytest.raises(ClipError, match="a datetime with its time zone"):
        quote(Clip("tiny", "m", seconds=5), at=datetime(2026, 11, 21), book=book_of(SECONDS))  # noqa: DTZ001


# --- what a book may say ------------------------------------------------------------------------


def test_a_price_is_held_exactly_under_each_fee_alone_and_not_only_under_all_of_them():
    # Half and double are exact together; half of a millionth alone is not.
    fees = """fees = [
      { label = "draft", when = { voice = false }, multiply = "0.5" },
      { label = "long", when = { elements = true }, multiply = "2" },
    ]
    """
    with pytest.raises(BookError, match="millionth"):
        book_of('per = "clip"\nprices = "0.000001"\n' + fees)
    assert book_of('per = "clip"\nprices = "0.000002"\n' + fees).models == ("m",)


# --- money --------------------------------------------------------------------------------------


def test_equal_amounts_are_neither_above_nor_below_each_other():
    assert not usd("0.1") < usd("0.10")
    assert not usd("0.1") > usd("0.10")


def test_amounts_are_summed_unit_by_unit():
    paid = [usd("1"), Money(Decimal(5), "crun-credit"), usd("2.5"), usd("-0.5")]
    assert Money.by_unit(paid) == {"USD": usd("3"), "crun-credit": Money(Decimal(5), "crun-credit")}
    assert Money.by_unit([]) == {}


@pytest.mark.parametrize("amount", ["1e20", "1e21", "1e999999"])
def test_an_amount_that_is_too_large_is_told_the_largest(amount: str):
    with pytest.raises(AmountError, match=r"at most 9007199254\.740991"):
        usd(amount)
