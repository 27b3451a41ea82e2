"""Every end of a task that a provider can tell, in every state that its reservation may be in."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from itertools import product

import pytest

from kling_ledger.cli.run import report
from kling_ledger.jobs.listeners import Listeners
from kling_ledger.jobs.settling import Settler
from kling_ledger.jobs.submitting import Submitter
from kling_ledger.ledger import Job, Ledger, Reservation
from kling_ledger.providers.base import Submission, TaskState, TaskStatus
from kling_ledger.providers.registry import FACTS, connect
from kling_pricing.money import MAX_MICRO, Money
from tests.ledgers import NOON, Clock

HELD, NAMED, THEIRS = 10, 7, 8
"""What we hold, what an answer names as the cost, what a create reply says that it reserved."""

PLACES = ("runapi", "crun", "evolink", "uniall")
STANDINGS = ("submitted", "submitted, theirs", "in_doubt", "committed", "rolled_back", "expired")
CLIP = ("https://files.example/clip.mp4",)


@dataclass(frozen=True)
class Case:
    """One answer about a job that stands so."""

    provider: str
    standing: str
    has_failed: bool
    cost: int | None
    has_error: bool
    has_clip: bool

    def __str__(self) -> str:
        word = "failed" if self.has_failed else "completed"
        parts = ("error" if self.has_error else "", "clip" if self.has_clip else "")
        words = "-".join(part for part in parts if part)
        return f"{self.provider}-{self.standing}-{word}-{self.cost}-{words}"

    @property
    def status(self) -> TaskStatus:
        """What the provider answers."""
        return TaskStatus(
            TaskState.FAILED if self.has_failed else TaskState.COMPLETED,
            cost=None if self.cost is None else Money.parse(f"{self.cost} {self.unit}"),
            videos=CLIP if self.has_clip else (),
            problem="it broke" if self.has_error else None,
            has_error=self.has_error,
        )

    @property
    def unit(self) -> str:
        """What the provider counts in."""
        return FACTS[self.provider].unit


CASES = [
    Case(*parts)
    for parts in product(
        PLACES, STANDINGS, (False, True), (None, 0, NAMED), (False, True), (False, True)
    )
]


@dataclass(frozen=True)
class Right:
    """How a job stands in the end: state, spent, by whose word, and the exit code of `run`."""

    state: str
    spent: int
    settled_by: str | None
    code: int


def right(case: Case) -> Right:
    """Return what is right, by rules of its own: first the job's standing, then the answer."""
    if case.standing == "committed":
        return Right("committed", HELD, "provider", 8)
    if case.standing in {"rolled_back", "expired"}:
        if case.cost == NAMED:
            return Right("committed", NAMED, "provider", 0 if case.has_clip else 8)
        return Right(case.standing, 0, None, 4)
    return right_of_failed(case) if case.has_failed else right_of_completed(case)


def right_of_completed(case: Case) -> Right:
    if case.cost is not None:
        code = 0 if case.has_clip else 8 if case.cost else 4
        return Right("committed", case.cost, "provider", code)
    if case.has_error or not case.has_clip:
        return Right("in_doubt", 0, None, 5)
    if case.standing == "submitted, theirs":
        # Only EvoLink is known to charge what it reserved; elsewhere it is what we now hold.
        return Right("committed", THEIRS, "provider" if case.provider == "evolink" else "quote", 0)
    return Right("committed", HELD, "quote", 0)


def right_of_failed(case: Case) -> Right:
    if case.cost == NAMED:
        return Right("committed", NAMED, "provider", 0 if case.has_clip else 8)
    if case.cost is None and (case.has_clip or case.provider == "uniall"):
        # UniAll documents nothing of failures, so nobody knows whether one is charged.
        return Right("in_doubt", 0, None, 5)
    return Right("rolled_back", 0, None, 4)


@pytest.fixture(scope="module")
def books(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ledger]:
    path = tmp_path_factory.mktemp("endings") / "ledger.sqlite"
    with Ledger(str(path), clock=Clock()) as opened:
        for provider in PLACES:
            unit = FACTS[provider].unit
            opened.wallets.create(provider, unit)
            opened.wallets.fund(provider, Money.parse(f"100000 {unit}"))
        yield opened
        assert opened.verify().is_clean


def standing(books: Ledger, case: Case) -> Reservation:
    """Make a job that stands as the case says."""
    amount = Money.parse(f"{HELD} {case.unit}")
    expires_at = NOON if case.standing == "expired" else None
    job = Job(provider=case.provider)
    made = books.reserve(case.provider, amount, job=job, expires_at=expires_at)
    if case.standing == "expired":
        books.expire()
        return books.reservations.get(made.id)
    books.mark_submitting(made.id)
    made = books.mark_submitted(made.id, f"task of {made.id}")
    if case.standing == "submitted, theirs":
        return books.hold(made.id, Money.parse(f"{THEIRS} {case.unit}"), reason="it said so")
    if case.standing == "in_doubt":
        return books.mark_in_doubt(made.id, "no verdict within 900 s")
    if case.standing == "committed":
        return books.commit(made.id, amount, settled_by="provider")
    if case.standing == "rolled_back":
        return books.roll_back(made.id, "it failed")
    return made


def settler(books: Ledger) -> Settler:
    return Settler(books, Listeners(lambda _: None, lambda _: None))


@pytest.mark.parametrize("case", CASES, ids=str)
def test_every_end_does_to_the_money_what_the_table_says(books: Ledger, case: Case):
    before = standing(books, case)
    settler(books).observe(before, case.status)
    now = books.reservations.get(before.id)
    spent = int(now.spent.amount)
    assert Right(str(now.state), spent, now.settled_by, report(now, "json")) == right(case)
    assert now.held == (before.held if now.is_open else Money.zero(case.unit))


@pytest.mark.parametrize("case", CASES, ids=str)
def test_the_same_end_again_changes_nothing(books: Ledger, case: Case):
    before = standing(books, case)
    settler(books).observe(before, case.status)
    once = books.reservations.get(before.id)
    settler(books).observe(once, case.status)
    settler(books).observe(before, case.status)
    assert books.reservations.get(before.id) == once


@pytest.mark.parametrize("case", [c for c in CASES if not c.has_failed], ids=str)
def test_what_does_not_go_together_is_kept_with_the_job(books: Ledger, case: Case):
    before = standing(books, case)
    now = settler(books).observe(before, case.status)
    if now.state == before.state != "in_doubt":
        return
    problem = now.problem or ""
    assert ("it is completed, but with an error: it broke" in problem) == case.has_error
    assert ("it is completed, but has no clip" in problem) == (not case.has_clip)
    assert now.videos == case.status.videos


def test_a_job_that_comes_back_without_a_cost_is_told_and_not_charged(
    books: Ledger, caplog: pytest.LogCaptureFixture
):
    case = Case(
        "runapi", "rolled_back", has_failed=False, cost=None, has_error=False, has_clip=True
    )
    with caplog.at_level(logging.WARNING, logger="kling_ledger.jobs"):
        settler(books).observe(standing(books, case), case.status)
    assert "completed after its credits were returned, and has no cost" in caplog.text


def test_a_job_that_comes_back_costs_what_evolink_said_that_it_reserved(books: Ledger):
    case = Case("evolink", "submitted, theirs", False, None, False, True)
    before = books.roll_back(standing(books, case).id, "it failed")
    now = settler(books).observe(before, case.status)
    assert (now.state, now.spent, now.settled_by) == (
        "committed",
        Money.parse(f"{THEIRS} evolink-credit"),
        "provider",
    )


@pytest.mark.parametrize("scaled", ["405000", "0.05"])
def test_a_cost_of_another_scale_at_evolink_is_a_question(books: Ledger, scaled: str):
    case = Case("evolink", "submitted", False, None, False, True)
    cost = Money.parse(f"{scaled} evolink-credit")
    status = TaskStatus(TaskState.COMPLETED, cost=cost, videos=CLIP)
    now = settler(books).observe(standing(books, case), status)
    assert (now.state, now.videos) == ("in_doubt", CLIP)
    assert f"given as {cost}" in (now.problem or "")


def test_an_answer_that_comes_late_is_judged_by_how_the_job_stands_now(books: Ledger):
    case = Case("runapi", "submitted", False, None, False, True)
    before = standing(books, case)
    books.roll_back(before.id, "somebody else saw it fail")
    assert settler(books).observe(before, case.status).state == "rolled_back"


def test_what_cannot_be_held_does_not_cost_the_name_of_the_task(books: Ledger):
    amount = Money.parse(f"{HELD} evolink-credit")
    worth = Money.from_micro(MAX_MICRO // 2, "USD")
    job = Job(provider="evolink", usd=worth)
    begun = books.mark_submitting(books.reserve("evolink", amount, job=job).id)
    listeners = Listeners(lambda _: None, lambda _: None)
    with closing(connect("evolink", api_key="k", base_url="http://127.0.0.1:9")) as provider:
        dear = Submission("task of its own", held=amount * 50)
        Submitter(books, provider, listeners)._submitted(begun, dear)
    now = books.reservations.get(begun.id)
    assert (now.state, now.task_id, now.held) == ("submitted", "task of its own", amount)


def test_a_job_that_makes_an_element_needs_no_clip(books: Ledger):
    amount = Money.parse(f"{HELD} evolink-credit")
    made = books.reserve("evolink", amount, job=Job(provider="evolink", action="custom_element"))
    begun = books.mark_submitted(books.mark_submitting(made.id).id, "an element")
    now = settler(books).observe(begun, TaskStatus(TaskState.COMPLETED))
    assert (now.state, now.spent, now.problem) == ("committed", amount, None)
    assert report(now, "json") == 0
