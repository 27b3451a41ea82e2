"""Histories: what a seed makes somebody do with a ledger, and the digest of the journal it leaves.

A history depends on its seed alone: clock and chance count on, and which reservation a step is
about is drawn from those made so far. Two builds of the ledger that mean the same thing leave the
same bytes.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from hashlib import sha256
from random import Random
from typing import Any, Final

from kling_ledger.ledger import Asked, Change, Job, Ledger, Scope, State
from kling_pricing.errors import KlingError
from kling_pricing.money import Money
from tests.ledgers import Chance, Clock

START: Final = datetime(2026, 9, 27, 22, 30, tzinfo=UTC)
STEPS: Final = 40

_WALLETS: Final = {"team": "USD", "film": "USD", "credits": "evolink-credit"}
_PROJECTS: Final = (None, "film/teaser", "film/trailer/take-2", "ads")
_PROVIDERS: Final = (None, "runapi", "evolink")
_WINDOWS: Final = ("none", "hour", "day", "week", "month")
_ZONES: Final = ("UTC", "Europe/Berlin", "Australia/Lord_Howe")


@dataclass(slots=True)
class History:
    """One history while it is made; `outcomes` says how each step ended, by error code."""

    ledger: Ledger
    clock: Clock
    random: Random
    made: list[tuple[str, str]] = field(default_factory=list)
    outcomes: list[str] = field(default_factory=list)

    def run(self) -> str:
        """Make every step; return the digest of the journal, the balances and the outcomes."""
        for name, unit in _WALLETS.items():
            self.ledger.wallets.create(name, unit)
            self.ledger.wallets.fund(name, Money(Decimal(20), unit))
        for _ in range(STEPS):
            self.clock.forward(minutes=self.random.choice((0, 0, 1, 17, 300, 2000)))
            self._step(self.random.choice(_OPERATIONS))
        # The digests are older than the costing of wallets, which no history here gives another.
        standing = [
            repr(wallet).replace(", costing='fifo')", ")") for wallet in self.ledger.wallets.all()
        ]
        lines = [*self.ledger.canonical_journal(), *self.outcomes, *standing]
        return sha256("\n".join(lines).encode()).hexdigest()

    def _step(self, operation: Callable[[History], Any]) -> None:
        try:
            operation(self)
        except KlingError as error:
            self.outcomes.append(f"{operation.__name__}: {error.code}")
        else:
            self.outcomes.append(operation.__name__)

    def amount(self, unit: str) -> Money:
        """Draw an amount of a job, now and then one of a millionth."""
        micro = self.random.choice((1, 270_000, 675_000, 1_000_000, 3_333_333))
        return Money.from_micro(micro, unit)

    def asked(self) -> Asked:
        """Draw a job that is to be reserved for, sometimes under a key that came before."""
        draw = self.random
        wallet = draw.choice(list(_WALLETS))
        unit = _WALLETS[wallet]
        amount = self.amount(unit)
        usd = amount if unit == "USD" else draw.choice((None, Money(Decimal("0.75"), "USD")))
        return Asked(
            wallet,
            amount,
            job=Job(provider=draw.choice(_PROVIDERS), model="kling-3.0", usd=usd),
            project=draw.choice(_PROJECTS),
            labels=draw.choice(({}, {"team": "red"}, {"team": "red", "scene": "4"})),
            key=draw.choice((None, None, f"key-{draw.randrange(9)}")),
            ceiling=draw.choice((None, None, Money(Decimal(2), unit))),
            expires_at=draw.choice((None, None, self.clock.now + timedelta(hours=3))),
        )

    def one(self) -> tuple[str, str]:
        """Draw a reservation of those made so far, and its unit."""
        return self.random.choice(self.made or [("res_none", "USD")])


def _reserve(history: History) -> None:
    asked = history.asked()
    found = history.ledger.reserve_many([asked])[0]
    history.made.append((found.id, asked.amount.unit))


def _reserve_each(history: History) -> None:
    asked = [history.asked() for _ in range(3)]
    for one, outcome in zip(asked, history.ledger.reserve_each(asked), strict=True):
        if isinstance(outcome, KlingError):
            history.outcomes.append(outcome.code)
        else:
            history.made.append((outcome.id, one.amount.unit))


def _go_on(history: History) -> None:
    one, _ = history.one()
    state = history.ledger.reservations.get(one).state
    if state is State.RESERVED:
        history.ledger.mark_submitting(one)
    else:
        history.ledger.mark_submitted(one, f"task-{one[-6:]}")


def _doubt(history: History) -> None:
    history.ledger.mark_in_doubt(history.one()[0], "no answer")


def _commit(history: History) -> None:
    one, unit = history.one()
    key = history.random.choice((None, f"commit-{history.random.randrange(9)}"))
    history.ledger.commit(one, history.amount(unit), settled_by="provider", key=key)


def _commit_all(history: History) -> None:
    history.ledger.commit(history.one()[0], settled_by="quote")


def _commit_part(history: History) -> None:
    one, unit = history.one()
    history.ledger.commit(one, history.amount(unit), is_part=True, settled_by="provider")


def _roll_back(history: History) -> None:
    history.ledger.roll_back(history.one()[0], "the provider says that it failed")


def _refund(history: History) -> None:
    one, unit = history.one()
    history.ledger.refund(one, history.amount(unit), reason="a black clip")


def _correct(history: History) -> None:
    one, unit = history.one()
    history.ledger.correct(one, history.amount(unit), reason="as billed")


def _settle_many(history: History) -> None:
    (first, unit), (second, _) = history.one(), history.one()
    history.ledger.settle(
        [
            Change(first, State.COMMITTED, history.amount(unit), settled_by="provider"),
            Change(second, State.ROLLED_BACK, problem="it failed", reason="it failed"),
        ]
    )


def _expire(history: History) -> None:
    history.ledger.expire()


def _record_task(history: History) -> None:
    history.ledger.record_task(history.one()[0], "late-task")


def _fund(history: History) -> None:
    name = history.random.choice(list(_WALLETS))
    key = f"invoice-{history.random.randrange(4)}"
    history.ledger.wallets.fund(name, history.amount(_WALLETS[name]), key=key)


def _adjust(history: History) -> None:
    name = history.random.choice(list(_WALLETS))
    amount = history.amount(_WALLETS[name])
    sign = history.random.choice((1, -1))
    signed = Money.from_micro(sign * amount.micro, amount.unit)
    history.ledger.wallets.adjust(name, signed, reason="counted again")


def _set_budget(history: History) -> None:
    draw = history.random
    number = draw.randrange(5)
    scope = (
        Scope(),
        Scope(project="film/"),
        Scope(provider="runapi"),
        Scope(label="team=red"),
        Scope(wallet="team", model="kling-3.0"),
    )[number]
    history.ledger.budgets.set(
        f"budget-{number}",
        Money(Decimal(draw.choice((2, 5, 50))), "USD"),
        scope=scope,
        window=_WINDOWS[number],
        timezone=_ZONES[number % 3],
        mode=draw.choice(("hard", "hard", "warn")),
    )


def _raise_budget(history: History) -> None:
    until = history.clock.now + timedelta(hours=5)
    name = f"budget-{history.random.randrange(5)}"
    one = Money(Decimal(1), "USD")
    history.ledger.budgets.raise_limit(name, one, until=until, reason="one more take")


def _remove_budget(history: History) -> None:
    history.ledger.budgets.remove(f"budget-{history.random.randrange(5)}")


def _close(history: History) -> None:
    month = history.random.choice(("2026-08", "2026-09", "2026-10"))
    history.ledger.periods.close(month, hard=history.random.random() < 0.5)


def _reopen(history: History) -> None:
    history.ledger.periods.reopen("2026-09", reason="a bill came late")


_OPERATIONS: Final = (
    *[_reserve] * 8,
    *[_reserve_each] * 2,
    *[_go_on] * 6,
    *[_commit] * 4,
    *[_set_budget] * 2,
    _doubt,
    _commit_all,
    _commit_part,
    _roll_back,
    _refund,
    _correct,
    _settle_many,
    _expire,
    _record_task,
    _fund,
    _adjust,
    _raise_budget,
    _remove_budget,
    _close,
    _reopen,
)


def digest_of_history(url: str, seed: int) -> str:
    """Make the history of a seed in an empty ledger; return what it leaves, as a digest."""
    clock = Clock(START)
    with Ledger(url, clock=clock, chance=Chance(), actor="ada") as ledger:
        return History(ledger, clock, Random(seed)).run()  # noqa: S311 - repeatable on purpose
