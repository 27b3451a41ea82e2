"""Reconciliation beside a model: random jobs at two accounts, random bills, and laws that hold.

`evidence_truth` says what providers did, `evidence_bills` writes it into files, `evidence_laws` has
the laws and `evidence_world` lives through a history. The first tests are of the model itself.
"""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from decimal import Decimal
from itertools import product
from pathlib import Path
from typing import Any, Final, get_args

import pytest
from hypothesis import HealthCheck, currently_in_test_context, event, given, settings
from hypothesis import strategies as st

from tests import evidence_bills as bills
from tests.evidence_bills import FORMS, REFUNDS, STAMPS, STYLES, ZONES, Look, write_bill
from tests.evidence_outcomes import Reconcile, spent_micro
from tests.evidence_truth import (
    ADDRESSES,
    BELIEFS,
    BELIEFS_CHARGED,
    TASKS,
    Fate,
    Plan,
    TrueJob,
    true_job,
)
from tests.evidence_world import History, Later, World, run_history
from tests.folders import memory_folder
from tests.sweeps import sampled

PROVIDERS: Final = sorted(ADDRESSES)
FATES: Final[tuple[Fate, ...]] = get_args(Fate)
MODEL: Final = settings(
    derandomize=True,
    database=None,
    suppress_health_check=list(HealthCheck),
    report_multiple_bugs=False,
)


def rarely() -> st.SearchStrategy[bool]:
    """Now and then."""
    return st.integers(0, 5).map(lambda one: one == 5)


def mostly() -> st.SearchStrategy[bool]:
    """Nearly always."""
    return st.integers(0, 5).map(lambda one: one != 5)


@st.composite
def plans(draw: Callable[..., Any]) -> Plan:
    """One job, ours or a colleague's."""
    fate: Fate = draw(st.sampled_from(FATES))
    return Plan(
        account=draw(st.sampled_from(("north", "north", "south"))),
        is_ours=draw(mostly()),
        fate=fate,
        belief=draw(st.sampled_from(BELIEFS.get(fate, BELIEFS_CHARGED))),
        hour=draw(st.one_of(st.integers(0, 22 * 24), st.sampled_from((24, 24, 48, -30)))),
        price=draw(st.integers(0, 1)),
        model=draw(st.sampled_from((0, 0, 1))),
        task=draw(st.integers(0, len(TASKS) - 1)),
        namesake=draw(rarely()),
        later=draw(rarely()),
        elsewhere=draw(rarely()),
    )


def looks() -> st.SearchStrategy[Look]:
    """How a bill may be written."""
    return st.builds(
        Look,
        form=st.sampled_from(FORMS),
        style=st.sampled_from(STYLES),
        refunds=st.sampled_from(REFUNDS),
        names=st.integers(0, len(bills.NAMES) - 1),
        stamp=st.sampled_from(STAMPS),
        zone=st.sampled_from(ZONES),
        seed=st.integers(0, 2**16),
        has_status=mostly(),
        has_model=mostly(),
        has_unit=rarely(),
        numbers_rows=st.booleans(),
        shows_zero=st.booleans(),
        is_repeated=rarely(),
        has_total=rarely(),
        has_top_up=rarely(),
        has_preamble=rarely(),
        is_text=st.booleans(),
    )


@st.composite
def calls(draw: Callable[..., Any]) -> Reconcile:
    """One call of the command."""
    return Reconcile(
        look=draw(looks()),
        account=draw(st.sampled_from(("north", "north", "south"))),
        pick=draw(st.sampled_from(("all", "all", "all", "tasks", "early", "late", "holes"))),
        shows_others=draw(st.booleans()),
        says_complete=draw(mostly()),
        says_zone=draw(mostly()),
        applies=draw(mostly()),
        says_missing=draw(mostly()),
        overstates_missing=draw(rarely()),
        again=draw(rarely()),
        undo=draw(rarely()),
    )


def histories() -> st.SearchStrategy[History]:
    """Up to six jobs and four steps."""
    return st.builds(
        History,
        provider=st.sampled_from(PROVIDERS),
        jobs=st.lists(plans(), min_size=1, max_size=6).map(tuple),
        steps=st.lists(st.one_of(calls(), calls(), calls(), st.builds(Later)), max_size=4).map(
            lambda steps: (*steps, Reconcile()) if not steps else tuple(steps)
        ),
    )


@pytest.fixture(scope="module")
def folder() -> Any:
    """A folder for the ledgers of many histories."""
    with tempfile.TemporaryDirectory(dir=memory_folder()) as name:
        yield Path(name)


def live(history: History, folder: Path, empty: Path) -> World:
    """Live through a history in a folder of its own."""
    with tempfile.TemporaryDirectory(dir=folder) as name:
        shutil.copy(empty, Path(name) / "ledger.sqlite")
        world = run_history(history, Path(name))
    for word, count in world.seen.items() if currently_in_test_context() else ():
        event(f"{word}: {min(count, 4)}")
    return world


# The model itself.


def jobs_of(plans: list[Plan], provider: str) -> list[TrueJob]:
    return [
        true_job(number, provider, replace(plan, namesake=False))
        for number, plan in enumerate(plans)
    ]


@settings(MODEL, max_examples=300)
@given(look=looks(), plans=st.lists(plans(), max_size=6), provider=st.sampled_from(PROVIDERS))
def test_a_bill_of_all_says_what_each_job_truly_cost(
    folder: Path, look: Look, plans: list[Plan], provider: str
):
    jobs = jobs_of(plans, provider)
    bill = write_bill(folder / "bill", look, jobs, pick="all")
    costs = bills.costs_in(bill)
    assert {job.task: costs.get(job.task, Decimal(0)) for job in jobs if job.task} == {
        job.task: job.cost for job in jobs if job.task
    }
    assert bill.is_complete
    for job in jobs:
        assert bill.shown[job.number].whole == frozenset(range(job.made))


@settings(MODEL, max_examples=200)
@given(
    look=looks(),
    plans=st.lists(plans(), max_size=6),
    pick=st.sampled_from(("tasks", "early", "late", "holes")),
)
def test_a_bill_of_some_shows_no_more_than_what_it_says_that_it_shows(
    folder: Path, look: Look, plans: list[Plan], pick: bills.Pick
):
    jobs = jobs_of([replace(plan, is_ours=True) for plan in plans], "crun")
    bill = write_bill(folder / "bill", look, jobs, pick=pick)
    costs = bills.costs_in(bill)
    for job in jobs:
        shown = bill.shown[job.number]
        assert (str(job.task) in costs) == shown.has_rows
        if look.style != "items" and shown.has_rows:
            amounts = [job.movements[index].amount for index in shown.whole]
            assert costs[str(job.task)] == sum(amounts) or sum(amounts) == 0
    assert not bill.is_complete


@settings(MODEL, max_examples=200)
@given(look=looks(), plans=st.lists(plans(), max_size=6))
def test_a_stamp_read_in_its_zone_is_the_instant_that_it_was(
    folder: Path, look: Look, plans: list[Plan]
):
    jobs = jobs_of(plans, "runapi")
    bill = write_bill(folder / "bill", look, jobs, pick="all")
    known = {one.at for job in jobs for one in job.movements}
    known |= {job.at + timedelta(minutes=7) for job in jobs}
    for row in bills.read_back(bill):
        if row["task"] not in {None, "Total"} and look.stamp != "none":
            assert row["at"] in known


@settings(MODEL, max_examples=60)
@given(jobs=st.lists(plans(), max_size=6), provider=st.sampled_from(PROVIDERS))
def test_a_ledger_holds_what_is_believed(
    folder: Path, empty_file: Path, jobs: list[Plan], provider: str
):
    world = live(History(provider, tuple(jobs), ()), folder, empty_file)
    assert len(world.jobs) == len(jobs)


def test_a_wrong_belief_is_no_true_cost(folder: Path, empty_file: Path):
    jobs = tuple(
        Plan(fate=fate, belief=belief)
        for fate in FATES
        for belief in BELIEFS.get(fate, BELIEFS_CHARGED)
    )
    with tempfile.TemporaryDirectory(dir=folder) as name:
        shutil.copy(empty_file, Path(name) / "ledger.sqlite")
        world = World(Path(name), "crun")
        world.make(jobs)
        rows = {row["id"]: row for row in world.tables()["reservation"]}
        world.close()
    for job in world.jobs:
        is_true = spent_micro(rows[job.reservation]) == job.cost * 10**6
        is_right = job.plan.belief in {"committed", "committed by quote"} or job.cost == 0
        assert is_true == (is_right and "wrongly" not in job.plan.belief), job


# The laws.


@settings(MODEL, max_examples=40)
@given(history=histories())
def test_no_bill_makes_our_money_wrong(folder: Path, empty_file: Path, history: History):
    live(history, folder, empty_file)


@pytest.mark.slow
@settings(MODEL, max_examples=3000, derandomize=False, print_blob=True)
@given(history=histories())
def test_no_bill_of_many_makes_our_money_wrong(folder: Path, empty_file: Path, history: History):
    live(history, folder, empty_file)


PLAIN: Final = (
    Plan(fate="charged", belief="committed", hour=24),
    Plan(fate="charged", belief="committed wrongly by quote", hour=48, task=1),
    Plan(fate="partly refunded", belief="committed by quote", hour=72, task=7),
    Plan(fate="charged", belief="in doubt", hour=96),
    Plan(account="south", fate="failed", belief="committed wrongly", hour=30),
)


@pytest.mark.parametrize(
    ("provider", "form", "style"), sampled(product(PROVIDERS, FORMS, STYLES), every=5)
)
def test_a_plain_complete_bill_is_read_in_every_form(
    folder: Path, empty_file: Path, provider: str, form: bills.Form, style: bills.Style
):
    for names, stamp in enumerate(("z", "offset", "local", "epoch_ms")):
        look = Look(form, style, "type", names=names, stamp=stamp)  # type: ignore[arg-type]
        world = live(History(provider, PLAIN, (Reconcile(look),)), folder, empty_file)
        assert world.outcomes[-1].said.code == 0, world.outcomes[-1].said
