"""Which seconds are billed: every rule at its threshold and just past it."""

from __future__ import annotations

from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import pytest

from kling_pricing import Clip, ClipError, Money, NoPriceError, PriceBook, Quote, quote, read_book
from tests.ledgers import usd

AT = datetime(2026, 11, 21, 12, tzinfo=UTC)
HEAD = """
format = 1
provider = "tiny"
name = "Tiny"
unit = "USD"
[sources.page]
url = "https://tiny.example/prices"
checked = 2026-01-31
evidence = "published"
[rates.one]
family = "tiny"
models = { m = ["text_to_video", "motion_control"] }
from = 2026-01-01
source = "page"
prices = "1"
"""


def book_of(rules: str) -> PriceBook:
    return read_book(HEAD + rules, name="tiny")


def ask(book: PriceBook, seconds: str | None = None, **more: Any) -> Quote:
    length = None if seconds is None else Decimal(seconds)
    return quote(Clip("tiny", "m", seconds=length, **more), at=AT, book=book)


def billed(book: PriceBook, seconds: str, **more: Any) -> int:
    """What a clip costs at 1 USD per second: the seconds that are billed."""
    return int(ask(book, seconds, **more).amount.amount)


# --- rounded to whole seconds ---------------------------------------------------------------


@pytest.mark.parametrize(("seconds", "charged"), [("4.49", "32.4"), ("4.5", "40.5"), ("5", "40.5")])
def test_evolink_bills_half_a_second_as_a_whole_one(seconds: str, charged: str):
    # "Output seconds are billed, rounded to the nearest whole one": the note of kling-o3-reference.
    clip = Clip(
        "evolink",
        "kling-o3-reference-to-video",
        "reference_to_video",
        Decimal(seconds),
        resolution="720p",
    )
    answer = quote(clip, at=AT)
    assert answer.price == Decimal("8.1")
    assert answer.amount == Money(Decimal(charged), "evolink-credit")


@pytest.mark.parametrize(
    ("mode", "seconds", "whole"),
    [
        ("up", "4", 4),
        ("up", "4.01", 5),
        ("down", "4.99", 4),
        ("down", "5", 5),
        ("nearest", "2.49", 2),
        ("nearest", "2.5", 3),
        ("nearest", "3.5", 4),
    ],
)
def test_part_seconds_are_rounded_as_the_book_says(mode: str, seconds: str, whole: int):
    request = 'per = "second"\nrequest = { min_s = 1, max_s = 9, parts = true }\n'
    book = book_of(f'{request}billing = {{ round = "{mode}" }}\n')
    assert billed(book, seconds) == whole


def test_part_seconds_that_no_rule_rounds_are_refused():
    book = book_of('per = "second"\nrequest = { min_s = 1, max_s = 9, parts = true }\n')
    with pytest.raises(ClipError, match="whole seconds"):
        ask(book, "4.5")


# --- the minimum and the maximum ------------------------------------------------------------

FLOOR = book_of('per = "second"\nrequest = { min_s = 6, max_s = 20 }\nbilling = { min_s = 4 }\n')
CLAMPED = book_of(
    'per = "second"\nrequest = { min_s = 1, max_s = 12, parts = true }\n'
    'billing = { round = "up", min_s = 3, max_s = 10 }\n'
)


@pytest.mark.parametrize(("seconds", "whole"), [("3", 4), ("4", 4), ("6", 6)])
def test_a_clip_up_to_the_billing_minimum_is_billed_as_that(seconds: str, whole: int):
    assert billed(FLOOR, seconds) == whole


@pytest.mark.parametrize("seconds", ["3.5", "5", "5.5", "21"])
def test_what_the_billing_minimum_does_not_cover_is_refused(seconds: str):
    with pytest.raises(ClipError, match="whole seconds, 6 to 20"):
        ask(FLOOR, seconds)


@pytest.mark.parametrize(
    ("seconds", "whole", "rule"),
    [
        ("2", 3, "billing minimum of 3 seconds"),
        ("2.5", 3, "rounded to whole seconds"),
        ("10.5", 10, "rounded to whole seconds"),
        ("11", 10, "billing maximum of 10 seconds"),
    ],
)
def test_a_line_names_the_rule_that_moved_the_seconds(seconds: str, whole: int, rule: str):
    answer = ask(CLAMPED, seconds)
    assert answer.billed_seconds == whole
    assert [line.label for line in answer.lines][1:] == [rule]


@pytest.mark.parametrize("seconds", ["3", "10"])
def test_at_the_minimum_and_at_the_maximum_nothing_is_moved(seconds: str):
    assert len(ask(CLAMPED, seconds).lines) == 1


# --- the video that goes in -----------------------------------------------------------------

BOTH = book_of(
    'per = "second"\nrequest = { min_s = 1, max_s = 20 }\ninput = { min_s = 2, max_s = 8 }\n'
    'billing = { count = "input_and_output", times_output = "2" }\n'
)


@pytest.mark.parametrize(("input_seconds", "whole"), [(2, 10), (4, 10), (5, 10), (6, 11), (8, 13)])
def test_input_and_output_count_at_least_so_many_times_the_output(input_seconds: int, whole: int):
    assert billed(BOTH, "5", input_seconds=input_seconds) == whole


def test_an_input_of_unknown_length_is_billed_between_the_floor_and_the_longest():
    answer = ask(BOTH, "5")
    assert answer.expected is None
    assert (answer.low, answer.amount) == (usd("10"), usd("13"))


@pytest.mark.parametrize("input_seconds", [1, 9])
def test_an_input_that_is_not_taken_is_refused(input_seconds: int):
    with pytest.raises(ClipError, match="input_seconds"):
        ask(BOTH, "5", input_seconds=input_seconds)


# --- the file that comes out ----------------------------------------------------------------

OUTPUT = book_of(
    'per = "second"\nbilling = { count = "produced", output = [{ min_s = 3, max_s = 30 }] }\n'
)


@pytest.mark.parametrize("seconds", ["3", "30"])
def test_a_file_may_be_as_short_and_as_long_as_the_book_says(seconds: str):
    assert billed(OUTPUT, seconds) == int(seconds)


@pytest.mark.parametrize("seconds", ["2", "31"])
def test_a_file_that_is_shorter_or_longer_than_that_is_refused(seconds: str):
    with pytest.raises(ClipError, match="whole seconds, 3 to 30"):
        ask(OUTPUT, seconds)


# --- blocks ---------------------------------------------------------------------------------


@pytest.mark.parametrize(("seconds", "blocks"), [("1", 1), ("5", 1), ("6", 2), ("10", 2)])
def test_a_block_is_paid_once_it_is_started(seconds: str, blocks: int):
    book = book_of('per = "block"\nblock_s = 5\nrequest = { min_s = 1, max_s = 10 }\n')
    assert billed(book, seconds) == blocks


# --- options that nothing is known of -------------------------------------------------------

PLAIN = book_of('per = "clip"\n')


@pytest.mark.parametrize(
    "option",
    [{"resolution": "1080p"}, {"sound": True}, {"voice": True}, {"video_input": True}],
    ids=lambda option: next(iter(option)),
)
def test_an_option_that_a_rate_does_not_speak_of_has_no_price(option: dict[str, Any]):
    with pytest.raises(NoPriceError) as refusal:
        ask(PLAIN, **option)
    assert "leave it out" in (refusal.value.hint or "")


@pytest.mark.parametrize("option", [{"sound": False}, {"multi_shot": True}, {"elements": True}])
def test_an_option_that_makes_no_difference_is_not_asked_about(option: dict[str, Any]):
    assert ask(PLAIN, **option).amount == Money(Decimal(1), "USD")


def test_a_motion_starts_from_a_video_whether_anyone_says_so_or_not():
    answer = quote(Clip("tiny", "m", "motion_control", video_input=True), at=AT, book=PLAIN)
    assert answer.amount == Money(Decimal(1), "USD")


@pytest.mark.parametrize("rule", ["fees", "forced"])
def test_a_rate_whose_rules_speak_of_an_option_has_heard_of_it(rule: str):
    fees = 'fees = [{ label = "voice", when = { voice = true }, amount = "1" }]\n'
    forced = 'forced = [{ when = { voice = true }, set = { sound = true }, because = "so" }]\n'
    book = book_of('per = "clip"\n' + (fees if rule == "fees" else forced))
    assert ask(book, voice=True).amount == Money(Decimal(2 if rule == "fees" else 1), "USD")
