"""Settlement: a reservation moves on, and its credits with it, to an end that comes exactly once.

Every change is one compare-and-set on (id, step). A second caller rereads the row: it gets the same
answer if its change has already happened, otherwise an error that says so. Any number of changes is
made together: each is decided by itself, then the sums move.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Final

from kling_ledger.ledger import idempotency, notices, reservations, slots
from kling_ledger.ledger.changes import (
    Change,
    check_task_is_free,
    check_task_is_its_own,
    content_of,
)
from kling_ledger.ledger.engines.transaction import (
    Row,
    Stamp,
    Transaction,
    Update,
    overtaken,
    readable,
)
from kling_ledger.ledger.journal import Journal
from kling_ledger.ledger.moves import Move, decide, spent_of
from kling_ledger.ledger.reservations import Reservation
from kling_ledger.ledger.rules import Rules
from kling_ledger.ledger.schema import IDEMPOTENCY, RESERVATION
from kling_ledger.ledger.scopes import subject_of
from kling_ledger.ledger.slots import Owner
from kling_ledger.ledger.windows import LONGEST_US, MINUTE_US
from kling_pricing.errors import AmountError
from kling_pricing.money import MAX_MICRO, USD, from_micro, plain

Moved = dict[Owner, tuple[int, int]]
"""What changes free and spend in wallets or windows, in millionths."""

Minutes = dict[tuple[str, int], tuple[int, int]]
"""The same by budget, and by the minute (since 1970) in which the jobs were admitted."""

_SET: Final = (
    "state",
    "step",
    "held_micro",
    "committed_micro",
    "refunded_micro",
    "reserved_micro",
    "usd_micro",
    "provider_held_micro",
    "usd_held_micro",
    "usd_spent_micro",
    "settled_by",
    "task_id",
    "videos",
    "videos_expire_at",
    "problem",
    "updated_at",
)
_MOVE_IN_WINDOW: Final = """
UPDATE budget_window SET held_micro = held_micro - :held, spent_micro = spent_micro + :spent
WHERE budget_id = :budget AND starts_at = (
    SELECT MAX(starts_at) FROM budget_window
    WHERE budget_id = :budget AND starts_at > :since AND starts_at <= :at AND ends_at > :at)
"""
_MOVE_IN_WALLET: Final = f"""
UPDATE wallet SET posted_micro = posted_micro - :spent, reserved_micro = reserved_micro - :held
WHERE id = :id AND funded_micro + adjusted_micro - posted_micro + :spent <= {MAX_MICRO}
  AND posted_micro - :spent - reserved_micro + :held >= -{MAX_MICRO}
"""


def settle(
    transaction: Transaction, rules: Rules, changes: Sequence[Change], *, stamp: Stamp
) -> Callable[[int], Reservation]:
    """Make every change, or none; return a function that gives each reservation by its place.

    Raises StateError if a state does not allow a change, ConflictError if it was already made with
    another amount or task, and AmountError for an invalid amount.
    """
    before = reservations.find_rows(transaction, [change.reservation_id for change in changes])
    # Two changes of a call may be of one reservation: the second continues from the first.
    now: dict[str, Row] = dict(before)
    moves: dict[int, Move] = {}
    stored = idempotency.known_keys(transaction, (change.key for change in changes))
    said: dict[str, idempotency.Content] = {}
    tasks: dict[tuple[str, ...], str] = {}
    keys: list[Row] = []
    for place, change in enumerate(changes):
        content = content_of(change)
        if _was_made(stored, change.key, content, said):
            continue
        moved = decide(transaction, rules, change, now[change.reservation_id], stamp)
        if change.key is not None:
            said[change.key] = content
            result_id = change.reservation_id
            keys.append(
                idempotency.key_row(change.key, content, result_id=result_id, at_us=stamp.at_us)
            )
        if moved is not None:
            check_task_is_its_own(change, moved.before, tasks)
            now[change.reservation_id] = {
                **moved.before,
                **moved.after,
                # Never back in time: written under a clock that was ahead, it may be in a later
                # month.
                "updated_at": max(stamp.at_us, moved.before["updated_at"]),
            }
            moves[place] = moved
    if moves:
        _move(transaction, rules, list(moves.values()), before, now, stamp)
    if keys:
        transaction.insert(IDEMPOTENCY, keys)

    def result_of(place: int) -> Reservation:
        result = reservations.from_row(now[changes[place].reservation_id])
        if place in moves:
            notices.tell_move(moves[place], result)
        return result

    return result_of


def record_task(
    transaction: Transaction, rules: Rules, reservation_id: str, task_id: str, *, stamp: Stamp
) -> None:
    """Record the task of a reservation that has ended: the provider may still charge it.

    Raises ConflictError if another reservation has the task.
    """
    before = reservations.find_rows(transaction, [reservation_id])[reservation_id]
    check_task_is_free(transaction, task_id, before)
    if before["task_id"] is not None:
        return
    latest_us = max(stamp.at_us, before["updated_at"])
    after = {"task_id": task_id, "step": before["step"] + 1, "updated_at": latest_us}
    known = {"id": reservation_id, "step": before["step"]}
    transaction.update(RESERVATION, [Update(known, after)], refused=overtaken)
    journal = Journal(stamp, rules.period(latest_us))
    journal.event(
        reservation_id,
        after["step"],
        from_state=before["state"],
        to_state=before["state"],
        said={**before, **after},
        reason="its task became known",
    )
    journal.write(transaction)


def _was_made(
    stored: idempotency.Known,
    key: str | None,
    content: idempotency.Content,
    said: Mapping[str, idempotency.Content],
) -> bool:
    """Whether the same was already done under this key, in this call or an earlier one."""
    if key is not None and key in said:
        idempotency.check_same(key, said[key], content)
        return True
    return idempotency.result_in(stored, key, content) is not None


def _move(
    transaction: Transaction,
    rules: Rules,
    moves: Sequence[Move],
    before: Mapping[str, Row],
    now: Mapping[str, Row],
    stamp: Stamp,
) -> None:
    """Write decided changes: windows by budget, wallets, reservations, then the journal."""
    # Always in this order, so that no two transactions wait for each other.
    changed = sorted({moved.before["id"] for moved in moves})
    _move_figures(
        transaction,
        rules,
        _in_windows(rules, changed, before, now),
        _in_wallets(changed, before, now),
        stamp.at_us,
    )
    columns = [name for name in _SET if any(now[one][name] != before[one][name] for one in changed)]
    updates = [
        Update({"id": one, "step": before[one]["step"]}, {name: now[one][name] for name in columns})
        for one in changed
    ]
    transaction.update(RESERVATION, updates, refused=overtaken)
    journal = Journal(stamp, rules.period(stamp.at_us))
    for moved in moves:
        latest_us = max(stamp.at_us, moved.before["updated_at"])
        _write_down(journal, moved, rules.period(latest_us))
    journal.write(transaction)


def _write_down(journal: Journal, moved: Move, period: str) -> None:
    before = moved.before
    reason = readable(moved.change.reason)
    journal.event(
        before["id"],
        moved.after["step"],
        from_state=before["state"],
        to_state=moved.after["state"],
        said=moved.after,
        period=period,
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
            period=period,
            corrects=moved.corrects,
            reason=reason,
        )


def _in_wallets(changed: Sequence[str], before: Mapping[str, Row], now: Mapping[str, Row]) -> Moved:
    """Add up what the changes free and spend in wallets."""
    sums: dict[Owner, tuple[int, int]] = {}
    for one in changed:
        old, new = before[one], now[one]
        held, spent = sums.get(Owner(old["wallet_id"]), (0, 0))
        held += old["held_micro"] - new["held_micro"]
        spent += spent_of(new) - spent_of(old)
        sums[Owner(old["wallet_id"])] = (held, spent)
    return _in_order(sums)


def _in_windows(
    rules: Rules, changed: Sequence[str], before: Mapping[str, Row], now: Mapping[str, Row]
) -> Minutes:
    """Add up what they free and spend in the windows that admitted the jobs, open or not.

    Windows are found by their stored bounds: another machine may have other time-zone rules. Bounds
    are whole minutes, so all jobs of one minute are in the same window.
    """
    sums: dict[tuple[str, int], tuple[int, int]] = {}
    for one in changed if rules.budgets else ():
        old, new = before[one], now[one]
        for budget in rules.covering(subject_of(old)):
            minute = budget.id, old["created_at"] // MINUTE_US
            is_usd = budget.unit == USD
            if is_usd and old["usd_micro"] is None:
                # Admitted before the budget existed, and never counted in it.
                continue
            held_column = "usd_held_micro" if is_usd else "held_micro"
            held, spent = sums.get(minute, (0, 0))
            held += old[held_column] - new[held_column]
            spent += (
                new["usd_spent_micro"] - old["usd_spent_micro"]
                if is_usd
                else spent_of(new) - spent_of(old)
            )
            sums[minute] = (held, spent)
    return {minute: sums[minute] for minute in sorted(sums) if any(sums[minute])}


def _owners(rules: Rules, minutes: Minutes) -> Moved:
    """Add up by window, as slots need it."""
    budgets = {budget.id: budget for budget in rules.budgets}
    sums: dict[Owner, tuple[int, int]] = {}
    for (budget_id, minute), (held, spent) in minutes.items():
        window = Owner(budget_id, budgets[budget_id].window_at(minute * MINUTE_US)[0])
        before = sums.get(window, (0, 0))
        sums[window] = (before[0] + held, before[1] + spent)
    return _in_order(sums)


def _in_order(sums: Moved) -> Moved:
    return {owner: sums[owner] for owner in sorted(sums) if any(sums[owner])}


def _move_figures(
    transaction: Transaction, rules: Rules, minutes: Minutes, wallets: Moved, at_us: int
) -> None:
    """Move held to spent: windows by budget, then wallets."""
    owners = _owners(rules, minutes) | wallets if rules.slots else wallets
    if slots.are_moved(transaction, rules):
        for owner, (held, spent) in owners.items():
            slots.move(transaction, rules, owner, at_us, held=-held, spent=spent)
        return
    longest_us = {budget.id: LONGEST_US[budget.window] for budget in rules.budgets}
    sizes = {owner: max(abs(held), abs(spent)) for owner, (held, spent) in owners.items()}
    with slots.gathered(transaction, rules, sizes, at_us):
        for (budget_id, minute), (held, spent) in minutes.items():
            admitted_us = minute * MINUTE_US
            transaction.run(
                _MOVE_IN_WINDOW,
                held=held,
                spent=spent,
                budget=budget_id,
                at=admitted_us,
                since=admitted_us - longest_us[budget_id],
            )
        for wallet, (held, spent) in wallets.items():
            transaction.change(
                _MOVE_IN_WALLET,
                {"held": held, "spent": spent, "id": wallet.id},
                expect=1,
                refused=partial(_beyond, spent),
            )


def _beyond(spent: int) -> Exception:
    return AmountError(
        "settled cost",
        got=plain(from_micro(spent)),
        allowed=f"at most {plain(from_micro(MAX_MICRO))} spent in one wallet",
    )
