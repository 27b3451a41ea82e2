"""A world beside the product: two accounts of a gateway, their bills, our ledger, and the laws.

The truth is kept here and in `evidence_truth`; the product is reached by its public API, which puts
jobs into a ledger, and by its command line, which is judged. Tables are read with SQLite alone.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from datetime import timedelta
from decimal import Decimal
from pathlib import Path
from typing import Final

from kling_ledger.ledger import Job, Ledger, Scope
from kling_pricing import Money
from tests import evidence_laws as laws
from tests.cli import Cli, Said
from tests.evidence_bills import Bill, Look, write_bill
from tests.evidence_outcomes import Outcome, Reconcile, Tables, money, spent_micro, tables_of
from tests.evidence_truth import ADDRESSES, BEGIN, END, PRICES, UNITS, Plan, TrueJob, true_job
from tests.ledgers import Clock

FUNDS: Final = 100_000
OTHER: Final = {"runapi": "crun", "crun": "evolink", "evolink": "uniall", "uniall": "runapi"}
_MISSING: Final = re.compile(r"--missing[ =](\d+)")
_PLAN: Final = re.compile(r"\bplan (pln_\w+)")


@dataclass(frozen=True, slots=True)
class Later:
    """Providers make the movements that were still to come."""


Step = Reconcile | Later


@dataclass(frozen=True, slots=True)
class History:
    """Jobs at one gateway, and elsewhere, and what happens then."""

    provider: str
    jobs: tuple[Plan, ...]
    steps: tuple[Step, ...]


class World:
    """What was made of a history so far."""

    def __init__(self, folder: Path, provider: str) -> None:
        self.folder, self.provider = folder, provider
        self.cli = Cli(folder)
        self.call: Callable[..., Said] = self.cli
        self.clock = Clock(BEGIN - timedelta(days=30))
        self.ledger = Ledger(str(self.cli.database), clock=self.clock, actor="world")
        self.jobs: list[TrueJob] = []
        self.bills: list[Bill] = []
        self.outcomes: list[Outcome] = []
        self.seen: Counter[str] = Counter()
        for unit in sorted(set(UNITS.values())):
            self.ledger.wallets.create(wallet_of(unit), unit)
            self.ledger.wallets.fund(wallet_of(unit), Money(Decimal(FUNDS), unit))
        limit, scope = Money(Decimal(FUNDS), UNITS[provider]), Scope(provider=provider)
        self.ledger.budgets.set("monthly", limit, scope=scope, window="month")

    def close(self) -> None:
        self.ledger.close()

    # --- jobs -------------------------------------------------------------------------------

    def make(self, plans: Iterable[Plan]) -> None:
        """Let jobs run, and put what we believe of ours into the ledger."""
        jobs = [
            true_job(number, OTHER[self.provider] if plan.elsewhere else self.provider, plan)
            for number, plan in enumerate(plans)
        ]
        named: set[tuple[tuple[str, str], str | None]] = set()
        for job in sorted(jobs, key=lambda one: one.at):
            if job.task and (job.account, job.task) in named:
                job.task += f"9{job.number}"
            named.add((job.account, job.task))
            self.jobs.append(job)
            if job.plan.is_ours:
                self._believe(job)

    def _believe(self, job: TrueJob) -> None:
        self.clock.now = job.at
        unit, belief = UNITS[job.provider], job.plan.belief
        about = Job(
            provider=job.provider,
            model=job.model,
            action="text_to_video",
            account=job.plan.account,
            address=ADDRESSES[job.provider],
            request="{}",
        )
        job.reservation = self.ledger.reserve(wallet_of(unit), Money(job.price, unit), job=about).id
        if belief == "reserved":
            return
        self.clock.forward(seconds=1)
        self.ledger.mark_submitting(job.reservation)
        self.clock.forward(seconds=1)
        if job.task and not job.is_unknown:
            self.ledger.mark_submitted(job.reservation, job.task)
        self._end(job, Money(self._believed(job), unit))

    def _believed(self, job: TrueJob) -> Decimal:
        if "wrongly" not in job.plan.belief:
            return job.cost
        other = PRICES[job.provider][1 - job.plan.price]
        return other if other != job.cost else job.price

    def _end(self, job: TrueJob, amount: Money) -> None:
        match job.plan.belief.partition(",")[0]:
            case "in doubt":
                self.ledger.mark_in_doubt(job.reservation, "no reply")
            case "rolled back":
                self.ledger.roll_back(job.reservation, "refused")
            case "committed" | "committed wrongly":
                self.ledger.commit(job.reservation, amount, settled_by="provider")
            case "committed by quote" | "committed wrongly by quote":
                self.ledger.commit(job.reservation, amount, settled_by="quote")

    # --- steps ------------------------------------------------------------------------------

    def take(self, step: Step) -> Outcome | None:
        """Do one step of a history and hold every law against what it did."""
        if isinstance(step, Later):
            for job in self.jobs:
                job.made = len(job.movements)
            return None
        outcome = self.reconcile(step)
        if step.undo and step.applies:
            self._undo(outcome)
        return outcome

    def reconcile(self, step: Reconcile) -> Outcome:
        """Give a bill to the command, with the number of missing jobs if it asks for one."""
        outcome = self._once(step, self._bill(step), missing=None)
        asked = _MISSING.search(outcome.said.err + outcome.said.out)
        if asked and step.says_missing:
            outcome = self._with_missing(outcome, int(asked[1]))
        self.outcomes.append(outcome)
        return outcome

    def _with_missing(self, outcome: Outcome, count: int) -> Outcome:
        step, bill = outcome.step, outcome.bill
        missing = [
            job
            for job in laws.ours(self.jobs, bill.account)
            if job.is_unknown or not bill.shown[job.number].has_rows
        ]
        if count > len(missing):
            raise AssertionError(f"law 3: {count} are said to be missing, of {len(missing)}")
        if step.overstates_missing:
            wrong = self._once(step, bill, missing=count + 1)
            if money(wrong.before) != money(wrong.after):
                raise AssertionError("law 3: a wrong number of missing jobs was taken")
        return replace(self._once(step, bill, missing=count), is_whole=step.says_complete)

    def _bill(self, step: Reconcile) -> Bill:
        account = (self.provider, step.account)
        earlier = [bill for bill in self.bills if bill.account == account]
        if step.again and earlier:
            return earlier[-1]
        jobs = [job for job in self.jobs if job.account == account]
        bill = write_bill(
            self.folder / f"bill{len(self.bills)}.{_suffix(step.look)}",
            step.look,
            jobs,
            pick=step.pick,
            shows_others=step.shows_others,
        )
        bill = replace(bill, account=account)
        self.bills.append(bill)
        return bill

    def _once(self, step: Reconcile, bill: Bill, *, missing: int | None) -> Outcome:
        is_said = step.says_complete and bill.is_complete
        before = self.tables()
        self.clock.forward(hours=1)
        said = self.call(*self.words(step, bill, missing), "--format", "json")
        whole = is_said and _MISSING.search(said.err + said.out) is None
        outcome = Outcome(step, bill, said, before, self.tables(), whole)
        self.seen[f"exit {said.code}"] += 1
        self._judge(outcome)
        return outcome

    def words(self, step: Reconcile, bill: Bill, missing: int | None) -> list[str]:
        """The words of the command."""
        provider, account = bill.account
        words = ["reconcile", "--provider", provider, "--account", account]
        words += ["--statement", str(bill.path), "--no-balance"]
        if bill.look.stamp == "local" and step.says_zone:
            words += ["--zone", bill.look.zone]
        if step.says_complete and bill.is_complete:
            words += ["--complete", "--lag-hours", "0"]
            words += ["--from", f"{BEGIN:%Y-%m-%d}", "--to", f"{END:%Y-%m-%d}"]
        if missing is not None:
            words += ["--missing", str(missing)]
        return [*words, "--apply"] if step.applies else words

    def _undo(self, first: Outcome) -> None:
        plan = _PLAN.search(first.said.err)
        if money(first.before) == money(first.after):
            return
        if plan is None:
            raise AssertionError(f"law 7: applied, and no plan is named: {first.said.err}")
        said = self.call("reconcile", "--undo", plan[1], "--format", "json")
        laws.check_undone(first, said, self.tables())
        self.check_ledger()
        again = self.reconcile(replace(first.step, again=True, undo=False))
        if money(again.after) != money(first.after):
            raise AssertionError(
                "law 7: applied again, it came out otherwise:\n"
                f"{money(first.after)}\n{money(again.after)}"
            )

    # --- laws -------------------------------------------------------------------------------

    def _judge(self, outcome: Outcome) -> None:
        laws.check_told(outcome)
        if outcome.was_read and outcome.step.applies:
            # A comparison without --apply keeps nothing, so it cannot bind a later one.
            self._keep_seen(outcome)
        laws.check_only_evidence_is_kept(outcome)
        laws.check_no_other_account_changed(self.jobs, outcome)
        laws.check_no_correction_is_wrong(self.jobs, outcome)
        laws.check_again_moves_nothing(self.outcomes, outcome)
        laws.check_complete_is_true(self.jobs, self.outcomes, outcome)
        laws.check_agreement_is_true(self.jobs, outcome)
        self.check_ledger()

    def _keep_seen(self, outcome: Outcome) -> None:
        for job in self.jobs:
            shown = outcome.bill.shown.get(job.number)
            if job.account == outcome.bill.account and shown and shown.whole:
                job.seen = max(job.seen, max(shown.whole) + 1)

    def check_ledger(self) -> None:
        """Hold law 6: every balance is what it was funded with, less what the jobs have spent."""
        findings = self.ledger.verify().findings
        if findings:
            raise AssertionError(f"law 6: verify finds {findings}")
        tables = self.tables()
        for wallet in tables["wallet"]:
            its = [row for row in tables["reservation"] if row["wallet_id"] == wallet["id"]]
            posted = FUNDS * 10**6 - sum(spent_micro(row) for row in its)
            held = sum(row["held_micro"] for row in its)
            if (wallet["posted_micro"], wallet["reserved_micro"]) != (posted, held):
                raise AssertionError(f"law 6: {wallet} holds {posted} and {held}")

    def tables(self) -> Tables:
        """Every table of the database."""
        return tables_of(self.cli.database)


def wallet_of(unit: str) -> str:
    """The name of the wallet of a unit."""
    return f"wallet-{unit.lower()}"


def _suffix(look: Look) -> str:
    return {"jsonl": "jsonl", "list": "json", "data": "json", "records": "json"}.get(
        look.form, "csv"
    )


def run_history(history: History, folder: Path) -> World:
    """Live through a whole history; AssertionError names the law that did not hold."""
    world = World(folder, history.provider)
    try:
        world.make(history.jobs)
        world.check_ledger()
        for step in history.steps:
            world.take(step)
    finally:
        world.close()
    return world
