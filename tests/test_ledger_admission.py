"""Admission: wallet, ceiling and every budget accept a job, or nothing happens and it says why."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta
from decimal import Decimal
from threading import Thread
from typing import Any

import pytest

from kling_ledger.errors import (
    BudgetError,
    CeilingError,
    ConfigError,
    ConflictError,
    InsufficientCreditsError,
    NotFoundError,
    RefusedError,
    UnknownWorthError,
)
from kling_ledger.ledger import Asked, Job, Ledger, Reservation, Scope, State
from kling_pricing.errors import AmountError
from kling_pricing.money import MAX_MICRO, Money
from tests.ledgers import NOON, Clock, money, standing, unchanged, usd

LARGEST = Money.from_micro(MAX_MICRO, "USD")
MILLIONTH = Money.from_micro(1, "USD")
SOON = NOON + timedelta(hours=1)


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def ledger(empty_url: str, clock: Clock) -> Iterator[Ledger]:
    with Ledger(empty_url, clock=clock, actor="ada") as opened:
        opened.wallets.create("film", "USD")
        opened.wallets.fund("film", usd("10"))
        yield opened
        assert opened.verify().is_clean


# --- amounts -------------------------------------------------------------------------------


def test_reserving_sets_credits_aside_and_spends_none(ledger):
    reservation = ledger.reserve("film", usd("3"))
    assert (reservation.state, reservation.is_open) == (State.RESERVED, True)
    assert reservation.id.startswith("res_")
    assert standing(ledger, "film") == (usd("10"), usd("3"), usd("7"))


@pytest.mark.parametrize(("unit", "is_kept"), [("USD", True), ("crun-credit", False)])
def test_the_figures_of_a_job_are_kept_if_they_are_in_the_unit_of_its_wallet(ledger, unit, is_kept):
    given = {"quoted": f"0.5 {unit}", "low": f"0.4 {unit}", "estimated": f"0.45 {unit}"}
    figures: dict[str, Any] = {name: money(figure) for name, figure in given.items()}
    made = ledger.reserve("film", usd("1"), job=Job(**figures))
    for found in (made, ledger.reservations.get(made.id)):
        kept = {name: getattr(found.job, name) for name in figures}
        assert kept == (figures if is_kept else dict.fromkeys(figures))


def test_a_millionth_can_be_reserved(ledger):
    assert ledger.reserve("film", MILLIONTH).held == usd("0.000001")


def test_the_largest_amount_can_be_reserved(ledger):
    ledger.wallets.create("full", "USD")
    ledger.wallets.fund("full", LARGEST)
    assert ledger.reserve("full", LARGEST).held.micro == 2**53 - 1


def test_exactly_what_is_available_is_admitted(ledger):
    ledger.reserve("film", usd("3"))
    ledger.reserve("film", usd("7"))
    assert standing(ledger, "film") == (usd("10"), usd("10"), usd("0"))


def test_a_millionth_more_than_is_available_is_refused(ledger):
    ledger.reserve("film", usd("3"))
    with unchanged(ledger), pytest.raises(InsufficientCreditsError) as caught:
        ledger.reserve("film", usd("7.000001"))
    error = caught.value
    assert (error.wallet, error.needed, error.available) == ("film", usd("7.000001"), usd("7"))
    assert error.fits == usd("7")
    assert "short by 0.000001 USD" in str(error)
    assert ledger.reserve("film", error.fits).held == usd("7")


def test_a_millionth_is_refused_by_an_empty_wallet(ledger):
    ledger.wallets.create("empty", "USD")
    with unchanged(ledger), pytest.raises(InsufficientCreditsError):
        ledger.reserve("empty", MILLIONTH)


@pytest.mark.parametrize("amount", ["0", "-0", "-0.000001", "-3"])
def test_reserving_nothing_or_less_is_refused(ledger, amount):
    with unchanged(ledger), pytest.raises(AmountError, match="more than 0"):
        ledger.reserve("film", usd(amount))


@pytest.mark.parametrize(
    "amount", [3, 3.0, "3 USD", None, True, Decimal(3), float("nan"), float("inf")]
)
def test_only_money_can_be_reserved(ledger, amount):
    with unchanged(ledger), pytest.raises(AmountError):
        ledger.reserve("film", amount)
    with unchanged(ledger), pytest.raises(AmountError):
        ledger.reserve("film", amount, key="clip 1")


def test_reserving_in_another_unit_is_refused(ledger):
    with unchanged(ledger), pytest.raises(AmountError, match=r"CNY.*USD"):
        ledger.reserve("film", money("1 CNY"))


def test_reserving_from_an_unknown_wallet_is_refused(ledger):
    with unchanged(ledger), pytest.raises(NotFoundError):
        ledger.reserve("nobody", usd("1"))


@pytest.mark.parametrize("worth", [usd("-0.000001"), money("1 CNY"), 0.5])
def test_a_worth_that_is_no_amount_of_dollars_is_refused(ledger, worth):
    ledger.wallets.create("credits", "crun-credit")
    ledger.wallets.fund("credits", money("10 crun-credit"))
    with unchanged(ledger), pytest.raises(AmountError, match="worth"):
        ledger.reserve("credits", money("1 crun-credit"), job=Job(usd=worth))


@pytest.mark.parametrize("project", ["", "  ", "a\0b"])
def test_a_project_that_names_nothing_is_refused(ledger, project):
    with unchanged(ledger), pytest.raises(ConfigError, match="invalid project"):
        ledger.reserve("film", usd("1"), project=project)


@pytest.mark.parametrize("labels", [{"": "x"}, {"a": ""}, {"a,b": "x"}, {"a": "x,y"}, {"a": "x\n"}])
def test_a_label_that_is_none_is_refused(ledger, labels):
    with unchanged(ledger), pytest.raises(ConfigError, match="invalid label"):
        ledger.reserve("film", usd("1"), labels=labels)


# --- the ceiling of one job -----------------------------------------------------------------


def test_a_job_that_costs_as_much_as_its_ceiling_is_admitted(ledger):
    assert ledger.reserve("film", usd("3"), ceiling=usd("3")).amount == usd("3")


def test_a_job_that_costs_a_millionth_more_than_its_ceiling_is_refused(ledger):
    with unchanged(ledger), pytest.raises(CeilingError) as caught:
        ledger.reserve("film", usd("3.000001"), ceiling=usd("3"))
    assert (caught.value.cost, caught.value.ceiling) == (usd("3.000001"), usd("3"))
    assert (caught.value.budget, caught.value.fits) == (None, usd("3"))


def test_a_ceiling_in_another_unit_is_refused(ledger):
    with unchanged(ledger), pytest.raises(AmountError):
        ledger.reserve("film", usd("3"), ceiling=money("30 CNY"))


def test_a_budgets_ceiling_admits_a_job_at_it_and_refuses_one_past_it(ledger):
    ledger.budgets.set("month", usd("10"), ceiling=usd("3"))
    ledger.reserve("film", usd("3"))
    with unchanged(ledger), pytest.raises(CeilingError, match="budget month") as caught:
        ledger.reserve("film", usd("3.000001"))
    assert (caught.value.budget, caught.value.fits) == ("month", usd("3"))
    assert ledger.reserve("film", caught.value.fits).held == usd("3")


def test_a_ceiling_bounds_each_job_and_not_their_sum(ledger):
    ledger.budgets.set("month", usd("10"), ceiling=usd("3"))
    assert len(ledger.reserve_many([Asked("film", usd("3"))] * 3)) == 3


def test_a_budget_that_only_warns_tells_of_its_ceiling_and_refuses_nothing(ledger):
    ledger.budgets.set("month", usd("100"), ceiling=usd("3"), mode="warn")
    assert ledger.reserve("film", usd("3")).warnings == ()
    [warning] = ledger.reserve("film", usd("3.000001")).warnings
    assert "exceeds its ceiling of 3 USD" in str(warning)


def test_a_budget_that_only_warns_tells_of_an_unknown_worth_and_refuses_nothing(ledger):
    ledger.wallets.create("credits", "crun-credit")
    ledger.wallets.fund("credits", money("100 crun-credit"))
    ledger.budgets.set("month", usd("100"), mode="warn")
    made = ledger.reserve("credits", money("7 crun-credit"))
    [warning] = made.warnings
    assert "the value of 7 crun-credit in USD is unknown" in str(warning)
    ledger.commit(made.id)
    assert ledger.budgets.get("month").spent == usd("0")
    assert ledger.verify().is_clean


@pytest.mark.parametrize(
    "project",
    [
        *(" film/a", "film/a ", "film /a", "./film/a", "film/./a", "film/../a", "/film/a"),
        *("film//a", "film/a/", "film/\u00a0a", "."),
    ],
)
def test_a_project_has_one_spelling_so_that_no_budget_is_escaped(ledger, project):
    ledger.budgets.set("b", usd("1"), scope=Scope(project="film/"))
    with unchanged(ledger), pytest.raises(ConfigError, match="invalid project"):
        ledger.reserve("film", usd("2"), project=project)


def test_a_project_that_differs_from_a_budgets_by_capitals_alone_is_refused(ledger):
    ledger.budgets.set("b", usd("1"), scope=Scope(project="film/"))
    with unchanged(ledger), pytest.raises(ConfigError, match="only in capitals"):
        ledger.reserve("film", usd("2"), project="Film/a")
    ledger.budgets.set("other", usd("5"), scope=Scope(project="Film/"))
    assert ledger.reserve("film", usd("2"), project="Film/a").held == usd("2")


# --- what a refusal says -------------------------------------------------------------------


def test_a_refusal_by_a_budget_gives_every_figure(ledger):
    ledger.budgets.set("day", usd("5"), window="day", timezone="Europe/Berlin")
    ledger.commit(ledger.reserve("film", usd("1")).id, usd("1.5"))
    ledger.reserve("film", usd("2"))
    with unchanged(ledger), pytest.raises(BudgetError) as caught:
        ledger.reserve("film", usd("1.500001"))
    error = caught.value
    assert (error.budget, error.limit, error.spent) == ("day", usd("5"), usd("1.5"))
    assert (error.reserved, error.asked, error.left) == (usd("2"), usd("1.500001"), usd("1.5"))
    assert (error.fits, error.frees_at) == (usd("1.5"), NOON.replace(hour=23))
    assert "up to 1.5 USD would be admitted now" in (error.hint or "")


def test_a_budget_without_a_window_never_frees(ledger):
    ledger.budgets.set("all", usd("1"))
    with pytest.raises(BudgetError) as caught:
        ledger.reserve("film", usd("2"))
    assert caught.value.frees_at is None


def test_an_overrun_budget_has_less_than_nothing_left_and_nothing_fits(ledger):
    ledger.budgets.set("all", usd("2"))
    ledger.commit(ledger.reserve("film", usd("2")).id, usd("3"))
    with unchanged(ledger), pytest.raises(BudgetError) as caught:
        ledger.reserve("film", MILLIONTH)
    assert (caught.value.left, caught.value.fits) == (usd("-1"), usd("0"))
    assert caught.value.hint == "nothing fits now: raise it temporarily"


FITS: dict[str, tuple[dict[str, tuple[str, str | None, str]], str]] = {
    "the wallet has least": ({"all": ("20", None, "hard")}, "10"),
    "one budget has least": ({"all": ("4", None, "hard")}, "4"),
    "the second budget has least": ({"a": ("6", None, "hard"), "b": ("4", None, "hard")}, "4"),
    "the first budget has least": ({"a": ("4", None, "hard"), "b": ("6", None, "hard")}, "4"),
    "a ceiling is lower": ({"a": ("6", "2.5", "hard")}, "2.5"),
    "a budget that warns does not count": (
        {"a": ("1", None, "warn"), "b": ("6", None, "hard")},
        "6",
    ),
}


@pytest.mark.parametrize("case", FITS)
def test_what_fits_is_admitted_and_a_millionth_more_is_not(ledger, case):
    budgets, fits = FITS[case]
    for name, (limit, ceiling, mode) in budgets.items():
        ledger.budgets.set(
            name, usd(limit), ceiling=None if ceiling is None else usd(ceiling), mode=mode
        )
    with unchanged(ledger), pytest.raises(RefusedError) as refused:
        ledger.reserve("film", usd("10.000001"))
    told = getattr(refused.value, "fits", None)
    assert told == usd(fits)
    with unchanged(ledger), pytest.raises(RefusedError):
        ledger.reserve("film", told + MILLIONTH)
    assert ledger.reserve("film", told).held == usd(fits)


def test_what_fits_in_another_unit_is_at_the_worth_that_was_asked(ledger):
    ledger.wallets.create("credits", "crun-credit")
    ledger.wallets.fund("credits", money("100 crun-credit"))
    ledger.budgets.set("all", usd("1"))
    asked = money("30 crun-credit")
    with unchanged(ledger), pytest.raises(BudgetError) as caught:
        ledger.reserve("credits", asked, job=Job(usd=usd("3")))
    error = caught.value
    assert (error.asked, error.left, error.fits) == (usd("3"), usd("1"), money("10 crun-credit"))
    assert ledger.reserve("credits", error.fits, job=Job(usd=usd("1"))).is_open


def test_what_fits_in_another_unit_is_rounded_down_and_so_is_admitted(ledger):
    ledger.wallets.create("credits", "crun-credit")
    ledger.wallets.fund("credits", money("100 crun-credit"))
    ledger.budgets.set("all", usd("1"))
    with unchanged(ledger), pytest.raises(BudgetError) as caught:
        ledger.reserve("credits", money("10 crun-credit"), job=Job(usd=usd("3")))
    # Ten credits are worth 3 USD: a millionth of a credit more would be worth more than 1 USD.
    assert caught.value.fits == money("3.333333 crun-credit")


def test_nothing_fits_an_overrun_budget_not_even_what_is_worth_nothing(ledger):
    ledger.wallets.create("credits", "crun-credit")
    ledger.wallets.fund("credits", money("100 crun-credit"))
    ledger.budgets.set("all", usd("1"))
    ledger.commit(ledger.reserve("film", usd("1")).id, usd("1.000001"))
    with unchanged(ledger), pytest.raises(BudgetError) as caught:
        ledger.reserve("credits", money("1 crun-credit"), job=Job(usd=usd("0")))
    assert (caught.value.left, caught.value.fits) == (usd("-0.000001"), money("0 crun-credit"))


def test_a_worth_that_nobody_knows_is_an_error_and_never_nothing(ledger):
    ledger.wallets.create("credits", "crun-credit")
    ledger.wallets.fund("credits", money("100 crun-credit"))
    ledger.budgets.set("all", usd("1000"))
    with unchanged(ledger), pytest.raises(UnknownWorthError) as caught:
        ledger.reserve("credits", money("1 crun-credit"))
    error = caught.value
    assert (error.budget, error.asked, error.unit) == ("all", money("1 crun-credit"), "USD")


def test_a_worth_of_nothing_is_known(ledger):
    ledger.wallets.create("credits", "crun-credit")
    ledger.wallets.fund("credits", money("100 crun-credit"))
    ledger.budgets.set("all", usd("0"))
    assert ledger.reserve("credits", money("1 crun-credit"), job=Job(usd=usd("0"))).is_open


def test_a_budget_in_a_unit_needs_no_worth(ledger):
    ledger.wallets.create("credits", "crun-credit")
    ledger.wallets.fund("credits", money("100 crun-credit"))
    ledger.budgets.set("credits", money("5 crun-credit"))
    ledger.reserve("credits", money("5 crun-credit"))
    with unchanged(ledger), pytest.raises(BudgetError):
        ledger.reserve("credits", money("0.000001 crun-credit"))
    assert ledger.reserve("film", usd("7")).is_open


# --- several budgets -----------------------------------------------------------------------


@pytest.mark.parametrize("tight", ["a", "b", "c", "d"])
def test_several_budgets_admit_together_or_not_at_all(ledger, tight):
    for name in "abcd":
        ledger.budgets.set(name, usd("1" if name == tight else "5"))
    with unchanged(ledger), pytest.raises(BudgetError) as caught:
        ledger.reserve("film", usd("2"))
    assert caught.value.budget == tight
    ledger.reserve("film", usd("1"))
    assert {status.reserved for status in ledger.budgets.all()} == {usd("1")}


def test_a_wallet_that_refuses_gives_back_what_budgets_had_counted(ledger):
    ledger.budgets.set("all", usd("50"))
    with unchanged(ledger), pytest.raises(InsufficientCreditsError) as caught:
        ledger.reserve("film", usd("11"))
    assert caught.value.fits == usd("10")
    assert ledger.budgets.get("all").reserved == usd("0")


# --- many ----------------------------------------------------------------------------------


def test_many_are_admitted_up_to_exactly_what_is_there(ledger):
    made = ledger.reserve_many([Asked("film", usd("2.5"))] * 4)
    assert len({one.id for one in made}) == 4
    assert ledger.wallets.get("film").available == usd("0")


def test_many_are_refused_together_by_a_millionth(ledger):
    asked = [Asked("film", usd("2.5"))] * 3 + [Asked("film", usd("2.500001"))]
    with unchanged(ledger), pytest.raises(InsufficientCreditsError) as caught:
        ledger.reserve_many(asked)
    assert (caught.value.needed, caught.value.available) == (usd("10.000001"), usd("10"))


def test_many_of_which_one_cannot_be_are_refused_together(ledger):
    asked = [Asked("film", usd("1")), Asked("film", usd("0"))]
    with unchanged(ledger), pytest.raises(AmountError):
        ledger.reserve_many(asked)


def test_many_may_come_from_several_wallets(ledger):
    ledger.wallets.create("credits", "crun-credit")
    ledger.wallets.fund("credits", money("5 crun-credit"))
    asked = [Asked("film", usd("4")), Asked("credits", money("5 crun-credit"))]
    assert [one.wallet for one in ledger.reserve_many(asked)] == ["film", "credits"]
    with unchanged(ledger), pytest.raises(InsufficientCreditsError, match="wallet credits"):
        ledger.reserve_many([Asked("film", usd("1")), Asked("credits", money("1 crun-credit"))])


def test_what_fits_of_the_first_wallet_counts_nothing_that_the_call_itself_took(ledger):
    """Wallets are asked in the order of their ids: one may have been taken from already."""
    ledger.wallets.create("other", "USD")
    ledger.wallets.fund("other", usd("10"))
    for first, second in (("film", "other"), ("other", "film")):
        with unchanged(ledger), pytest.raises(InsufficientCreditsError) as caught:
            ledger.reserve_many([Asked(first, usd("6")), Asked(second, usd("11"))])
        assert (caught.value.wallet, caught.value.fits) == (second, usd("10"))


def test_many_count_in_a_budget_with_their_sum(ledger):
    ledger.budgets.set("all", usd("5"))
    with unchanged(ledger), pytest.raises(BudgetError) as caught:
        ledger.reserve_many([Asked("film", usd("2.5")), Asked("film", usd("2.500001"))])
    assert caught.value.asked == usd("5.000001")
    ledger.reserve_many([Asked("film", usd("2.5"))] * 2)
    assert ledger.budgets.get("all").left == usd("0")


def test_reserving_none_changes_nothing(ledger):
    with unchanged(ledger):
        assert ledger.reserve_many([]) == []
        assert ledger.reserve_each([]) == []


def test_reservations_of_one_call_keep_their_order(ledger):
    amounts = [usd(str(cents)) for cents in (3, 1, 2)]
    made = ledger.reserve_many([Asked("film", amount) for amount in amounts])
    assert [one.amount for one in made] == amounts
    assert [one.id for one in made] == sorted(one.id for one in made)


def held(outcome: Reservation | RefusedError) -> Money | type[RefusedError]:
    return type(outcome) if isinstance(outcome, RefusedError) else outcome.held


def test_each_that_fits_is_admitted_and_another_gives_its_refusal(ledger):
    asked = [Asked("film", usd(amount)) for amount in ("6", "5", "4", "0.000001")]
    assert [held(one) for one in ledger.reserve_each(asked)] == [
        usd("6"),
        InsufficientCreditsError,
        usd("4"),
        InsufficientCreditsError,
    ]
    assert ledger.wallets.get("film").available == usd("0")


def test_what_is_no_money_is_refused_as_such_also_where_another_does_not_fit(ledger):
    asked = [Asked("film", usd("11")), Asked("film", 1.5)]  # type: ignore[arg-type]
    with unchanged(ledger), pytest.raises(AmountError):
        ledger.reserve_each(asked)


def test_each_that_a_budget_refuses_leaves_no_trace_in_the_others(ledger):
    ledger.budgets.set("all", usd("9"))
    ledger.budgets.set("teaser", usd("1"), scope=Scope(project="teaser"))
    asked = [
        Asked("film", usd("2"), project="teaser"),
        Asked("film", usd("8"), project="film"),
        Asked("film", usd("1"), project="teaser"),
    ]
    outcomes = [held(one) for one in ledger.reserve_each(asked)]
    assert outcomes == [BudgetError, usd("8"), usd("1")]
    assert [ledger.budgets.get(name).left for name in ("all", "teaser")] == [usd("0"), usd("0")]


def test_each_refused_leaves_nothing_behind(ledger):
    with unchanged(ledger):
        outcomes = ledger.reserve_each([Asked("film", usd("11"), key=f"k{n}") for n in range(3)])
    assert {held(one) for one in outcomes} == {InsufficientCreditsError}


def test_each_with_bad_input_is_refused_as_a_whole(ledger):
    with unchanged(ledger), pytest.raises(AmountError):
        ledger.reserve_each([Asked("film", usd("1")), Asked("film", usd("0"))])


def test_each_is_repeatable_by_key_whatever_was_refused(ledger):
    asked = [Asked("film", usd(amount), key=f"clip {amount}") for amount in ("6", "5", "4")]
    first = [held(one) for one in ledger.reserve_each(asked)]
    with unchanged(ledger):
        again = [held(one) for one in ledger.reserve_each(asked)]
    assert first == again == [usd("6"), InsufficientCreditsError, usd("4")]


# --- expired ones make room ----------------------------------------------------------------


def test_what_the_clock_has_ended_makes_room_before_a_refusal(ledger, clock):
    old = ledger.reserve("film", usd("10"), expires_at=SOON)
    clock.now = SOON - timedelta(microseconds=1)
    with unchanged(ledger), pytest.raises(InsufficientCreditsError):
        ledger.reserve("film", usd("10"))
    clock.now = SOON
    assert ledger.reserve("film", usd("10")).held == usd("10")
    assert ledger.reservations.get(old.id).state is State.EXPIRED


def test_what_the_clock_has_ended_makes_room_in_budgets_too(ledger, clock):
    ledger.budgets.set("all", usd("2"))
    ledger.reserve("film", usd("2"), expires_at=SOON)
    clock.now = SOON
    assert ledger.reserve_many([Asked("film", usd("1"))] * 2)[0].is_open


def test_what_somebody_else_ends_just_then_makes_room_too(empty_url, ledger, clock):
    """Whether the clock has ended anything is asked by the transaction that refuses."""
    ledger.reserve("film", usd("10"), expires_at=SOON)
    clock.now = SOON
    looks: list[Thread] = []

    def ending() -> datetime:
        if len(looks) == 1:
            # It has to wait for whoever refuses, unless that one has let go of the ledger.
            looks[0].start()
            looks[0].join(timeout=0.5)
        looks.append(Thread(target=ledger.expire))
        return SOON

    with Ledger(empty_url, clock=ending, actor="bob") as other:
        assert other.reserve("film", usd("10")).held == usd("10")
    looks[0].join()


def test_a_refusal_that_stands_leaves_the_expired_as_they_were(ledger, clock):
    ledger.reserve("film", usd("1"), expires_at=SOON)
    clock.now = SOON
    with unchanged(ledger), pytest.raises(InsufficientCreditsError) as caught:
        ledger.reserve("film", usd("10.000001"))
    assert caught.value.fits == usd("10")
    assert ledger.reserve("film", caught.value.fits).is_open


# --- keys, from many threads ---------------------------------------------------------------


def test_of_many_that_reserve_with_one_key_there_is_one_reservation(ledger):
    def reserve(_: int) -> str:
        return str(ledger.reserve("film", usd("1"), key="clip 1").id)

    with ThreadPoolExecutor(8) as threads:
        assert len(set(threads.map(reserve, range(24)))) == 1
    assert ledger.wallets.get("film").reserved == usd("1")


def test_of_many_that_reserve_other_content_with_one_key_one_wins(ledger):
    def reserve(number: int) -> str:
        try:
            return str(ledger.reserve("film", usd(f"1.{number % 2 + 1}"), key="clip 1").amount)
        except ConflictError as error:
            return f"{error.field} {error.stored}"

    with ThreadPoolExecutor(8) as threads:
        outcomes = set(threads.map(reserve, range(24)))
    won = str(ledger.reservations.latest()[0].amount)
    assert outcomes == {won, f"amount {won}"}


def test_of_many_threads_exactly_as_many_are_admitted_as_fit(ledger):
    ledger.budgets.set("all", usd("0.9"))

    def reserve(_: int) -> bool:
        try:
            return bool(ledger.reserve("film", usd("0.1")).is_open)
        except BudgetError:
            return False

    with ThreadPoolExecutor(8) as threads:
        assert sum(threads.map(reserve, range(24))) == 9
    assert ledger.budgets.get("all").left == usd("0")


def test_each_that_needs_the_room_of_the_expired_gets_it(ledger, clock):
    ledger.reserve("film", usd("10"), expires_at=SOON)
    clock.now = SOON
    outcomes = ledger.reserve_each([Asked("film", usd("6")), Asked("film", usd("5"))])
    assert [held(one) for one in outcomes] == [usd("6"), InsufficientCreditsError]


def test_each_admitted_before_and_after_the_expired_went_is_a_reservation_of_its_own(ledger, clock):
    ledger.reserve("film", usd("9"), expires_at=SOON)
    clock.now = SOON
    outcomes = ledger.reserve_each([Asked("film", usd("1")), Asked("film", usd("9"))])
    assert [held(one) for one in outcomes] == [usd("1"), usd("9")]
    assert len({one.id for one in outcomes}) == 2
