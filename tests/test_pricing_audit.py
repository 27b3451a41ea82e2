"""What an audit of the books finds, and how they agree with RunAPI's live schedule."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest

from kling_pricing.agreement import Difference, beside_estimate
from kling_pricing.audit import stale
from kling_pricing.book import PriceBook
from kling_pricing.book_reader import BookText, read_book
from kling_pricing.book_values import instant_of
from kling_pricing.cells import priced_cells, sample_clip
from kling_pricing.clip import Clip
from kling_pricing.errors import BookError, NoPriceError
from kling_pricing.gateways.runapi.agreement import differences
from kling_pricing.gateways.runapi.schedule_book import schedule_book
from kling_pricing.library import bundled_text
from kling_pricing.quote import quote

AT = datetime(2026, 6, 1, 12, tzinfo=UTC)
TEXT = """
format = 1
provider = "runapi"
name = "RunAPI"
unit = "USD"
[sources.page]
url = "https://example.com/prices"
checked = 2026-03-01
evidence = "published"
[rates.v3]
family = "kling-3.0"
models = { v3 = ["text_to_video", "image_to_video"] }
from = 2026-01-01
source = "page"
per = "second"
dimensions = ["resolution", "sound"]
request = { min_s = 3, max_s = 15 }
billing = { min_s = 3 }
[rates.v3.prices]
720p = { off = "0.07", on = "0.10" }
4k = { any = "0.335" }
"""
FIVE: dict[str, Any] = {"seconds": 5, "resolution": "720p", "sound": True}


def book(text: str = TEXT) -> PriceBook:
    return read_book(text, name="test.toml")


def row(**changes: Any) -> dict[str, Any]:
    """A row as RunAPI documents it, at our prices."""
    return {
        "service": "kling",
        "action": "text_to_video",
        "model": "v3",
        "pricing_status": "available",
        "catalog_status": "active",
        "currency": "USD",
        "billing_unit": "per_second",
        "billing_strategy": "matrix",
        "unit_price_cents": 33.5,
        "billing_config": matrix({"720p": 7, "4k": 33.5}, {"720p": 10, "4k": 33.5}),
        **changes,
    }


def matrix(off: dict[str, Any], on: dict[str, Any]) -> dict[str, Any]:
    return {
        "keys": ["enable_sound", "output_resolution"],
        "matrix": {"false": off, "true": on},
    }


def of_text(rows: list[Any], text: str = TEXT) -> list[Difference]:
    """What is found about making a clip from text."""
    found = differences(book(text), rows, AT)
    return [one for one in found if "image_to_video" not in one.subject]


def kinds(rows: list[Any]) -> list[str]:
    return [one.kind for one in of_text(rows)]


# Age and evidence


@pytest.mark.parametrize(
    ("today", "is_stale"), [(date(2026, 5, 30), False), (date(2026, 5, 31), True)]
)
def test_a_source_is_stale_the_day_after_its_age(today: date, is_stale: bool) -> None:
    found = stale([book()], today=today, max_age_days=90)
    assert [(one.kind, one.subject) for one in found] == ([("stale", "v3")] if is_stale else [])
    assert all(one.is_difference for one in found)


def test_the_source_of_a_price_that_ended_need_not_be_looked_at_again() -> None:
    ended = TEXT.replace("from = 2026-01-01", "from = 2026-01-01\nuntil = 2026-04-01")
    found = stale([book(ended)], today=date(2026, 6, 1), max_age_days=1)
    assert {one.kind for one in found} == {"closed"}
    assert [one.subject for one in found] == ["v3 image_to_video", "v3 text_to_video"]
    assert "2026-04-01" in found[0].problem


def test_a_model_that_was_retired_is_information() -> None:
    end = 'from = 2026-01-01\nuntil = 2026-04-01\nretired = "the maker took it away"'
    text = TEXT.replace("from = 2026-01-01", end)
    found = stale([book(text)], today=date(2026, 6, 1), max_age_days=1)
    assert {(one.kind, one.is_difference) for one in found} == {("retired", False)}
    told = "its last price ended on 2026-04-01 and none follows: the maker took it away"
    assert found[0].problem == told


@pytest.mark.parametrize("evidence", ["assumed", "third_party"])
def test_what_the_provider_does_not_vouch_for_is_information(evidence: str) -> None:
    text = TEXT.replace('"published"', f'"{evidence}"')
    [found] = stale([book(text)], today=date(2026, 3, 1), max_age_days=90)
    assert (found.kind, found.is_difference) == (evidence, False)


@pytest.mark.parametrize(
    ("today", "kinds"), [(date(2026, 2, 28), ["future"]), (date(2026, 3, 1), [])]
)
def test_a_source_that_was_checked_on_a_day_to_come_is_a_mistake(
    today: date, kinds: list[str]
) -> None:
    found = stale([book()], today=today, max_age_days=90)
    assert [one.kind for one in found] == kinds
    assert all(one.is_difference and "2026-03-01" in one.problem for one in found)


@pytest.mark.parametrize(
    ("own", "subjects"),
    [
        ("720p = { off = '0.01' }", ["v3: 720p with sound, 4k any sound"]),
        ("720p = { off = '0.01', on = '0.01' }\n4k = { any = '0.01' }", []),
        ("720p = { off = '0.07' }", ["v3"]),
    ],
)
def test_prices_that_a_user_set_are_no_assumption_and_the_others_still_are(
    own: str, subjects: list[str]
) -> None:
    assumed = BookText("bundled", TEXT.replace('"published"', '"assumed"'))
    text = f"provider = 'runapi'\n[rates.v3.prices]\n{own}\n"
    ours = read_book(text, name="own.toml", over=assumed)
    found = stale([ours], today=date(2026, 3, 1), max_age_days=90)
    assert [(one.kind, one.subject) for one in found] == [("assumed", one) for one in subjects]


def test_a_pull_leaves_what_it_does_not_price_an_assumption() -> None:
    assumed = BookText("bundled", TEXT.replace('"published"', '"assumed"'))
    ours = read_book(live_book([DEARER], assumed), name="own.toml", over=assumed)
    found = stale([ours], today=date(2026, 6, 1), max_age_days=1000)
    assert [(one.kind, one.subject) for one in found] == [("assumed", "v3 since 2026-06-01")]


# The live schedule


def test_equal_prices_are_the_same_in_any_order_of_keys() -> None:
    swapped = {
        "keys": ["output_resolution", "enable_sound"],
        "matrix": {"4k": {"true": 33.5, "false": 33.5}, "720p": {"true": 10, "false": 7}},
    }
    assert kinds([row()]) == ["same"] * 4
    assert kinds([row(billing_config=swapped)]) == ["same"] * 4


def test_a_price_that_differs_is_told_with_both() -> None:
    config = matrix({"720p": 7, "4k": 33.5}, {"720p": 10.1, "4k": 33.5})
    [found] = [one for one in of_text([row(billing_config=config)]) if one.is_difference]
    assert (found.kind, found.ours, found.theirs) == (
        "differs",
        "0.1 per second",
        "0.101 per second",
    )
    assert found.subject == "v3 text_to_video 720p with sound"
    assert found.problem == "theirs is 0.001 more"


def test_cells_that_only_one_side_has_are_told() -> None:
    config = matrix({"720p": 7, "1080p": 9, "4k": 33.5}, {"4k": 33.5})
    found = [(one.kind, one.subject) for one in of_text([row(billing_config=config)])]
    assert ("only_ours", "v3 text_to_video 720p with sound") in found
    assert ("only_theirs", "v3 text_to_video without sound 1080p") in found
    assert len(found) == 5


def test_a_model_that_the_schedule_does_not_list_or_offer_is_only_ours() -> None:
    assert kinds([]) == ["only_ours"] * 4
    assert kinds([row(pricing_status="unavailable")]) == ["only_ours"] * 4
    assert kinds([row(model="new", billing_config={}), row()]) == ["only_theirs"] + ["same"] * 4


def test_one_price_for_several_of_ours_is_laid_beside_each() -> None:
    config = {"key": "output_resolution", "overrides": {"720p": 7, "4k": 33.5}}
    assert kinds([row(billing_config=config)]) == ["same", "differs", "same", "same"]


def test_a_price_for_another_thing_is_no_equal_price() -> None:
    [first, *_] = of_text([row(billing_unit="per_call")])
    assert (first.kind, first.theirs) == ("differs", "0.07 per clip")
    assert first.problem == "ours is per second, theirs per clip"


@pytest.mark.parametrize(
    "odd",
    [
        7,
        None,
        row(billing_config={"tiers": []}),
        row(billing_config=[]),
        row(billing_config={"keys": ["fps"], "matrix": {"24": 7}}),
        row(billing_config={"keys": ["mode"], "matrix": {"ultra": 7}}),
        row(billing_config={"keys": ["enable_sound"], "matrix": 7}),
        row(billing_config={"keys": ["enable_sound"], "matrix": {"true": "dear"}}),
        row(billing_config={"keys": [[]], "matrix": {"true": 7}}),
        row(billing_config={}, unit_price_cents=0),
        row(billing_config={}, unit_price_cents=None),
        row(billing_config={}, unit_price_cents=-1),
        row(billing_config={}, unit_price_cents=True),
        row(billing_config={}, unit_price_cents="NaN"),
        row(currency="CNY"),
        row(billing_unit="per_fortnight"),
        row(action="dance"),
        row(model="a\nb"),
    ],
)
def test_a_row_of_an_unknown_shape_is_reported_and_never_skipped(odd: Any) -> None:
    found = differences(book(), [odd], AT)
    assert [one.kind for one in found if one.kind != "only_ours"] == ["unknown"]
    assert all(one.is_difference for one in found)


def test_another_service_and_asking_for_a_task_are_no_prices_of_a_clip() -> None:
    query = row(action="text_to_video_query", unit_price_cents=0, billing_config={})
    assert kinds([row(service="suno"), query, row()]) == ["same"] * 4


# A book of the live schedule

DEARER = row(billing_config=matrix({"720p": 14}, {"720p": 20, "4k": 67}))


def live_book(rows: list[Any], *over: BookText, as_of: date = date(2026, 6, 1)) -> str:
    return schedule_book(rows, as_of=instant_of(as_of), over=over)


def test_a_live_book_prices_from_its_day_and_leaves_the_days_before() -> None:
    bundled = BookText("bundled", TEXT)
    over = read_book(live_book([DEARER], bundled), name="own.toml", over=bundled)
    clip = Clip("runapi", "v3", **FIVE)
    before, after = (
        quote(clip, at=at, book=over) for at in (datetime(2026, 5, 31, tzinfo=UTC), AT)
    )
    # 5 s at 0.10, and at 20 cents
    assert (str(before.amount), str(after.amount)) == ("0.5 USD", "1 USD")
    assert after.rate.source.evidence == "live"
    assert after.rate.source.checked == date(2026, 6, 1)
    assert after.rate.source.url == "https://runapi.ai/api/v1/price_schedules?service=kling"
    assert not [
        one for one in differences(over, [DEARER], AT) if one.kind not in {"same", "only_ours"}
    ]


def test_what_the_schedule_does_not_list_keeps_its_price_as_an_assumption() -> None:
    bundled = BookText("bundled", TEXT)
    text = live_book([DEARER], bundled)
    over = read_book(text, name="own.toml", over=bundled)
    quoted = quote(Clip("runapi", "v3", "image_to_video", **FIVE), at=AT, book=over)
    assert (str(quoted.amount), quoted.rate.source.evidence) == ("0.5 USD", "assumed")
    told = "RunAPI's live schedule of 2026-06-01 lists no price of v3 image_to_video"
    assert any(told in one for one in quoted.assumptions)
    assert "# No live price: v3 image_to_video" in text.splitlines()


def test_what_the_schedule_says_is_sold_no_more_has_no_price_any_more() -> None:
    bundled = BookText("bundled", TEXT)
    gone = row(action="image_to_video", pricing_status="unavailable")
    text = live_book([DEARER, gone], bundled)
    over = read_book(text, name="own.toml", over=bundled)
    clip = Clip("runapi", "v3", "image_to_video", **FIVE)
    day_before = datetime(2026, 5, 31, 23, 59, tzinfo=UTC)
    assert str(quote(clip, at=day_before, book=over).amount) == "0.5 USD"
    with pytest.raises(NoPriceError, match="known: from 2026-01-01 until 2026-06-01"):
        quote(clip, at=AT, book=over)
    assert "# Withdrawn: v3 image_to_video" in text.splitlines()


def test_what_the_schedule_says_in_unknown_words_is_an_assumption_too() -> None:
    bundled = BookText("bundled", TEXT)
    odd = row(action="image_to_video", billing_unit="per_fortnight")
    over = read_book(live_book([DEARER, odd], bundled), name="own.toml", over=bundled)
    quoted = quote(Clip("runapi", "v3", "image_to_video", **FIVE), at=AT, book=over)
    assert quoted.rate.source.evidence == "assumed"


def test_a_quote_of_the_same_day_before_the_pull_is_still_worked_out() -> None:
    bundled = BookText("bundled", TEXT)
    pulled_at = datetime(2026, 6, 1, 14, 3, 12, tzinfo=UTC)
    text = schedule_book([DEARER], as_of=pulled_at, over=[bundled])
    over = read_book(text, name="own.toml", over=bundled)
    clip = Clip("runapi", "v3", **FIVE)
    amounts = [
        str(quote(clip, at=pulled_at - timedelta(seconds=ago), book=over).amount) for ago in (1, 0)
    ]
    assert amounts == ["0.5 USD", "1 USD"]


def test_a_live_book_stands_alone_too() -> None:
    alone = read_book(live_book([DEARER]), name="own.toml")
    assert str(quote(Clip("runapi", "v3", **FIVE), at=AT, book=alone).amount) == "1 USD"


def test_a_second_pull_closes_what_changed_and_keeps_the_rest() -> None:
    bundled = BookText("bundled", TEXT)
    other = row(model="other", billing_config={}, unit_price_cents=4.2)
    first = live_book([DEARER, other], bundled)
    again = live_book([row(), other], bundled, BookText("own", first), as_of=date(2026, 7, 1))
    over = read_book(again, name="own.toml", over=bundled)
    clip = Clip("runapi", "v3", **FIVE)
    days = [date(2026, 5, 1), date(2026, 6, 30), date(2026, 7, 1)]
    amounts = [
        str(quote(clip, at=datetime(day.year, day.month, day.day, tzinfo=UTC), book=over).amount)
        for day in days
    ]
    assert amounts == ["0.5 USD", "1 USD", "0.5 USD"]
    assert len(over.offers["other", "text_to_video"]) == 1


def test_pulling_the_same_prices_again_changes_only_when_they_were_checked() -> None:
    bundled = BookText("bundled", TEXT)
    first = live_book([DEARER], bundled)
    again = live_book([DEARER], bundled, BookText("own", first), as_of=date(2026, 7, 1))
    changed = set(again.splitlines()) - set(first.splitlines())
    unlisted = "RunAPI's live schedule of 2026-07-01 lists no price"
    assert changed == {
        "# RunAPI's live price schedule of 2026-07-01.",
        "checked = 2026-07-01",
        f'note = "{unlisted} of v3 image_to_video: it may have ended."',
        f'note = "{unlisted} for this: it may have ended."',
    }


def test_two_pulls_on_one_day_leave_the_later_prices() -> None:
    bundled = BookText("bundled", TEXT)
    again = live_book([row()], bundled, BookText("own", live_book([DEARER], bundled)))
    over = read_book(again, name="own.toml", over=bundled)
    assert str(quote(Clip("runapi", "v3", **FIVE), at=AT, book=over).amount) == "0.5 USD"


def test_a_row_that_is_not_understood_is_named_in_the_book() -> None:
    text = live_book([DEARER, row(model="odd", currency="CNY\n")])
    assert '# Not read: odd text_to_video: currency "CNY\\n" is not known' in text.splitlines()


def test_a_schedule_without_a_price_makes_no_book() -> None:
    with pytest.raises(BookError, match="no row has a price"):
        live_book([row(currency="CNY")])


def test_a_live_book_lies_over_the_bundled_one() -> None:
    bundled = bundled_text("runapi")
    text = live_book([{**DEARER, "model": "kling-3.0"}], bundled, as_of=date(2030, 1, 1))
    over = read_book(text, name="own.toml", over=bundled)
    at = datetime(2030, 1, 1, tzinfo=UTC)
    assert str(quote(Clip("runapi", "kling-3.0", **FIVE), at=at, book=over).amount) == "1 USD"


# Estimates


def test_an_estimate_is_laid_beside_the_quote_of_a_sample() -> None:
    ours = book()
    cell = next(one for one in priced_cells(ours, AT) if one.action == "text_to_video")
    clip = sample_clip(ours, cell)
    assert clip == Clip("runapi", "v3", seconds=5, resolution="720p", sound=False)
    same = beside_estimate(ours, cell, AT, estimate=Decimal("0.350"))
    other = beside_estimate(ours, cell, AT, estimate=Decimal("0.36"))
    none = beside_estimate(ours, cell, AT, estimate="422 no such mode")
    assert [one.kind for one in (same, other, none)] == ["same", "differs", "unknown"]
    assert (other.ours, other.theirs) == ("0.35 USD", "0.36 USD")
    assert "422 no such mode" in none.problem


def test_what_only_the_run_tells_cannot_be_estimated() -> None:
    produced = TEXT.replace(
        "billing = { min_s = 3 }",
        'billing = { count = "produced", output = [{ min_s = 3, max_s = 10 }] }',
    )
    ours = book(produced)
    assert all(sample_clip(ours, cell) is None for cell in priced_cells(ours, AT))
