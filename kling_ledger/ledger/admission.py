"""Admission: credits are set aside for all given jobs, or nothing happens.

Every matching budget window and the wallet must accept. Each is one conditional UPDATE, never a
read followed by a write. Locks are taken in one order: windows by budget, then wallets. Any number
of reservations is admitted together: first their sums are taken, then their rows are written.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache, partial
from itertools import chain
from typing import Any, Final

from kling_ledger.errors import RefusedError
from kling_ledger.ledger import idempotency, reservations, slots
from kling_ledger.ledger.asking import (
    Asked,
    check,
    check_place,
    check_spelling,
    content_of,
    over_ceiling,
    subject_of,
    wanted_by,
)
from kling_ledger.ledger.demands import Demand, Wanted, demands_of, wallet_demands_of
from kling_ledger.ledger.engines.transaction import Row, Stamp, Transaction, never
from kling_ledger.ledger.figures import Read
from kling_ledger.ledger.ids import to_us
from kling_ledger.ledger.journal import Journal
from kling_ledger.ledger.refusals import Refusals
from kling_ledger.ledger.reservations import Reservation
from kling_ledger.ledger.rules import Rules
from kling_ledger.ledger.schema import IDEMPOTENCY, RESERVATION
from kling_ledger.ledger.slots import Owner
from kling_ledger.ledger.standing import open_window
from kling_ledger.ledger.states import State
from kling_ledger.ledger.thresholds import Warnings
from kling_ledger.ledger.wallets import Wallet
from kling_pricing.money import Money

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

_UNSETTLED: Final[Row] = {
    "state": State.RESERVED,
    "step": 1,
    "committed_micro": None,
    "refunded_micro": 0,
    "settled_by": None,
    "task_id": None,
    "videos": None,
    "videos_expire_at": None,
    "problem": None,
    "provider_held_micro": None,
}
"""The columns that say how a job goes and ends, as they are in a new reservation."""


def reserve(
    transaction: Transaction,
    rules: Rules,
    asked: Sequence[Asked],
    *,
    stamp: Stamp,
    wallets: Mapping[str, Wallet],
) -> Callable[[int], Reservation]:
    """Set credits aside for every given job, or for none.

    Returns a function that gives each reservation by its place, after the transaction has ended.
    Raises InsufficientCreditsError, BudgetError or CeilingError, and ConflictError for a key that
    was used for something else.
    """
    stored = idempotency.known_keys(transaction, (key for one in asked for key in one.keys))
    known: dict[str, str] = {}
    contents: dict[str, idempotency.Content] = {}
    fresh: dict[int, _Admitted] = {}
    ids: list[str] = []
    journal = Journal(stamp, rules.period(stamp.at_us))
    for place, one in enumerate(asked):
        wallet = wallets[one.wallet]
        earlier = _earlier(stored, one, wallet, contents, known)
        if earlier is None:
            fresh[place] = admitted = _prepared(one, wallet, rules, journal)
            earlier = admitted.row["id"]
        known.update(dict.fromkeys(one.keys, earlier))
        ids.append(earlier)
    wanted = [admitted.wanted for admitted in fresh.values()]
    demands = demands_of(rules, wanted, stamp.at_us)
    figures = _take(transaction, rules, demands, wanted, stamp.at_us)
    _write(transaction, fresh, asked, contents, journal, stamp)
    # A key may occur twice in a call: its second job gets the first one's reservation, which cannot
    # be read yet.
    made = {admitted.row["id"]: admitted for admitted in fresh.values()} if known else {}
    replayed = [one for place, one in enumerate(ids) if place not in fresh and one not in made]
    rows = reservations.find_rows(transaction, replayed) if replayed else {}
    for place, one in enumerate(asked):
        if ids[place] in rows:
            check_place(one, rows[ids[place]])

    # The figures may be available only after the transaction has ended.
    warnings = cache(partial(Warnings, demands, figures, stamp.at_us))

    def result_of(place: int) -> Reservation:
        admitted = fresh.get(place)
        if admitted is None:
            again = made.get(ids[place])
            return reservations.from_row(rows[ids[place]] if again is None else _as_row(again))
        return reservations.from_row(_as_row(admitted), warnings=warnings().of(ids[place]))

    return result_of


def reserve_each(
    transaction: Transaction,
    rules: Rules,
    asked: Sequence[Asked],
    *,
    stamp: Stamp,
    wallets: Mapping[str, Wallet],
) -> list[Callable[[], Reservation] | RefusedError]:
    """Set credits aside for every admitted job; return a refusal for each of the others.

    All together if they fit, otherwise one by one, in order.
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
        owners = dict(chain(*(_owners(rules, one, wallets, stamp.at_us) for one in asked)))
        # Once for all of them: a refusal must not gather the slots again for each.
        with slots.gathered(transaction, rules, owners, stamp.at_us):
            return [_outcome(partial(admit, [one], place)) for place, one in enumerate(asked)]
    return [partial(together, place) for place in range(len(asked))]


def _owners(
    rules: Rules, one: Asked, wallets: Mapping[str, Wallet], at_us: int
) -> Iterator[tuple[Owner, int]]:
    """Yield the wallet and windows in which a job counts, with what it would take from each."""
    wallet = wallets[one.wallet]
    amount: object = one.amount
    if not isinstance(amount, Money):
        return  # it is refused when its turn comes
    yield Owner(wallet.id), amount.micro
    for budget in rules.covering(subject_of(one, wallet)):
        yield Owner(budget.id, budget.window_at(at_us)[0]), amount.micro


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
    """Return the id that one of a job's keys has already given, in this call or an earlier one."""
    if not one.keys:
        return None
    content = content_of(wallet, one)
    for key in one.keys:
        if key in known:
            idempotency.check_same(key, contents[key], content)
            return known[key]
    contents.update(dict.fromkeys(one.keys, content))
    found = (idempotency.result_in(stored, key, content) for key in one.keys)
    return next((earlier for earlier in found if earlier is not None), None)


def check_asked(one: Asked, wallet: Wallet, rules: Rules) -> None:
    """Raise an error for invalid input, before any window or wallet is asked."""
    check(one, wallet)
    check_spelling(one.project, rules.budgets)
    if (refusal := over_ceiling(one)) is not None:
        raise refusal
    _expiry_us(one)


def _expiry_us(one: Asked) -> int | None:
    return None if one.expires_at is None else to_us(one.expires_at)


@dataclass(frozen=True, slots=True)
class _Admitted:
    """A reservation that is about to be written, and what it takes."""

    row: Row
    wanted: Wanted


def _prepared(one: Asked, wallet: Wallet, rules: Rules, journal: Journal) -> _Admitted:
    """Return the reservation of a given job, written only to a journal so far."""
    check_asked(one, wallet, rules)
    stamp, reservation_id = journal.stamp, journal.new_id("res")
    job = one.job
    micro = one.amount.micro
    journal.transfer(
        "reserve", micro, wallet_id=wallet.id, unit=wallet.unit, reservation_id=reservation_id
    )
    wanted = wanted_by(one, wallet, reservation_id)
    usd = wanted.usd_micro
    quoted = _micro(job.quoted, wallet.unit)
    row = {
        **_UNSETTLED,
        "id": reservation_id,
        "wallet_id": wallet.id,
        "unit": wallet.unit,
        "reserved_micro": micro,
        "held_micro": micro,
        "usd_micro": usd,
        "usd_held_micro": usd,
        "usd_spent_micro": None if usd is None else 0,
        "quoted_micro": quoted,
        # Most prices are a single figure: it is both the lowest and the highest.
        "low_micro": quoted if job.low is job.quoted else _micro(job.low, wallet.unit),
        "estimated_micro": _micro(job.estimated, wallet.unit),
        "project": one.project,
        "labels": wanted.subject.labels,
        "provider": job.provider,
        "model": job.model,
        "action": job.action,
        "seconds": job.seconds,
        "billed_seconds": job.billed_seconds,
        "resolution": job.resolution,
        "sound": job.sound,
        "quote": job.quote,
        "request": job.request,
        "payload_hash": job.payload_hash,
        "address": job.address,
        "account": job.account,
        "actor": stamp.actor,
        "expires_at": _expiry_us(one),
        "created_at": stamp.at_us,
        "updated_at": stamp.at_us,
    }
    journal.event(reservation_id, 1, from_state=None, to_state=State.RESERVED, said=row)
    return _Admitted(row, wanted)


def _micro(figure: Money | None, unit: str) -> int | None:
    """Return a figure in millionths; None if it is unknown or in another unit."""
    return figure.micro if figure is not None and figure.unit == unit else None


def _take(
    transaction: Transaction,
    rules: Rules,
    demands: Sequence[Demand],
    wanted: Sequence[Wanted],
    at_us: int,
) -> list[list[Row]]:
    """Take the sums from windows and wallets; a refusal reports what is left in all of them."""
    wallets = wallet_demands_of(wanted)
    windows = {Owner(one.budget.id, one.starts_us): one.amount_micro for one in demands}
    owners = windows | {Owner(one): wallets[one][2] for one in sorted(wallets)}
    if slots.are_moved(transaction, rules):
        for owner, amount_micro in owners.items():
            slots.move(transaction, rules, owner, at_us, held=amount_micro, spent=0)
        return [[] for _ in demands]
    refusals = Refusals(Read(transaction), demands, wallets, at_us, has_taken=True)
    with slots.gathered(transaction, rules, owners, at_us):
        figures = [
            _take_from_window(transaction, demand, at_us, partial(refusals.of_window, demand))
            for demand in demands
        ]
        for wallet_id in sorted(wallets):
            transaction.change(
                _TAKE_FROM_WALLET,
                {"amount": wallets[wallet_id][2], "id": wallet_id},
                expect=1,
                refused=partial(refusals.of_wallet, wallet_id),
            )
    return figures


def _take_from_window(
    transaction: Transaction, demand: Demand, at_us: int, refused: Callable[[], Exception]
) -> list[Row]:
    """Count an amount in a window; open the window if needed."""
    budget = demand.budget
    values: dict[str, Any] = {
        "amount": demand.amount_micro,
        "budget": budget.id,
        "starts": demand.starts_us,
    }
    statement = _COUNT_IN_WINDOW
    if budget.mode == "hard":
        statement = _TAKE_FROM_WINDOW
        values["limit"] = budget.limit_at(at_us)
    if not transaction.is_exclusive:
        # Only an exclusive transaction can see whether the window exists: if this fails, the whole
        # operation runs again in one.
        return transaction.change(statement, values, expect=1, refused=refused)
    taken = transaction.change(statement, values, expect=None, refused=never)
    if not taken and open_window(transaction, budget, demand.starts_us, demand.ends_us):
        taken = transaction.change(statement, values, expect=None, refused=never)
    if not taken:
        raise refused()
    return taken


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
    transaction.insert(RESERVATION, [admitted.row for admitted in fresh.values()])
    journal.write(transaction)
    keys = [
        idempotency.key_row(key, contents[key], result_id=admitted.row["id"], at_us=stamp.at_us)
        for place, admitted in fresh.items()
        for key in asked[place].keys
    ]
    if keys:
        transaction.insert(IDEMPOTENCY, keys)


def _as_row(admitted: _Admitted) -> Row:
    return {**admitted.row, "wallet_name": admitted.wanted.wallet_name}
