"""Changes: a requested change of a reservation, and whether it is allowed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from kling_ledger.errors import ConflictError, StateError
from kling_ledger.ledger import idempotency, reservations
from kling_ledger.ledger.engines.transaction import Row, Stamp, Transaction
from kling_ledger.ledger.reservations import MAY_FOLLOW, SettledBy
from kling_ledger.ledger.states import State
from kling_pricing.errors import AmountError
from kling_pricing.money import Money

_LAST_CHARGE: Final = """
SELECT id, amount_micro FROM transfer
WHERE reservation_id = :id AND kind IN ('commit', 'overrun', 'late_commit') AND created_at = (
    SELECT MAX(created_at) FROM job_event
    WHERE reservation_id = :id AND to_state = 'committed' AND from_state <> 'committed')
ORDER BY id DESC
"""


@dataclass(frozen=True, slots=True)
class Change:
    """A requested change of a reservation.

    `to_state` None keeps the state: a refund; a correction, whose `amount` is the job's final cost;
    or a hold, whose `amount` is what the provider itself set aside. Otherwise `amount` is what to
    charge; with `is_part` the rest stays reserved. An undo reopens an ended reservation: its
    `amount` is held again, and the charge comes back. With `only_from`, any other state raises an
    error: somebody else has changed the reservation. `key` makes the call repeatable; `reason` is
    for the journal.
    """

    reservation_id: str
    to_state: State | None
    amount: Money | None = None
    is_part: bool = False
    is_correction: bool = False
    is_hold: bool = False
    is_undo: bool = False
    settled_by: SettledBy | None = None
    task_id: str | None = None
    videos: Sequence[str] = ()
    videos_expire_at: datetime | None = None
    problem: str | None = None
    only_from: State | None = None
    key: str | None = None
    reason: str | None = None


def content_of(change: Change) -> idempotency.Content:
    """Return what a key stands for, field by field; the actor and the reason are not part of it."""
    return {
        "operation": _operation(change),
        "reservation": change.reservation_id,
        "amount": None if change.amount is None else str(change.amount),
        "part": "yes" if change.is_part else None,
        "task": change.task_id,
    }


def _operation(change: Change) -> str:
    if change.is_undo:
        return "undo"
    if change.to_state is None:
        return "correct" if change.is_correction else "hold" if change.is_hold else "refund"
    return str(change.to_state)


def charge_of(change: Change) -> int:
    """Return a change's amount in millionths. Raises AmountError if it has none."""
    if change.amount is None:
        raise AmountError("amount", got=None, allowed="the cost of the job, 0 if it was free")
    return change.amount.micro


def check_amount(amount: Money, unit: str) -> None:
    """Refuse anything that is not an amount, is in another unit, or is negative."""
    if not isinstance(amount, Money):
        raise AmountError("amount", got=amount, allowed="Money, such as Money.parse('0.675 USD')")
    if amount.unit != unit:
        raise AmountError("unit", got=amount.unit, allowed=unit)
    if amount.micro < 0:
        raise AmountError("settled cost", got=str(amount), allowed="0 or more")


def check_may_follow(change: Change, before: Row, state: State, stamp: Stamp) -> None:
    """Refuse what the state does not allow; only one caller may begin to submit.

    Only a reservation that was never sent may expire, and an expired one must not be sent.
    """
    to_state = change.to_state
    is_over = before["expires_at"] is not None and before["expires_at"] <= stamp.at_us
    if to_state not in MAY_FOLLOW[state]:
        raise StateError(before["id"], state=state, change=str(to_state))
    if to_state is State.SUBMITTING and is_over:
        raise StateError(before["id"], state="past its expiry", change=str(to_state))
    if to_state is State.EXPIRED and not is_over:
        raise StateError(before["id"], state="not past its expiry", change=str(to_state))


def check_same(transaction: Transaction, change: Change, before: Row) -> None:
    """Refuse a repeated change that differs from the first one."""
    subject = f"reservation {before['id']}"
    charged = (before["committed_micro"], _charged_last(transaction, change, before))
    if change.amount is not None and change.amount.micro not in charged:
        stored = Money.from_micro(before["committed_micro"], before["unit"])
        raise ConflictError(subject, field="settled cost", stored=stored, given=change.amount)
    if change.task_id is not None and change.task_id != before["task_id"]:
        raise ConflictError(subject, field="task", stored=before["task_id"], given=change.task_id)


def _charged_last(transaction: Transaction, change: Change, before: Row) -> int | None:
    """Return the last charge of a job's commit: with parts before it, the total is higher.

    For a commit in this call it is in the row, for an earlier one in the journal.
    """
    if change.amount is None or change.amount.micro == before["committed_micro"]:
        return None
    if "ended_at_micro" in before:
        return int(before["ended_at_micro"])
    rows = transaction.rows(_LAST_CHARGE, id=before["id"])
    # The ids from one operation differ only in their last four digits.
    last = [row for row in rows if row["id"][:-4] == rows[0]["id"][:-4]]
    return sum(int(row["amount_micro"]) for row in last)


def check_task(transaction: Transaction, change: Change, before: Row) -> None:
    """Refuse a task that belongs to another reservation, and a task other than the known one."""
    task_id = change.task_id
    if task_id is None:
        return
    if before["task_id"] not in {None, task_id}:
        raise ConflictError(
            f"reservation {before['id']}", field="task", stored=before["task_id"], given=task_id
        )
    check_task_is_free(transaction, task_id, before)


def check_task_is_free(transaction: Transaction, task_id: str, before: Row) -> None:
    """Refuse a task that belongs to another reservation at the same place."""
    for holder in reservations.find_by_task(transaction, before["provider"] or "", task_id):
        place = (holder.job.address, holder.job.account)
        if holder.id != before["id"] and place == (before["address"], before["account"]):
            raise ConflictError(
                f"task {task_id}", field="reservation", stored=holder.id, given=before["id"]
            )


def check_task_is_its_own(change: Change, before: Row, given: dict[tuple[str, ...], str]) -> None:
    """Refuse a task given to another reservation in the same call; `given` records them."""
    provider, task_id, own = before["provider"], change.task_id, before["id"]
    if provider is None or task_id is None:
        return
    place = (before["address"] or "", before["account"] or "")
    holder = given.setdefault((provider, task_id, *place), own)
    if holder != own:
        raise ConflictError(f"task {task_id}", field="reservation", stored=holder, given=own)
