"""The price book: how it is written, what it refuses, and which rate holds when."""

from __future__ import annotations

import tomllib
from dataclasses import FrozenInstanceError
from datetime import UTC, date, datetime, timedelta, timezone
from decimal import Decimal

import pytest

from kling_pricing import (
    BookError,
    NoPriceError,
    PriceBook,
    Rate,
    bundled_book,
    bundled_providers,
    read_book,
)
from kling_pricing.book_entries import BookEntry
from kling_pricing.book_reader import BookText, book_schema
from kling_pricing.entry import checked_entry, entry_of
from kling_pricing.library import bundled_text

HEAD = """
format = 1
provider = "tiny"
name = "Tiny"
unit = "tiny-credit"

[sources.page]
url = "https://tiny.example/prices"
checked = 2026-01-31
evidence = "published"
note = "read twice"
"""
CONVERSION = """
[[conversions]]
from = 2026-01-01
units_per_usd = "50"
source = "page"
"""
RATE = """
[rates.one]
family = "tiny"
models = { m = ["text_to_video", "image_to_video"] }
from = 2026-01-01
source = "page"
per = "second"
dimensions = ["resolution", "sound"]
request = { min_s = 3, max_s = 15 }
billing = { min_s = 4 }
"""
PRICES = """
[rates.one.prices]
720p = { off = "5.5", on = "8" }
1080p = { off = "7.25" }
"""
TINY = HEAD + CONVERSION + RATE + PRICES
MIDNIGHT = datetime(2026, 1, 1, tzinfo=UTC)
MICROSECOND = timedelta(microseconds=1)


def read(text: str) -> PriceBook:
    return read_book(text, name="tiny.toml")


def changed(old: str, new: str) -> str:
    """The tiny book with one thing written otherwise."""
    assert TINY.count(old) == 1, old
    return TINY.replace(old, new)


def refused(text: str) -> BookError:
    with pytest.raises(BookError) as refusal:
        read(text)
    return refusal.value


def dated(start: str, until: str | None = None) -> str:
    """A rate with its prices that holds from a day until another; its id tells its first day."""
    ends = f"\nuntil = {until}" if until else ""
    rate = RATE.replace("from = 2026-01-01", f"from = {start}{ends}") + PRICES
    return rate.replace("rates.one", f"rates.from-{start}")


def rate_at(book: PriceBook, at: datetime) -> Rate:
    return book.offer_for("m", "text_to_video", at).rate


# --- a book is read as it is written --------------------------------------------------------


def test_a_book_says_whose_prices_it_holds():
    book = read(TINY)
    assert (book.provider, book.name, book.unit) == ("tiny", "Tiny", "tiny-credit")
    assert book.models == ("m",)
    assert book.actions_of("m") == ("text_to_video", "image_to_video")
    assert book.actions_of("other") == ()


def test_a_rate_carries_its_table_its_seconds_and_its_source():
    rate = rate_at(read(TINY), MIDNIGHT)
    assert (rate.provider, rate.provider_name, rate.id) == ("tiny", "Tiny", "one")
    assert rate.dimensions == ("resolution", "sound")
    assert dict(rate.prices) == {
        ("720p", False): Decimal("5.5"),
        ("720p", True): Decimal(8),
        ("1080p", False): Decimal("7.25"),
    }


def test_the_range_of_a_request_and_the_billing_minimum_are_two_facts():
    rate = rate_at(read(TINY), MIDNIGHT)
    assert rate.request is not None
    assert (rate.request.min_s, rate.request.max_s, rate.billing.min_s) == (3, 15, 4)


def test_a_billing_minimum_that_is_not_written_is_one_second():
    book = read(changed("billing = { min_s = 4 }\n", ""))
    assert rate_at(book, MIDNIGHT).billing.min_s == 1


def test_a_rate_says_where_it_was_read_and_when():
    source = rate_at(read(TINY), MIDNIGHT).source
    assert source.url == "https://tiny.example/prices"
    assert source.checked == date(2026, 1, 31)
    assert (source.evidence, source.note) == ("published", "read twice")


@pytest.mark.parametrize("evidence", ["published", "live", "third_party", "assumed", "user"])
def test_five_kinds_of_evidence_exist(evidence: str):
    book = read(changed('evidence = "published"', f'evidence = "{evidence}"'))
    assert rate_at(book, MIDNIGHT).source.evidence == evidence


def test_a_missing_cell_is_not_filled_from_its_neighbour():
    assert ("1080p", True) not in rate_at(read(TINY), MIDNIGHT).prices


def test_multipliers_are_each_one_number_times_the_base():
    table = (
        'base = "5.4"\n[rates.one.multipliers]\n720p = { off = "1" }\n1080p = { off = "1.333" }\n'
    )
    prices = rate_at(read(HEAD + RATE + table), MIDNIGHT).prices
    assert prices["720p", False] == Decimal("5.4")
    assert prices["1080p", False] == Decimal("7.1982")


def test_dimensions_stand_in_the_order_that_the_book_gives():
    turned = RATE.replace('["resolution", "sound"]', '["sound", "resolution"]')
    book = read(HEAD + turned + '[rates.one.prices]\noff = { 720p = "1" }\n')
    assert dict(rate_at(book, MIDNIGHT).prices) == {(False, "720p"): Decimal(1)}


def test_one_dimension_is_enough():
    flat = RATE.replace('["resolution", "sound"]', '["resolution"]')
    book = read(HEAD + flat + '[rates.one.prices]\n4k = "9"\n')
    assert dict(rate_at(book, MIDNIGHT).prices) == {("4k",): Decimal(9)}


def test_a_conversion_turns_credits_into_dollars():
    assert rate_at(read(TINY), MIDNIGHT).to_usd(Decimal(5), MIDNIGHT) == Decimal("0.1")


def test_dollars_are_rounded_half_up_to_the_millionth():
    thirds = rate_at(read(changed('"50"', '"3"')), MIDNIGHT)
    assert thirds.to_usd(Decimal(1), MIDNIGHT) == Decimal("0.333333")
    assert thirds.to_usd(Decimal(2), MIDNIGHT) == Decimal("0.666667")


def test_without_a_conversion_dollars_are_unknown_and_not_zero():
    rate = rate_at(read(HEAD + RATE + PRICES), MIDNIGHT)
    assert rate.to_usd(Decimal(5), MIDNIGHT) is None


def test_dollars_need_no_conversion():
    book = read((HEAD + RATE + PRICES).replace('"tiny-credit"', '"USD"'))
    assert rate_at(book, MIDNIGHT).to_usd(Decimal("0.07"), MIDNIGHT) == Decimal("0.07")


def test_a_rate_cannot_be_changed():
    with pytest.raises(FrozenInstanceError):
        rate_at(read(TINY), MIDNIGHT).id = "two"  # type: ignore[misc]


# --- which rate holds when ------------------------------------------------------------------

TWO_RATES = HEAD + dated("2026-01-01", "2026-02-01") + dated("2026-02-01").replace("5.5", "6")


def test_a_rate_holds_from_its_first_midnight_in_utc():
    assert rate_at(read(TWO_RATES), MIDNIGHT).valid_from == MIDNIGHT


def test_one_microsecond_before_the_first_rate_nothing_is_known():
    with pytest.raises(NoPriceError) as unknown:
        rate_at(read(TWO_RATES), MIDNIGHT - MICROSECOND)
    assert unknown.value.subject == "tiny m on 2025-12-31"
    assert unknown.value.known == ("from 2026-01-01 until 2026-02-01", "from 2026-02-01")


def test_a_price_changes_at_the_very_instant_that_the_new_rate_starts():
    book, change = read(TWO_RATES), datetime(2026, 2, 1, tzinfo=UTC)
    assert rate_at(book, change - MICROSECOND).prices["720p", False] == Decimal("5.5")
    assert rate_at(book, change).prices["720p", False] == Decimal(6)


def test_an_instant_is_the_same_in_every_time_zone():
    east = timezone(timedelta(hours=8))
    assert rate_at(read(TWO_RATES), datetime(2026, 2, 1, 7, 59, tzinfo=east)).valid_until
    assert rate_at(read(TWO_RATES), datetime(2026, 2, 1, 8, 0, tzinfo=east)).valid_until is None


def test_nothing_is_known_from_the_instant_that_the_last_rate_ends():
    book, end = read(HEAD + dated("2026-01-01", "2026-02-01")), datetime(2026, 2, 1, tzinfo=UTC)
    assert rate_at(book, end - MICROSECOND).id == "from-2026-01-01"
    with pytest.raises(NoPriceError):
        rate_at(book, end)


def test_rates_may_be_written_in_any_order():
    later_first = HEAD + dated("2026-02-01").replace("5.5", "6") + dated("2026-01-01", "2026-02-01")
    assert rate_at(read(later_first), MIDNIGHT).prices["720p", False] == Decimal("5.5")


def test_a_conversion_is_half_open_too():
    ending = CONVERSION.replace("units_per_usd", "until = 2026-02-01\nunits_per_usd")
    rate, end = (
        rate_at(read(HEAD + ending + RATE + PRICES), MIDNIGHT),
        datetime(2026, 2, 1, tzinfo=UTC),
    )
    assert rate.to_usd(Decimal(5), MIDNIGHT - MICROSECOND) is None
    assert rate.to_usd(Decimal(5), MIDNIGHT) == Decimal("0.1")
    assert rate.to_usd(Decimal(5), end - MICROSECOND) == Decimal("0.1")
    assert rate.to_usd(Decimal(5), end) is None


def test_an_unknown_model_is_told_the_known_ones():
    with pytest.raises(NoPriceError, match="no price known for tiny n; known: m"):
        read(TINY).offer_for("n", "text_to_video", MIDNIGHT)


def test_an_unknown_action_is_told_the_known_ones():
    with pytest.raises(NoPriceError, match="tiny m edit_video; known: text_to_video, image_to"):
        read(TINY).offer_for("m", "edit_video", MIDNIGHT)


# --- what a book may not say ----------------------------------------------------------------


@pytest.mark.parametrize(
    ("old", "new", "key"),
    [
        ("format = 1", "format = 1\nx = 1", "x"),
        ("checked =", "x = 1\nchecked =", "sources.page.x"),
        ("units_per_usd =", "x = 1\nunits_per_usd =", "conversions.0.x"),
        ("per = ", "x = 1\nper = ", "rates.one.x"),
        ("max_s = 15", "max_s = 15, x = 1", "rates.one.request.x"),
        ("min_s = 4", "min_s = 4, x = 1", "rates.one.billing.x"),
        ('off = "5.5"', 'off = "5.5", x = "1"', "rates.one.prices.720p.x"),
    ],
)
def test_an_unknown_key_is_refused_at_every_level(old: str, new: str, key: str):
    assert refused(changed(old, new)).key == key


def test_an_unknown_key_and_a_value_in_place_of_a_table_are_told_in_words():
    unknown = refused(changed("per = ", "x = 1\nper = "))
    assert unknown.problem == "Extra inputs are not permitted"
    no_table = refused(changed("billing = { min_s = 4 }", "billing = 4"))
    assert (no_table.key, no_table.problem) == ("rates.one.billing", "Input should be a table")


@pytest.mark.parametrize(
    ("written", "key"),
    [
        ("format = 1\n", "format"),
        ('provider = "tiny"\n', "provider"),
        ('name = "Tiny"\n', "name"),
        ('unit = "tiny-credit"\n', "unit"),
        ('url = "https://tiny.example/prices"\n', "sources.page.url"),
        ("checked = 2026-01-31\n", "sources.page.checked"),
        ('evidence = "published"\n', "sources.page.evidence"),
        ('units_per_usd = "50"\n', "conversions.0.units_per_usd"),
        ('family = "tiny"\n', "rates.one.family"),
        ('models = { m = ["text_to_video", "image_to_video"] }\n', "rates.one.models"),
        ('per = "second"\n', "rates.one.per"),
    ],
)
def test_what_must_be_said_is_missed_by_its_key(written: str, key: str):
    refusal = refused(changed(written, ""))
    assert (refusal.key, refusal.problem) == (key, "Field required")


@pytest.mark.parametrize(
    ("old", "new", "key"),
    [
        ('"5.5"', "5.5", "rates.one.prices.720p.off"),
        ('"5.5"', "5", "rates.one.prices.720p.off"),
        ('"5.5"', "inf", "rates.one.prices.720p.off"),
        ('"5.5"', "true", "rates.one.prices.720p.off"),
        ('"50"', "50.0", "conversions.0.units_per_usd"),
        ("per =", "base = 5.4\nper =", "rates.one.base"),
    ],
)
def test_a_number_is_a_string_because_a_float_would_change_it(old: str, new: str, key: str):
    refusal = refused(changed(old, new))
    assert refusal.key == key
    assert "write the number as a string in quotes" in refusal.problem


@pytest.mark.parametrize(
    "written", ["", "x", "1,5", "NaN", "sNaN", "Infinity", "1_0", " 1", "1e3", "-1", "\u0661"]
)
def test_a_price_is_a_number_in_plain_notation(written: str):
    refusal = refused(changed('"5.5"', f'"{written}"'))
    assert refusal.key == "rates.one.prices.720p.off"
    assert "is not a number" in refusal.problem


@pytest.mark.parametrize("written", ["0", "0.00", "1000000000"])
def test_a_price_is_above_zero(written: str):
    refusal = refused(changed('"5.5"', f'"{written}"'))
    assert refusal.key == "rates.one.prices.720p.off"
    assert "is not above 0, below 10^9" in refusal.problem


def test_a_millionth_is_a_price():
    book = read(changed('"5.5"', '"0.000001"'))
    assert rate_at(book, MIDNIGHT).prices["720p", False] == Decimal("0.000001")


def test_a_price_is_one_that_a_whole_day_of_it_can_be_held():
    # 2**53 - 1 millionths are 9007199254.740991, and a day has 86,400 seconds.
    assert read(changed('"5.5"', '"104249.991374"')).models == ("m",)
    refusal = refused(changed('"5.5"', '"104249.991375"'))
    assert refusal.problem == "104249.991375 is more than the ledger can hold"


def test_a_price_finer_than_a_millionth_must_say_how_a_clip_is_rounded():
    table = 'base = "0.0001"\n[rates.one.multipliers]\n720p = { off = "0.001" }\n'
    refusal = refused(HEAD + RATE + table)
    assert refusal.key == "rates.one"
    assert "say how it is rounded" in refusal.problem
    rounded = RATE + 'rounding = { mode = "up", quantum = "0.01" }\n'
    assert read(HEAD + rounded + table).models == ("m",)


def test_a_price_that_would_be_rounded_to_nothing_is_refused():
    rounded = RATE + 'rounding = { mode = "half_up", quantum = "1" }\n'
    cheap = PRICES.replace('"5.5"', '"0.12"')
    assert refused(HEAD + rounded + cheap).problem.endswith("a price is never zero")
    assert read(HEAD + rounded + cheap.replace('"0.12"', '"0.125"')).models == ("m",)


def test_every_problem_of_a_file_is_named_and_the_unknown_key_first():
    refusal = refused(changed('family = "tiny"', 'famly = "tiny"'))
    assert refusal.key == "rates.one.famly"
    assert "rates.one.family: Field required" in refusal.problem


def test_a_table_that_is_a_number_is_told_how_to_write_it():
    flat = RATE.replace('dimensions = ["resolution", "sound"]\n', "") + "prices = 2.0\n"
    assert "write numbers as strings in quotes" in refused(HEAD + flat).problem


def test_a_rate_has_a_source():
    refusal = refused(HEAD + RATE.replace('source = "page"\n', "") + PRICES)
    assert (refusal.key, refusal.problem) == ("rates.one.source", "Field required")


@pytest.mark.parametrize(("entry", "key"), [(RATE, "rates.one"), (CONVERSION, "conversions.0")])
def test_a_source_that_is_named_must_be_listed(entry: str, key: str):
    refusal = refused(TINY.replace(entry, entry.replace('"page"', '"rumour"')))
    assert (refusal.key, refusal.problem) == (f"{key}.source", "no source is called 'rumour'")


@pytest.mark.parametrize("url", ["http://tiny.example", "tiny.example", "", "ftp://tiny.example"])
def test_a_source_is_an_https_address(url: str):
    refusal = refused(changed("https://tiny.example/prices", url))
    assert refusal.key == "sources.page.url"


@pytest.mark.parametrize(
    ("old", "new", "key"),
    [
        ("format = 1", "format = 2", "format"),
        ("format = 1", "format = true", "format"),
        ("format = 1", 'format = "1"', "format"),
        ('evidence = "published"', 'evidence = "rumour"', "sources.page.evidence"),
        ("checked = 2026-01-31", 'checked = "2026-01-31"', "sources.page.checked"),
        ('per = "second"', 'per = "minute"', "rates.one.per"),
        ('["text_to_video", "image_to_video"]', '["sing"]', "rates.one.models.m.actions.0"),
        ('["text_to_video", "image_to_video"]', "[]", "rates.one.models.m.actions"),
        ('{ m = ["text_to_video", "image_to_video"] }', "{}", "rates.one.models"),
        ("max_s = 15", "max_s = 15.0", "rates.one.request.max_s"),
        ("min_s = 3", "min_s = 0", "rates.one.request.min_s"),
        ("min_s = 4", "min_s = 0", "rates.one.billing.min_s"),
        ("min_s = 4", 'min_s = "4"', "rates.one.billing.min_s"),
        ('["resolution", "sound"]', '["resolution", "mode"]', "rates.one"),
        ('["resolution", "sound"]', "[]", "rates.one.prices"),
        ("720p =", "8k =", "rates.one.prices.8k"),
        ("720p =", "720P =", "rates.one.prices.720P"),
        ('on = "8"', 'loud = "8"', "rates.one.prices.720p.loud"),
        ('{ off = "5.5", on = "8" }', '"5.5"', "rates.one.prices.720p"),
        ('"5.5"', '{ off = "5.5" }', "rates.one.prices.720p.off"),
    ],
)
def test_a_word_or_type_that_the_format_does_not_know_is_refused(old: str, new: str, key: str):
    assert refused(changed(old, new)).key == key


@pytest.mark.parametrize("at", ["2026-01-01T12:00:00", '"2026-01-01"', "12:00:00", "1"])
def test_a_validity_starts_on_a_day_or_at_an_instant_with_its_offset(at: str):
    text = HEAD + RATE.replace("from = 2026-01-01", f"from = {at}") + PRICES
    assert refused(text).key == "rates.one.from"


def test_a_price_may_change_within_a_day():
    at_one = "2026-11-26T03:00:00+02:00"
    later = dated(at_one).replace(f"rates.from-{at_one}", "rates.later")
    book = read(HEAD + dated("2026-01-01", at_one) + later)
    before, after = (
        rate_at(book, datetime(2026, 11, 26, hour, minute, tzinfo=UTC))
        for hour, minute in ((0, 59), (1, 0))
    )
    assert before.dates == "from 2026-01-01 until 2026-11-26T01:00:00Z"
    assert after.dates == "from 2026-11-26T01:00:00Z"


@pytest.mark.parametrize("until", ["2026-01-01", "2025-12-31"])
def test_a_validity_ends_after_it_starts(until: str):
    refusal = refused(HEAD + dated("2026-01-01", until))
    assert refusal.key == "rates.from-2026-01-01"
    assert "until is not after from" in refusal.problem


def test_a_validity_of_one_day_is_the_shortest():
    rate = rate_at(read(HEAD + dated("2026-01-01", "2026-01-02")), MIDNIGHT)
    assert rate.valid_until == datetime(2026, 1, 2, tzinfo=UTC)


MULTIPLIERS = '\n[rates.one.multipliers]\n720p = { off = "1" }\n'


@pytest.mark.parametrize("tables", ["", PRICES + MULTIPLIERS], ids=["none", "both"])
def test_a_rate_has_exactly_one_table(tables: str):
    refusal = refused(HEAD + RATE + tables)
    assert refusal.key == "rates.one"
    assert "give either prices, or base and multipliers" in refusal.problem


def test_a_base_goes_with_multipliers_only():
    refusal = refused(HEAD + RATE + 'base = "2"\n' + PRICES)
    assert refusal.key == "rates.one"
    assert "base goes with multipliers" in refusal.problem


@pytest.mark.parametrize("table", ["", "720p = {}\n"])
def test_a_table_is_not_empty(table: str):
    refusal = refused(HEAD + RATE + "[rates.one.prices]\n" + table)
    assert (refusal.key, refusal.problem) == ("rates.one.prices", "the table is empty")


@pytest.mark.parametrize("rates", ["", "rates = {}\n"])
def test_a_book_has_a_rate(rates: str):
    assert refused(rates + HEAD).key == "rates"


def test_each_rate_is_refused_under_its_own_name():
    second = dated("2026-02-01").replace('"8"', "8")
    refusal = refused(HEAD + dated("2026-01-01", "2026-02-01") + second)
    assert refusal.key == "rates.from-2026-02-01.prices.720p.on"


@pytest.mark.parametrize("until", [None, "2026-02-02", "2027-01-01"])
def test_two_rates_for_one_clip_never_overlap(until: str | None):
    refusal = refused(HEAD + dated("2026-01-01", until) + dated("2026-02-01"))
    assert refusal.key == "rates for m text_to_video"
    assert refusal.problem.endswith("overlaps from 2026-02-01")


def test_two_rates_for_one_clip_leave_no_gap():
    refusal = refused(HEAD + dated("2026-01-01", "2026-01-31") + dated("2026-02-01"))
    assert refusal.key == "rates for m text_to_video"
    assert refusal.problem == ("a gap between from 2026-01-01 until 2026-01-31 and from 2026-02-01")


def test_rates_of_two_models_may_hold_at_once():
    other = dated("2026-01-01").replace("{ m =", "{ n =").replace("rates.from", "rates.also-from")
    assert read(HEAD + dated("2026-01-01") + other).models == ("m", "n")


def test_an_action_that_is_listed_twice_overlaps_itself():
    refusal = refused(changed('"image_to_video"', '"text_to_video"'))
    assert refusal.key == "rates for m text_to_video"


@pytest.mark.parametrize(
    ("until", "start", "problem"),
    [(None, "2026-02-01", "overlaps"), ("2026-01-31", "2026-02-01", "a gap between")],
)
def test_conversions_follow_each_other_as_rates_do(until: str | None, start: str, problem: str):
    ends = f"\nuntil = {until}" if until else ""
    first = CONVERSION.replace("2026-01-01", f"2026-01-01{ends}")
    refusal = refused(HEAD + first + CONVERSION.replace("2026-01-01", start) + RATE + PRICES)
    assert refusal.key == "conversions"
    assert problem in refusal.problem


def test_what_is_no_toml_is_refused_by_name():
    refusal = refused(TINY + "720p =\n")
    assert (refusal.book, refusal.key) == ("tiny.toml", "")


def test_a_key_written_twice_is_refused():
    assert refused(TINY + '1080p = { off = "1" }\n').key == ""


def test_a_refusal_names_the_book_the_key_and_the_problem():
    refusal = refused(TINY.replace('"page"\nper', '"rumour"\nper'))
    assert str(refusal) == "tiny.toml: rates.one.source: no source is called 'rumour'"


# --- the digest -----------------------------------------------------------------------------


def test_a_comment_or_a_blank_line_does_not_change_the_digest():
    commented = "# a remark\n" + TINY.replace("per =", "\n# another\nper =")
    assert read(commented).digest == read(TINY).digest


def test_the_order_of_keys_does_not_change_the_digest():
    turned = changed('name = "Tiny"\nunit = "tiny-credit"', 'unit = "tiny-credit"\nname = "Tiny"')
    assert read(turned).digest == read(TINY).digest


def test_the_name_of_the_file_does_not_change_the_digest():
    assert read_book(TINY, name="a").digest == read_book(TINY, name="b").digest


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ('"5.5"', '"5.6"'),
        ("2026-01-31", "2026-02-01"),
        ("read twice", "read once"),
        ("min_s = 4", "min_s = 5"),
        ('"50"', '"51"'),
        ('family = "tiny"', 'family = "small"'),
    ],
)
def test_any_change_of_content_changes_the_digest(old: str, new: str):
    assert read(changed(old, new)).digest != read(TINY).digest


def test_a_digest_says_how_it_was_made():
    algorithm, _, value = read(TINY).digest.partition(":")
    assert algorithm == "sha256"
    assert len(bytes.fromhex(value)) == 32


def test_every_rate_carries_the_digest_of_its_book():
    book = read(TINY)
    assert rate_at(book, MIDNIGHT).book_digest == book.digest


# --- the books that come with the package ---------------------------------------------------


def test_two_books_come_with_the_package():
    assert {"evolink", "runapi"} <= set(bundled_providers())


@pytest.mark.parametrize("provider", bundled_providers())
def test_a_bundled_book_is_its_own_providers(provider: str):
    assert bundled_book(provider).provider == provider


@pytest.mark.parametrize("provider", bundled_providers())
def test_a_bundled_book_that_is_only_read_says_what_it_says_when_it_is_checked(provider: str):
    content = tomllib.loads(bundled_text(provider).text)
    assert entry_of(BookEntry, content) == checked_entry(BookEntry, content, name=provider)


@pytest.mark.parametrize("provider", bundled_providers())
def test_every_bundled_rate_starts_before_it_was_last_checked(provider: str):
    for offers in bundled_book(provider).offers.values():
        for offer in offers:
            rate = offer.rate
            assert rate.valid_from.date() <= rate.source.checked


@pytest.mark.parametrize("provider", ["nobody", "", "../books/runapi", "RunAPI"])
def test_a_provider_without_a_book_is_told_the_known_ones(provider: str):
    with pytest.raises(NoPriceError) as unknown:
        bundled_book(provider)
    assert unknown.value.known == bundled_providers()


# --- the schema -------------------------------------------------------------------------------


def test_the_schema_names_every_key_as_a_file_writes_it():
    rate = book_schema()["$defs"]["RateEntry"]
    assert {"from", "until", "source", "prices", "models"} <= set(rate["properties"])
    assert set(rate["required"]) == {"from", "source", "family", "models", "per"}
    assert rate["additionalProperties"] is False


def test_the_schema_takes_a_model_as_a_list_of_actions_or_as_a_table():
    model = book_schema()["$defs"]["RateEntry"]["properties"]["models"]["additionalProperties"]
    assert [one.get("type") for one in model["anyOf"]] == ["array", None]
    assert "edit_video" in model["anyOf"][0]["items"]["enum"]


def test_the_schema_wants_numbers_in_quotes_and_days_as_days():
    defs = book_schema()["$defs"]
    assert defs["Conversion"]["properties"]["units_per_usd"]["type"] == "string"
    formats = [one["format"] for one in defs["Conversion"]["properties"]["from"]["anyOf"]]
    assert formats == ["date", "date-time"]


# --- a user's book over another -------------------------------------------------------------


def over(text: str) -> PriceBook:
    own = f'format = 1\nprovider = "tiny"\n{text}'
    return read_book(own, name="own.toml", over=BookText("tiny.toml", TINY))


@pytest.mark.parametrize(
    ("text", "key"),
    [
        ('rates.one.note = "mine"', "rates.one.note"),
        ('sources.page.note = "seen myself"', "sources.page.note"),
        (CONVERSION.replace('"50"', '"40"'), "conversions"),
    ],
)
def test_a_rate_says_which_of_its_keys_a_user_has_set(text: str, key: str):
    rate = rate_at(over(text), MIDNIGHT)
    assert rate.overrides == (f"{key} is set by own.toml",)
    assert (rate.source.evidence, rate.user_cells) == ("published", {})


def test_a_cell_that_a_user_has_set_is_the_users_and_no_other_is():
    rate = rate_at(over('rates.one.prices.720p.off = "5"'), MIDNIGHT)
    told = "rates.one.prices.720p.off is set by own.toml"
    assert rate.user_cells == {("720p", False): told}
    assert (rate.overrides, rate.source.evidence) == ((), "published")


@pytest.mark.parametrize("same", ['unit = "tiny-credit"', 'rates.one.prices.720p.off = "5.5"'])
def test_what_a_user_repeats_is_no_override(same: str):
    rate = rate_at(over(same), MIDNIGHT)
    assert (rate.overrides, rate.user_cells) == ((), {})


def test_a_base_that_a_user_has_set_makes_every_cell_the_users():
    table = 'base = "2"\n[rates.one.multipliers]\n720p = { off = "1", on = "2" }\n'
    own = 'format = 1\nprovider = "tiny"\nrates.one.base = "3"'
    book = read_book(own, name="own.toml", over=BookText("tiny.toml", HEAD + RATE + table))
    assert set(rate_at(book, MIDNIGHT).user_cells) == {("720p", False), ("720p", True)}


def test_a_users_book_overrides_one_cell_and_leaves_the_others():
    prices = rate_at(over('rates.one.prices.720p.off = "5"'), MIDNIGHT).prices
    assert (prices["720p", False], prices["720p", True]) == (Decimal(5), Decimal(8))


def test_a_rate_that_a_user_adds_is_no_override():
    book = over(dated("2026-01-01").replace("{ m =", "{ n ="))
    assert book.offer_for("n", "text_to_video", MIDNIGHT).rate.overrides == ()
    assert rate_at(book, MIDNIGHT).overrides == ()


def test_what_a_user_writes_is_checked_as_a_whole():
    with pytest.raises(BookError, match=r"own\.toml: rates\.one\.x"):
        over("rates.one.x = 1")
