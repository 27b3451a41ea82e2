"""Admission: credits are set aside for jobs, or nothing happens.

Every matching budget window and the wallet must accept; each is one conditional UPDATE, and never
is something read and then written. Locks are taken in one order: windows by budget, then wallets.
Any number of reservations is admitted together: their sums are taken, then their rows written.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from functools import cache, partial
from typing import Any, Final

from kling_ledger.errors import (
    BudgetError,
    CeilingError,
    ConfigError,
    InsufficientCreditsError,
    RefusedError,
    UnknownWorthError,
)
from kling_ledger.ledger import idempotency, reservations
from kling_ledger.ledger import labels as label_words
from kling_ledger.ledger.budgets import Budget, Subject, open_window, window_figures
from kling_ledger.ledger.engines.transaction import Row, Stamp, Transaction, columns_of, never
from kling_ledger.ledger.ids import from_us, to_us
from kling_ledger.ledger.journal import Journal
from kling_ledger.ledger.reservations import BudgetWarning, Job, Reservation
from kling_ledger.ledger.rules import Rules
from kling_ledger.ledger.tables import IdempotencyRow, ReservationRow, State
from kling_ledger.ledger.wallets import Wallet
from kling_pricing.errors import AmountError
from kling_pricing.money import USD, Money

_TAKE_FROM_WALLET: Final = """
UPDATE wallet SET reserved_micro = reserved_micro + :amount
WHERE id = :id AND posted_micro - reserved_micro >= :amount
"""
_TAKE_FROM_WINDOW: Final = """
UPDATE budget_window SET held_micro = held_micro + :amount
WHERE budget_id = :budget AND starts_at = :starts
  AND held_micro + spent_micro + :amount <= :limit
RETURNING held_micro + spent_micro AS used
"""
_COUNT_IN_WINDOW: Final = """
UPDATE budget_window SET held_micro = held_micro + :amount
WHERE budget_id = :budget AND starts_at = :starts
RETURNING held_micro + spent_micro AS used
"""


@dataclass(frozen=True, slots=True)
class Asked:
    """One reservation that is asked for: how much, from which wallet, for which job.

    `key` makes the call repeatable; `ceiling` bounds this one job; after `expires_at` the clock
    alone may end the reservation, as long as nothing was sent for it.
    """

    wallet: str
    amount: Money
    job: Job = field(default_factory=Job)
    project: str | None = None
    labels: Mapping[str, str] = field(default_factory=dict)
    key: str | None = None
    ceiling: Money | None = None
    expires_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class _Part:
    """What the jobs of one call take together from one window of a budget, and each of them."""

    budget: Budget
    starts_us: int
    ends_us: int
    jobs: tuple[tuple[str, int], ...]
    amount_micro: int


@dataclass(frozen=True, slots=True)
class _Admitted:
    """A row that is written, its budgets, and the figures that tell of passed thresholds."""

    row: tuple[Any, ...]
    wallet_name: str
    subject: Subject


def reserve(
    transaction: Transaction,
    rules: Rules,
    asked: Sequence[Asked],
    *,
    stamp: Stamp,
    wallets: Mapping[str, Wallet],
) -> Callable[[int], Reservation]:
    """Set credits aside for every job that is asked for, or for none.

    What is returned gives each reservation by its place, once the transaction has ended. Raises
    InsufficientCreditsError, BudgetError or CeilingError, and ConflictError where a key was used
    for something else.
    """
    stored = idempotency.known_keys(transaction, (one.key for one in asked))
    known: dict[str, str] = {}
    contents: dict[str, idempotency.Content] = {}
    fresh: dict[int, _Admitted] = {}
    ids: list[str] = []
    journal = Journal(stamp, rules.period(stamp.at_us))
    for place, one in enumerate(asked):
        wallet = wallets[one.wallet]
        earlier = _earlier(stored, one, wallet, contents, known)
        if earlier is None:
            _check(one, wallet)
            fresh[place] = admitted = _admitted(one, wallet, journal, stamp)
            earlier = admitted.row[0]
        if one.key is not None:
            known[one.key] = earlier
        ids.append(earlier)
    parts = _parts(rules, fresh.values(), stamp.at_us)
    figures = _take(transaction, parts, list(fresh.values()), stamp.at_us)
    _write(transaction, fresh, asked, contents, journal, stamp)
    made = {admitted.row[0]: admitted for admitted in fresh.values()} if known else {}
    replayed = [one for place, one in enumerate(ids) if place not in fresh and one not in made]
    rows = reservations.find_rows(transaction, replayed) if replayed else {}

    # The figures may only be there once the transaction has ended.
    warnings = cache(partial(_Warnings, parts, figures, stamp.at_us))

    def result_of(place: int) -> Reservation:
        admitted = fresh.get(place)
        if admitted is None:
            again = made.get(ids[place])
            return reservations.from_row(rows[ids[place]] if again is None else _as_row(again))
        return reservations.from_row(_as_row(admitted), warnings=warnings().of(admitted))

    return result_of


def reserve_each(
    transaction: Transaction,
    rules: Rules,
    asked: Sequence[Asked],
    *,
    stamp: Stamp,
    wallets: Mapping[str, Wallet],
) -> list[Callable[[], Reservation] | RefusedError]:
    """Set credits aside for every job that is admitted; in the place of another, its refusal.

    All together if they fit; else one after another, in their order.
    """

    def admit(some: Sequence[Asked], place: int) -> Callable[[int], Reservation]:
        own = replace(stamp, chance=stamp.chance + place)
        return transaction.attempt(
            lambda: reserve(transaction, rules, some, stamp=own, wallets=wallets)
        )

    try:
        together = admit(asked, 0)
    except RefusedError:
        transaction.be_alone()
        return [_outcome(partial(admit, [one], place)) for place, one in enumerate(asked)]
    return [partial(together, place) for place in range(len(asked))]


def _outcome(
    admit: Callable[[], Callable[[int], Reservation]],
) -> Callable[[], Reservation] | RefusedError:
    try:
        admitted = admit()
    except RefusedError as error:
        return error
    return partial(admitted, 0)


def _earlier(
    stored: idempotency.Known,
    one: Asked,
    wallet: Wallet,
    contents: dict[str, idempotency.Content],
    known: dict[str, str],
) -> str | None:
    """Return the id that a key has already given, in this call or an earlier one."""
    if one.key is None:
        return None
    content = _content(wallet, one)
    if one.key in known:
        idempotency.check_same(one.key, contents[one.key], content)
        return known[one.key]
    contents[one.key] = content
    return idempotency.result_in(stored, one.key, content)


def _check(one: Asked, wallet: Wallet) -> None:
    amount = one.amount
    if not isinstance(amount, Money):
        raise AmountError("amount", got=amount, allowed="Money, such as Money.parse('0.675 USD')")
    if amount.unit != wallet.unit:
        raise AmountError("unit of the wallet", got=wallet.unit, allowed=amount.unit)
    if amount.amount <= 0:
        raise AmountError("amount", got=str(amount), allowed="more than nothing")
    if one.job.usd is not None:
        _check_worth(one.job.usd)
    if one.ceiling is not None and amount > one.ceiling:
        raise CeilingError(cost=amount, ceiling=one.ceiling)
    if one.project is not None and (not one.project.strip() or "\0" in one.project):
        raise ConfigError(f"{one.project!r} cannot name a project", hint="such as film/teaser")


def _check_worth(worth: object) -> None:
    if not isinstance(worth, Money) or worth.unit != USD or worth.amount < 0:
        raise AmountError("worth of the job", got=str(worth), allowed="US dollars, 0 or more")


def _admitted(one: Asked, wallet: Wallet, journal: Journal, stamp: Stamp) -> _Admitted:
    reservation_id = journal.new_id("res")
    journal.event(reservation_id, 1, from_state=None, to_state=State.RESERVED)
    job = one.job
    micro = one.amount.micro
    journal.transfer(
        "reserve", micro, wallet_id=wallet.id, unit=wallet.unit, reservation_id=reservation_id
    )
    usd = micro if wallet.unit == USD else None if job.usd is None else job.usd.micro
    labels = label_words.to_text(one.labels)
    row = (
        reservation_id,
        wallet.id,
        State.RESERVED,
        1,
        wallet.unit,
        micro,
        micro,
        None,
        0,
        usd,
        usd,
        None if usd is None else 0,
        None,
        one.project,
        labels,
        job.provider,
        job.model,
        job.action,
        job.seconds,
        job.billed_seconds,
        job.resolution,
        job.sound,
        job.quote,
        job.request,
        job.payload_hash,
        job.address,
        None,
        None,
        None,
        None,
        stamp.actor,
        None if one.expires_at is None else to_us(one.expires_at),
        stamp.at_us,
        stamp.at_us,
    )
    subject = Subject(wallet.id, wallet.unit, one.project, job.provider, job.model, labels)
    return _Admitted(row, wallet.name, subject)


_RESERVED: Final = columns_of(ReservationRow).index("reserved_micro")
_USD: Final = columns_of(ReservationRow).index("usd_micro")


def _parts(rules: Rules, admitted: Any, at_us: int) -> list[_Part]:
    """Add up what the jobs take from each budget; a single job must fit under its ceiling."""
    if not rules.budgets:
        return []
    jobs: dict[str, list[tuple[str, int]]] = {}
    for one in admitted:
        for budget in rules.covering(one.subject):
            amount = _worth(one, budget)
            if budget.ceiling_micro is not None and amount > budget.ceiling_micro:
                raise CeilingError(
                    cost=Money.from_micro(amount, budget.unit),
                    ceiling=Money.from_micro(budget.ceiling_micro, budget.unit),
                    budget=budget.name,
                )
            jobs.setdefault(budget.id, []).append((one.row[0], amount))
    return [
        _Part(
            budget,
            *budget.window_at(at_us),
            tuple(jobs[budget.id]),
            sum(amount for _, amount in jobs[budget.id]),
        )
        for budget in rules.budgets
        if budget.id in jobs
    ]


def _worth(one: _Admitted, budget: Budget) -> int:
    """Return what a job counts for in a budget's unit; unknown is an error, never zero."""
    micro: int | None = one.row[_USD] if budget.unit == USD else one.row[_RESERVED]
    if micro is None:
        asked = Money.from_micro(one.row[_RESERVED], one.subject.unit)
        raise UnknownWorthError(budget.name, asked=asked, unit=budget.unit)
    return micro


def _take(
    transaction: Transaction,
    parts: Sequence[_Part],
    admitted: Sequence[_Admitted],
    at_us: int,
) -> list[list[Row]]:
    """Take the sums from windows and wallets; whoever refuses tells what is left everywhere."""
    wallets: dict[str, tuple[str, str, int]] = {}
    for one in admitted:
        subject = one.subject
        _, _, sum_micro = wallets.get(subject.wallet_id, ("", "", 0))
        wallets[subject.wallet_id] = (
            one.wallet_name,
            subject.unit,
            sum_micro + one.row[_RESERVED],
        )

    refusal = partial(_refusal, transaction, parts, wallets, at_us)
    figures = [
        _take_from_window(transaction, part, at_us, partial(refusal, part, "")) for part in parts
    ]
    for wallet_id in sorted(wallets):
        transaction.change(
            _TAKE_FROM_WALLET,
            {"amount": wallets[wallet_id][2], "id": wallet_id},
            expect=1,
            refused=partial(refusal, None, wallet_id),
        )
    return figures


def _take_from_window(
    transaction: Transaction, part: _Part, at_us: int, refused: Callable[[], Exception]
) -> list[Row]:
    """Count an amount in a window, which is opened if this is the first time."""
    budget = part.budget
    values: dict[str, Any] = {
        "amount": part.amount_micro,
        "budget": budget.id,
        "starts": part.starts_us,
    }
    statement = _COUNT_IN_WINDOW
    if budget.mode == "hard":
        statement = _TAKE_FROM_WINDOW
        values["limit"] = budget.limit_at(at_us)
    if not transaction.is_exclusive:
        return transaction.change(statement, values, expect=1, refused=refused)
    taken = transaction.change(statement, values, expect=None, refused=never)
    if not taken and open_window(transaction, budget, part.starts_us, part.ends_us):
        taken = transaction.change(statement, values, expect=None, refused=never)
    if not taken:
        raise refused()
    return taken


def _refusal(
    transaction: Transaction,
    parts: Sequence[_Part],
    wallets: Mapping[str, tuple[str, str, int]],
    at_us: int,
    part: _Part | None,
    wallet_id: str,
) -> Exception:
    """Build the refusal of a window or a wallet, with what all of them together would admit."""
    lefts = {one.budget.id: _left(transaction, one, at_us) for one in parts}
    free = {one: _available(transaction, one) for one in wallets}
    taken_before = _taken_before(parts, part)
    for budget_id, amount in taken_before.items():
        lefts[budget_id] += amount
    fits = _fits(parts, lefts, wallets, free)
    if part is None:
        name, unit, asked = wallets[wallet_id]
        return InsufficientCreditsError(
            name,
            needed=Money.from_micro(asked, unit),
            available=Money.from_micro(free[wallet_id], unit),
            fits=fits,
        )
    budget = part.budget
    held, spent = window_figures(transaction, budget, part.starts_us, part.ends_us)
    return BudgetError(
        budget.name,
        limit=Money.from_micro(budget.limit_at(at_us), budget.unit),
        spent=Money.from_micro(spent, budget.unit),
        reserved=Money.from_micro(held, budget.unit),
        asked=Money.from_micro(part.amount_micro, budget.unit),
        frees_at=None if budget.window == "none" else from_us(part.ends_us),
        fits=fits,
    )


def _taken_before(parts: Sequence[_Part], refusing: _Part | None) -> dict[str, int]:
    """Return what this call has taken from windows before one refused; it will be given back."""
    taken: dict[str, int] = {}
    for part in parts:
        if part is refusing:
            break
        taken[part.budget.id] = part.amount_micro
    return taken


def _left(transaction: Transaction, part: _Part, at_us: int) -> int:
    held, spent = window_figures(transaction, part.budget, part.starts_us, part.ends_us)
    return part.budget.limit_at(at_us) - held - spent


def _available(transaction: Transaction, wallet_id: str) -> int:
    row = transaction.row(
        "SELECT posted_micro - reserved_micro AS available FROM wallet WHERE id = :id",
        id=wallet_id,
    )
    return int(row["available"]) if row else 0


def _fits(
    parts: Sequence[_Part],
    lefts: Mapping[str, int],
    wallets: Mapping[str, tuple[str, str, int]],
    free: Mapping[str, int],
) -> Money:
    """Return the most that would be admitted now; of several wallets, of the first."""
    wallet_id, (_, unit, asked) = next(iter(wallets.items()))
    most = free[wallet_id]
    for part in parts:
        budget = part.budget
        for left in (lefts[budget.id] if budget.mode == "hard" else None, budget.ceiling_micro):
            if left is None:
                continue
            if budget.unit == unit:
                most = min(most, left)
            elif part.amount_micro:
                # What counts in another unit is worth the same share of what was asked.
                most = min(most, left * asked // part.amount_micro)
            elif left < 0:
                most = 0
    return Money.from_micro(max(most, 0), unit)


def _write(
    transaction: Transaction,
    fresh: Mapping[int, _Admitted],
    asked: Sequence[Asked],
    contents: Mapping[str, idempotency.Content],
    journal: Journal,
    stamp: Stamp,
) -> None:
    if not fresh:
        return
    transaction.insert(ReservationRow, [admitted.row for admitted in fresh.values()])
    journal.write(transaction)
    keys = [
        idempotency.key_row(key, contents[key], result_id=admitted.row[0], at_us=stamp.at_us)
        for place, admitted in fresh.items()
        if (key := asked[place].key) is not None
    ]
    if keys:
        transaction.insert(IdempotencyRow, keys)


class _Warnings:
    """Tells which job of a call brought which budget past a threshold, as if one came by one."""

    def __init__(
        self, parts: Sequence[_Part], figures: Sequence[Sequence[Row]], at_us: int
    ) -> None:
        self._by_job: dict[str, list[BudgetWarning]] = {}
        for part, rows in zip(parts, figures, strict=True):
            if part.budget.thresholds:
                self._add(part, int(rows[0]["used"]), part.budget.limit_at(at_us))

    def of(self, admitted: _Admitted) -> tuple[BudgetWarning, ...]:
        return tuple(self._by_job.get(admitted.row[0], ())) if self._by_job else ()

    def _add(self, part: _Part, used: int, limit: int) -> None:
        before = used - part.amount_micro
        if not any(before * 100 < one * limit <= used * 100 for one in part.budget.thresholds):
            return
        for job_id, amount in part.jobs:
            after = before + amount
            for one in part.budget.thresholds:
                if before * 100 < one * limit <= after * 100:
                    warning = BudgetWarning(
                        part.budget.name,
                        one,
                        Money.from_micro(after, part.budget.unit),
                        Money.from_micro(limit, part.budget.unit),
                    )
                    self._by_job.setdefault(job_id, []).append(warning)
            before = after


def _as_row(admitted: _Admitted) -> Row:
    row = dict(zip(columns_of(ReservationRow), admitted.row, strict=True))
    return {**row, "wallet_name": admitted.wallet_name}


def _content(wallet: Wallet, one: Asked) -> idempotency.Content:
    job = one.job
    return {
        "operation": "reserve",
        "wallet": wallet.name,
        # A price may change between two calls: the same request under the same key is the same.
        "amount": str(one.amount) if job.payload_hash is None else None,
        "project": one.project,
        "labels": label_words.to_text(one.labels),
        "provider": job.provider,
        "model": job.model,
        "action": job.action,
        "seconds": job.seconds,
        "resolution": job.resolution,
        "sound": None if job.sound is None else str(job.sound).lower(),
        "payload": job.payload_hash,
    }
