"""The laws of reconciliation, each as a check of what one call of the command did."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from decimal import Decimal
from typing import Final

from tests.cli import Said
from tests.evidence_bills import Bill, Shown
from tests.evidence_outcomes import Outcome, Tables, by_id, micro, money, spent_micro
from tests.evidence_truth import TrueJob

KEPT_AS_MONEY: Final = (
    "wallet",
    "reservation",
    "transfer",
    "job_event",
    "idempotency",
    "budget",
    "budget_window",
    "budget_event",
    "budget_raise",
    "accrual",
    "period",
    "sealed_transfer",
)
"""The tables in which nothing may move without `--apply`."""


def ours(jobs: Iterable[TrueJob], account: tuple[str, str]) -> list[TrueJob]:
    """Our jobs at one account."""
    return [job for job in jobs if job.plan.is_ours and job.account == account]


def check_told(outcome: Outcome) -> None:
    """Law 8: it ends with 0, 2 or 6, and says why in words."""
    said = outcome.said
    if said.code not in {0, 2, 6} or "Traceback" in said.err:
        raise AssertionError(f"law 8: exit {said.code}: {said.err}")
    if said.code == 2 and "error" not in said.err.lower():
        raise AssertionError(f"law 8: refused without a word: {said.err}")
    if outcome.was_read and not isinstance(outcome.rows, list):
        raise AssertionError(f"law 8: no list of rows: {said.out}")


def check_only_evidence_is_kept(outcome: Outcome) -> None:
    """Law 4: without --apply, or refused, no table of money differs by a byte."""
    if outcome.step.applies and outcome.was_read:
        return
    for name in KEPT_AS_MONEY:
        if outcome.before.get(name) != outcome.after.get(name):
            raise AssertionError(f"law 4: {name} changed without --apply: {outcome.said}")


def check_no_other_account_changed(jobs: Iterable[TrueJob], outcome: Outcome) -> None:
    """Law 2: no row of another account's or another gateway's jobs differs in any column."""
    before, after = by_id(outcome.before), by_id(outcome.after)
    if before.keys() != after.keys():
        raise AssertionError("law 2: there are other reservations than before")
    for job in jobs:
        is_other = job.reservation and job.account != outcome.bill.account
        if is_other and before[job.reservation] != after[job.reservation]:
            raise AssertionError(
                f"law 2: {job.account} changed: {after[job.reservation]}, {outcome.said}"
            )


def check_no_correction_is_wrong(jobs: Iterable[TrueJob], outcome: Outcome) -> None:
    """Law 1: whatever moved is now what the provider had charged, as far as anybody could know."""
    before, after = money(outcome.before), money(outcome.after)
    for job in jobs:
        name = job.reservation
        if not name or before[name] == after[name]:
            continue
        _check_task(job, before[name][2], after[name][2])
        allowed = {micro(cost) for cost in allowed_costs(job, outcome.bill)}
        if spent_micro(by_id(outcome.after)[name]) not in allowed:
            raise AssertionError(
                f"law 1: {name} (task {job.task}) is charged {after[name][3]}, allowed {allowed};"
                f" {before[name]} -> {after[name]}; {outcome.said}"
            )


def _check_task(job: TrueJob, before: str | None, after: str | None) -> None:
    if after != before and after != job.task:
        raise AssertionError(f"law 1: job {job.number} became task {after}, it is {job.task}")


def allowed_costs(job: TrueJob, bill: Bill) -> set[Decimal]:
    """What a job may be corrected to by a bill: its cost by now, or as of what was ever shown.

    Who was shown the first movements alone cannot know the later ones, unless the bill is itemised
    and not said to be complete: then nothing of it is the whole.
    """
    shown = bill.shown.get(job.number, Shown(frozenset(), job.made, has_rows=False))
    if bill.is_complete:
        low = shown.made
    elif not shown.has_rows:
        low = job.made
    elif bill.look.style == "items":
        low = shown.made
    else:
        low = max(shown.whole) + 1
    return {job.cost_after(count) for count in range(max(low, job.seen), job.made + 1)}


def check_again_moves_nothing(earlier: Sequence[Outcome], outcome: Outcome) -> None:
    """Law 5: a bill that was applied as it is moves nothing the second time."""
    if not earlier:
        return
    last = earlier[-1]
    is_same = last.bill is outcome.bill and last.is_whole == outcome.is_whole
    if not (is_same and last.step.applies and last.was_read):
        return
    if money(last.after) != money(outcome.before):
        return
    if money(outcome.before) != money(outcome.after):
        raise AssertionError(f"law 5: again, it moved: {outcome.said}")


def check_complete_is_true(
    jobs: Sequence[TrueJob], earlier: Sequence[Outcome], outcome: Outcome
) -> None:
    """Law 3: after a complete bill each job costs what it truly did, or is asked about by name."""
    bill = outcome.bill
    if not (
        outcome.is_whole and outcome.step.applies and outcome.was_read and _is_fresh(jobs, bill)
    ):
        return
    after = by_id(outcome.after)
    for job in ours(jobs, bill.account):
        is_true = spent_micro(after[job.reservation]) == micro(job.cost)
        if job.is_in_period and not is_true and not _is_asked(job, outcome):
            raise AssertionError(
                f"law 3: {job.reservation} (task {job.task}) cost {job.cost},"
                f" is {after[job.reservation]}, and nobody asks; {outcome.said}"
            )
    if is_certain(jobs, earlier, outcome):
        _check_is_all_true(jobs, outcome)


def _check_is_all_true(jobs: Sequence[TrueJob], outcome: Outcome) -> None:
    after = by_id(outcome.after)
    wrong = [
        job.number
        for job in ours(jobs, outcome.bill.account)
        if spent_micro(after[job.reservation]) != micro(job.cost)
    ]
    if wrong or outcome.said.code != 0:
        raise AssertionError(
            f"law 3, strictly: nothing is uncertain, exit {outcome.said.code}, jobs {wrong} are"
            f" not true; {outcome.said}"
        )


def _is_fresh(jobs: Sequence[TrueJob], bill: Bill) -> bool:
    return all(
        bill.shown[job.number].made == job.made
        for job in jobs
        if job.account == bill.account and job.number in bill.shown
    )


def _is_asked(job: TrueJob, outcome: Outcome) -> bool:
    """Whether a line names a job, or a charge that nobody claims may be its."""
    if outcome.said.code != 6:
        return False
    if any(row.get("reservation") == job.reservation for row in outcome.rows):
        return True
    unclaimed = any(not row.get("reservation") for row in outcome.rows)
    return unclaimed and (job.is_unknown or not outcome.bill.shown[job.number].has_rows)


def is_certain(jobs: Sequence[TrueJob], earlier: Sequence[Outcome], outcome: Outcome) -> bool:
    """Whether nothing in a complete bill, or before it, leaves room for two readings."""
    bill, look = outcome.bill, outcome.bill.look
    its = ours(jobs, bill.account)
    return (
        not bill.has_others
        and look.refunds != "reference"
        and not look.has_top_up
        and look.stamp != "none"
        and (look.stamp != "local" or outcome.step.says_zone)
        and all(one.bill is bill for one in earlier if one.bill.account == bill.account)
        and all(job.is_in_period for job in its)
        and not any(job.made and job.is_unknown for job in its)
        and not any(_is_repeated(job, bill) for job in its)
    )


def _is_repeated(job: TrueJob, bill: Bill) -> bool:
    """Whether two rows of a job could as well be one charge written twice."""
    is_plain = bill.look.style == "events" and bill.look.refunds != "type"
    return is_plain and any(one.amount > 0 for one in job.movements[1 : job.made])


def check_agreement_is_true(jobs: Iterable[TrueJob], outcome: Outcome) -> None:
    """Exit 0 says that all agrees: then each job that the bill shows whole costs what it shows."""
    if outcome.said.code != 0 or outcome.bill.look.style == "items":
        return
    after = by_id(outcome.after)
    for job in jobs:
        shown = outcome.bill.shown.get(job.number)
        is_whole = shown is not None and shown.whole and len(shown.whole) == job.made
        if not (job.reservation and is_whole and job.seen == job.made):
            continue
        row = after[job.reservation]
        if spent_micro(row) != micro(job.cost):
            raise AssertionError(f"law 3: exit 0, and {row} cost {job.cost}; {outcome.said}")


def check_undone(first: Outcome, said: Said, now: Tables) -> None:
    """Law 7: each job has spent what it had before, and what was open holds its credits again."""
    if said.code not in {0, 6} or "Traceback" in said.err:
        raise AssertionError(f"law 7: undo ends with {said.code}: {said.err}")
    were, are = by_id(first.before), by_id(now)
    for name, was in were.items():
        if spent_micro(are[name]) != spent_micro(was):
            raise AssertionError(f"law 7: {name} had spent {was}, is {are[name]}")
        if are[name]["held_micro"] != was["held_micro"]:
            raise AssertionError(f"law 7: {name} held credits: {was}, is {are[name]}")
