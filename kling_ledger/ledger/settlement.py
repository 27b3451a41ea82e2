"""Settlement: a reservation moves on, and its credits with it, to an end that comes exactly once.

Every change is one compare-and-set on (id, step). Whoever comes second reads the row: the same
answer again if it asks for what already happened, an error that says so if it does not. Any number
of changes is made together: each is decided by itself, then the sums move.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from typing import Any, Final

from kling_ledger.errors import ConflictError, StateError
from kling_ledger.ledger import idempotency, reservations
from kling_ledger.ledger.engines.transaction import Row, Stamp, Transaction, overtaken, readable
from kling_ledger.ledger.ids import to_us
from kling_ledger.ledger.journal import Journal, Kind
from kling_ledger.ledger.reservations import MAY_FOLLOW, STATES, Reservation, SettledBy
from kling_ledger.ledger.rules import Rules, month_of
from kling_ledger.ledger.scopes import Subject
from kling_ledger.ledger.tables import OPEN_STATES, IdempotencyRow, ReservationRow, State
from kling_pricing.errors import AmountError
from kling_pricing.money import MAX_MICRO, USD, Money

_SET: Final = (
    "state",
    "step",
    "held_micro",
    "committed_micro",
    "refunded_micro",
    "usd_held_micro",
    "usd_spent_micro",
    "settled_by",
    "task_id",
    "videos",
    "videos_expire_at",
    "problem",
    "updated_at",
)
_FIGURES: Final = ("held_micro", "committed_micro", "refunded_micro")
_MOVE_IN_WINDOW: Final = """
UPDATE budget_window SET held_micro = held_micro - :held, spent_micro = spent_micro + :spent
WHERE budget_id = :budget AND starts_at = :starts
"""
_MOVE_IN_WALLET: Final = f"""
UPDATE wallet SET posted_micro = posted_micro - :spent, reserved_micro = reserved_micro - :held
WHERE id = :id AND funded_micro + adjusted_micro - posted_micro + :spent <= {MAX_MICRO}
  AND posted_micro - :spent - reserved_micro + :held >= -{MAX_MICRO}
"""


@dataclass(frozen=True, slots=True)
class Change:
    """What is to become of a reservation.

    `to_state` None keeps the state: a refund, or a correction, whose `amount` is what the job cost
    in the end. Otherwise `amount` is what is charged; a part leaves the rest reserved. With
    `only_from` the change is refused from any other state: somebody else has moved the reservation
    on. `key` makes the call repeatable; `reason` is for the journal.
    """

    reservation_id: str
    to_state: State | None
    amount: Money | None = None
    is_part: bool = False
    is_correction: bool = False
    settled_by: SettledBy | None = None
    task_id: str | None = None
    videos: Sequence[str] = ()
    videos_expire_at: datetime | None = None
    problem: str | None = None
    only_from: State | None = None
    key: str | None = None
    reason: str | None = None


@dataclass(frozen=True, slots=True)
class _Moved:
    """One decided change: the row before, the columns that differ after, and its transfers."""

    change: Change
    before: Row
    after: Mapping[str, Any]
    transfers: tuple[tuple[Kind, int], ...]
    corrects: str | None = None


def settle(
    transaction: Transaction, rules: Rules, changes: Sequence[Change], *, stamp: Stamp
) -> Callable[[int], Reservation]:
    """Make every change, or none; what is returned gives each reservation by its place.

    Raises StateError where a state does not allow a change, ConflictError where the same was done
    with another amount or task, and AmountError for an amount that cannot be.
    """
    before = reservations.find_rows(transaction, [change.reservation_id for change in changes])
    now: dict[str, Row] = dict(before)
    moves: list[_Moved] = []
    stored = idempotency.known_keys(transaction, (change.key for change in changes))
    said: dict[str, idempotency.Content] = {}
    tasks: dict[tuple[str, str], str] = {}
    keys: list[tuple[Any, ...]] = []
    for change in changes:
        content = _content(change)
        if _was_made(stored, change.key, content, said):
            continue
        moved = _decided(transaction, rules, change, now[change.reservation_id], stamp)
        if change.key is not None:
            said[change.key] = content
            result_id = change.reservation_id
            keys.append(
                idempotency.key_row(change.key, content, result_id=result_id, at_us=stamp.at_us)
            )
        if moved is not None:
            _check_task_is_its_own(moved, tasks)
            now[change.reservation_id] = {
                **moved.before,
                **moved.after,
                "updated_at": stamp.at_us,
            }
            moves.append(moved)
    if moves:
        _move(transaction, rules, moves, before, now, stamp)
    if keys:
        transaction.insert(IdempotencyRow, keys)
    return lambda place: reservations.from_row(now[changes[place].reservation_id])


def expire_due(transaction: Transaction, rules: Rules, *, stamp: Stamp) -> list[Reservation]:
    """End every reservation whose time is over and of which nothing was ever sent."""
    transaction.be_alone()
    due = transaction.rows(
        "SELECT id FROM reservation WHERE state = 'reserved' AND expires_at <= :now ORDER BY id",
        now=stamp.at_us,
    )
    reason = "its time was over and nothing was sent"
    changes = [Change(row["id"], State.EXPIRED, reason=reason) for row in due]
    if not changes:
        return []
    result_of = settle(transaction, rules, changes, stamp=stamp)
    return [result_of(place) for place in range(len(changes))]


def is_any_due(transaction: Transaction, at_us: int) -> bool:
    """Whether the clock has ended a reservation that still holds its credits."""
    query = "SELECT 1 AS is_due FROM reservation WHERE state = 'reserved' AND expires_at <= :now"
    return transaction.row(f"{query} LIMIT 1", now=at_us) is not None


def record_task(transaction: Transaction, reservation_id: str, task_id: str) -> None:
    """Keep the task of a reservation that has ended meanwhile: it may yet be charged.

    Raises ConflictError where another reservation has the task.
    """
    before = reservations.find_rows(transaction, [reservation_id])[reservation_id]
    _check_task_is_free(transaction, task_id, before)
    transaction.run(
        "UPDATE reservation SET task_id = :task_id WHERE id = :id AND task_id IS NULL",
        id=reservation_id,
        task_id=task_id,
    )


def _was_made(
    stored: idempotency.Known,
    key: str | None,
    content: idempotency.Content,
    said: Mapping[str, idempotency.Content],
) -> bool:
    """Whether a key has asked for the same before, in this call or an earlier one."""
    if key is not None and key in said:
        idempotency.check_same(key, said[key], content)
        return True
    return idempotency.result_in(stored, key, content) is not None


def _decided(
    transaction: Transaction, rules: Rules, change: Change, before: Row, stamp: Stamp
) -> _Moved | None:
    """Decide a change; None if it has happened already."""
    state = STATES[before["state"]]
    if change.only_from is not None and state is not change.only_from:
        raise StateError(before["id"], state=state, change=change.to_state or "refunded")
    if change.amount is not None:
        _check_amount(change.amount, before["unit"])
    if change.is_correction:
        return _corrected_to(transaction, rules, change, before, state)
    if change.to_state is None:
        return _refunded(transaction, rules, change, before)
    if change.is_part:
        return _committed_in_part(change, before, state)
    if state is change.to_state and state is not State.SUBMITTING:
        _check_same(change, before)
        return None
    _check_task(transaction, change, before)
    _check_may_follow(change, before, state, stamp)
    if change.to_state is State.COMMITTED:
        return _committed(transaction, rules, change, before, state)
    if change.to_state in OPEN_STATES:
        return _Moved(change, before, _after(change, before), ())
    back: Kind = "expire" if change.to_state is State.EXPIRED else "roll_back"
    held = before["held_micro"]
    return _Moved(change, before, _after(change, before, held_micro=0), ((back, held),))


def _committed(
    transaction: Transaction, rules: Rules, change: Change, before: Row, state: State
) -> _Moved:
    """Charge what the job cost and return the rest; more than was held is charged too.

    Without an amount, an open reservation costs what it holds.
    """
    held = before["held_micro"]
    is_open = state in OPEN_STATES
    charged = held if change.amount is None and is_open else _charged(change)
    total = (before["committed_micro"] or 0) + charged
    after = _after(change, before, held_micro=0, committed_micro=total)
    if not is_open:
        return _Moved(
            change,
            before,
            after,
            (("late_commit", charged),),
            _corrected(transaction, rules, before),
        )
    transfers: tuple[tuple[Kind, int], ...] = (
        ("commit", min(charged, held)),
        ("overrun", max(charged - held, 0)),
        ("return", max(held - charged, 0)),
    )
    return _Moved(change, before, after, transfers)


def _committed_in_part(change: Change, before: Row, state: State) -> _Moved:
    """Charge a part and keep the rest reserved."""
    if state not in OPEN_STATES or State.COMMITTED not in MAY_FOLLOW[state]:
        raise StateError(before["id"], state=state, change="committed in part")
    charged = _charged(change)
    held = before["held_micro"]
    after = _after(
        change,
        before,
        state=state,
        held_micro=max(held - charged, 0),
        committed_micro=(before["committed_micro"] or 0) + charged,
    )
    return _Moved(
        change,
        before,
        after,
        (("commit", min(charged, held)), ("overrun", max(charged - held, 0))),
    )


def _refunded(transaction: Transaction, rules: Rules, change: Change, before: Row) -> _Moved:
    """Give back some of what was committed, at most all of it."""
    refund = _charged(change)
    left = (before["committed_micro"] or 0) - before["refunded_micro"]
    unit = before["unit"]
    if refund == 0:
        raise AmountError("refund", got=str(change.amount), allowed="more than nothing")
    if refund > left:
        most = Money.from_micro(left, unit)
        raise AmountError("refund", got=str(change.amount), allowed=f"at most {most}")
    after = _after(
        change, before, state=before["state"], refunded_micro=before["refunded_micro"] + refund
    )
    return _Moved(
        change, before, after, (("refund", refund),), _corrected(transaction, rules, before)
    )


def _corrected_to(
    transaction: Transaction, rules: Rules, change: Change, before: Row, state: State
) -> _Moved | None:
    """Charge more, or give some back, until an ended job has cost what it cost in the end."""
    if state in OPEN_STATES:
        raise StateError(before["id"], state=state, change="corrected")
    more = _charged(change) - _spent(before)
    if more == 0 and change.settled_by in {None, before["settled_by"]}:
        return None
    figures: dict[str, Any] = {"state": state}
    if more > 0:
        figures = {
            "state": State.COMMITTED,
            "committed_micro": (before["committed_micro"] or 0) + more,
        }
    elif more < 0:
        figures["refunded_micro"] = before["refunded_micro"] - more
    transfers: tuple[tuple[Kind, int], ...] = (
        ("late_commit", max(more, 0)),
        ("refund", max(-more, 0)),
    )
    after = _after(change, before, **figures)
    return _Moved(change, before, after, transfers, _corrected(transaction, rules, before))


def _corrected(transaction: Transaction, rules: Rules, before: Row) -> str | None:
    """Return the closed month in which a reservation had ended, None if it is not closed."""
    ended = transaction.row(
        f"SELECT MIN(created_at) AS at FROM job_event WHERE reservation_id = :id"
        f" AND to_state NOT IN ({', '.join(repr(str(state)) for state in OPEN_STATES)})",
        id=before["id"],
    )
    month = month_of(ended["at"]) if ended and ended["at"] is not None else None
    return month if month in rules.closed else None


def _after(change: Change, before: Row, **given: Any) -> dict[str, Any]:
    """Return the columns of a reservation after a change, every one that changes ever set."""
    figures: dict[str, Any] = {name: before[name] for name in _FIGURES} | given
    held, committed, refunded = (figures[name] for name in _FIGURES)
    return {
        "state": given.get("state", change.to_state),
        "step": before["step"] + 1,
        "held_micro": held,
        "committed_micro": committed,
        "refunded_micro": refunded,
        "usd_held_micro": _in_usd(before, held),
        "usd_spent_micro": _in_usd(before, (committed or 0) - refunded),
        "settled_by": change.settled_by or before["settled_by"],
        "task_id": change.task_id or before["task_id"],
        "videos": json.dumps(list(change.videos)) if change.videos else before["videos"],
        "videos_expire_at": _us(change.videos_expire_at) or before["videos_expire_at"],
        "problem": readable(change.problem) or before["problem"],
    }


def _us(at: datetime | None) -> int | None:
    return None if at is None else to_us(at)


def _in_usd(before: Row, micro: int) -> int | None:
    """Return an amount at the reservation's own rate, to the nearest millionth of a dollar."""
    usd, reserved = before["usd_micro"], before["reserved_micro"]
    if usd is None or before["unit"] == USD:
        return None if usd is None else micro
    worth = int((2 * usd * micro + reserved) // (2 * reserved))
    if worth > MAX_MICRO:
        raise AmountError(
            "settled cost",
            got=Money.from_micro(micro, before["unit"]),
            allowed=f"what is worth at most {Money.from_micro(MAX_MICRO, USD)}",
        )
    return worth


def _move(
    transaction: Transaction,
    rules: Rules,
    moves: Sequence[_Moved],
    before: Mapping[str, Row],
    now: Mapping[str, Row],
    stamp: Stamp,
) -> None:
    """Write decided changes: windows by budget, wallets, reservations, then the journal."""
    changed = sorted({moved.before["id"] for moved in moves})
    _move_in_windows(transaction, rules, changed, before, now)
    _move_in_wallets(transaction, changed, before, now)
    rows = []
    for one in changed:
        settings = (now[one][column] for column in _SET)
        rows.append((*settings, one, before[one]["step"]))
    transaction.update(ReservationRow, ("id", "step"), _SET, rows, refused=overtaken)
    journal = Journal(stamp, rules.period(stamp.at_us))
    for moved in moves:
        _write_down(journal, moved)
    journal.write(transaction)


def _write_down(journal: Journal, moved: _Moved) -> None:
    before = moved.before
    reason = readable(moved.change.reason)
    journal.event(
        before["id"],
        moved.after["step"],
        from_state=before["state"],
        to_state=moved.after["state"],
        reason=reason,
    )
    for kind, amount in moved.transfers:
        journal.transfer(
            kind,
            amount,
            wallet_id=before["wallet_id"],
            unit=before["unit"],
            reservation_id=before["id"],
            provider=before["provider"],
            corrects=moved.corrects,
            reason=reason,
        )


def _move_in_wallets(
    transaction: Transaction,
    changed: Sequence[str],
    before: Mapping[str, Row],
    now: Mapping[str, Row],
) -> None:
    sums: dict[str, tuple[int, int]] = {}
    for one in changed:
        old, new = before[one], now[one]
        held, spent = sums.get(old["wallet_id"], (0, 0))
        held += old["held_micro"] - new["held_micro"]
        spent += _spent(new) - _spent(old)
        sums[old["wallet_id"]] = (held, spent)
    for wallet_id in sorted(sums):
        held, spent = sums[wallet_id]
        if held or spent:
            transaction.change(
                _MOVE_IN_WALLET,
                {"held": held, "spent": spent, "id": wallet_id},
                expect=1,
                refused=partial(_beyond, spent),
            )


def _move_in_windows(
    transaction: Transaction,
    rules: Rules,
    changed: Sequence[str],
    before: Mapping[str, Row],
    now: Mapping[str, Row],
) -> None:
    """Move held to spent in the windows that admitted the jobs, whatever window is open now."""
    sums: dict[tuple[str, int], tuple[int, int]] = {}
    for one in changed if rules.budgets else ():
        old, new = before[one], now[one]
        for budget in rules.covering(_subject(old)):
            starts_us, _ = budget.window_at(old["created_at"])
            is_usd = budget.unit == USD
            if is_usd and old["usd_micro"] is None:
                continue
            held_column = "usd_held_micro" if is_usd else "held_micro"
            held, spent = sums.get((budget.id, starts_us), (0, 0))
            held += old[held_column] - new[held_column]
            spent += (
                new["usd_spent_micro"] - old["usd_spent_micro"]
                if is_usd
                else _spent(new) - _spent(old)
            )
            sums[budget.id, starts_us] = (held, spent)
    for budget_id, starts_us in sorted(sums):
        held, spent = sums[budget_id, starts_us]
        if held or spent:
            transaction.run(
                _MOVE_IN_WINDOW, held=held, spent=spent, budget=budget_id, starts=starts_us
            )


def _spent(row: Row) -> int:
    return (row["committed_micro"] or 0) - int(row["refunded_micro"])


def _subject(row: Row) -> Subject:
    return Subject(
        row["wallet_id"],
        row["unit"],
        row["project"],
        row["provider"],
        row["model"],
        row["labels"],
    )


def _beyond(spent: int) -> Exception:
    return AmountError(
        "settled cost", got=spent, allowed=f"at most {MAX_MICRO} millionths spent in one wallet"
    )


def _charged(change: Change) -> int:
    if change.amount is None:
        raise AmountError("amount", got=None, allowed="what the job cost, 0 too")
    return change.amount.micro


def _check_amount(amount: Money, unit: str) -> None:
    if not isinstance(amount, Money):
        raise AmountError("amount", got=amount, allowed="Money, such as Money.parse('0.675 USD')")
    if amount.unit != unit:
        raise AmountError("unit", got=amount.unit, allowed=unit)
    if amount.micro < 0:
        raise AmountError("settled cost", got=str(amount), allowed="nothing or more")


def _check_may_follow(change: Change, before: Row, state: State, stamp: Stamp) -> None:
    """Refuse what the state does not allow; only one caller may begin to submit.

    The clock may only end what has not been sent, and what it has ended must not be sent.
    """
    to_state = change.to_state
    is_over = before["expires_at"] is not None and before["expires_at"] <= stamp.at_us
    if to_state not in MAY_FOLLOW[state]:
        raise StateError(before["id"], state=state, change=str(to_state))
    if to_state is State.SUBMITTING and is_over:
        raise StateError(before["id"], state="past its expiry", change=str(to_state))
    if to_state is State.EXPIRED and not is_over:
        raise StateError(before["id"], state="not past its expiry", change=str(to_state))


def _check_task(transaction: Transaction, change: Change, before: Row) -> None:
    """Refuse a task that is another reservation's, and another task than the one known."""
    task_id = change.task_id
    if task_id is None:
        return
    if before["task_id"] not in {None, task_id}:
        raise ConflictError(
            f"reservation {before['id']}", field="task", stored=before["task_id"], given=task_id
        )
    _check_task_is_free(transaction, task_id, before)


def _check_task_is_free(transaction: Transaction, task_id: str, before: Row) -> None:
    holder = reservations.find_by_task(transaction, before["provider"] or "", task_id)
    if holder is not None and holder.id != before["id"]:
        raise ConflictError(
            f"task {task_id}", field="reservation", stored=holder.id, given=before["id"]
        )


def _check_task_is_its_own(moved: _Moved, given: dict[tuple[str, str], str]) -> None:
    """Refuse a task that another reservation was given in the same call."""
    provider, task_id, own = moved.before["provider"], moved.change.task_id, moved.before["id"]
    if provider is None or task_id is None:
        return
    holder = given.setdefault((provider, task_id), own)
    if holder != own:
        raise ConflictError(f"task {task_id}", field="reservation", stored=holder, given=own)


def _check_same(change: Change, before: Row) -> None:
    """Refuse a repeated change that says something else than the first time."""
    subject = f"reservation {before['id']}"
    if change.amount is not None and change.amount.micro != before["committed_micro"]:
        stored = Money.from_micro(before["committed_micro"], before["unit"])
        raise ConflictError(subject, field="settled cost", stored=stored, given=change.amount)
    if change.task_id is not None and change.task_id != before["task_id"]:
        raise ConflictError(subject, field="task", stored=before["task_id"], given=change.task_id)


def _content(change: Change) -> idempotency.Content:
    return {
        "operation": "correct" if change.is_correction else str(change.to_state or "refund"),
        "reservation": change.reservation_id,
        "amount": None if change.amount is None else str(change.amount),
        "part": "yes" if change.is_part else None,
        "task": change.task_id,
    }
