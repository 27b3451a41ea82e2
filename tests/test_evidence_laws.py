"""The laws of the model, held against whoever does right, and against each who does one wrong."""

from __future__ import annotations

import json
import shutil
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from kling_ledger.ledger import State
from kling_pricing import Money
from tests.cli import Said
from tests.evidence_bills import Bill, Look
from tests.evidence_outcomes import Reconcile, Row, by_id, micro, spent_micro
from tests.evidence_truth import BELIEFS, BELIEFS_CHARGED, UNITS, Plan, TrueJob
from tests.evidence_world import History, Later, Step, World


@dataclass
class Clerk:
    """Stands in for the command, and knows the truth: corrects what a bill shows, asks the rest."""

    world: World

    def __call__(self, *words: str) -> Said:
        bill = next(one for one in self.world.bills if str(one.path) in words)
        rows = [self.judge(job, bill, "--apply" in words) for job in self.jobs(bill)]
        asked = [row for row in rows if row]
        return Said(6 if asked else 0, json.dumps(asked), "")

    def jobs(self, bill: Bill) -> list[TrueJob]:
        """Our jobs that a bill is about."""
        its = (job for job in self.world.jobs if job.plan.is_ours)
        return [job for job in its if job.account == bill.account]

    def judge(self, job: TrueJob, bill: Bill, applies: bool) -> Row | None:
        """Set one job right if the bill says for certain what it cost; else ask."""
        row = by_id(self.world.tables())[job.reservation]
        if spent_micro(row) == micro(job.cost):
            return None
        is_sure = bill.is_complete or job.cost in self.sums(job, bill)
        if applies and is_sure and not job.is_unknown:
            self.book(job, job.cost)
            return None
        return {"reservation": job.reservation, "verdict": "question"}

    def sums(self, job: TrueJob, bill: Bill) -> set[Decimal]:
        """What a bill that is not complete says of a job, if it says all of it."""
        shown = bill.shown[job.number]
        is_all = len(shown.whole) == job.made and bill.look.style != "items"
        return {job.cost} if is_all and job.seen == job.made else set()

    def book(self, job: TrueJob, cost: Decimal) -> None:
        """Make a job cost so much."""
        ledger, amount = self.world.ledger, Money(cost, UNITS[job.provider])
        if ledger.reservations.get(job.reservation).state == State.COMMITTED:
            ledger.correct(job.reservation, amount, reason="as billed")
        else:
            ledger.commit(job.reservation, amount)


class FirstRow(Clerk):
    """Takes the first row of a task for all of it."""

    def book(self, job: TrueJob, cost: Decimal) -> None:
        super().book(job, job.movements[0].amount if job.movements else cost)


class EveryAccount(Clerk):
    """Takes a bill for one of all accounts."""

    def judge(self, job: TrueJob, bill: Bill, applies: bool) -> Row | None:
        if job.account != bill.account:
            self.book(job, Decimal(0))
        return None

    def jobs(self, bill: Bill) -> list[TrueJob]:
        return [job for job in self.world.jobs if job.plan.is_ours]


class Hasty(Clerk):
    """Corrects before it is told to."""

    def judge(self, job: TrueJob, bill: Bill, applies: bool) -> Row | None:
        return super().judge(job, bill, applies=True)


class Silent(Clerk):
    """Says that all agrees, and looks at nothing."""

    def judge(self, job: TrueJob, bill: Bill, applies: bool) -> Row | None:
        return None


class Shy(Clerk):
    """Asks about everything, though nothing is uncertain."""

    def judge(self, job: TrueJob, bill: Bill, applies: bool) -> Row | None:
        return {"reservation": job.reservation, "verdict": "question"}


class Credulous(Clerk):
    """Takes any charge that nobody claims for that of a job in doubt."""

    def judge(self, job: TrueJob, bill: Bill, applies: bool) -> Row | None:
        strangers = [one for one in self.world.jobs if not one.plan.is_ours and one.task]
        if job.is_unknown and strangers and job.cost == 0:
            self.world.ledger.mark_submitted(job.reservation, strangers[0].task or "")
        return None


class Forgetful(Clerk):
    """Gives back whatever a bill does not show, complete or not."""

    def judge(self, job: TrueJob, bill: Bill, applies: bool) -> Row | None:
        if not bill.shown[job.number].has_rows:
            self.book(job, Decimal(0))
        return None


class Broken(Clerk):
    """Ends with a traceback."""

    def __call__(self, *words: str) -> Said:
        return Said(1, "", "Traceback (most recent call last)")


def live(tmp_path: Path, empty_file: Path, kind: type[Clerk], history: History) -> World:
    shutil.copy(empty_file, tmp_path / "ledger.sqlite")
    world = World(tmp_path, history.provider)
    world.call = kind(world)
    try:
        world.make(history.jobs)
        for step in history.steps:
            world.take(step)
    finally:
        world.close()
    return world


EVERY = tuple(
    Plan(fate=fate, belief=belief, task=task, later=task % 2 == 0)  # type: ignore[arg-type]
    for task, fate in enumerate(("untaken", "failed", "charged", "surcharged", "partly refunded"))
    for belief in BELIEFS.get(fate, BELIEFS_CHARGED)
)
SOUTH = (Plan(account="south", fate="charged"), Plan(fate="charged"))
STRANGER = (Plan(is_ours=False), Plan(fate="untaken", belief="in doubt, task unknown"))
TWO = (Plan(hour=1), Plan(hour=2), Plan(hour=3), Plan(hour=4))
WRONG = (Plan(belief="committed wrongly"),)
PART = (Plan(fate="partly refunded", belief="committed wrongly"),)
ALL: tuple[Step, ...] = (Reconcile(),)
DRY: tuple[Step, ...] = (Reconcile(applies=False),)
SOME: tuple[Step, ...] = (Reconcile(pick="tasks"),)


@pytest.mark.parametrize("style", ["net", "events", "items"])
def test_who_does_right_breaks_no_law(tmp_path: Path, empty_file: Path, style: Any):
    look = Look(style=style, refunds="type")
    steps = (
        Reconcile(look, pick="early"),
        Reconcile(look),
        Later(),
        Reconcile(look, applies=False),
        Reconcile(look),
        Reconcile(look, again=True),
    )
    world = live(tmp_path, empty_file, Clerk, History("crun", EVERY, steps))
    assert len(world.outcomes) == 5


@pytest.mark.parametrize(
    ("kind", "jobs", "steps", "law"),
    [
        (FirstRow, PART, ALL, "law 1"),
        (Credulous, STRANGER, ALL, "law 1"),
        (Forgetful, TWO, SOME, "law 1"),
        (EveryAccount, SOUTH, ALL, "law 2"),
        (Silent, WRONG, ALL, "law 3"),
        (Shy, WRONG, ALL, "law 3"),
        (Hasty, WRONG, DRY, "law 4"),
        (Broken, WRONG, ALL, "law 8"),
    ],
)
def test_who_does_wrong_breaks_the_law(
    tmp_path: Path,
    empty_file: Path,
    kind: type[Clerk],
    jobs: tuple[Plan, ...],
    steps: tuple[Step, ...],
    law: str,
):
    with pytest.raises(AssertionError, match=law):
        live(tmp_path, empty_file, kind, History("crun", jobs, steps))
