"""Reservations: credits set aside for one job, from `reserved` to an end that comes exactly once.

Every change of state is one compare-and-set on (id, state). Whoever comes second reads the row:
the same answer again if it asks for what already happened, an error that says so if it does not.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final, Literal

from kling_ledger.errors import (
    CeilingError,
    ConflictError,
    InsufficientCreditsError,
    NotFoundError,
    StateError,
)
from kling_ledger.ledger import idempotency, wallets
from kling_ledger.ledger.database import Transaction
from kling_ledger.ledger.ids import from_us, new_id, to_us
from kling_ledger.ledger.journal import (
    Journal,
    Kind,
    Stamp,
    available,
    record_event,
    reserved,
    spent_at,
)
from kling_ledger.ledger.tables import OPEN_STATES, State
from kling_pricing.errors import AmountError
from kling_pricing.money import MAX_MICRO, Money

SettledBy = Literal["provider", "quote", "person"]
"""Who said what a job cost: the provider, our quote because the provider did not say, a person."""

MAY_FOLLOW: Final[Mapping[State, frozenset[State]]] = {
    State.RESERVED: frozenset({State.SUBMITTING, State.ROLLED_BACK, State.EXPIRED}),
    State.SUBMITTING: frozenset({State.SUBMITTED, State.ROLLED_BACK, State.IN_DOUBT}),
    State.SUBMITTED: frozenset({State.COMMITTED, State.ROLLED_BACK, State.IN_DOUBT}),
    State.IN_DOUBT: frozenset({State.SUBMITTED, State.COMMITTED, State.ROLLED_BACK}),
    State.ROLLED_BACK: frozenset({State.COMMITTED}),
    State.EXPIRED: frozenset({State.COMMITTED}),
    State.COMMITTED: frozenset(),
}
"""The life of a reservation. An ended one may be committed: the provider charged after all."""

_INSERT: Final = """
INSERT INTO reservation (id, wallet_id, state, unit, reserved_micro, project, provider, model,
                         action, seconds, billed_seconds, resolution, sound, usd_micro, quote,
                         request, payload_hash, address, created_at, updated_at)
VALUES (:id, :wallet_id, 'reserved', :unit, :reserved_micro, :project, :provider, :model,
        :action, :seconds, :billed_seconds, :resolution, :sound, :usd_micro, :quote,
        :request, :payload_hash, :address, :created_at, :created_at)
"""
_CHANGE: Final = """
UPDATE reservation
SET state = :to_state, updated_at = :at,
    committed_micro = COALESCE(:committed_micro, committed_micro),
    settled_by = COALESCE(:settled_by, settled_by), task_id = COALESCE(:task_id, task_id),
    videos = COALESCE(:videos, videos), problem = COALESCE(:problem, problem)
WHERE id = :id AND state = :from_state
"""


@dataclass(frozen=True, slots=True)
class Job:
    """What a reservation is for. All of it may be unknown to the ledger, which only keeps it.

    `quote` and `request` are JSON texts; `usd` is the amount in US dollars on the day of the quote;
    `address` is where the provider was reached.
    """

    provider: str | None = None
    model: str | None = None
    action: str | None = None
    seconds: str | None = None
    billed_seconds: int | None = None
    resolution: str | None = None
    sound: bool | None = None
    usd: Money | None = None
    quote: str | None = None
    request: str | None = None
    payload_hash: str | None = None
    address: str | None = None


@dataclass(frozen=True, slots=True)
class Reservation:
    """A reservation as it stands. `amount` is what was set aside, `committed` what was charged."""

    id: str
    wallet: str
    state: State
    amount: Money
    committed: Money | None
    settled_by: SettledBy | None
    project: str | None
    job: Job
    task_id: str | None
    videos: tuple[str, ...]
    problem: str | None
    created_at: datetime
    updated_at: datetime

    @property
    def is_open(self) -> bool:
        """Whether credits are still set aside."""
        return self.state in OPEN_STATES

    @property
    def variance(self) -> Money | None:
        """Settled cost minus what was set aside; None until the job is committed."""
        return None if self.committed is None else self.committed - self.amount


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a change of state brings with it, besides the state."""

    committed: Money | None = None
    settled_by: SettledBy | None = None
    task_id: str | None = None
    videos: Sequence[str] = ()
    problem: str | None = None


def reserve(
    transaction: Transaction,
    wallet_name: str,
    amount: Money,
    *,
    job: Job,
    stamp: Stamp,
    project: str | None = None,
    key: str | None = None,
    ceiling: Money | None = None,
) -> Reservation:
    """Set credits aside for a job if the wallet holds them, once per key.

    Raises InsufficientCreditsError or CeilingError, and then nothing has changed; ConflictError
    where the key was used for something else.
    """
    wallet = wallets.find(transaction, wallet_name)
    content = _content(wallet, amount, job, project)
    earlier = idempotency.earlier_result(transaction, key, content)
    if earlier is not None:
        return find(transaction, earlier)
    _check_amount(wallet, amount, ceiling)
    _take(transaction, wallet, amount)
    reservation_id = new_id("res", stamp.at)
    _insert(transaction, reservation_id, wallet, amount, job, project, stamp.at)
    record_event(transaction, reservation_id, from_state=None, to_state=State.RESERVED, stamp=stamp)
    journal = Journal(transaction, stamp, wallet.id, wallet.unit, reservation_id)
    journal.post("reserve", amount.micro, debit=available(wallet.id), credit=reserved(wallet.id))
    idempotency.remember(transaction, key, content, result_id=reservation_id, at=stamp.at)
    return find(transaction, reservation_id)


def change(
    transaction: Transaction,
    reservation_id: str,
    to_state: State,
    *,
    stamp: Stamp,
    outcome: Outcome | None = None,
    only_from: State | None = None,
) -> Reservation:
    """Move a reservation on, and its credits with it; asking for what already happened is harmless.

    Only one caller may begin to submit: the second to ask is refused, or both would send the job.
    With `only_from` the change is refused from any other state: somebody else has moved it on.
    Raises StateError where the state does not allow it, ConflictError where the same was done
    with another amount or task.
    """
    outcome = outcome or Outcome()
    before = find(transaction, reservation_id)
    if only_from is not None and before.state is not only_from:
        raise StateError(reservation_id, state=before.state, change=to_state)
    if before.state == to_state and to_state is not State.SUBMITTING:
        _check_same(before, outcome)
        return before
    _check_charge(transaction, before, outcome.committed)
    _check_task(transaction, before, outcome.task_id)
    if to_state not in MAY_FOLLOW[before.state] or not _set_state(
        transaction, before, to_state, outcome, stamp
    ):
        raise StateError(reservation_id, state=before.state, change=to_state)
    record_event(
        transaction, reservation_id, from_state=before.state, to_state=to_state, stamp=stamp
    )
    if to_state not in OPEN_STATES:
        _settle(transaction, before, to_state, outcome.committed, stamp)
    return find(transaction, reservation_id)


def record_task(transaction: Transaction, reservation_id: str, task_id: str) -> None:
    """Keep the task of a reservation that has ended meanwhile: it may yet be charged."""
    transaction.run(
        "UPDATE reservation SET task_id = :task_id WHERE id = :id AND task_id IS NULL",
        id=reservation_id,
        task_id=task_id,
    )


def find(transaction: Transaction, reservation_id: str) -> Reservation:
    """Return a reservation by its id; NotFoundError if there is none."""
    rows = _select(transaction, "WHERE reservation.id = :id", id=reservation_id)
    if not rows:
        raise NotFoundError("reservation", reservation_id, hint="kling-ledger reservation list")
    return rows[0]


def find_by_task(transaction: Transaction, provider: str, task_id: str) -> Reservation | None:
    """Return the reservation of a provider's task, None if the task is not ours."""
    rows = _select(
        transaction,
        "WHERE provider = :provider AND task_id = :task_id",
        provider=provider,
        task_id=task_id,
    )
    return rows[0] if rows else None


def latest(
    transaction: Transaction, *, state: State | None, wallet: str | None, limit: int
) -> list[Reservation]:
    """Return the latest reservations, newest first, of one state or wallet where one is named."""
    return _select(
        transaction,
        "WHERE (:state IS NULL OR state = :state)"
        " AND (:wallet IS NULL OR :wallet IN (wallet.name, wallet.id))"
        " ORDER BY reservation.created_at DESC, reservation.id DESC LIMIT :limit",
        state=state,
        wallet=wallet,
        limit=max(limit, 0),
    )


def _check_amount(wallet: wallets.Wallet, amount: Money, ceiling: Money | None) -> None:
    if not isinstance(amount, Money):
        raise AmountError("amount", got=amount, allowed="Money, such as Money.parse('0.675 USD')")
    if amount.unit != wallet.unit:
        raise AmountError("unit of the wallet", got=wallet.unit, allowed=amount.unit)
    if amount.micro <= 0:
        raise AmountError("amount", got=str(amount), allowed="more than nothing")
    if ceiling is not None and amount > ceiling:
        raise CeilingError(cost=amount, ceiling=ceiling)


def _take(transaction: Transaction, wallet: wallets.Wallet, amount: Money) -> None:
    """Set the amount aside in one conditional statement: never read, then write."""
    taken = transaction.run(
        "UPDATE wallet SET reserved_micro = reserved_micro + :amount"
        " WHERE id = :id AND posted_micro - reserved_micro >= :amount",
        amount=amount.micro,
        id=wallet.id,
    )
    if not taken:
        raise InsufficientCreditsError(wallet.name, needed=amount, available=wallet.available)


def _insert(
    transaction: Transaction,
    reservation_id: str,
    wallet: wallets.Wallet,
    amount: Money,
    job: Job,
    project: str | None,
    at: datetime,
) -> None:
    transaction.run(
        _INSERT,
        id=reservation_id,
        wallet_id=wallet.id,
        unit=wallet.unit,
        reserved_micro=amount.micro,
        project=project,
        provider=job.provider,
        model=job.model,
        action=job.action,
        seconds=job.seconds,
        billed_seconds=job.billed_seconds,
        resolution=job.resolution,
        sound=job.sound,
        usd_micro=None if job.usd is None else job.usd.micro,
        quote=job.quote,
        request=job.request,
        payload_hash=job.payload_hash,
        address=job.address,
        created_at=to_us(at),
    )


def _set_state(
    transaction: Transaction, before: Reservation, to_state: State, outcome: Outcome, stamp: Stamp
) -> bool:
    changed = transaction.run(
        _CHANGE,
        id=before.id,
        from_state=before.state,
        to_state=to_state,
        at=to_us(stamp.at),
        committed_micro=None if outcome.committed is None else outcome.committed.micro,
        settled_by=outcome.settled_by,
        task_id=outcome.task_id,
        videos=json.dumps(list(outcome.videos)) if outcome.videos else None,
        problem=outcome.problem,
    )
    return changed == 1


def _settle(
    transaction: Transaction,
    before: Reservation,
    to_state: State,
    committed: Money | None,
    stamp: Stamp,
) -> None:
    """Move the credits that an ending sets free or charges, and the wallet's balances with them."""
    wallet = wallets.find(transaction, before.wallet)
    charged = committed.micro if committed else 0
    held = before.amount.micro if before.is_open else 0
    transaction.run(
        "UPDATE wallet SET posted_micro = posted_micro - :charged,"
        " reserved_micro = reserved_micro - :held WHERE id = :id",
        charged=charged,
        held=held,
        id=wallet.id,
    )
    journal = Journal(transaction, stamp, wallet.id, wallet.unit, before.id)
    free, aside, spent = available(wallet.id), reserved(wallet.id), spent_at(before.job.provider)
    if not before.is_open:
        journal.post("late_commit", charged, debit=free, credit=spent)
        return
    journal.post("commit", min(charged, held), debit=aside, credit=spent)
    journal.post("overrun", max(charged - held, 0), debit=free, credit=spent)
    back: Kind = "return" if to_state is State.COMMITTED else "roll_back"
    journal.post(back, max(held - charged, 0), debit=aside, credit=free)


def _check_charge(transaction: Transaction, before: Reservation, committed: Money | None) -> None:
    if committed is None:
        return
    if committed.unit != before.amount.unit:
        raise AmountError("unit", got=committed.unit, allowed=before.amount.unit)
    if committed.micro < 0:
        raise AmountError("settled cost", got=str(committed), allowed="nothing or more")
    spent = wallets.find(transaction, before.wallet).spent
    if spent.micro + committed.micro > MAX_MICRO:
        largest = Money.from_micro(MAX_MICRO - spent.micro, spent.unit)
        raise AmountError("settled cost", got=str(committed), allowed=f"at most {largest}")


def _check_task(transaction: Transaction, before: Reservation, task_id: str | None) -> None:
    """Refuse a task that is another reservation's, and another task than the one known."""
    if task_id is None:
        return
    if before.task_id not in {None, task_id}:
        raise ConflictError(
            f"reservation {before.id}", field="task", stored=before.task_id, given=task_id
        )
    holder = find_by_task(transaction, before.job.provider or "", task_id)
    if holder is not None and holder.id != before.id:
        raise ConflictError(
            f"task {task_id}", field="reservation", stored=holder.id, given=before.id
        )


def _check_same(before: Reservation, outcome: Outcome) -> None:
    """Refuse a repeated change that says something else than the first time."""
    subject = f"reservation {before.id}"
    if outcome.committed is not None and outcome.committed != before.committed:
        raise ConflictError(
            subject, field="settled cost", stored=before.committed, given=outcome.committed
        )
    if outcome.task_id is not None and outcome.task_id != before.task_id:
        raise ConflictError(subject, field="task", stored=before.task_id, given=outcome.task_id)


def _content(
    wallet: wallets.Wallet, amount: Money, job: Job, project: str | None
) -> idempotency.Content:
    return {
        "operation": "reserve",
        "wallet": wallet.name,
        # A price may change between two calls: the same request under the same key is the same.
        "amount": str(amount) if job.payload_hash is None else None,
        "project": project,
        "provider": job.provider,
        "model": job.model,
        "action": job.action,
        "seconds": job.seconds,
        "resolution": job.resolution,
        "sound": None if job.sound is None else str(job.sound).lower(),
        "payload": job.payload_hash,
    }


def _select(transaction: Transaction, where: str, **values: Any) -> list[Reservation]:
    rows = transaction.rows(
        "SELECT reservation.*, wallet.name AS wallet_name"
        f" FROM reservation JOIN wallet ON wallet.id = reservation.wallet_id {where}",
        **values,
    )
    return [_reservation(row) for row in rows]


def _reservation(row: dict[str, Any]) -> Reservation:
    unit = row["unit"]
    return Reservation(
        id=row["id"],
        wallet=row["wallet_name"],
        state=State(row["state"]),
        amount=Money.from_micro(row["reserved_micro"], unit),
        committed=_money_or_none(row["committed_micro"], unit),
        settled_by=row["settled_by"],
        project=row["project"],
        job=_job(row),
        task_id=row["task_id"],
        videos=tuple(json.loads(row["videos"] or "[]")),
        problem=row["problem"],
        created_at=from_us(row["created_at"]),
        updated_at=from_us(row["updated_at"]),
    )


def _job(row: dict[str, Any]) -> Job:
    return Job(
        provider=row["provider"],
        model=row["model"],
        action=row["action"],
        seconds=row["seconds"],
        billed_seconds=row["billed_seconds"],
        resolution=row["resolution"],
        sound=None if row["sound"] is None else bool(row["sound"]),
        usd=_money_or_none(row["usd_micro"], "USD"),
        quote=row["quote"],
        request=row["request"],
        payload_hash=row["payload_hash"],
        address=row["address"],
    )


def _money_or_none(micro: int | None, unit: str) -> Money | None:
    return None if micro is None else Money.from_micro(micro, unit)
