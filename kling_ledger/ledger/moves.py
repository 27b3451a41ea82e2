"""Moves: what one change does to its reservation's figures, and what it transfers.

Pure, except for one look at the journal: when an ended reservation ended.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from kling_ledger.errors import StateError
from kling_ledger.ledger.changes import (
    Change,
    charge_of,
    check_amount,
    check_may_follow,
    check_same,
    check_task,
)
from kling_ledger.ledger.engines.transaction import Row, Stamp, Transaction, readable
from kling_ledger.ledger.ids import to_us
from kling_ledger.ledger.journal import Kind
from kling_ledger.ledger.reservations import MAY_FOLLOW, STATES
from kling_ledger.ledger.rules import Rules, month_of
from kling_ledger.ledger.states import OPEN_STATES, State
from kling_pricing.errors import AmountError
from kling_pricing.money import MAX_MICRO, USD, Money

_FIGURES: Final = (
    "held_micro",
    "committed_micro",
    "refunded_micro",
    "reserved_micro",
    "usd_micro",
    "provider_held_micro",
)


@dataclass(frozen=True, slots=True)
class Move:
    """One decided change: the row before, the columns after it, and its transfers."""

    change: Change
    before: Row
    after: Mapping[str, Any]
    transfers: tuple[tuple[Kind, int], ...]
    corrects: str | None = None


def decide(
    transaction: Transaction, rules: Rules, change: Change, before: Row, stamp: Stamp
) -> Move | None:
    """Decide a change; None if it has happened already."""
    state = STATES[before["state"]]
    if change.only_from is not None and state is not change.only_from:
        raise StateError(before["id"], state=state, change=change.to_state or "refunded")
    if change.amount is not None:
        check_amount(change.amount, before["unit"])
    if change.is_undo:
        return _reopened(transaction, rules, change, before, state)
    if change.to_state is None:
        return _in_its_state(transaction, rules, change, before, state)
    if change.is_part:
        return _committed_in_part(change, before, state)
    if state is change.to_state and state is not State.SUBMITTING:
        check_same(transaction, change, before)
        return None
    check_task(transaction, change, before)
    check_may_follow(change, before, state, stamp)
    if change.to_state is State.COMMITTED and state in OPEN_STATES:
        return _committed(change, before)
    if change.to_state is State.COMMITTED:
        return _committed_late(transaction, rules, change, before)
    if change.to_state in OPEN_STATES:
        return Move(change, before, _after(change, before), ())
    back: Kind = "expire" if change.to_state is State.EXPIRED else "roll_back"
    held = before["held_micro"]
    return Move(change, before, _after(change, before, held_micro=0), ((back, held),))


def _in_its_state(
    transaction: Transaction, rules: Rules, change: Change, before: Row, state: State
) -> Move | None:
    """Decide a change that leaves the state as it is."""
    if change.is_hold:
        return _held(change, before, state)
    if change.is_correction:
        return _corrected_to(transaction, rules, change, before, state)
    return _refunded(transaction, rules, change, before)


def _committed(change: Change, before: Row) -> Move:
    """Charge what the job cost and return the rest; anything above the hold is charged too.

    Without an amount the job costs what it holds.
    """
    held = before["held_micro"]
    charged = held if change.amount is None else charge_of(change)
    total = (before["committed_micro"] or 0) + charged
    transfers: tuple[tuple[Kind, int], ...] = (
        ("commit", min(charged, held)),
        ("overrun", max(charged - held, 0)),
        ("return", max(held - charged, 0)),
    )
    after = _after(change, before, held_micro=0, committed_micro=total, ended_at_micro=charged)
    return Move(change, before, after, transfers)


def _committed_late(transaction: Transaction, rules: Rules, change: Change, before: Row) -> Move:
    """Charge a job whose credits were returned: the provider charged it after all.

    Nothing is held any more, so all of it comes from what the wallet has available.
    """
    charged = charge_of(change)
    total = (before["committed_micro"] or 0) + charged
    after = _after(change, before, held_micro=0, committed_micro=total, ended_at_micro=charged)
    corrects = _corrected(transaction, rules, before)
    return Move(change, before, after, (("late_commit", charged),), corrects)


def _committed_in_part(change: Change, before: Row, state: State) -> Move:
    """Charge a part and keep the rest reserved."""
    if state not in OPEN_STATES or State.COMMITTED not in MAY_FOLLOW[state]:
        raise StateError(before["id"], state=state, change="committed in part")
    charged = charge_of(change)
    held = before["held_micro"]
    transfers: tuple[tuple[Kind, int], ...] = (
        ("commit", min(charged, held)),
        ("overrun", max(charged - held, 0)),
    )
    after = _after(
        change,
        before,
        state=state,
        held_micro=max(held - charged, 0),
        committed_micro=(before["committed_micro"] or 0) + charged,
    )
    return Move(change, before, after, transfers)


def _held(change: Change, before: Row, state: State) -> Move | None:
    """Hold what the provider itself set aside, whether more or less than before.

    Parts already charged count towards it. More may take the wallet or a budget beyond its limit:
    the provider already has it.
    """
    if state not in OPEN_STATES:
        raise StateError(before["id"], state=state, change="held at another amount")
    theirs = charge_of(change)
    target = max(theirs - (before["committed_micro"] or 0), 0)
    more = target - before["held_micro"]
    if more == 0 and before["provider_held_micro"] == theirs:
        return None
    transfers: tuple[tuple[Kind, int], ...] = (
        ("reserve", max(more, 0)),
        ("return", max(-more, 0)),
    )
    reserved = before["reserved_micro"] + max(more, 0)
    after = _after(
        change,
        before,
        state=state,
        held_micro=target,
        reserved_micro=reserved,
        usd_micro=_in_usd(before, reserved),
        provider_held_micro=theirs,
    )
    return Move(change, before, after, transfers)


def _reopened(
    transaction: Transaction, rules: Rules, change: Change, before: Row, state: State
) -> Move:
    """Reopen an ended reservation: its charge comes back, and an amount is held again."""
    if state in OPEN_STATES:
        raise StateError(before["id"], state=state, change="opened again")
    spent, hold = spent_of(before), charge_of(change)
    after = _after(
        change,
        before,
        held_micro=hold,
        refunded_micro=before["refunded_micro"] + spent,
    )
    corrects = _corrected(transaction, rules, before)
    return Move(change, before, after, (("refund", spent), ("reopen", hold)), corrects)


def _refunded(transaction: Transaction, rules: Rules, change: Change, before: Row) -> Move:
    """Give back part of what was committed, at most all of it."""
    refund = charge_of(change)
    left = (before["committed_micro"] or 0) - before["refunded_micro"]
    if refund == 0:
        raise AmountError("refund", got=str(change.amount), allowed="more than 0")
    if refund > left:
        most = Money.from_micro(left, before["unit"])
        raise AmountError("refund", got=str(change.amount), allowed=f"at most {most}")
    after = _after(
        change, before, state=before["state"], refunded_micro=before["refunded_micro"] + refund
    )
    corrects = _corrected(transaction, rules, before)
    return Move(change, before, after, (("refund", refund),), corrects)


def _corrected_to(
    transaction: Transaction, rules: Rules, change: Change, before: Row, state: State
) -> Move | None:
    """Charge more or give some back, until an ended job has its final cost."""
    if state in OPEN_STATES:
        raise StateError(before["id"], state=state, change="corrected")
    more = charge_of(change) - spent_of(before)
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
    return Move(change, before, after, transfers, _corrected(transaction, rules, before))


def _corrected(transaction: Transaction, rules: Rules, before: Row) -> str | None:
    """Return the month in which a reservation ended, if it is closed; otherwise None."""
    ended = transaction.row(
        f"SELECT MIN(created_at) AS at FROM job_event WHERE reservation_id = :id"
        f" AND to_state NOT IN ({', '.join(repr(str(state)) for state in OPEN_STATES)})",
        id=before["id"],
    )
    month = month_of(ended["at"]) if ended and ended["at"] is not None else None
    return month if month in rules.closed else None


def _after(change: Change, before: Row, **given: Any) -> dict[str, Any]:
    """Return every column that changes may set, as it is after a change."""
    figures: dict[str, Any] = {name: before[name] for name in _FIGURES} | given
    state = figures.pop("state", change.to_state)
    spent = (figures["committed_micro"] or 0) - figures["refunded_micro"]
    return {
        **figures,
        "state": state,
        "step": before["step"] + 1,
        "usd_held_micro": _in_usd(before, figures["held_micro"]),
        "usd_spent_micro": _in_usd(before, spent),
        "settled_by": change.settled_by or before["settled_by"],
        "task_id": change.task_id or before["task_id"],
        "videos": json.dumps(list(change.videos)) if change.videos else before["videos"],
        "videos_expire_at": _us(change.videos_expire_at) or before["videos_expire_at"],
        "problem": readable(change.problem) or before["problem"],
    }


def _in_usd(before: Row, micro: int) -> int | None:
    """Return an amount at the reservation's own rate, to the nearest millionth of a dollar."""
    usd, reserved = before["usd_micro"], before["reserved_micro"]
    if usd is None or before["unit"] == USD:
        return None if usd is None else micro
    # Rounds half up, in integers: (2a + b) // 2b is a / b to the nearest.
    worth = int((2 * usd * micro + reserved) // (2 * reserved))
    if worth > MAX_MICRO:
        raise AmountError(
            "settled cost",
            got=Money.from_micro(micro, before["unit"]),
            allowed=f"what is worth at most {Money.from_micro(MAX_MICRO, USD)}",
        )
    return worth


def spent_of(row: Row) -> int:
    """Return what a job has cost so far, in millionths: what was charged, less refunds."""
    return (row["committed_micro"] or 0) - int(row["refunded_micro"])


def _us(at: datetime | None) -> int | None:
    return None if at is None else to_us(at)
