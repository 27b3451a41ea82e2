"""Plans: takes, failures, budgets, sellers and differences, worked by hand and with fractions."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, date, datetime
from decimal import Decimal
from fractions import Fraction
from itertools import accumulate
from math import ceil
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kling_pricing.book_reader import BookText
from kling_pricing.clip import Clip
from kling_pricing.errors import AmountError, ClipError, NoPriceError
from kling_pricing.library import Library, library_of
from kling_pricing.money import Money
from kling_pricing.plans import (
    Plan,
    ShownRate,
    Wanted,
    charges_failures,
    difference,
    fits,
    plan,
    read_failure_rate,
    read_takes,
    sellers_of,
)
from kling_pricing.plans.takes import number_in_words
from kling_pricing.quote import quote
from tests.test_pricing_compare import ALPHA, AT, BETA, GAMMA

NOW = datetime(2026, 11, 26, tzinfo=UTC)
MILLION = 1_000_000
RUNAPI: tuple[dict[str, Any], ...] = (
    {"seconds": 5, "resolution": "1080p", "sound": True},  # 5 x 0.135 = 0.675
    {"seconds": 12, "resolution": "720p", "sound": False},  # 12 x 0.07 = 0.84
    {"seconds": 8, "resolution": "1080p", "sound": True},  # 8 x 0.135 = 1.08
)


def runapi(*takes: int | str, rate: str = "0", clips: Sequence[Any] = RUNAPI) -> Plan:
    rows = [
        Wanted(
            place,
            {"provider": "runapi", "model": "kling-3.0", **clip},
            takes=read_takes(count),
            failure_rate=read_failure_rate(rate),
        )
        for place, (clip, count) in enumerate(zip(clips, takes, strict=True), 1)
    ]
    return plan(rows, at=NOW)


def usd(amount: str) -> Money:
    return Money(Decimal(amount), "USD")


@pytest.mark.parametrize(
    ("takes", "total"),
    [
        ((1, 1, 1), "2.595"),
        # 3 x 2.595: the same three takes for every clip.
        ((3, 3, 3), "7.785"),
        # 3 x 0.675 + 2 x 0.84 + 4 x 1.08 = 2.025 + 1.68 + 4.32: each clip has its own.
        ((3, 2, 4), "8.025"),
        # 0.675 x 5/2 = 1.6875.
        (("5/2", 1, 1), "3.6075"),
    ],
)
def test_takes_are_paid_for(takes: tuple[int | str, ...], total: str) -> None:
    planned = runapi(*takes)
    cost = planned.costs["USD"]
    assert cost.parts == (usd(total),) * 3
    assert planned.usd == cost


def test_a_provider_that_frees_failures_charges_for_finished_takes_alone() -> None:
    assert charges_failures(runapi(3, 2, 4).clips[0].quote) is False
    assert runapi(3, 2, 4, rate="0.5").costs["USD"].parts == (usd("8.025"),) * 3


@pytest.mark.parametrize(
    ("charged", "low", "expected", "high"),
    [
        # A tenth of all submissions fails: 3 takes are 3 / 0.9 submissions, 10/3 x 0.675 = 2.25.
        (False, "2.025", "2.025", "2.025"),
        (None, "2.025", "2.025", "2.25"),
        (True, "2.25", "2.25", "2.25"),
    ],
)
def test_failures_count_as_far_as_it_is_known_who_pays_for_them(
    charged: bool | None, low: str, expected: str, high: str
) -> None:
    wanted = runapi("3", rate="10%", clips=RUNAPI[:1]).clips[0].wanted
    (row,) = plan([wanted], at=NOW, charges=lambda _: charged).clips
    assert row.cost.parts == (usd(low), usd(expected), usd(high))
    told = any("charges for failed takes is not known" in note for note in row.assumptions)
    assert told is (charged is None)


def test_what_does_not_come_out_even_is_rounded_up_once_a_row() -> None:
    wanted = [Wanted(n, _alpha("720p"), failure_rate=Fraction(1, 7)) for n in (1, 2)]
    planned = plan(wanted, at=AT, library=_library())
    # 5 s at 0.10, 7/6 times: 0.583333..., and a millionth of it is never left out.
    assert planned.clips[0].cost.high == usd("0.583334")
    assert planned.costs["USD"].high == usd("1.166668")


def test_a_row_without_a_price_is_kept_with_the_reason() -> None:
    rows = [
        Wanted(1, {"provider": "runapi", "model": "kling-3.0", "seconds": 5}),
        Wanted(2, {"provider": "nobody", "model": "m", "seconds": 5}),
        Wanted(3, {"provider": "runapi", "model": "kling-3.0", **RUNAPI[0]}),
    ]
    planned = plan(rows, at=NOW)
    assert [type(row.error) for row in planned.unpriced] == [ClipError, NoPriceError]
    assert planned.costs["USD"].high == usd("0.675")


def test_the_length_of_what_is_measured_is_known_only_afterwards() -> None:
    said = {
        "provider": "runapi",
        "model": "kling-3.0",
        "action": "motion_control",
        "resolution": "720p",
        "orientation": "image",
    }
    planned = plan([Wanted(1, said, takes=Fraction(2))], at=NOW)
    # From 3 to 10 seconds at 0.10, twice.
    assert planned.costs["USD"].parts == (usd("0.6"), None, usd("2"))
    stopped = fits(planned, usd("5"), measure="expected")
    assert (stopped.rows, stopped.left, stopped.stopped_by) == (0, usd("5"), 1)
    assert "only after the run" in str(stopped.reason)


@pytest.mark.parametrize(
    ("written", "read"),
    [("3", "3"), ("2.50", "2.5"), ("5/2", "2.5"), (4, "4"), (2.5, "2.5"), ("7/3", "7/3")],
)
def test_takes_are_read_exactly(written: object, read: str) -> None:
    assert number_in_words(read_takes(written)) == read


@pytest.mark.parametrize(
    "written", ["0", "0.5", "-1", "three", "1e3", "5/0", True, None, "", "9" * 9]
)
def test_what_is_no_number_of_takes_is_refused(written: object) -> None:
    with pytest.raises(ClipError, match=r"^takes: got"):
        read_takes(written)


@pytest.mark.parametrize(
    ("written", "read"),
    [("0.1", "1/10"), ("10%", "1/10"), ("1/3", "1/3"), (0, "0"), (0.1, "1/10"), (" 5 % ", "1/20")],
)
def test_failure_rates_are_read_exactly(written: object, read: str) -> None:
    assert read_failure_rate(written) == Fraction(read)


@pytest.mark.parametrize("written", ["1", "100%", "-0.1", "%", "ten", True, 1.5, "nan"])
def test_what_is_no_failure_rate_is_refused(written: object) -> None:
    with pytest.raises(ClipError, match=r"^failure_rate: got"):
        read_failure_rate(written)


def test_a_budget_pays_for_the_first_rows_only() -> None:
    planned = runapi(1, 1, 1)
    # 0.675, then 0.84: the third, 1.08, is dearer than what is left.
    found = fits(planned, usd("1.6"))
    assert (found.rows, found.left, found.stopped_by) == (2, usd("0.085"), 3)
    exactly = fits(planned, usd("2.595"))
    assert (exactly.rows, exactly.left, exactly.stopped_by) == (3, usd("0"), None)
    assert fits(planned, usd("2.594999")).rows == 2


def test_a_budget_in_a_unit_that_does_not_meet_is_refused() -> None:
    planned = runapi(1, 1, 1)
    with pytest.raises(AmountError, match="unit of the budget"):
        fits(planned, Money(Decimal(5), "crun-credit"))
    with pytest.raises(AmountError, match="above 0"):
        fits(planned, usd("0"))
    gamma = plan(
        [Wanted(1, _alpha("720p", provider="gamma", model="gamma-1"))], at=AT, library=_library()
    )
    assert gamma.usd is None
    with pytest.raises(NoPriceError, match="one CNY in USD"):
        fits(gamma, usd("5"))


def _library() -> Library:
    return library_of([BookText("a", ALPHA), BookText("b", BETA), BookText("g", GAMMA)])


def _alpha(
    resolution: str, *, provider: str = "alpha", model: str = "alpha-1", sound: bool = False
) -> dict[str, Any]:
    said = {"seconds": 5, "resolution": resolution, "sound": sound}
    return {"provider": provider, "model": model, **said}


def test_the_sellers_of_a_whole_plan_are_listed_cheapest_first() -> None:
    wanted = [
        Wanted(1, _alpha("720p"), takes=Fraction(2)),
        Wanted(2, _alpha("720p", sound=True)),
    ]
    library = _library()
    found = sellers_of(plan(wanted, at=AT, library=library), library=library)
    # alpha: 2 x 5 x 0.10 + 5 x 0.15 = 1.75. beta: 2 x 5 x 9 + 5 x 12 = 150 credits of a cent.
    assert [
        (one.provider, str(one.cost.high), one.usd and str(one.usd.high)) for one in found.offers
    ] == [
        ("beta", "150 beta-credit", "1.5 USD"),
        ("alpha", "1.75 USD", "1.75 USD"),
        ("gamma", "0.15 CNY", None),
    ]
    assert found.offers[0].models == ("beta-silent", "beta-sound")
    assert "no price known for test-1 text_to_video" in {one.reason for one in found.unable}


def test_a_seller_has_to_make_every_clip() -> None:
    wanted = [Wanted(1, _alpha("720p")), Wanted(2, _alpha("4k")), Wanted(3, _alpha("4k"))]
    library = _library()
    found = sellers_of(plan(wanted, at=AT, library=library), library=library)
    assert [one.provider for one in found.offers] == ["alpha"]
    beta, gamma = [one for one in found.unable if one.provider in {"beta", "gamma"}]
    assert (beta.rows, beta.first) == (2, 2)
    assert "720p, as beta-silent always makes it" in beta.reason
    assert "gamma-1" in gamma.reason


def test_what_nobody_can_price_has_no_sellers() -> None:
    planned = plan([Wanted(1, {"provider": "nobody", "model": "m"})], at=AT, library=_library())
    with pytest.raises(NoPriceError):
        sellers_of(planned, library=_library())
    assert sellers_of(plan([], at=AT), library=Library()).offers == ()


@pytest.mark.parametrize(
    ("written", "shown"),
    [
        ("0.91 EUR/USD", "2.36145"),  # 2.595 x 0.91
        ("1.1 USD/EUR", "2.359091"),  # 2.595 / 1.1 = 2.35909090...
    ],
)
def test_dollars_are_shown_at_a_rate_that_is_given(written: str, shown: str) -> None:
    rate = ShownRate.parse(written, unit="EUR", day=date(2026, 11, 20), source="ECB")
    whole = runapi(1, 1, 1).usd
    assert whole is not None
    assert str(rate.shown(whole).high) == f"{shown} EUR"


@pytest.mark.parametrize(
    "written", ["0.91", "0 EUR/USD", "0.91 EUR/GBP", "1e2 EUR/USD", "-1 EUR/USD"]
)
def test_what_is_no_rate_between_dollars_and_the_currency_is_refused(written: str) -> None:
    with pytest.raises(AmountError, match="rate"):
        ShownRate.parse(written, unit="EUR", day=date(2026, 11, 20), source="ECB")


def test_rows_are_matched_by_what_they_say_where_they_have_no_ids() -> None:
    before = runapi(1, 1, clips=(RUNAPI[0], RUNAPI[0]))
    after = runapi(1, 1, 2, clips=(RUNAPI[0], RUNAPI[1], RUNAPI[0]))
    found = difference(before, after)
    assert [change.kind for change in found.changes] == ["same", "added", "added", "removed"]
    # 0.84 + 2 x 0.675 - 0.675.
    assert found.usd is not None
    assert found.usd.high == usd("1.515")


def test_rows_with_ids_are_the_same_row_whatever_they_say() -> None:
    before, after = _named("a", "b"), _named("b", "a", "c")
    found = difference(before, after, by_id=True)
    kinds = {change.row.wanted.id: change.kind for change in found.changes}
    assert kinds == {"b": "changed", "a": "changed", "c": "added"}
    # a was 0.675 and is 0.84, b the other way round, c is 1.08.
    assert [change.usd and str(change.usd.high) for change in found.changes] == [
        "-0.165 USD",
        "0.165 USD",
        "1.08 USD",
    ]
    assert found.usd is not None
    assert found.usd.high == usd("1.08")


def _named(*ids: str) -> Plan:
    clips = zip(ids, RUNAPI, strict=False)
    rows = [
        Wanted(place, {"provider": "runapi", "model": "kling-3.0", **clip}, id=name)
        for place, (name, clip) in enumerate(clips, 1)
    ]
    return plan(rows, at=NOW)


def test_an_id_that_two_rows_have_is_refused() -> None:
    with pytest.raises(ClipError, match="an id that no other row has"):
        difference(_named("a", "a"), _named("a"), by_id=True)


def test_no_difference_is_known_beside_a_row_without_a_price() -> None:
    before = runapi(1, clips=RUNAPI[:1])
    after = plan(
        [*(row.wanted for row in before.clips), Wanted(2, {"provider": "x", "model": "y"})], at=NOW
    )
    found = difference(before, after)
    assert (found.costs, found.usd) == (None, None)
    assert [row.wanted.place for row in found.unpriced] == [2]
    assert [change.usd for change in found.of_kind("added")] == [None]


def test_one_list_under_two_books_shows_what_a_price_did() -> None:
    wanted = [Wanted(1, _alpha("720p"), takes=Fraction(3))]
    dearer = library_of([BookText("a", ALPHA.replace('off = "0.10"', 'off = "0.12"'))])
    found = difference(plan(wanted, at=AT, library=_library()), plan(wanted, at=AT, library=dearer))
    # 3 takes of 5 seconds, two cents more each.
    assert [str(change.usd and change.usd.high) for change in found.of_kind("changed")] == [
        "0.3 USD"
    ]


LENGTHS = st.integers(3, 15)
CLIPS = st.fixed_dictionaries(
    {
        "seconds": LENGTHS,
        "resolution": st.sampled_from(["720p", "1080p"]),
        "sound": st.booleans(),
    }
)
MODELS = st.sampled_from([("runapi", "kling-3.0"), ("evolink", "kling-v3-text-to-video")])
TAKES = st.fractions(1, 9, max_denominator=12)
RATES = st.fractions(0, Fraction(9, 10), max_denominator=12)
ROWS = st.lists(st.tuples(MODELS, CLIPS, TAKES, RATES), min_size=1, max_size=8)


def _planned(rows: Any) -> Plan:
    return plan(
        [
            Wanted(
                place,
                {"provider": model[0], "model": model[1], **clip},
                takes=takes,
                failure_rate=rate,
            )
            for place, (model, clip, takes, rate) in enumerate(rows, 1)
        ],
        at=NOW,
        charges=lambda quoted: False if quoted.clip.provider == "runapi" else None,
    )


def _millionths(row: Any, *, at_most: bool, in_usd: bool = False) -> int:
    """What a row costs in millionths, by a single quote and fractions."""
    (provider, model), clip, takes, rate = row
    quoted = quote(Clip(provider, model, **clip), at=NOW)
    price = quoted.usd if in_usd else quoted.amount
    assert price is not None
    one = Fraction(price.amount)
    # As told to the plan: RunAPI frees failures; of EvoLink nobody knows it.
    count: Fraction = takes / (1 - rate) if at_most and provider == "evolink" else takes
    return ceil(one * count * MILLION)


@given(ROWS)
def test_a_total_is_the_sum_of_single_quotes_times_their_takes(rows: Any) -> None:
    planned = _planned(rows)
    for unit, provider in (("USD", "runapi"), ("evolink-credit", "evolink")):
        own = [row for row in rows if row[0][0] == provider]
        if own:
            cost = planned.costs[unit]
            assert cost.low.micro == sum(_millionths(row, at_most=False) for row in own)
            assert cost.expected == cost.low
            assert cost.high.micro == sum(_millionths(row, at_most=True) for row in own)
    for part in (*planned.costs.values(), planned.usd):
        assert part is not None
        assert all(type(money.amount) is Decimal for money in part.parts if money)


@given(ROWS, st.integers(1, 400_000_000))
def test_what_fits_a_budget_is_the_longest_prefix(rows: Any, micro: int) -> None:
    planned = _planned(rows)
    found = fits(planned, Money.from_micro(micro, "USD"))
    costs = [_millionths(row, at_most=True, in_usd=True) for row in rows]
    sums = [0, *accumulate(costs)]
    longest = max(count for count, cost in enumerate(sums) if cost <= micro)
    assert found.rows == longest
    assert Fraction(found.left.amount) * MILLION == micro - sums[longest]


@given(ROWS, ROWS)
def test_the_way_back_is_the_difference_with_the_other_sign(one: Any, other: Any) -> None:
    there = difference(_planned(one), _planned(other))
    back = difference(_planned(other), _planned(one))
    assert there.usd is not None
    assert back.usd is not None
    assert there.usd == -back.usd
    assert there.costs == {unit: -cost for unit, cost in (back.costs or {}).items()}
    in_all = [Fraction(change.usd.high.amount) for change in there.changes if change.usd]
    assert len(in_all) == len(there.changes)
    assert sum(in_all) == Fraction(there.usd.high.amount)
