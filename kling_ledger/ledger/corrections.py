"""Corrections: what a provider's record changes in the journal, applied and undone together.

A plan results from a comparison; it names the step at which it saw each reservation. It is applied
whole or not at all: if the ledger has changed since, nothing happens.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from kling_ledger.errors import LedgerMovedError, NotFoundError, PlanUndoneError
from kling_ledger.ledger import reservations
from kling_ledger.ledger.changes import Change
from kling_ledger.ledger.engines.transaction import Row, Stamp, Transaction, readable
from kling_ledger.ledger.ids import from_us, new_id, numbers, to_us
from kling_ledger.ledger.moves import spent_of
from kling_ledger.ledger.reservations import Reservation
from kling_ledger.ledger.rules import Rules
from kling_ledger.ledger.schema import BILL_ENTRY, BILL_PROFILE, CORRECTION_PLAN
from kling_ledger.ledger.settlement import settle
from kling_ledger.ledger.states import OPEN_STATES, State
from kling_pricing.money import Money

_FOLLOWS_PLAN: Final = 1
"""How many of an operation's id numbers precede those of its transfers: the plan's own id."""


@dataclass(frozen=True, slots=True)
class BillEntry:
    """One row of a bill as the ledger stores it; `amount` is what it adds to its task's cost."""

    digest: str
    task_id: str | None
    kind: str
    amount: Money | None
    unit: str
    state: str | None
    at: datetime | None
    place: str
    raw: Mapping[str, str]
    source: str = ""


@dataclass(frozen=True, slots=True)
class Correction:
    """The change of one reservation, and the step at which it was seen."""

    reservation_id: str
    step: int
    change: Change


@dataclass(frozen=True, slots=True)
class CorrectionPlan:
    """Corrections of one account's jobs by one record, and the bill's rows behind them."""

    provider: str
    account: str
    source: str
    corrections: Sequence[Correction]
    entries: Sequence[BillEntry] = ()


@dataclass(frozen=True, slots=True)
class AppliedPlan:
    """A plan that was applied: its id, and its reservations as they are now."""

    id: str
    reservations: Sequence[Reservation]


def apply(
    transaction: Transaction, rules: Rules, plan: CorrectionPlan, *, stamp: Stamp
) -> AppliedPlan | None:
    """Apply all corrections of a plan, and store its rows of a bill; None if nothing is left to do.

    Raises LedgerMovedError if a reservation has changed.
    """
    transaction.be_alone()
    fresh = _fresh(transaction, plan)
    if not (plan.corrections or fresh):
        return None
    before = reservations.find_rows(transaction, [one.reservation_id for one in plan.corrections])
    for one in plan.corrections:
        if before[one.reservation_id]["step"] != one.step:
            raise LedgerMovedError(one.reservation_id)
    result_of = settle(
        transaction, rules, [one.change for one in plan.corrections], stamp=_after_plan(stamp)
    )
    made = [result_of(place) for place in range(len(plan.corrections))]
    plan_id = new_id("pln", next(numbers(stamp.at_us, stamp.chance)))
    said = [_said(before[one.id], one) for one in made]
    row = {
        "id": plan_id,
        "provider": plan.provider,
        "account": plan.account,
        "source": plan.source,
        "changes": json.dumps(said),
        "actor": stamp.actor,
        "applied_at": stamp.at_us,
        "undone_at": None,
        "undone_by": None,
    }
    transaction.insert(CORRECTION_PLAN, [row])
    if fresh:
        transaction.insert(BILL_ENTRY, [_row(plan, plan_id, one, stamp) for one in fresh])
    return AppliedPlan(plan_id, made)


def undo(transaction: Transaction, rules: Rules, plan_id: str, *, stamp: Stamp) -> AppliedPlan:
    """Restore every reservation of a plan to its state before the plan.

    Reservations that were open are in doubt again and hold their credits. Raises NotFoundError,
    PlanUndoneError if it is already undone, and LedgerMovedError if a reservation has changed
    since.
    """
    transaction.be_alone()
    row = transaction.row(
        f"SELECT {CORRECTION_PLAN.selected} FROM correction_plan WHERE id = :id", id=plan_id
    )
    if row is None:
        raise NotFoundError("plan", plan_id)
    if row["undone_at"] is not None:
        raise PlanUndoneError(plan_id, at=from_us(row["undone_at"]), by=row["undone_by"])
    said: list[dict[str, Any]] = json.loads(row["changes"])
    now = reservations.find_rows(transaction, [one["id"] for one in said])
    for one in said:
        if now[one["id"]]["step"] != one["step"]:
            raise LedgerMovedError(one["id"])
    changes = [
        change for one in said if (change := _backwards(one, now[one["id"]], plan_id)) is not None
    ]
    result_of = settle(transaction, rules, changes, stamp=stamp)
    made = [result_of(place) for place in range(len(changes))]
    transaction.run(
        "UPDATE correction_plan SET undone_at = :at, undone_by = :actor WHERE id = :id",
        at=stamp.at_us,
        actor=stamp.actor,
        id=plan_id,
    )
    transaction.run("DELETE FROM bill_entry WHERE plan_id = :id", id=plan_id)
    return AppliedPlan(plan_id, made)


def entries(transaction: Transaction, provider: str, account: str) -> list[BillEntry]:
    """Return every stored row of an account's bills, by task."""
    rows = transaction.rows(
        f"SELECT {BILL_ENTRY.selected} FROM bill_entry"
        " WHERE provider = :provider AND account = :account"
        " ORDER BY task_id, digest",
        provider=provider,
        account=account,
    )
    return [_entry(row) for row in rows]


def save_profile(transaction: Transaction, name: str, answers: str, *, stamp: Stamp) -> None:
    """Save answers about the form of a bill, replacing any under the same name."""
    transaction.be_alone()
    transaction.run("DELETE FROM bill_profile WHERE name = :name", name=name)
    row = {"name": name, "answers": answers, "actor": stamp.actor, "saved_at": stamp.at_us}
    transaction.insert(BILL_PROFILE, [row])


def profile(transaction: Transaction, name: str) -> str:
    """Return the saved answers about the form of a bill. Raises NotFoundError."""
    row = transaction.row("SELECT answers FROM bill_profile WHERE name = :name", name=name)
    if row is None:
        raise NotFoundError("profile", name)
    return str(row["answers"])


def _after_plan(stamp: Stamp) -> Stamp:
    """Return a stamp whose ids do not collide with the plan's own id."""
    return Stamp(stamp.at_us, stamp.actor, stamp.reason, stamp.chance + _FOLLOWS_PLAN)


def _said(before: Row, after: Reservation) -> dict[str, Any]:
    return {
        "id": after.id,
        "step": after.step,
        "state": before["state"],
        "held_micro": before["held_micro"],
        "spent_micro": spent_of(before),
        "settled_by": before["settled_by"],
    }


def _backwards(said: Mapping[str, Any], now: Row, plan_id: str) -> Change | None:
    """Return the change that reverses a correction; None if it moved nothing."""
    reason = f"plan {plan_id} is undone"
    unit = now["unit"]
    if State(said["state"]) in OPEN_STATES:
        held = Money.from_micro(said["held_micro"], unit)
        return Change(said["id"], State.IN_DOUBT, held, is_undo=True, problem=reason, reason=reason)
    spent = Money.from_micro(said["spent_micro"], unit)
    return Change(
        said["id"],
        None,
        spent,
        is_correction=True,
        settled_by=said["settled_by"],
        reason=reason,
    )


def _fresh(transaction: Transaction, plan: CorrectionPlan) -> list[BillEntry]:
    """Return the rows of a bill that no earlier plan has stored."""
    known = {one.digest: one for one in plan.entries}
    kept = entries(transaction, plan.provider, plan.account) if known else []
    for one in kept:
        known.pop(one.digest, None)
    return list(known.values())


def _row(plan: CorrectionPlan, plan_id: str, one: BillEntry, stamp: Stamp) -> Row:
    return {
        "provider": plan.provider,
        "account": plan.account,
        "digest": one.digest,
        "task_id": readable(one.task_id),
        "kind": one.kind,
        "amount_micro": None if one.amount is None else one.amount.micro,
        "unit": one.unit,
        "state": one.state,
        "entry_at": None if one.at is None else to_us(one.at),
        "place": one.place,
        "raw": readable(json.dumps(dict(one.raw), ensure_ascii=False)),
        "source": plan.source,
        "plan_id": plan_id,
        "actor": stamp.actor,
        "imported_at": stamp.at_us,
    }


def _entry(row: Row) -> BillEntry:
    micro, at_us = row["amount_micro"], row["entry_at"]
    return BillEntry(
        row["digest"],
        row["task_id"],
        row["kind"],
        None if micro is None else Money.from_micro(micro, row["unit"]),
        row["unit"],
        row["state"],
        None if at_us is None else from_us(at_us),
        row["place"],
        json.loads(row["raw"]),
        row["source"],
    )
