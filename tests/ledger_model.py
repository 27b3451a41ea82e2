"""A small ledger in memory, written from the rules alone: what the real ones are compared with.

It keeps reservations and the journal, and works everything else out of them each time: a balance, a
window or a month is never counted up, so that no count can be wrong. Its methods are called as
those of `Ledger` are; inside, amounts are whole millionths. A call that fails undoes all it did.
"""

from __future__ import annotations

import copy
import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from fractions import Fraction
from math import floor
from typing import Any, TypeVar
from zoneinfo import ZoneInfo

from kling_ledger.ledger import Asked, Change, Scope
from kling_ledger.ledger.ids import Prefix, new_id, numbers, to_us
from kling_pricing import Money

MAX = 2**53 - 1
OPEN = ("reserved", "submitting", "submitted", "in_doubt")
FOLLOWS = {
    "reserved": ("submitting", "committed", "rolled_back", "expired"),
    "submitting": ("submitted", "committed", "rolled_back", "in_doubt"),
    "submitted": ("committed", "rolled_back", "in_doubt"),
    "in_doubt": ("submitted", "committed", "rolled_back"),
    "rolled_back": ("committed",),
    "expired": ("committed",),
    "committed": (),
}
WINDOWS = ("none", "hour", "day", "week", "month")
HOLDING = {"reserve": 1, "commit": -1, "return": -1, "roll_back": -1, "expire": -1}
REFUSED = ("InsufficientCreditsError", "BudgetError", "CeilingError", "UnknownWorthError")

Content = dict[str, Any]
Result = TypeVar("Result")
Warned = tuple[str, int, int, int]
"""A budget, the percentage that was passed, what is used, and the limit."""


class ExpectedError(Exception):
    """What a call must fail with: the name of the error's class, and its facts."""

    def __init__(self, error: str, **facts: Any) -> None:
        super().__init__(error, facts)
        self.error = error
        self.facts = facts


@dataclass
class Wallet:
    id: str
    unit: str
    funded: int = 0
    adjusted: int = 0


@dataclass
class Budget:
    id: str
    limit: Money
    scope: Scope
    window: str
    timezone: str
    mode: str
    thresholds: Sequence[int]
    ceiling: Money | None
    raises: list[tuple[int, datetime]] = field(default_factory=list)

    @property
    def unchangeable(self) -> dict[str, Any]:
        own = {"unit": self.limit.unit, "window": self.window, "timezone": self.timezone}
        return own | {name: getattr(self.scope, name) for name in Scope.__dataclass_fields__}


@dataclass
class Held:
    """A reservation: what was asked for, and what became of it."""

    id: str
    asked: Asked
    at: datetime
    changed: datetime
    held: int
    ended: datetime | None = None
    state: str = "reserved"
    committed: int | None = None
    refunded: int = 0
    task: str | None = None

    @property
    def unit(self) -> str:
        return self.asked.amount.unit

    @property
    def spent(self) -> int:
        return (self.committed or 0) - self.refunded

    def worth(self, unit: str, amount: int) -> int | None:
        """An amount of it in a budget's unit: at its own rate, to the nearest millionth."""
        if unit == self.unit:
            return amount
        usd = self.asked.job.usd
        if usd is None:
            return None
        return floor(Fraction(usd.micro * amount, self.asked.amount.micro) + Fraction(1, 2))


Outcome = tuple[Held, list[Warned]]


@dataclass
class Month:
    state: str
    transfers: int | None
    accruals: dict[str, int]


@dataclass
class Transfer:
    id: str
    kind: str
    amount: int
    wallet: str
    reservation: str | None
    period: str
    corrects: str | None
    at: datetime


@dataclass
class Books:
    """All that the ledger knows."""

    wallets: dict[str, Wallet] = field(default_factory=dict)
    budgets: dict[str, Budget] = field(default_factory=dict)
    reservations: dict[str, Held] = field(default_factory=dict)
    months: dict[str, Month] = field(default_factory=dict)
    transfers: list[Transfer] = field(default_factory=list)
    events: list[tuple[str, str | None, str, datetime]] = field(default_factory=list)
    keys: dict[str | None, tuple[Content, str]] = field(default_factory=dict)


class Model:
    """The ledger. `chance` makes the ids, in the same way as the real one's."""

    def __init__(self, clock: Callable[[], datetime], chance: Callable[[int], int]) -> None:
        self.books = Books()
        self._clock = clock
        self._chance = chance

    def call(self, operation: Callable[[], Result]) -> Result:
        """Run an operation; what it did is undone if it fails."""
        before = copy.deepcopy(self.books)
        try:
            return operation()
        except ExpectedError:
            self.books = before
            raise

    @property
    def now(self) -> datetime:
        return self._clock()

    # --- wallets

    def create_wallet(self, name: str, unit: str) -> None:
        self._begin()
        require(re.fullmatch(r"[a-z]+", name) is not None, "ConfigError")
        known = self.books.wallets.get(name)
        if known is not None:
            check_same({"unit": known.unit}, {"unit": unit})
        else:
            self.books.wallets[name] = Wallet(self._new_id("wal"), unit)

    def fund_wallet(self, name: str, amount: Money, *, key: str | None = None) -> None:
        self._begin()
        wallet = self._wallet(name)
        content = {"operation": "fund", "wallet": name, "amount": str(amount)}
        if self._earlier(key, content) is None:
            check_unit(amount, wallet.unit)
            require(amount.micro > 0, "AmountError")
            wallet.funded += amount.micro
            self._check_bound(name, wallet.funded)
            self._transfer("fund", amount.micro, name)
            self._remember(key, content, wallet.id)

    def adjust_wallet(
        self,
        name: str,
        amount: Money,
        *,
        reason: str,
        key: str | None = None,
        corrects: str | None = None,
    ) -> None:
        self._begin()
        period = self._correcting(corrects)
        wallet = self._wallet(name)
        content: Content = {"operation": "adjust", "wallet": name, "corrects": corrects}
        content["amount"] = str(amount)
        if self._earlier(key, content) is None:
            check_unit(amount, wallet.unit)
            require(reason.strip() != "", "ConfigError")
            require(amount.micro != 0, "AmountError")
            wallet.adjusted += amount.micro
            self._check_bound(name, wallet.adjusted)
            kind = "adjust" if amount.micro > 0 else "adjust_down"
            self._transfer(kind, abs(amount.micro), name, period=period, corrects=corrects)
            self._remember(key, content, wallet.id)

    def _check_bound(self, name: str, moved: int) -> None:
        wallet = self.books.wallets[name]
        given = wallet.funded + wallet.adjusted
        figures = (moved, given, self.posted(name), self.available(name))
        require(all(abs(figure) <= MAX for figure in figures), "AmountError")

    def _wallet(self, name: str) -> Wallet:
        require(name in self.books.wallets, "NotFoundError")
        return self.books.wallets[name]

    def _of(self, wallet: str) -> Iterable[Held]:
        return (one for one in self.books.reservations.values() if one.asked.wallet == wallet)

    def spent(self, name: str) -> int:
        return sum(one.spent for one in self._of(name))

    def posted(self, name: str) -> int:
        wallet = self.books.wallets[name]
        return wallet.funded + wallet.adjusted - self.spent(name)

    def reserved(self, name: str) -> int:
        return sum(one.held for one in self._of(name))

    def available(self, name: str) -> int:
        return self.posted(name) - self.reserved(name)

    # --- budgets

    def set_budget(self, name: str, limit: Money, **said: Any) -> None:
        self._begin()
        check_unit(limit, None)
        require(limit.micro >= 0, "AmountError")
        new = Budget("", limit, **said)
        if new.ceiling is not None:
            check_unit(new.ceiling, limit.unit)
            require(new.ceiling.micro >= 0, "AmountError")
        require(new.window in WINDOWS, "ConfigError")
        require(all(0 < percent <= 1000 for percent in new.thresholds), "ConfigError")
        if new.scope.wallet is not None:
            self._wallet(new.scope.wallet)
        known = self.books.budgets.get(name)
        if known is not None:
            check_same(known.unchangeable, new.unchangeable)
            new.raises = known.raises
        new.id = self._new_id("bud") if known is None else known.id
        self.books.budgets[name] = new

    def raise_budget(self, name: str, amount: Money, *, until: datetime, reason: str) -> None:
        self._begin()
        budget = self._budget(name)
        check_unit(amount, budget.limit.unit)
        require(amount.micro > 0, "AmountError")
        require(reason.strip() != "" and until > self.now, "ConfigError")
        budget.raises.append((amount.micro, until))

    def remove_budget(self, name: str) -> None:
        self._begin()
        self._budget(name)
        del self.books.budgets[name]

    def _budget(self, name: str) -> Budget:
        require(name in self.books.budgets, "NotFoundError")
        return self.books.budgets[name]

    def limit(self, budget: Budget) -> int:
        return budget.limit.micro + sum(micro for micro, until in budget.raises if self.now < until)

    def figures(self, budget: Budget, at: datetime) -> tuple[int, int]:
        """What the window of an instant holds and has spent, by the reservations it admitted."""
        inside = [
            one
            for one in self.books.reservations.values()
            if covers(budget, one) and window(budget, one.at) == window(budget, at)
        ]
        unit = budget.limit.unit
        held = sum(one.worth(unit, one.held) or 0 for one in inside)
        return held, sum(one.worth(unit, one.spent) or 0 for one in inside)

    def used(self, budget: Budget) -> int:
        return sum(self.figures(budget, self.now))

    def _covering(self, fresh: Sequence[Held]) -> list[tuple[str, Budget]]:
        """The budgets that cover any of some reservations, the oldest first."""
        budgets = sorted(self.books.budgets.items(), key=lambda item: item[1].id)
        return [item for item in budgets if any(covers(item[1], one) for one in fresh)]

    # --- admission

    def reserve_many(self, asked: Sequence[Asked]) -> list[Outcome]:
        """All or none. Before any is refused for good, what the clock has ended goes back."""
        for one in asked:
            self._wallet(one.wallet)
        chance = self._begin()
        try:
            return self.call(lambda: self._admit(asked, chance))
        except ExpectedError as failure:
            if failure.error not in REFUSED or not self._due():
                raise
        self.expire()
        return self._admit(asked, chance)

    def reserve_each(self, asked: Sequence[Asked]) -> list[Outcome | ExpectedError]:
        """All if they fit together, else one after another, each admitted or refused."""
        for one in asked:
            self._wallet(one.wallet)
        chance = self._begin()
        outcomes = self._each(asked, chance)
        refused = [n for n, one in enumerate(outcomes) if isinstance(one, ExpectedError)]
        if refused and self._due():
            self.expire()
            rest = self._each([asked[n] for n in refused], chance + len(asked))
            for n, outcome in zip(refused, rest, strict=True):
                outcomes[n] = outcome
        return outcomes

    def _each(self, asked: Sequence[Asked], chance: int) -> list[Outcome | ExpectedError]:
        together = self._try(asked, chance)
        if not isinstance(together, ExpectedError):
            return list(together)
        alone = [self._try([one], chance + place) for place, one in enumerate(asked)]
        return [one if isinstance(one, ExpectedError) else one[0] for one in alone]

    def _try(self, asked: Sequence[Asked], chance: int) -> list[Outcome] | ExpectedError:
        try:
            return self.call(lambda: self._admit(asked, chance))
        except ExpectedError as failure:
            if failure.error not in REFUSED:
                raise
            return failure

    def _admit(self, asked: Sequence[Asked], chance: int) -> list[Outcome]:
        """Let them all in, one after another; then see whether all limits still hold."""
        self._begin(chance)
        fresh: dict[str, Held] = {}
        places: list[str] = []
        for one in asked:
            earlier = self._earlier(one.key, asked_content(one))
            if earlier is None:
                check_asked(one, self._wallet(one.wallet).unit)
                earlier = self._new_id("res")
                fresh[earlier] = Held(earlier, one, self.now, self.now, one.amount.micro)
                self._transfer("reserve", one.amount.micro, one.wallet, fresh[earlier])
                self._remember(one.key, asked_content(one), earlier)
            places.append(earlier)
        for new in fresh.values():
            self._check_ceilings(new)
        warnings = {new.id: self._let_in(new) for new in fresh.values()}
        self._check_limits(list(fresh.values()))
        return [(self.books.reservations[place], warnings.pop(place, [])) for place in places]

    def _check_ceilings(self, one: Held) -> None:
        for name, budget in self._covering([one]):
            cost = one.worth(budget.limit.unit, one.held)
            if budget.mode == "warn":
                continue
            if cost is None:
                raise ExpectedError("UnknownWorthError", budget=name)
            if budget.ceiling is not None and cost > budget.ceiling.micro:
                money = Money.from_micro(cost, budget.limit.unit)
                raise ExpectedError("CeilingError", cost=money, ceiling=budget.ceiling, budget=name)

    def _let_in(self, one: Held) -> list[Warned]:
        """Set it aside, and tell of every threshold that is passed by it."""
        before = {name: self.used(budget) for name, budget in self._covering([one])}
        self.books.reservations[one.id] = one
        self.books.events.append((one.id, None, "reserved", self.now))
        warnings: list[Warned] = []
        for name, budget in self._covering([one]):
            limit, used = self.limit(budget), self.used(budget)
            warnings += [
                (name, percent, used, limit)
                for percent in sorted(set(budget.thresholds))
                if before[name] * 100 < percent * limit <= used * 100
            ]
            cost = one.worth(budget.limit.unit, one.held)
            is_dear = cost is None or (budget.ceiling is not None and cost > budget.ceiling.micro)
            if budget.mode == "warn" and is_dear:
                warnings.append((name, 100, cost or 0, limit))
        return warnings

    def _check_limits(self, fresh: Sequence[Held]) -> None:
        """Refuse if a hard budget or a wallet is beyond what it has, with them all let in."""
        for name, budget in self._covering(fresh):
            if budget.mode == "hard" and self.used(budget) > self.limit(budget):
                raise self._budget_refuses(name, budget, fresh)
        wallets = {one.asked.wallet for one in fresh}
        for wallet in sorted(wallets, key=lambda name: self.books.wallets[name].id):
            if self.available(wallet) < 0:
                needed = sum(one.held for one in fresh if one.asked.wallet == wallet)
                unit = self.books.wallets[wallet].unit
                raise ExpectedError(
                    "InsufficientCreditsError",
                    wallet=wallet,
                    needed=Money.from_micro(needed, unit),
                    available=Money.from_micro(self.available(wallet) + needed, unit),
                    **self._fits(fresh),
                )

    def _budget_refuses(self, name: str, budget: Budget, fresh: Sequence[Held]) -> ExpectedError:
        unit = budget.limit.unit
        asked = sum(one.worth(unit, one.held) or 0 for one in fresh if covers(budget, one))
        held, was_spent = self.figures(budget, self.now)
        return ExpectedError(
            "BudgetError",
            budget=name,
            limit=Money.from_micro(self.limit(budget), unit),
            spent=Money.from_micro(was_spent, unit),
            reserved=Money.from_micro(held - asked, unit),
            asked=Money.from_micro(asked, unit),
            left=Money.from_micro(self.limit(budget) - self.used(budget) + asked, unit),
            **self._fits(fresh),
        )

    def _fits(self, fresh: Sequence[Held]) -> dict[str, Any]:
        """What would fit in the place of a single job: what wallet and budgets all have left."""
        if len(fresh) > 1:
            return {}
        one = fresh[0]
        bounds = [self.available(one.asked.wallet) + one.held]
        for _, budget in self._covering(fresh):
            if budget.mode == "warn":
                continue
            cost = one.worth(budget.limit.unit, one.held) or 0
            lefts = [] if budget.ceiling is None else [budget.ceiling.micro]
            lefts.append(self.limit(budget) - self.used(budget) + cost)
            bounds += [floor(Fraction(left * one.held, cost)) for left in lefts if cost]
            bounds += [0 for left in lefts if not cost and left < 0]
        return {"fits": Money.from_micro(max(min(bounds), 0), one.unit)}

    # --- settlement

    def settle(self, changes: Sequence[Change]) -> list[Outcome]:
        self._begin()
        known = self.books.reservations
        self._written = list(self.books.transfers)
        self._ended_now: dict[str, int] = {}
        require(all(change.reservation_id in known for change in changes), "NotFoundError")
        for change in changes:
            self._change(change, known[change.reservation_id])
        for name in self.books.wallets:
            require(self.spent(name) <= MAX and self.available(name) >= -MAX, "AmountError")
        return [(known[change.reservation_id], []) for change in changes]

    def expire(self) -> list[Outcome]:
        """End everything that the clock has ended."""
        self._begin()
        due = self._due()
        for one in due:
            self._free(one, "expire")
            self._move(one, "expired")
        return [(one, []) for one in due]

    def _due(self) -> list[Held]:
        """What the clock has ended: nothing was sent, and the time is over; by id."""
        waiting = [one for one in self.books.reservations.values() if one.state == "reserved"]
        return sorted((one for one in waiting if self._is_over(one)), key=lambda one: one.id)

    def _is_over(self, one: Held) -> bool:
        return one.asked.expires_at is not None and one.asked.expires_at <= self.now

    def _change(self, change: Change, one: Held) -> None:
        to, amount = change.to_state, change.amount
        content = {
            "operation": "correct" if change.is_correction else str(to or "refund"),
            "reservation": one.id,
            "amount": str(amount),
            "part": change.is_part,
            "task": change.task_id,
        }
        if self._earlier(change.key, content) is not None:
            return
        self._remember(change.key, content, one.id)
        require(change.only_from in {None, one.state}, "StateError")
        if amount is not None:
            check_unit(amount, one.unit)
            require(amount.micro >= 0, "AmountError")
        micro = 0 if amount is None else amount.micro
        if change.is_correction:
            require(one.state not in OPEN, "StateError")
            self._correct(one, micro - one.spent)
        elif to is None:
            self._refund(one, micro)
        elif change.is_part:
            require(one.state in OPEN, "StateError")
            self._charge(one, micro)
            self._move(one, one.state)
        elif one.state == to != "submitting":
            self._check_nothing_new(change, one)
        else:
            self._check_task(change, one)
            require(to in FOLLOWS[one.state], "StateError")
            require(to != "submitting" or not self._is_over(one), "StateError")
            require(to != "expired" or self._is_over(one), "StateError")
            one.task = change.task_id or one.task
            if to == "committed":
                self._charge(one, micro)
                self._ended_now[one.id] = micro
            if to not in OPEN:
                self._free(one, {"rolled_back": "roll_back", "expired": "expire"}.get(to, "return"))
            self._move(one, str(to))

    def _refund(self, one: Held, micro: int) -> None:
        require(0 < micro <= one.spent, "AmountError")
        one.refunded += micro
        self._transfer("refund", micro, one.asked.wallet, one, corrects=self._corrected(one))
        self._move(one, one.state)

    def _correct(self, one: Held, more: int) -> None:
        """Charge more or give back, until it cost what it cost in the end."""
        if more > 0:
            self._charge(one, more)
            self._move(one, "committed")
        elif more < 0:
            self._refund(one, -more)

    def _charge(self, one: Held, micro: int) -> None:
        """Charge all that it cost; what was set aside pays first, the wallet pays the rest."""
        wallet = one.asked.wallet
        one.committed = (one.committed or 0) + micro
        if one.state in OPEN:
            paid = min(micro, one.held)
            one.held -= paid
            self._transfer("commit", paid, wallet, one)
            self._transfer("overrun", micro - paid, wallet, one)
        else:
            self._transfer("late_commit", micro, wallet, one, corrects=self._corrected(one))

    def _free(self, one: Held, kind: str) -> None:
        self._transfer(kind, one.held, one.asked.wallet, one)
        one.held = 0

    def _move(self, one: Held, to: str) -> None:
        self.books.events.append((one.id, one.state, to, self.now))
        one.state, one.changed = to, max(one.changed, self.now)
        if to not in OPEN and one.ended is None:
            one.ended = self.now

    def _check_nothing_new(self, change: Change, one: Held) -> None:
        if change.amount is not None and change.amount.micro != self._charged_last(one):
            check_same({"settled cost": one.committed}, {"settled cost": change.amount.micro})
        if change.task_id is not None:
            check_same({"task": one.task}, {"task": change.task_id})

    def _charged_last(self, one: Held) -> int:
        """What ended it charged, without parts before: in this call, or all of an earlier one."""
        if one.id in self._ended_now:
            return self._ended_now[one.id]
        ended = [
            at
            for of, before, after, at in self.books.events
            if of == one.id and after == "committed" != before
        ]
        charges = [
            transfer
            for transfer in self._written
            if transfer.reservation == one.id
            and transfer.kind in {"commit", "overrun", "late_commit"}
            and transfer.at == max(ended, default=None)
        ]
        calls = sorted({transfer.id[:-4] for transfer in charges})
        return sum(each.amount for each in charges if each.id[:-4] == calls[-1]) if calls else 0

    def _check_task(self, change: Change, one: Held) -> None:
        """A reservation has one task, and a provider's task one reservation."""
        if change.task_id is None:
            return
        if one.task is not None:
            check_same({"task": one.task}, {"task": change.task_id})
        provider = one.asked.job.provider
        for other in self.books.reservations.values():
            if provider == other.asked.job.provider and other.task == change.task_id and provider:
                check_same({"reservation": other.id}, {"reservation": one.id})

    # --- months

    def close_period(self, name: str, *, hard: bool) -> None:
        self._begin()
        check_month(name)
        month = self.books.months.get(name)
        if month is not None and (month.state == "hard" or (month.state == "soft" and not hard)):
            return
        require(f"{self.now:%Y-%m}" > name, "PeriodError")
        if hard:
            used = {transfer.period for transfer in self.books.transfers}
            before = sorted(each for each in used - self._sealed() if each < name)
            require(not before, "PeriodOrderError", period=name, earlier=(before or [""])[0])
            require(not any(each > name for each in self._sealed()), "PeriodError")
        count = sum(transfer.period == name for transfer in self.books.transfers)
        self.books.months[name] = Month(
            "hard" if hard else "soft", count if hard else None, self._accruals(name)
        )

    def reopen_period(self, name: str, *, reason: str) -> None:
        self._begin()
        check_month(name)
        require(name in self.books.months, "NotFoundError")
        require(self.books.months[name].state != "hard", "PeriodError")
        self.books.months[name] = Month("open", None, {})

    def period(self, at: datetime | None = None) -> str:
        """The month of now, or the first after it and after every seal that is not closed."""
        month = max(f"{at or self.now:%Y-%m}", *self._sealed(), "")
        while self._is_closed(month):
            year, number = int(month[:4]), int(month[5:])
            month = f"{year}-{number + 1:02}" if number < 12 else f"{year + 1}-01"
        return month

    def _sealed(self) -> set[str]:
        return {name for name, month in self.books.months.items() if month.state == "hard"}

    def _is_closed(self, name: str) -> bool:
        return name in self.books.months and self.books.months[name].state != "open"

    def _correcting(self, corrects: str | None) -> str:
        """The month of a correction: the one that it is for, as long as no seal is over it."""
        if corrects is not None:
            check_month(corrects)
            require(corrects <= max(f"{self.now:%Y-%m}", self.period()), "PeriodError")
            if self._is_closed(corrects) and corrects > max(self._sealed(), default=""):
                return corrects
        return self.period()

    def _corrected(self, one: Held) -> str | None:
        """The month in which it ended, if that month takes no more."""
        month = f"{one.ended:%Y-%m}" if one.ended else ""
        return month if self._is_closed(month) else None

    def _accruals(self, month: str) -> dict[str, int]:
        """What each reservation held at the end of a month, by its transfers until then."""
        held: dict[str, int] = {}
        for transfer in self.books.transfers:
            if transfer.period <= month and transfer.reservation is not None:
                before = held.get(transfer.reservation, 0)
                change = HOLDING.get(transfer.kind, 0) * transfer.amount
                held[transfer.reservation] = before + change
        return {one: amount for one, amount in held.items() if amount}

    # --- what all of them need

    def _begin(self, chance: int | None = None) -> int:
        """Begin an operation: its ids tell its time and its chance, and follow one another."""
        drawn = self._chance(48) if chance is None else chance
        self._numbers = numbers(to_us(self.now), drawn)
        return drawn

    def _new_id(self, prefix: Prefix) -> str:
        return new_id(prefix, next(self._numbers))

    def _transfer(
        self,
        kind: str,
        amount: int,
        wallet: str,
        one: Held | None = None,
        *,
        period: str | None = None,
        corrects: str | None = None,
    ) -> None:
        if amount:
            of = None if one is None else one.id
            # What a reservation moves never counts before what it moved already.
            at = self.now if one is None else max(self.now, one.changed)
            named = (self._new_id("txf"), kind, amount, wallet, of)
            self.books.transfers.append(
                Transfer(*named, period or self.period(at), corrects, self.now)
            )

    def _earlier(self, key: str | None, content: Content) -> str | None:
        """What a key gave before, if it said the same."""
        if key not in self.books.keys:
            return None
        stored, result = self.books.keys[key]
        check_same(stored, content)
        return result

    def _remember(self, key: str | None, content: Content, result: str) -> None:
        if key is not None:
            self.books.keys[key] = (content, result)


def require(holds: bool, error: str, **facts: Any) -> None:
    if not holds:
        raise ExpectedError(error, **facts)


def check_same(stored: dict[str, Any], given: dict[str, Any]) -> None:
    """Any of the fields that differ may be named."""
    differing = {name for name in {*stored, *given} if stored.get(name) != given.get(name)}
    if differing:
        raise ExpectedError("ConflictError", fields=differing)


def check_unit(amount: object, unit: str | None) -> None:
    """Only money is an amount, and only of the unit that is due."""
    require(isinstance(amount, Money) and unit in {None, amount.unit}, "AmountError")


def check_month(month: str) -> None:
    require(re.fullmatch(r"2\d{3}-(0[1-9]|1[0-2])", month) is not None, "PeriodError")


def check_asked(one: Asked, unit: str) -> None:
    check_unit(one.amount, unit)
    require(one.amount.micro > 0, "AmountError")
    if one.job.usd is not None:
        check_unit(one.job.usd, "USD")
        require(one.job.usd.micro >= 0, "AmountError")
    check_unit(one.ceiling or one.amount, None)
    # What cannot be asked for at all comes before what the caller does not allow.
    require(one.project is None or one.project.strip() != "", "ConfigError")
    if one.ceiling is not None:
        check_unit(one.ceiling, unit)
        if one.amount.micro > one.ceiling.micro:
            raise ExpectedError("CeilingError", cost=one.amount, ceiling=one.ceiling, budget=None)


def asked_content(one: Asked) -> dict[str, Any]:
    """What a key stands for; with the request's own hash the price may change between calls."""
    return {
        "operation": "reserve",
        "amount": str(one.amount) if one.job.payload_hash is None else None,
        "wallet": one.wallet,
        "project": one.project,
        "labels": sorted(one.labels.items()),
        "provider": one.job.provider,
        "model": one.job.model,
        "payload": one.job.payload_hash,
    }


def covers(budget: Budget, one: Held) -> bool:
    scope, asked = budget.scope, one.asked
    return (
        budget.limit.unit in {"USD", one.unit}
        and scope.wallet in {None, asked.wallet}
        and scope.provider in {None, asked.job.provider}
        and scope.model in {None, asked.job.model}
        and (scope.project is None or is_below(asked.project, scope.project))
        and (
            scope.label is None
            or scope.label in {f"{name}={text}" for name, text in asked.labels.items()}
        )
    )


def is_below(project: str | None, scope: str) -> bool:
    """`film/` stands for `film` and everything below it, `film` for itself alone."""
    if scope.endswith("/"):
        return f"{project or ''}/".startswith(scope)
    return project == scope


def window(budget: Budget, at: datetime) -> tuple[Any, ...]:
    """What two instants of the same window have in common, and no others."""
    zone = ZoneInfo(budget.timezone)
    day = at.astimezone(zone).date()
    midnight = datetime(day.year, day.month, day.day, tzinfo=zone).astimezone(UTC)
    return {
        "none": (),
        "hour": (day, (at - midnight) // timedelta(hours=1)),
        "day": (day,),
        "week": day.isocalendar()[:2],
        "month": (day.year, day.month),
    }[budget.window]
