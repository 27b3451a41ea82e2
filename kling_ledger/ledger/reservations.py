"""Reservations: credits set aside for one job each, as they are read and shown."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from functools import lru_cache
from typing import Final, Literal

from kling_ledger.errors import NotFoundError
from kling_ledger.ledger import labels as label_words
from kling_ledger.ledger.engines.transaction import Row, Transaction, plain
from kling_ledger.ledger.ids import from_us
from kling_ledger.ledger.schema import RESERVATION
from kling_ledger.ledger.states import OPEN_STATES, State
from kling_ledger.ledger.thresholds import BudgetWarning
from kling_ledger.ledger.windows import FOREVER_US
from kling_pricing.money import Money, from_micro
from kling_pricing.quote import Quote

SettledBy = Literal["provider", "bill", "measured", "quote", "person"]
"""The basis of a job's cost: the provider's answer, its bill, the measured length of the file, the
quote if there is nothing better, or a person."""

CONFIRMED_BY: Final = ("provider", "bill")
"""The bases that confirm a cost: the provider's own statements."""

NEEDED_TO_RESUME: Final = ("provider", "request", "address")
"""What a job must say before `resume` can finish it; without any of them only its script can."""

MAY_FOLLOW: Final[Mapping[State, frozenset[State]]] = {
    State.RESERVED: frozenset(
        {State.SUBMITTING, State.COMMITTED, State.ROLLED_BACK, State.EXPIRED}
    ),
    State.SUBMITTING: frozenset(
        {State.SUBMITTED, State.COMMITTED, State.ROLLED_BACK, State.IN_DOUBT}
    ),
    State.SUBMITTED: frozenset({State.COMMITTED, State.ROLLED_BACK, State.IN_DOUBT}),
    State.IN_DOUBT: frozenset({State.SUBMITTED, State.COMMITTED, State.ROLLED_BACK}),
    State.ROLLED_BACK: frozenset({State.COMMITTED}),
    State.EXPIRED: frozenset({State.COMMITTED}),
    State.COMMITTED: frozenset(),
}
"""The life of a reservation. An ended one may be committed if the provider charged after all, and a
reserved one by a script with its own client."""


_AT_ONCE: Final = 1000

STATES: Final[Mapping[str, State]] = {str(state): state for state in State}
"""The states by their words in the database."""


@dataclass(frozen=True, slots=True)
class Job:
    """What a reservation is for. The ledger only stores it; any of it may be unknown.

    `quote` and `request` are JSON texts; `usd` is the amount in US dollars on the day of the quote;
    `address` is where the provider was reached, `account` whose key the job runs on there. `quoted`
    and `low` are its highest and lowest cost by the price book, `estimated` is the provider's
    figure before the run: None if the book has no price, or the provider was not asked. A figure in
    another unit than the reservation's is not stored.
    """

    provider: str | None = None
    model: str | None = None
    action: str | None = None
    seconds: str | None = None
    billed_seconds: int | None = None
    resolution: str | None = None
    sound: bool | None = None
    usd: Money | None = None
    quoted: Money | None = None
    low: Money | None = None
    estimated: Money | None = None
    quote: str | None = None
    request: str | None = None
    payload_hash: str | None = None
    address: str | None = None
    account: str | None = None

    @property
    def can_resume(self) -> bool:
        """Whether `resume` can finish the job; otherwise only its script can."""
        return all(getattr(self, name) is not None for name in NEEDED_TO_RESUME)


def quoted_job(quoted: Quote) -> Job:
    """Return what a reservation keeps of a quote; `usd` is the value of what is held."""
    clip, amount = quoted.clip, quoted.amount
    return Job(
        provider=clip.provider,
        model=clip.model,
        action=clip.action,
        seconds=None if clip.seconds is None else str(clip.seconds),
        billed_seconds=None if quoted.billed_seconds is None else int(quoted.billed_seconds),
        resolution=clip.resolution,
        sound=clip.sound,
        usd=quoted.in_usd(quoted.hold.amount),
        quoted=amount,
        low=amount if quoted.billed.low == quoted.billed.high else quoted.low,
        quote=json.dumps(quoted.as_dict()),
    )


@dataclass(frozen=True, slots=True)
class Reservation:
    """A reservation in its current state.

    `amount` is what was set aside, `held` what is still set aside, `committed` what was charged so
    far, `refunded` what was given back of that; `provider_held` is what the provider says that it
    set aside itself, None if it does not say. `warnings` are those of the budgets that this
    admission took past a threshold; they are not stored.
    """

    id: str
    wallet: str
    state: State
    amount: Money
    held: Money
    committed: Money | None
    refunded: Money
    settled_by: SettledBy | None
    project: str | None
    labels: Mapping[str, str]
    job: Job
    task_id: str | None
    videos: tuple[str, ...]
    videos_expire_at: datetime | None
    problem: str | None
    actor: str
    expires_at: datetime | None
    created_at: datetime
    updated_at: datetime
    step: int = 1
    provider_held: Money | None = None
    warnings: tuple[BudgetWarning, ...] = field(default=(), compare=False)

    @property
    def is_open(self) -> bool:
        """Whether credits are still set aside."""
        return self.state in OPEN_STATES

    @property
    def spent(self) -> Money:
        """What the job has cost so far: what was charged, less refunds."""
        return (self.committed or Money.zero(self.amount.unit)) - self.refunded

    @property
    def quoted(self) -> Money | None:
        """The highest cost of the job by the price book; None if the book has no price."""
        return self.job.quoted

    @property
    def low(self) -> Money | None:
        """The lowest cost of the job by the price book; None if the book has no price."""
        return self.job.low

    @property
    def estimated(self) -> Money | None:
        """The provider's estimate before the run; None if there was none."""
        return self.job.estimated

    @property
    def is_ranged(self) -> bool:
        """Whether the run decides what the job costs: the book has a lowest and a highest price."""
        return self.low is not None and self.quoted is not None and self.low < self.quoted

    @property
    def is_confirmed(self) -> bool:
        """Whether the job was charged, and its provider or a bill confirms what it cost."""
        return self.state is State.COMMITTED and self.settled_by in CONFIRMED_BY

    @property
    def variance(self) -> Money | None:
        """What the job cost, less its quote; None without a confirmed cost or a quote."""
        expected = self._expected
        if self.committed is None or expected is None or not self.is_confirmed:
            return None
        # A bill states the final cost: refunds are already deducted.
        return (self.spent if self.settled_by == "bill" else self.committed) - expected

    @property
    def _expected(self) -> Money | None:
        """The quote; for a job from before quotes were stored, what was first set aside."""
        is_of_before = self.quoted is None and self.estimated is None and self.provider_held is None
        return self.amount if is_of_before else self.quoted


def find(transaction: Transaction, reservation_id: str) -> Reservation:
    """Return a reservation by its id; NotFoundError if there is none."""
    found = find_rows(transaction, [reservation_id])
    return from_row(found[reservation_id])


def find_rows(transaction: Transaction, ids: Sequence[str]) -> dict[str, Row]:
    """Return the rows of reservations by id, each with its `wallet_name`; all must exist."""
    asked = [plain(given) for given in ids]
    found = {str(row["id"]): row for row in transaction.rows_for(_SELECT_IDS, asked)}
    for given in ids:
        if given not in found:
            raise NotFoundError("reservation", given)
    return found


def find_by_task(transaction: Transaction, provider: str, task_id: str) -> list[Reservation]:
    """Return the reservations of a provider's task: two accounts may use the same task ids."""
    rows = transaction.rows(
        f"{_SELECT} WHERE provider = :provider AND task_id = :task_id ORDER BY reservation.id",
        provider=provider,
        task_id=plain(task_id),
    )
    return [from_row(row) for row in rows]


def find_by_keys(transaction: Transaction, keys: Sequence[str]) -> dict[str, Reservation]:
    """Return reservations by the callers' own keys that they were made or changed under."""
    rows = transaction.rows_for(_SELECT_KEYS, [plain(key) for key in keys])
    return {row["idempotency_key"]: from_row(row) for row in rows}


def at_provider(
    transaction: Transaction, provider: str, *, since_us: int | None, until_us: int | None
) -> Iterator[Reservation]:
    """Yield all reservations at a provider made within a period, oldest first.

    They are read in parts: as rows they take several times as much memory.
    """
    last_at, last_id = -FOREVER_US if since_us is None else since_us, ""
    while True:
        rows = transaction.rows(
            f"{_SELECT} WHERE provider = :provider AND reservation.created_at >= :last_at"
            " AND (reservation.created_at > :last_at OR reservation.id > :last_id)"
            " AND reservation.created_at < :until"
            f" ORDER BY reservation.created_at, reservation.id LIMIT {_AT_ONCE}",
            provider=provider,
            last_at=last_at,
            last_id=last_id,
            until=FOREVER_US if until_us is None else until_us,
        )
        yield from map(from_row, rows)
        if len(rows) < _AT_ONCE:
            return
        last_at, last_id = rows[-1]["created_at"], rows[-1]["id"]


def tasks_at(transaction: Transaction, provider: str) -> set[str]:
    """Return every task at a provider that a reservation knows, from an index alone."""
    rows = transaction.rows(
        "SELECT DISTINCT task_id FROM reservation"
        " WHERE provider = :provider AND task_id IS NOT NULL",
        provider=provider,
    )
    return {row["task_id"] for row in rows}


def open_ones(transaction: Transaction) -> list[Reservation]:
    """Return every reservation that still holds credits, oldest first."""
    order = "reservation.created_at, reservation.id"
    rows = transaction.rows(f"{_SELECT} WHERE {_IS_OPEN} ORDER BY {order}")
    return [from_row(row) for row in rows]


def some_open(
    transaction: Transaction,
    *,
    wallet: str,
    provider: str,
    address: str | None,
    account: str | None,
    limit: int,
) -> list[Reservation]:
    """Return some of a wallet's open reservations at one place, drawn at random each time.

    Those in doubt only fill the remaining places: they may stay for long.
    """
    place = {"provider": provider, "address": address, "account": account}
    conditions = [
        f"{name} IS NULL" if value is None else f"{name} = :{name}" for name, value in place.items()
    ]
    query = (
        f"{_SELECT} WHERE wallet_id = (SELECT id FROM wallet WHERE name = :wallet OR id = :wallet)"
        f" AND {_IS_OPEN} AND {' AND '.join(conditions)}"
        f" ORDER BY CASE state WHEN '{State.IN_DOUBT}' THEN 1 ELSE 0 END, RANDOM() LIMIT :limit"
    )
    given = {name: plain(value) for name, value in place.items() if value is not None}
    rows = transaction.rows(query, wallet=plain(wallet), limit=limit, **given)
    return [from_row(row) for row in rows]


def from_row(row: Row, *, warnings: tuple[BudgetWarning, ...] = ()) -> Reservation:
    """Return the reservation of a row with its `wallet_name`."""
    unit = row["unit"]
    return Reservation(
        id=row["id"],
        wallet=row["wallet_name"],
        state=STATES[row["state"]],
        amount=_money(row["reserved_micro"], unit),
        held=_money(row["held_micro"], unit),
        committed=_money_or_none(row["committed_micro"], unit),
        refunded=_money(row["refunded_micro"], unit),
        settled_by=row["settled_by"],
        project=row["project"],
        labels=label_words.from_text(row["labels"]) if row["labels"] else {},
        job=_job(row),
        task_id=row["task_id"],
        videos=tuple(json.loads(row["videos"])) if row["videos"] else (),
        videos_expire_at=_instant(row["videos_expire_at"]),
        problem=row["problem"],
        actor=row["actor"],
        expires_at=_instant(row["expires_at"]),
        created_at=from_us(row["created_at"]),
        updated_at=from_us(row["updated_at"]),
        step=row["step"],
        provider_held=_money_or_none(row["provider_held_micro"], unit),
        warnings=warnings,
    )


SELECT: Final = (
    f"SELECT {RESERVATION.selected},"
    # Not a join: each reservation is found by an index of its own, and then its wallet.
    " (SELECT name FROM wallet WHERE wallet.id = reservation.wallet_id) AS wallet_name"
)
"""What is read of reservations: every column, and the name of the wallet."""

_SELECT: Final = f"{SELECT} FROM reservation"
_IS_OPEN: Final = f"state IN ({', '.join(repr(str(state)) for state in OPEN_STATES)})"
_SELECT_IDS: Final = f"{_SELECT} WHERE reservation.id IN (:given)"
_SELECT_KEYS: Final = (
    f"{SELECT}, idempotency.key AS idempotency_key"
    " FROM idempotency JOIN reservation ON reservation.id = idempotency.result_id"
    " WHERE idempotency.key IN (:given)"
)


def _job(row: Row) -> Job:
    return Job(
        provider=row["provider"],
        model=row["model"],
        action=row["action"],
        seconds=row["seconds"],
        billed_seconds=row["billed_seconds"],
        resolution=row["resolution"],
        sound=None if row["sound"] is None else bool(row["sound"]),
        usd=_money_or_none(row["usd_micro"], "USD"),
        quoted=_money_or_none(row["quoted_micro"], row["unit"]),
        low=_money_or_none(row["low_micro"], row["unit"]),
        estimated=_money_or_none(row["estimated_micro"], row["unit"]),
        quote=row["quote"],
        request=row["request"],
        payload_hash=row["payload_hash"],
        address=row["address"],
        account=row["account"],
    )


# Amounts are immutable and often repeat, zero most of all.
@lru_cache(maxsize=4096)
def _money(micro: int, unit: str) -> Money:
    return Money.exact(from_micro(micro), unit)


def _instant(us: int | None) -> datetime | None:
    return None if us is None else from_us(us)


def _money_or_none(micro: int | None, unit: str) -> Money | None:
    return None if micro is None else _money(micro, unit)
