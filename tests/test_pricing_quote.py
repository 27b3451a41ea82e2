"""quote(): the published tables to the last digit, and a refusal for everything else."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import replace
from datetime import UTC, date, datetime, time, timedelta, timezone
from decimal import Decimal
from itertools import product
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kling_pricing import (
    BookError,
    Clip,
    ClipError,
    Money,
    NoPriceError,
    PriceBook,
    Quote,
    bundled_book,
    library_of,
    quote,
    read_book,
)
from kling_pricing.book_reader import BookText
from tests.ledgers import usd

AT = datetime(2026, 11, 21, 12, tzinfo=UTC)
MICROSECOND = timedelta(microseconds=1)
EVOLINK_TEXT = "kling-v3-text-to-video"
EVOLINK_IMAGE = "kling-v3-image-to-video"

# Per second: resolution, sound, credits, dollars at 72 credits each.
# Source: https://evolink.ai/zh/kling-3, checked 2026-11-20; 7.1982 / 72 = 0.099975.
EVOLINK_TABLE = [
    ("720p", False, "5.4", "0.075"),
    ("720p", True, "8.1", "0.1125"),
    ("1080p", False, "7.1982", "0.099975"),
    ("1080p", True, "10.8", "0.15"),
]

# Per second: resolution, sound, dollars.
# Source: https://github.com/runapi-ai/mcp/blob/cdc4e95c4861e9c8d123177d0166285fd9f1d347/data/pricing.json,
# checked 2026-11-20.
RUNAPI_TABLE = [
    ("720p", False, "0.07"),
    ("720p", True, "0.10"),
    ("1080p", False, "0.09"),
    ("1080p", True, "0.135"),
    ("4k", False, "0.335"),
    ("4k", True, "0.335"),
]
LENGTHS = range(3, 16)


def runapi(seconds: int | Decimal | None = 5, **more: Any) -> Clip:
    said = {"resolution": "1080p", "sound": True, **more}
    return Clip(provider="runapi", model="kling-3.0", seconds=seconds, **said)


def evolink(seconds: int | Decimal | None = 5, **more: Any) -> Clip:
    said = {"model": EVOLINK_TEXT, "resolution": "720p", "sound": False, **more}
    return Clip(provider="evolink", seconds=seconds, **said)


def priced(clip: Clip) -> Quote:
    return quote(clip, at=AT)


def credits_of(amount: str) -> Money:
    return Money(Decimal(amount), "evolink-credit")


# --- the published tables -------------------------------------------------------------------


@pytest.mark.parametrize(("resolution", "sound", "per_second", "dollars"), EVOLINK_TABLE)
def test_evolinks_table_is_met_exactly(resolution: str, sound: bool, per_second: str, dollars: str):
    answer = priced(evolink(resolution=resolution, sound=sound))
    assert answer.price == Decimal(per_second)
    assert answer.unit == "evolink-credit"
    assert answer.usd_price == usd(dollars)


@pytest.mark.parametrize(("resolution", "sound", "per_second"), RUNAPI_TABLE)
def test_runapis_table_is_met_exactly(resolution: str, sound: bool, per_second: str):
    answer = priced(runapi(resolution=resolution, sound=sound))
    assert answer.price == Decimal(per_second)
    assert answer.unit == "USD"
    assert answer.usd_price == usd(per_second)


@pytest.mark.parametrize(("row", "seconds"), list(product(EVOLINK_TABLE, LENGTHS)))
def test_evolink_charges_every_whole_second_at_the_rate(
    row: tuple[str, bool, str, str], seconds: int
):
    resolution, sound, per_second, dollars = row
    answer = priced(evolink(seconds, resolution=resolution, sound=sound))
    assert answer.amount == Money(Decimal(per_second) * seconds, "evolink-credit")
    assert answer.usd == Money(Decimal(dollars) * seconds, "USD")


@pytest.mark.parametrize(("row", "seconds"), list(product(RUNAPI_TABLE, LENGTHS)))
def test_runapi_charges_every_whole_second_at_the_rate(row: tuple[str, bool, str], seconds: int):
    resolution, sound, per_second = row
    answer = priced(runapi(seconds, resolution=resolution, sound=sound))
    assert answer.amount == Money(Decimal(per_second) * seconds, "USD")
    assert answer.usd == answer.amount


def test_five_seconds_of_1080p_with_sound_cost_67_and_a_half_cents_at_runapi():
    assert priced(runapi(5)).amount == usd("0.675")


def test_five_seconds_of_720p_cost_27_credits_at_evolink():
    answer = priced(evolink(5))
    assert (answer.amount, answer.usd) == (credits_of("27"), usd("0.375"))


def test_fifteen_seconds_of_1080p_are_not_rounded_to_the_price_that_the_page_shows():
    answer = priced(evolink(15, resolution="1080p"))
    assert answer.amount == credits_of("107.973")
    assert answer.usd == usd("1.499625")


def test_1080p_with_sound_is_its_own_cell_and_no_product_of_two_factors():
    assert priced(evolink(1, resolution="1080p", sound=True)).price == Decimal("10.8")


def test_a_clip_from_an_image_costs_what_a_clip_from_a_text_costs_at_evolink():
    image = evolink(model=EVOLINK_IMAGE, action="image_to_video", resolution="1080p")
    assert priced(image).amount == credits_of("35.991")


def test_4k_costs_the_same_with_and_without_sound_at_runapi():
    assert priced(runapi(resolution="4k", sound=True)).amount == usd("1.675")
    assert priced(runapi(resolution="4k", sound=False)).amount == usd("1.675")


# --- seconds --------------------------------------------------------------------------------


def test_a_one_second_clip_is_billed_as_three():
    answer = priced(runapi(1))
    assert answer.billed_seconds == 3
    assert answer.amount == usd("0.405")
    assert [line.quantity for line in answer.lines] == [1, 2]


def test_a_two_second_clip_is_billed_as_three():
    answer = priced(runapi(2))
    assert answer.billed_seconds == 3
    assert [line.amount for line in answer.lines] == [Decimal("0.27"), Decimal("0.135")]
    assert answer.lines[1].label == "billing minimum of 3 seconds"


@pytest.mark.parametrize("seconds", [1, 2])
def test_a_clip_below_the_minimum_warns_of_the_bill_and_of_the_refusal(seconds: int):
    bill, refusal = priced(evolink(seconds)).warnings
    assert bill == f"{seconds} s is billed as 3 s: EvoLink bills at least 3 s"
    assert (
        refusal
        == f"a request for {seconds} s would be refused: EvoLink takes whole seconds, 3 to 15"
    )


@pytest.mark.parametrize("seconds", [3, 4, 15])
def test_a_clip_of_at_least_three_seconds_is_one_line_without_a_warning(seconds: int):
    answer = priced(runapi(seconds))
    assert answer.billed_seconds == seconds
    assert len(answer.lines) == 1
    assert answer.warnings == ()


@pytest.mark.parametrize(
    "seconds", [16, 100, Decimal(16), Decimal("5.5"), Decimal("2.5"), Decimal("0.5")]
)
def test_more_than_fifteen_seconds_or_a_part_of_one_is_refused(seconds: int | Decimal):
    with pytest.raises(ClipError, match=r"seconds: .*allowed: whole seconds, 3 to 15") as refused:
        priced(runapi(seconds))
    assert [problem.path for problem in refused.value.problems] == ["seconds"]


def test_whole_seconds_may_be_written_with_a_point():
    assert priced(runapi(Decimal("5.0"))) == priced(runapi(5))
    assert priced(runapi(Decimal("5.0"))).as_dict()["seconds"] == 5


def test_a_range_and_a_billing_minimum_of_their_own_are_kept_apart():
    answer = quote(tiny(3), at=AT - timedelta(days=250), book=read_book(TINY, name="tiny"))
    assert answer.billed_seconds == 4
    assert answer.warnings == ("3 s is billed as 4 s: Tiny bills at least 4 s",)


def test_a_line_says_what_it_counts():
    (line,) = priced(runapi(5)).lines
    assert line.label == "1080p with sound"
    assert (line.quantity, line.per) == (Decimal(5), "second")
    assert line.unit_price == Decimal("0.135")
    assert line.amount == Decimal("0.675")


# --- what has no price ----------------------------------------------------------------------


@pytest.mark.parametrize("sound", [True, False])
def test_evolink_lists_no_4k_and_the_refusal_names_what_is_known(sound: bool):
    with pytest.raises(NoPriceError, match="evolink kling-v3-text-to-video 4k") as unknown:
        priced(evolink(resolution="4k", sound=sound))
    assert unknown.value.known == (
        "720p without sound",
        "720p with sound",
        "1080p without sound",
        "1080p with sound",
    )


def test_an_unknown_model_has_no_price():
    with pytest.raises(NoPriceError, match=r"runapi kling-9; known: kling-3\.0"):
        priced(Clip("runapi", "kling-9", seconds=5, resolution="720p", sound=False))


def test_an_unknown_provider_has_no_price():
    with pytest.raises(NoPriceError, match=r"provider nobody; known: .*evolink.*runapi"):
        priced(Clip("nobody", "kling-3.0", seconds=5, resolution="720p", sound=False))


def test_an_action_that_is_not_listed_has_no_price():
    with pytest.raises(NoPriceError, match=r"runapi kling-3\.0 lip_sync; known: text_to_"):
        priced(runapi(action="lip_sync"))


@pytest.mark.parametrize(
    ("clip", "first_day"),
    [
        (runapi(), datetime(2026, 6, 3, tzinfo=UTC)),
        (evolink(), datetime(2026, 11, 20, tzinfo=UTC)),
    ],
    ids=["runapi", "evolink"],
)
def test_nothing_has_a_price_before_its_first_rate(clip: Clip, first_day: datetime):
    assert quote(clip, at=first_day).at == first_day
    with pytest.raises(NoPriceError, match=f"known: from {first_day.date()}"):
        quote(clip, at=first_day - MICROSECOND)


def test_a_missing_sound_is_asked_for_and_never_assumed():
    with pytest.raises(ClipError, match="sound: got nothing"):
        priced(runapi(sound=None))


def test_a_missing_resolution_and_sound_are_asked_for_at_once():
    with pytest.raises(ClipError) as refused:
        priced(runapi(resolution=None, sound=None))
    assert [problem.path for problem in refused.value.problems] == ["resolution", "sound"]
    assert refused.value.problems[0].allowed == "720p, 1080p, 4k"


def test_a_missing_length_is_asked_for():
    with pytest.raises(ClipError, match="seconds: got nothing, allowed: whole seconds, 3 to 15"):
        priced(runapi(None))


def test_a_price_that_no_ledger_could_hold_is_refused():
    with pytest.raises(BookError, match="more than the ledger can hold"):
        read_book(TINY.replace('"2.5"', '"999999999"'), name="tiny")


# --- a book of one's own --------------------------------------------------------------------

TINY = """
format = 1
provider = "tiny"
name = "Tiny"
unit = "tiny-credit"
[sources.page]
url = "https://tiny.example"
checked = 2026-01-31
evidence = "user"
[rates.one]
family = "tiny"
models = { m = ["text_to_video"] }
from = 2026-01-01
source = "page"
note = "a remark"
per = "second"
dimensions = ["resolution"]
request = { min_s = 2, max_s = 20 }
billing = { min_s = 4 }
[rates.one.prices]
720p = "2.5"
"""


def tiny(seconds: int) -> Clip:
    return Clip("tiny", "m", seconds=seconds, resolution="720p")


def test_a_book_of_ones_own_is_used_where_it_is_given():
    book = read_book(TINY, name="tiny")
    answer = quote(tiny(10), at=AT, book=book)
    assert answer.amount == Money(Decimal(25), "tiny-credit")
    assert answer.rate.book_digest == book.digest


def test_what_the_price_does_not_depend_on_need_not_be_said():
    assert tiny(10).sound is None
    assert quote(tiny(10), at=AT, book=read_book(TINY, name="tiny")).lines[0].label == "720p"


def test_dollars_that_nobody_knows_are_null_and_not_zero():
    answer = quote(tiny(10), at=AT, book=read_book(TINY, name="tiny"))
    assert (answer.usd, answer.usd_price) == (None, None)
    assert (answer.as_dict()["usd"], answer.as_dict()["rate_usd"]) == (None, None)


# --- two figures of one seller ---------------------------------------------------------------


def test_where_the_seller_has_two_figures_the_higher_is_held():
    answer = priced(runapi(5))
    # 5 s at 0.135, and at twice that
    assert (str(answer.amount), str(answer.disputed), str(answer.hold)) == (
        "0.675 USD",
        "1.35 USD",
        "1.35 USD",
    )
    assert answer.evidence == "disputed"
    assert priced(evolink()).hold == priced(evolink()).amount


def test_a_price_of_the_users_own_is_not_disputed():
    own = 'provider = "runapi"\n[rates."kling-3.0".prices.1080p]\non = "0.2"\n'
    library = library_of([BookText("own.toml", own)])
    answer = quote(runapi(5), at=AT, library=library)
    assert (str(answer.hold), answer.disputed, answer.evidence) == ("1 USD", None, "user")


def test_a_figure_that_nobody_sourced_disputes_nothing():
    bad = TINY.replace("per =", 'disputed = { source = "x", times = "2", because = "y" }\nper =', 1)
    with pytest.raises(BookError, match="no source is called 'x'"):
        read_book(bad, name="tiny")


# --- how old a price is ------------------------------------------------------------------------


def test_a_quote_says_when_nobody_has_looked_at_its_price_for_long():
    checked = priced(runapi()).rate.source.checked
    on_the_day, later = (
        quote(runapi(5), at=datetime.combine(checked, time(12), tzinfo=UTC) + timedelta(days=days))
        for days in (90, 91)
    )
    assert on_the_day.warnings == ()
    assert later.warnings == ("nobody has looked at this price since 2026-11-20, 91 days before",)
    assert "91 days before" in later.as_dict()["warnings"][0]


@pytest.mark.parametrize("option", ["voice", "video_input"])
@pytest.mark.parametrize("provider", ["runapi", "evolink"])
def test_an_option_that_the_rate_does_not_speak_of_has_no_price(provider: str, option: str):
    clip = {"runapi": runapi, "evolink": evolink}[provider](5, **{option: True})
    with pytest.raises(NoPriceError) as refusal:
        priced(clip)
    assert f"lists no choice of {option.replace('_', ' ')} here" in str(refusal.value.hint)


# --- the answer as a value ------------------------------------------------------------------


def test_a_quote_is_written_in_full():
    assert priced(runapi(2)).as_dict() == {
        "provider": "runapi",
        "model": "kling-3.0",
        "action": "text_to_video",
        "seconds": 2,
        "billed_seconds": 3,
        "resolution": "1080p",
        "sound": True,
        "multi_shot": False,
        "voice": False,
        "video_input": False,
        "elements": False,
        "frames": "none",
        "orientation": None,
        "input_seconds": None,
        "unit": "USD",
        "per": "second",
        "rate": "0.135",
        "rate_usd": "0.135",
        "amount": "0.405",
        "low": "0.405",
        "expected": "0.405",
        "high": "0.405",
        "usd": "0.405",
        "hold": "0.81",
        "disputed": {
            "amount": "0.81",
            "source": "https://github.com/runapi-ai/mcp/blob/b42e31f/data/pricing.json",
            "checked": "2026-11-20",
            "because": "its repository lists twice the figures that its guide fits and its older "
            "table has; the live schedule decides",
        },
        "evidence": "disputed",
        "source": priced(runapi()).rate.source.url,
        "checked": "2026-11-20",
        "note": priced(runapi()).rate.note,
        "book": bundled_book("runapi").digest,
        "rate_id": "kling-3.0",
        "at": "2026-11-21T12:00:00+00:00",
        "expires_at": "2026-11-22T12:00:00+00:00",
        "lines": [
            {
                "label": "1080p with sound",
                "quantity": "2",
                "per": "second",
                "unit_price": "0.135",
                "amount": "0.27",
            },
            {
                "label": "billing minimum of 3 seconds",
                "quantity": "1",
                "per": "second",
                "unit_price": "0.135",
                "amount": "0.135",
            },
        ],
        "warnings": [
            "2 s is billed as 3 s: RunAPI bills at least 3 s",
            "a request for 2 s would be refused: RunAPI takes whole seconds, 3 to 15",
        ],
        "assumptions": [
            (
                "two figures of RunAPI disagree: 0.405 USD by https://github.com/runapi-ai/mcp/blob/"
                "cdc4e95c4861e9c8d123177d0166285fd9f1d347/data/pricing.json, 0.81 USD by "
                "https://github.com/runapi-ai/mcp/blob/b42e31f/data/pricing.json: its repository "
                "lists twice the figures that its guide fits and its older table has; the live "
                "schedule decides; 0.81 USD is held unless the seller's own estimate decides"
            )
        ],
    }


def test_a_quote_goes_through_json_unchanged():
    answer = priced(evolink(2)).as_dict()
    assert json.loads(json.dumps(answer)) == answer


def test_a_quote_names_its_source_and_the_day_it_was_read():
    source = priced(evolink()).rate.source
    assert source.url == "https://evolink.ai/zh/kling-3"
    assert (source.checked, source.evidence) == (date(2026, 11, 20), "published")


def test_equal_questions_have_equal_answers():
    assert priced(runapi(5)) == priced(runapi(5))
    assert priced(runapi(5)) != priced(runapi(6))
    assert priced(runapi(5)) != quote(runapi(5), at=AT + MICROSECOND)


def test_one_instant_in_two_time_zones_is_one_answer():
    east = AT.astimezone(timezone(timedelta(hours=8)))
    assert quote(runapi(5), at=east) == priced(runapi(5))


def test_a_quote_cannot_be_changed():
    with pytest.raises(AttributeError):
        priced(runapi()).price = Decimal(1)  # type: ignore[misc]


# --- for every clip -------------------------------------------------------------------------

runapi_cells = st.sampled_from([(resolution, sound) for resolution, sound, _ in RUNAPI_TABLE])
evolink_cells = st.sampled_from([(resolution, sound) for resolution, sound, *_ in EVOLINK_TABLE])
payable = st.builds(
    lambda cell, seconds: runapi(seconds, resolution=cell[0], sound=cell[1]),
    runapi_cells,
    st.integers(1, 15),
) | st.builds(
    lambda cell, seconds: evolink(seconds, resolution=cell[0], sound=cell[1]),
    evolink_cells,
    st.integers(1, 15),
)


@given(payable)
def test_the_lines_always_add_up_to_the_amount(clip: Clip):
    answer = priced(clip)
    assert sum(line.amount for line in answer.lines) == answer.amount.amount
    assert sum(line.quantity for line in answer.lines) == answer.billed_seconds
    for line in answer.lines:
        assert line.amount == line.quantity * line.unit_price


@given(payable)
def test_every_amount_is_a_plain_string_and_above_zero(clip: Clip):
    answer = priced(clip).as_dict()
    amounts = [answer[key] for key in ("rate", "rate_usd", "amount", "usd")]
    amounts += [
        line[key] for line in answer["lines"] for key in ("quantity", "unit_price", "amount")
    ]
    for amount in amounts:
        assert isinstance(amount, str)
        assert "E" not in amount.upper()
        assert Decimal(amount) > 0


@given(payable)
def test_one_second_more_never_costs_less(clip: Clip):
    if clip.seconds != 15:
        longer = replace(clip, seconds=(clip.seconds or 0) + 1)
        assert priced(longer).amount >= priced(clip).amount


@given(payable)
def test_a_clip_below_the_minimum_costs_what_the_minimum_costs(clip: Clip):
    minimum = replace(clip, seconds=max(3, int(clip.seconds or 0)))
    assert priced(clip).amount == priced(minimum).amount


# --- purity ---------------------------------------------------------------------------------


def test_prices_load_no_database_no_network_and_no_tables():
    foreign = (
        "sqlmodel sqlalchemy pandas numpy httpx requests runapi click kling_ledger kling_reports"
    )
    program = (
        "import sys, kling_pricing, kling_pricing.gateways;"
        "print([name for name in sys.argv[1:] if name in sys.modules])"
    )
    command = [sys.executable, "-W", "error", "-c", program, *foreign.split()]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=30)
    assert done.stdout.strip() == "[]"


# --- what only the run decides, and what limits a whole clip ---------------------------------

EXTRAS = """
format = 1
provider = "tiny"
name = "Tiny"
unit = "USD"
[sources.page]
url = "https://tiny.example/prices"
checked = 2026-01-31
evidence = "published"
[rates.motion]
family = "tiny"
models = { motion = ["motion_control"] }
from = 2026-01-01
source = "page"
per = "second"
prices = "0.1"
[rates.motion.billing]
count = "produced"
round = "nearest"
FOLLOWS
output = [{ when = { orientation = "image" }, min_s = 3, max_s = 10 }, { min_s = 3, max_s = 30 }]
[rates.flat]
family = "tiny"
models = { flat = ["text_to_video"] }
from = 2026-01-01
source = "page"
per = "clip"
prices = "1"
fees = [{ label = "upload", amount = "0.5", per = "second" }]
[rates.limited]
family = "tiny"
models = { limited = ["text_to_video"] }
from = 2026-01-01
source = "page"
per = "second"
prices = "0.1"
request = { min_s = 1, max_s = 30 }
total = { min = "0.3", max = "2" }
"""
FOLLOWING = read_book(EXTRAS.replace("FOLLOWS", "follows_input = true"), name="tiny")
APART = read_book(EXTRAS.replace("FOLLOWS", ""), name="tiny")


def extra(book: PriceBook, model: str, **options: Any) -> Quote:
    action = "motion_control" if model == "motion" else "text_to_video"
    return quote(Clip("tiny", model, action, **options), at=AT, book=book)


def range_of(answer: Quote) -> tuple[str | None, ...]:
    told = answer.as_dict()
    return told["low"], told["expected"], told["high"]


@pytest.mark.parametrize(("orientation", "high"), [("image", "1"), ("video", "3")])
def test_where_only_the_run_decides_a_reservation_takes_the_high(orientation: str, high: str):
    answer = extra(FOLLOWING, "motion", orientation=orientation)
    assert range_of(answer) == ("0.3", None, high)
    assert answer.amount == usd(high)


@pytest.mark.parametrize(("seconds", "high"), [("7.49", "0.7"), ("7.5", "0.8")])
def test_a_file_that_follows_its_input_is_as_long_as_that(seconds: str, high: str):
    answer = extra(FOLLOWING, "motion", orientation="video", input_seconds=Decimal(seconds))
    assert range_of(answer) == ("0.3", high, high)


def test_a_file_that_does_not_follow_its_input_may_still_be_the_longest():
    answer = extra(APART, "motion", orientation="video", input_seconds=5)
    assert range_of(answer) == ("0.3", None, "3")


def test_a_length_that_contradicts_the_input_is_refused():
    with pytest.raises(ClipError, match="seconds: got 8, allowed: 5, the length of the video"):
        extra(FOLLOWING, "motion", orientation="video", seconds=8, input_seconds=5)


def test_a_fee_by_the_second_needs_the_seconds():
    with pytest.raises(ClipError, match="seconds: got nothing"):
        extra(APART, "flat")
    assert extra(APART, "flat", seconds=4).amount == usd("3")


@pytest.mark.parametrize(
    ("seconds", "amount", "lines"),
    [(2, "0.3", 2), (3, "0.3", 1), (4, "0.4", 1), (20, "2", 1), (21, "2", 2)],
)
def test_a_clip_is_charged_between_the_least_and_the_most(seconds: int, amount: str, lines: int):
    answer = extra(APART, "limited", seconds=seconds)
    assert answer.amount == usd(amount)
    assert len(answer.lines) == lines
    assert sum(line.amount for line in answer.lines) == answer.amount.amount


def test_a_quote_for_the_end_of_time_expires_with_it():
    answer = quote(runapi(), at=datetime(9999, 12, 31, 12, tzinfo=UTC))
    assert answer.expires_at.year == 9999
