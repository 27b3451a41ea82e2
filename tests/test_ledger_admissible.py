"""Would it be admitted: the answer is what `reserve` would say, and asking changes nothing."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import timedelta
from decimal import ROUND_CEILING, Decimal
from random import Random
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
from kling_ledger.ledger import Admissible, Asked, Job, Ledger, Scope, State
from kling_pricing.errors import AmountError
from kling_pricing.money import USD, Money
from tests.ledger_histories import START, History
from tests.ledgers import NOON, Chance, Clock, money, unchanged, usd
from tests.sweeps import sampled

HOUR = timedelta(hours=1)
MILLIONTH = Decimal("0.000001")


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def ledger(empty_url: str, clock: Clock) -> Iterator[Ledger]:
    with Ledger(empty_url, clock=clock, actor="ada") as opened:
        opened.wallets.create("film", "USD")
        opened.wallets.fund("film", usd("10"))
        yield opened


def asked_of(ledger: Ledger, amount: str, **more: Any) -> Admissible:
    """The answer for a job, which leaves every row and byte as it was."""
    with unchanged(ledger):
        return ledger.would_admit(Asked("film", money(amount), **more))


# --- each rule -----------------------------------------------------------------------------


def test_what_a_wallet_has_is_admitted_and_all_of_it_fits(ledger):
    assert asked_of(ledger, "10 USD") == Admissible(None, usd("10"))


def test_a_millionth_more_than_a_wallet_has_is_refused_with_its_figures(ledger):
    refusal = asked_of(ledger, "10.000001 USD").refusal
    assert isinstance(refusal, InsufficientCreditsError)
    assert (refusal.needed, refusal.available) == (usd("10.000001"), usd("10"))
    assert refusal.short == "0.000001 USD"


def test_a_budget_window_that_nobody_has_opened_is_counted_and_stays_unopened(ledger, clock):
    ledger.reserve("film", usd("1.25"), project="film/teaser")
    ledger.budgets.set("teaser", usd("2"), scope=Scope(project="film/"), window="day")
    answer = asked_of(ledger, "0.8 USD", project="film/teaser")
    assert isinstance(answer.refusal, BudgetError)
    # 2 less the 1.25 that were reserved before the budget was set.
    assert (answer.refusal.reserved, answer.refusal.left) == (usd("1.25"), usd("0.75"))
    assert answer.refusal.frees_at == NOON.replace(hour=0) + timedelta(days=1)
    assert answer.fits == usd("0.75")
    assert asked_of(ledger, "0.8 USD", project="ads") == Admissible(None, usd("8.75"))


def test_a_budget_that_only_warns_refuses_nothing(ledger):
    ledger.budgets.set("told", usd("1"), mode="warn")
    assert asked_of(ledger, "9 USD") == Admissible(None, usd("10"))


def test_the_lower_ceiling_of_caller_and_budget_is_what_fits(ledger):
    ledger.budgets.set("each", usd("100"), ceiling=usd("0.7"))
    refusal = asked_of(ledger, "0.8 USD").refusal
    assert isinstance(refusal, CeilingError)
    assert refusal.budget == "each"
    answer = asked_of(ledger, "0.6 USD", ceiling=usd("0.5"))
    assert isinstance(answer.refusal, CeilingError)
    assert (answer.refusal.budget, answer.fits) == (None, usd("0.5"))
    assert asked_of(ledger, "0.5 USD", ceiling=usd("0.5")) == Admissible(None, usd("0.5"))


def test_a_worth_that_nobody_knows_fits_no_budget_that_counts_dollars(ledger):
    ledger.wallets.create("credits", "crun-credit")
    ledger.wallets.fund("credits", money("500 crun-credit"))
    ledger.budgets.set("dollars", usd("1"), scope=Scope(provider="crun"))
    unknown = Asked("credits", money("100 crun-credit"), Job(provider="crun"))
    answer = ledger.would_admit(unknown)
    assert isinstance(answer.refusal, UnknownWorthError)
    assert answer.fits == money("0 crun-credit")
    # 100 credits worth half a dollar: a dollar is 200 of them.
    known = replace(unknown, job=Job(provider="crun", usd=usd("0.5")))
    assert ledger.would_admit(known) == Admissible(None, money("200 crun-credit"))


def test_what_the_clock_has_ended_counts_as_given_back_and_is_not_ended(ledger, clock):
    ledger.budgets.set("day", usd("8"), window="day")
    held = ledger.reserve("film", usd("7"), expires_at=NOON + HOUR)
    assert asked_of(ledger, "3 USD").fits == usd("1")
    clock.now = NOON + HOUR
    assert asked_of(ledger, "3 USD") == Admissible(None, usd("8"))
    refusal = asked_of(ledger, "8.5 USD").refusal
    assert isinstance(refusal, BudgetError)
    assert refusal.reserved == usd("0")
    assert ledger.reservations.get(held.id).state is State.RESERVED
    clock.now += timedelta(days=1)
    # The window in which it counted is over: the new one has nothing to give back.
    assert asked_of(ledger, "8 USD") == Admissible(None, usd("8"))


def test_a_key_that_has_reserved_before_is_admitted_whatever_is_left(ledger):
    ledger.reserve("film", usd("9"), key="shot-1")
    assert asked_of(ledger, "9 USD", key="shot-1").refusal is None
    assert isinstance(asked_of(ledger, "9 USD", key="shot-2").refusal, InsufficientCreditsError)
    with pytest.raises(ConflictError):
        asked_of(ledger, "8 USD", key="shot-1")


def test_a_cap_that_comes_with_the_job_counts_before_it_is_set(ledger):
    token, _ = ledger.tokens.create("bot", wallet="film", run_limit=usd("1"))
    bound = ledger.tokens.bound(token, Asked("film", usd("1.5")), run="night")
    with unchanged(ledger):
        answer = ledger.would_admit(bound)
    assert isinstance(answer.refusal, BudgetError)
    assert (answer.refusal.budget, answer.fits) == ("run/bot/night", usd("1"))
    with pytest.raises(BudgetError) as caught:
        ledger.reserve_many([bound])
    assert str(caught.value) == str(answer.refusal)
    ledger.reserve_many([replace(bound, amount=usd("0.75"))])
    assert ledger.would_admit(bound).fits == usd("0.25")


def test_what_is_bad_input_to_reserve_is_bad_input_to_ask(ledger):
    ledger.budgets.set("film", usd("2"), scope=Scope(project="film/"))
    with pytest.raises(ConfigError, match="only in capitals"):
        asked_of(ledger, "1 USD", project="Film/teaser")
    with pytest.raises(ConfigError, match="invalid project"):
        asked_of(ledger, "1 USD", project="film//teaser")
    with pytest.raises(AmountError):
        asked_of(ledger, "1 crun-credit")
    with pytest.raises(AmountError):
        asked_of(ledger, "0 USD")
    with pytest.raises(NotFoundError):
        ledger.would_admit(Asked("nobody", usd("1")))


# --- the law -------------------------------------------------------------------------------


@dataclass(slots=True)
class Questions(History):
    """A history in which before each step a job is asked about, then really reserved."""

    admitted: int = 0
    refused: int = 0

    def _step(self, operation: Any) -> None:
        self._set_own_budget()
        self._compare(replace(self.asked(), key=None))
        History._step(self, operation)

    def _set_own_budget(self) -> None:
        """Budgets that plain histories have none of: in another unit, with ceilings."""
        draw = self.random
        if draw.random() < 0.2:
            unit = draw.choice((USD, "evolink-credit"))
            self.ledger.budgets.set(
                f"own-{unit}",
                Money(Decimal(draw.choice((1, 4, 9))), unit),
                ceiling=draw.choice((None, Money(Decimal("0.9"), unit))),
                window="hour",
            )

    def _compare(self, asked: Asked) -> None:
        with unchanged(self.ledger):
            answer = self.ledger.would_admit(asked)
        # First of all: the refusal itself ends what the clock has ended.
        told = self._reserved(asked)
        self._check_bound(asked, answer.fits)
        if answer.refusal is None:
            assert told is None
            self.admitted += 1
        else:
            assert type(told) is type(answer.refusal)
            assert vars(told) == vars(answer.refusal)
            assert str(told) == str(answer.refusal)
            self.refused += 1

    def _check_bound(self, asked: Asked, fits: Money) -> None:
        """What fits is admitted, and a millionth more is refused, each worth its share."""
        if fits.amount > 0:
            assert self._reserved(_at(asked, fits.amount)) is None
        assert isinstance(self._reserved(_at(asked, fits.amount + MILLIONTH)), RefusedError)

    def _reserved(self, asked: Asked) -> RefusedError | None:
        """Reserve and give it back; return the refusal, None where it was admitted."""
        try:
            held = self.ledger.reserve_many([asked])[0]
        except RefusedError as error:
            return error
        self.ledger.roll_back(held.id, "it was only asked for")
        return None


def _at(asked: Asked, amount: Decimal) -> Asked:
    """The same job at another amount; its worth is rounded up, as no part of one is free."""
    worth = asked.job.usd
    if worth is not None:
        share = worth.amount * amount / asked.amount.amount
        worth = Money(share.quantize(MILLIONTH, ROUND_CEILING), USD)
    return replace(
        asked, amount=Money(amount, asked.amount.unit), job=replace(asked.job, usd=worth)
    )


@pytest.mark.parametrize("seed", sampled(range(12), every=3))
def test_the_answer_is_what_reserving_says_in_any_ledger(empty_url, seed):
    clock = Clock(START)
    with Ledger(empty_url, clock=clock, actor="ada", chance=Chance()) as ledger:
        history = Questions(ledger, clock, Random(seed))  # noqa: S311
        history.run()
        assert history.admitted + history.refused == 40
        assert history.refused
        assert ledger.verify().is_clean
