"""The ledger beside a small model of it: whatever is called, both engines do what the rules say.

After every call the model, an SQLite file and a PostgreSQL database agree on the outcome, on every
balance and window and on the journal, and the two databases row by row; a call that is refused
leaves both as they were.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from functools import partial
from itertools import count
from pathlib import Path
from typing import Any, cast

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    precondition,
    rule,
    run_state_machine_as_test,
)

from kling_ledger.ledger import Asked, Change, Job, Ledger, Reservation, Scope, State
from kling_ledger.ledger.ids import from_us, to_us
from kling_pricing import KlingError, Money
from tests.ledger_model import FOLLOWS, ExpectedError, Held, Model, Transfer, window
from tests.ledgers import NOON, SLOTS, Clock, dump, found, make_empty

Amount = int | str
Request = tuple[Amount, Asked, timedelta | None]

CREDIT = "crun-credit"
UNITS = {"team": "USD", "solo": "USD", "crun": CREDIT}
MICROS = (1, 500_000, 1_000_000, 1_000_001, 2_000_000)
LARGEST = 2**53 - 1
MICROSECOND, HOUR, DAY = timedelta(microseconds=1), timedelta(hours=1), timedelta(days=1)
ZONES = (
    "UTC",
    "Europe/Berlin",
    "America/Havana",
    "America/Santiago",
    "Australia/Lord_Howe",
    "Asia/Kolkata",
)
EDGES = tuple(
    datetime(year, month, day, hour, tzinfo=UTC)
    for year, month, day, hour in (
        (2026, 3, 29, 1),  # Berlin: the clocks go forward
        (2026, 3, 31, 22),  # Berlin: the month ends, in UTC not yet
        (2026, 4, 1, 0),
        (2026, 4, 4, 15),  # Lord Howe: back, by half an hour
        (2026, 4, 5, 4),  # Santiago: midnight after the clocks went back
        (2026, 5, 1, 0),
        (2026, 9, 6, 4),  # Santiago: forward, there is no midnight
        (2026, 10, 25, 1),  # Berlin: the clocks go back
        (2026, 11, 1, 5),  # Havana: back, midnight comes twice
        (2027, 1, 1, 0),
        (2028, 2, 29, 0),
        (2028, 3, 1, 0),
    )
)


def often(usual: st.SearchStrategy[Any], *others: Any) -> st.SearchStrategy[Any]:
    """Mostly the usual, now and then something else."""
    return st.integers(0, 9).flatmap(lambda one: usual if one < 9 else st.sampled_from(others))


def money(amount: Amount, unit: str) -> Any:
    """An amount in the unit that is due, or what is no amount there."""
    if isinstance(amount, int):
        return Money.from_micro(amount, unit)
    return 0.5 if amount == "a float" else Money.parse("1 EUR")


wallets = often(st.sampled_from(tuple(UNITS)), "nobody")
units = st.sampled_from(("USD", CREDIT))
amounts = often(st.sampled_from(MICROS), 0, -1, "a float", "another unit")
fundings = amounts | often(st.sampled_from(MICROS), LARGEST)
costs = often(st.sampled_from((0, *MICROS)), -1, 1_000_000_000, "a float", "another unit")
keys = st.sampled_from((None,) * 8 + ("k1", "k2", "k3", "k4", "k5"))
reasons = often(st.just("because"), " ")
places = often(st.integers(0, 3), -1)
tasks = st.sampled_from(("t1", "t2", "t3"))
spans = st.sampled_from((None, None, MICROSECOND, HOUR, DAY))
budgets = st.sampled_from(("all", "film", "crun"))
months = often(st.integers(0, 3), "2026-13", "march")
scopes = st.builds(
    Scope,
    wallet=often(st.none(), "team", "crun", "nobody"),
    project=often(st.none(), "film/", "film", "film/teaser"),
    provider=often(st.none(), "crun"),
    model=often(st.none(), "kling-v3"),
    label=often(st.none(), "shot=a", "shot=A"),
)
jobs = st.builds(
    Job,
    provider=st.sampled_from((None, "crun", "runapi")),
    model=st.sampled_from((None, "kling-v3")),
    usd=often(
        st.sampled_from([money(micro, "USD") for micro in (333_333, *MICROS)]),
        None,
        money(0, "USD"),
        money(-1, "USD"),
        money(1, CREDIT),
    ),
    payload_hash=often(st.none(), "sha256:one", "sha256:two"),
)
askings = st.builds(
    Asked,
    wallet=wallets,
    amount=st.just(money(1, "USD")),
    job=jobs,
    project=often(st.sampled_from((None, "film", "film/teaser", "films")), "cinema", " "),
    labels=st.sampled_from(({}, {"shot": "a"}, {"shot": "A", "cut": "b"})),
    key=keys,
    ceiling=often(st.none(), money(1_000_000, "USD"), money(1_000_000, CREDIT)),
)
requests = st.tuples(amounts, askings, spans)
limits = {
    "limit": st.builds(
        money, often(st.sampled_from((1_000_000, 2_000_000, 6_000_000)), 0, 999_999, -1), units
    ),
    "scope": scopes,
    "window": often(st.sampled_from(("none", "hour", "day", "week", "month")), "year"),
    "timezone": st.sampled_from(ZONES),
    "mode": often(st.just("hard"), "warn"),
    "thresholds": often(st.just((80, 100)), (), (100, 50), (0,)),
    "ceiling": often(st.none(), money(2_000_000, "USD"), money(2_000_000, CREDIT)),
}
steps = often(st.integers(0, 3), *State)
"""One of the states that may follow, by its place; now and then any."""


class LedgerMachine(RuleBasedStateMachine):
    """Calls a model and two ledgers alike, at the same time and with the same chance."""

    def __init__(self, file: Path, server: str, *, slots: int = 0) -> None:
        super().__init__()
        self.slots = slots
        self.clock = Clock(NOON)
        self.calls = count(1)
        self.drawn = count()
        make_empty(server, slots=slots)
        self.model = Model(self.clock, self.chance)
        self.ledgers = [
            Ledger(url, clock=self.clock, chance=self.chance, actor="tester")
            for url in (str(file), server)
        ]
        self.dumps = [dump(ledger) for ledger in self.ledgers]
        self.asked: list[list[Asked]] = []
        self.changed: list[list[Change]] = []

    def chance(self, bits: int) -> int:
        """Draw the next number of this call: the same ones in the model and in each ledger."""
        number: int = next(self.drawn) % 2**bits
        return number

    def teardown(self) -> None:
        verifications = [ledger.verify() for ledger in self.ledgers]
        for ledger in self.ledgers:
            ledger.close()
        assert all(one.is_clean for one in verifications), verifications

    # --- a call, and what is compared after it

    def call(self, on_model: Callable[[Model], Any], on_ledger: Callable[[Ledger], Any]) -> None:
        start = next(self.calls) * 10_000
        self.drawn = count(start, 100)
        expected = outcome(lambda: self.model.call(lambda: on_model(self.model)))
        shown = []
        for place, ledger in enumerate(self.ledgers):
            self.drawn = count(start, 100)
            got = outcome(partial(on_ledger, ledger))
            self.agree(expected, got)
            after = dump(ledger)
            if isinstance(got, KlingError):
                assert after == self.dumps[place], "a refused call changed something"
            self.dumps[place] = after
            shown.append(repr(got))
        assert shown[0] == shown[1]
        self.compare()

    def agree(self, expected: Any, got: Any) -> None:
        """One outcome is what the model says: an error and its facts, or the reservations."""
        if isinstance(expected, ExpectedError):
            assert type(got).__name__ == expected.error, (expected, got)
            for name, fact in expected.facts.items():
                said = got.field in fact if name == "fields" else getattr(got, name) == fact
                assert said, (name, fact, got)
            if expected.error == "BudgetError":
                self.check_end(got.budget, got.frees_at)
        elif isinstance(expected, list):
            assert isinstance(got, list), (expected, got)
            for one, other in zip(expected, got, strict=True):
                self.agree(one, other)
        elif expected is None:
            assert not isinstance(got, Exception), got
        else:
            one, warnings = expected
            assert seen(got) == modelled(one), (one, got)
            passed = [(w.budget, w.threshold, w.used.micro, w.limit.micro) for w in got.warnings]
            assert passed == warnings

    def check_end(self, name: str, ends_at: datetime | None) -> None:
        """A window ends just where another begins."""
        budget = self.model.books.budgets[name]
        if ends_at is None:
            assert budget.window == "none"
        else:
            now = window(budget, self.clock.now)
            assert window(budget, ends_at - MICROSECOND) == now != window(budget, ends_at)

    def compare(self) -> None:
        assert self.dumps[0] == self.dumps[1]
        model, books = self.model, self.model.books
        ledger = self.ledgers[0]
        verification = ledger.verify()
        assert verification.is_clean, verification.findings
        assert {
            one.name: tuple(
                money.micro for money in (one.funded, one.adjusted, one.posted, one.reserved)
            )
            for one in ledger.wallets.all()
        } == {
            name: (one.funded, one.adjusted, model.posted(name), model.reserved(name))
            for name, one in books.wallets.items()
        }
        assert {
            one.budget.name: (one.limit.micro, one.reserved.micro, one.spent.micro)
            for one in ledger.budgets.all()
        } == {
            name: (model.limit(one), *model.figures(one, model.now))
            for name, one in books.budgets.items()
        }
        assert [seen(one) for one in sorted(ledger.reservations.latest(limit=1000), key=by_id)] == [
            modelled(one) for one in sorted(books.reservations.values(), key=by_id)
        ]
        assert {
            one.name: (
                one.state,
                one.transfers,
                {held.reservation_id: held.amount.micro for held in one.accruals},
            )
            for one in ledger.periods.all()
        } == {
            name: (month.state, month.transfers, month.accruals)
            for name, month in books.months.items()
        }
        self.compare_windows()
        self.compare_journals()

    def compare_windows(self) -> None:
        """Every window that was ever opened, not only the one of now."""
        query = (
            "SELECT budget.name, starts_at, held_micro, spent_micro FROM budget_window"
            " JOIN budget ON budget.id = budget_id WHERE removed_at IS NULL"
        )
        for row in found(self.ledgers[0], query):
            budget = self.model.books.budgets[row["name"]]
            at = self.clock.now if budget.window == "none" else from_us(row["starts_at"])
            figures = (row["held_micro"], row["spent_micro"])
            assert figures == self.model.figures(budget, at), row

    def compare_journals(self) -> None:
        journals = [list(ledger.canonical_journal()) for ledger in self.ledgers]
        assert journals[0] == journals[1]
        lines = [json.loads(line) for line in journals[0]]
        transfers = [line for line in lines if line[0].startswith("txf_")]
        wallets = {one.id: name for name, one in self.model.books.wallets.items()}
        assert [
            Transfer(own, kind, amount, wallets[wallet], of, period, corrects, from_us(at_us))
            for own, kind, _, _, amount, _, wallet, of, period, corrects, _, _, at_us in transfers
        ] == sorted(self.model.books.transfers, key=by_id)
        steps: dict[str, list[Any]] = {}
        for one, before, after, at in self.model.books.events:
            known = steps.setdefault(one, [])
            known.append([one, len(known) + 1, before, after, to_us(at)])
        events = [[*line[:4], line[6]] for line in lines[len(transfers) :]]
        assert events == [event for one in sorted(steps) for event in steps[one]]

    # --- wallets

    @initialize(
        first=st.fixed_dictionaries(limits),
        second=st.fixed_dictionaries(limits),
        some=st.lists(requests, min_size=2, max_size=4),
    )
    def begin(self, first: dict[str, Any], second: dict[str, Any], some: Sequence[Request]) -> None:
        for name, unit in UNITS.items():
            self.create_wallet(name, unit)
            self.fund(name, 4_000_000, None)
        self.set_budget("all", first)
        self.set_budget("film", second)
        for one in some:
            self.reserve(one)

    @rule(name=st.sampled_from((*UNITS, "new")), unit=units)
    def create_wallet(self, name: str, unit: str) -> None:
        self.call(
            lambda model: model.create_wallet(name, unit),
            lambda ledger: ledger.wallets.create(name, unit),
        )

    @rule(name=wallets, amount=fundings, key=keys)
    def fund(self, name: str, amount: Amount, key: str | None) -> None:
        given = money(amount, UNITS.get(name, "USD"))
        self.call(
            lambda model: model.fund_wallet(name, given, key=key),
            lambda ledger: ledger.wallets.fund(name, given, key=key),
        )

    @rule(
        name=wallets,
        amount=fundings,
        sign=st.sampled_from((1, -1)),
        reason=reasons,
        key=keys,
        corrects=st.none() | months,
    )
    def adjust(
        self,
        name: str,
        amount: Amount,
        sign: int,
        reason: str,
        key: str | None,
        corrects: int | str | None,
    ) -> None:
        given = money(amount * sign if isinstance(amount, int) else amount, UNITS.get(name, "USD"))
        said: dict[str, Any] = {
            "reason": reason,
            "key": key,
            "corrects": None if corrects is None else self.month(corrects, self.closed()),
        }
        self.call(
            lambda model: model.adjust_wallet(name, given, **said),
            lambda ledger: ledger.wallets.adjust(name, given, **said),
        )

    # --- budgets

    @rule(name=budgets, said=st.fixed_dictionaries(limits))
    def set_budget(self, name: str, said: dict[str, Any]) -> None:
        self.call(
            lambda model: model.set_budget(name, **said),
            lambda ledger: ledger.budgets.set(name, **said),
        )

    @precondition(lambda self: self.model.books.budgets)
    @rule(name=budgets, limit=st.integers(0, 8), mode=st.sampled_from(("hard", "warn")))
    def change_budget(self, name: str, limit: int, mode: str) -> None:
        """The same budget with another limit: a new one would mostly differ in its scope."""
        known = self.model.books.budgets.get(name)
        if known is not None:
            given = money(limit * 500_000, known.limit.unit)
            fields = ("scope", "window", "timezone", "thresholds", "ceiling")
            said = {field: getattr(known, field) for field in fields}
            self.set_budget(name, {**said, "limit": given, "mode": mode})

    @precondition(lambda self: self.model.books.budgets)
    @rule(name=budgets, amount=amounts, unit=units, span=spans, reason=reasons)
    def raise_budget(
        self, name: str, amount: Amount, unit: str, span: timedelta | None, reason: str
    ) -> None:
        given = money(amount, unit)
        until = self.clock.now + (span or timedelta(0))
        self.call(
            lambda model: model.raise_budget(name, given, until=until, reason=reason),
            lambda ledger: ledger.budgets.raise_limit(name, given, until=until, reason=reason),
        )

    @precondition(lambda self: self.model.books.budgets)
    @rule(name=budgets)
    def remove_budget(self, name: str) -> None:
        self.call(
            lambda model: model.remove_budget(name), lambda ledger: ledger.budgets.remove(name)
        )

    # --- reservations

    @rule(some=st.lists(requests, min_size=2, max_size=5))
    def reserve_one_by_one(self, some: Sequence[Request]) -> None:
        for one in some:
            self.reserve(one)

    def reserve(self, one: Request) -> None:
        asked = self.asking(one)
        self.asked.append([asked])
        # A cap and an approval come with jobs of tokens alone, which are asked for as `Asked`.
        names = Asked.__dataclass_fields__.keys() - {"cap", "approval"}
        said: dict[str, Any] = {name: getattr(asked, name) for name in names}
        self.call(
            lambda model: model.reserve_many([asked])[0], lambda ledger: ledger.reserve(**said)
        )

    @rule(some=st.lists(requests, max_size=5), is_each=st.booleans())
    def reserve_batch(self, some: Sequence[Request], is_each: bool) -> None:
        asked = [self.asking(one) for one in some]
        self.asked.append(asked)
        self.reserve_again(asked, is_each)

    def reserve_again(self, asked: Sequence[Asked], is_each: bool) -> None:
        name = "reserve_each" if is_each else "reserve_many"
        self.call(
            lambda model: getattr(model, name)(asked), lambda ledger: getattr(ledger, name)(asked)
        )

    @precondition(lambda self: self.asked)
    @rule(place=st.integers(0, 5), is_each=st.booleans())
    def reserve_the_same(self, place: int, is_each: bool) -> None:
        self.reserve_again(self.asked[-1 - place % len(self.asked)], is_each)

    @precondition(lambda self: self.asked)
    @rule(place=st.integers(0, 5), amount=amounts)
    def reserve_the_same_for_another_amount(self, place: int, amount: Amount) -> None:
        asked = self.asked[-1 - place % len(self.asked)]
        given = [replace(one, amount=money(amount, UNITS.get(one.wallet, "USD"))) for one in asked]
        self.reserve_again(given, is_each=False)

    @precondition(lambda self: self.model.books.reservations)
    @rule(some=st.lists(st.tuples(places, steps, tasks, costs, keys), min_size=1, max_size=5))
    def move_one_by_one(self, some: Sequence[Any]) -> None:
        for one in some:
            self.move(*one)

    def move(self, place: int, step: int | State, task: str, cost: Amount, key: str | None) -> None:
        one = self.reservation(place)
        to = self.state_after(one, step)
        given = self.cost(one, cost)
        change, on_ledger = moves(one, task, given, key).get(
            to, (Change(one, to), lambda ledger: ledger.settle([Change(one, to)]))
        )
        self.change([change], on_ledger)

    @precondition(lambda self: self.model.books.reservations)
    @rule(place=places, cost=costs, key=keys)
    def commit_a_part(self, place: int, cost: Amount, key: str | None) -> None:
        one = self.reservation(place)
        given = self.cost(one, cost)
        self.change(
            [Change(one, State.COMMITTED, given, is_part=True, key=key)],
            lambda ledger: ledger.commit(one, given, is_part=True, key=key),
        )

    @precondition(lambda self: self.spending())
    @rule(place=places, cost=costs, key=keys)
    def refund(self, place: int, cost: Amount, key: str | None) -> None:
        one = self.reservation(place, self.spending())
        given = self.cost(one, cost)
        self.change(
            [Change(one, None, given, key=key)],
            lambda ledger: ledger.refund(one, given, reason="they did", key=key),
        )

    @precondition(lambda self: self.model.books.reservations)
    @rule(place=places, cost=costs, key=keys)
    def correct(self, place: int, cost: Amount, key: str | None) -> None:
        one = self.reservation(place)
        given = self.cost(one, cost)
        self.change(
            [Change(one, None, given, is_correction=True, key=key)],
            lambda ledger: ledger.correct(one, given, reason="the bill says so", key=key),
        )

    @precondition(lambda self: self.model.books.reservations)
    @rule(
        said=st.lists(
            st.tuples(
                places,
                steps,
                st.sampled_from(("whole", "whole", "part", "refund")),
                costs,
                tasks,
                often(st.none(), State.RESERVED, State.SUBMITTING),
                keys,
            ),
            min_size=1,
            max_size=5,
        )
    )
    def settle(self, said: Sequence[Any]) -> None:
        changes = []
        for place, step, kind, cost, task, only_from, key in said:
            one = self.reservation(place)
            to = {"part": State.COMMITTED, "refund": None}.get(kind, self.state_after(one, step))
            changes.append(
                Change(
                    one,
                    to,
                    self.cost(one, cost) if to in {State.COMMITTED, None} else None,
                    is_part=kind == "part",
                    task_id=task if to is State.SUBMITTED else None,
                    only_from=only_from,
                    key=key,
                )
            )
        self.change(changes, lambda ledger: ledger.settle(changes))

    @precondition(lambda self: self.changed)
    @rule(place=st.integers(0, 5))
    def settle_the_same(self, place: int) -> None:
        changes = self.changed[-1 - place % len(self.changed)]
        self.change(changes, lambda ledger: ledger.settle(changes))

    @precondition(lambda self: self.changed)
    @rule(place=st.integers(0, 5), cost=costs)
    def settle_the_same_for_another_cost(self, place: int, cost: Amount) -> None:
        changes = [
            one if one.amount is None else replace(one, amount=self.cost(one.reservation_id, cost))
            for one in self.changed[-1 - place % len(self.changed)]
        ]
        self.change(changes, lambda ledger: ledger.settle(changes))

    @precondition(lambda self: any(one.asked.expires_at for one in self.waiting()))
    @rule()
    def expire(self) -> None:
        self.call(lambda model: model.expire(), lambda ledger: ledger.expire())

    def change(self, changes: list[Change], on_ledger: Callable[[Ledger], Any]) -> None:
        self.changed.append(changes)
        self.call(
            lambda model: model.settle(changes),
            lambda ledger: as_list(on_ledger(ledger)),
        )

    # --- months

    @rule(month=months, hard=st.booleans())
    def close(self, month: int | str, hard: bool) -> None:
        name = self.month(month)
        self.call(
            lambda model: model.close_period(name, hard=hard),
            lambda ledger: ledger.periods.close(name, hard=hard),
        )

    @precondition(lambda self: self.model.books.months)
    @rule(month=months)
    def reopen(self, month: int | str) -> None:
        name = self.month(month, self.closed())
        self.call(
            lambda model: model.reopen_period(name, reason="a bill came"),
            lambda ledger: ledger.periods.reopen(name, reason="a bill came"),
        )

    # --- the clock

    @precondition(lambda self: self.slots)
    @rule(slots=st.integers(0, 4))
    def use_slots(self, slots: int) -> None:
        """Only on the server, where nothing else changes by it."""
        self.ledgers[1].use_slots(slots)
        assert dump(self.ledgers[1]) == self.dumps[1]

    @rule(step=st.sampled_from((20 * HOUR / 60, HOUR, DAY, 32 * DAY, -HOUR, -DAY, -40 * DAY)))
    def set_clock(self, step: timedelta) -> None:
        self.clock.now += step

    @rule(skip=st.integers(0, 2), beside=st.sampled_from((-1, 0, 1)), is_expiry=st.booleans())
    def set_clock_to_an_edge(self, skip: int, beside: int, is_expiry: bool) -> None:
        """To where a day, month or zone changes, or a reservation's time is over."""
        ends = [one.asked.expires_at for one in self.waiting() if one.asked.expires_at]
        coming = sorted(at for at in (ends if is_expiry else EDGES) if at > self.clock.now)
        if coming:
            self.clock.now = coming[skip % len(coming)] + beside * MICROSECOND

    # --- what is spoken of

    def asking(self, one: Request) -> Asked:
        amount, asked, span = one
        given = money(amount, UNITS.get(asked.wallet, "USD"))
        expires_at = None if span is None else self.clock.now + span
        return replace(asked, amount=given, expires_at=expires_at)

    def reservation(self, place: int, among: Sequence[str] = ()) -> str:
        known = among or list(self.model.books.reservations)
        return known[-1 - place % len(known)] if known and place >= 0 else "res_nobody"

    def waiting(self) -> list[Held]:
        return [one for one in self.model.books.reservations.values() if one.state == "reserved"]

    def spending(self) -> list[str]:
        return [name for name, one in self.model.books.reservations.items() if one.spent]

    def state_after(self, one: str, step: int | State) -> State:
        """A state that may follow that of a reservation, by its place among them, or any."""
        if isinstance(step, State):
            return step
        known = self.model.books.reservations.get(one)
        following = FOLLOWS[known.state] if known else ()
        return State(following[step % len(following)]) if following else State.COMMITTED

    def cost(self, one: str, cost: Amount) -> Any:
        known = self.model.books.reservations.get(one)
        return money(cost, "USD" if known is None else known.unit)

    def closed(self) -> list[str]:
        return [name for name, month in self.model.books.months.items() if month.state != "open"]

    def month(self, month: int | str, among: Sequence[str] = ()) -> str:
        """The name of one of some months, or of the month so many months ago."""
        if isinstance(month, str):
            return month
        if among:
            return among[month % len(among)]
        months = self.clock.now.year * 12 + self.clock.now.month - 1 - month
        return f"{months // 12}-{months % 12 + 1:02}"


def outcome(operation: Callable[[], Any]) -> Any:
    try:
        return operation()
    except (KlingError, ExpectedError) as error:
        return error


def moves(
    one: str, task: str, cost: Any, key: str | None
) -> dict[State, tuple[Change, Callable[[Ledger], Any]]]:
    """A change to each state, and the method of the ledger that makes it."""
    return {
        State.SUBMITTING: (
            Change(one, State.SUBMITTING),
            lambda ledger: ledger.mark_submitting(one),
        ),
        State.SUBMITTED: (
            Change(one, State.SUBMITTED, task_id=task),
            lambda ledger: ledger.mark_submitted(one, task),
        ),
        State.IN_DOUBT: (
            Change(one, State.IN_DOUBT),
            lambda ledger: ledger.mark_in_doubt(one, "silence"),
        ),
        State.COMMITTED: (
            Change(one, State.COMMITTED, cost, key=key),
            lambda ledger: ledger.commit(one, cost, key=key),
        ),
        State.ROLLED_BACK: (
            Change(one, State.ROLLED_BACK, key=key),
            lambda ledger: ledger.roll_back(one, "it failed", key=key),
        ),
    }


def as_list(result: Any) -> list[Any]:
    return result if isinstance(result, list) else [result]


def by_id(one: Any) -> str:
    return str(one.id)


def seen(one: Reservation) -> tuple[Any, ...]:
    return (
        one.id,
        one.wallet,
        str(one.state),
        one.amount.micro,
        one.held.micro,
        None if one.committed is None else one.committed.micro,
        one.refunded.micro,
        one.task_id,
        one.created_at,
        one.updated_at,
    )


def modelled(one: Any) -> tuple[Any, ...]:
    return (
        one.id,
        one.asked.wallet,
        one.state,
        one.asked.amount.micro,
        one.held,
        one.committed,
        one.refunded,
        one.task,
        one.at,
        one.changed,
    )


@pytest.fixture(params=[0, SLOTS], ids=["", "slots"])
def check(
    tmp_path: Path, postgres_ledger: str, request: pytest.FixtureRequest
) -> Callable[..., None]:
    """Run the machine, each time with ledgers that are empty; on the server also with slots."""
    template = tmp_path / "template.sqlite"
    Ledger(str(template)).close()
    files = count()

    def machine() -> LedgerMachine:
        file = tmp_path / f"{next(files)}.sqlite"
        shutil.copy(template, file)
        return LedgerMachine(file, postgres_ledger, slots=request.param)

    return partial(run_state_machine_as_test, cast("type[LedgerMachine]", machine))


SIZE = settings(
    database=None,
    print_blob=True,
    suppress_health_check=list(HealthCheck),
    stateful_step_count=40,
)


def test_model_and_both_engines_agree_after_every_call(check: Callable[..., None]) -> None:
    check(settings=settings(SIZE, max_examples=12, derandomize=True))


@pytest.mark.slow
def test_model_and_both_engines_agree_in_many_more_histories(
    check: Callable[..., None],
) -> None:
    check(settings=settings(SIZE, max_examples=2000, stateful_step_count=60))
