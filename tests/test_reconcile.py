"""Reconcile: what both sides have of each job, what mends it, and what a person is asked."""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from kling_ledger.errors import ConfigError, LedgerMovedError, NotFoundError, PlanUndoneError
from kling_ledger.evidence.apply import plan_of, records_of
from kling_ledger.evidence.balances import compare_balance, is_possible
from kling_ledger.evidence.entries import Entry, Kind
from kling_ledger.evidence.missing import only_ours, only_theirs, too_many
from kling_ledger.evidence.plan import Line, Verdict, compare
from kling_ledger.evidence.record import Record
from kling_ledger.evidence.tasks import ask_tasks
from kling_ledger.ledger import Job, ProviderBalance, Reservation, State
from kling_ledger.ledger.corrections import AppliedPlan
from kling_ledger.providers.base import TaskState
from kling_pricing import Money
from tests.ledgers import found
from tests.metering import House, house
from tests.sandbox_rig import PRICES, PROVIDERS, UNITS

CLIP = Money.parse("135 crun-credit")
"""What a clip costs at Crun, where most of these jobs are."""

every_provider = pytest.mark.parametrize("provider", PROVIDERS)


@pytest.fixture
def here(tmp_path: Path, empty_file: Path) -> Iterator[House]:
    with house(str(shutil.copy(empty_file, tmp_path / "ledger.sqlite"))) as made:
        yield made


@pytest.fixture
def anywhere(empty_url: str) -> Iterator[House]:
    with house(empty_url) as made:
        yield made


def crun_credits(amount: str) -> Money:
    return Money.parse(f"{amount} crun-credit")


def row(task_id: str | None, amount: str | None = "135", **more: Any) -> Entry:
    """A row of a bill: a charge unless it is said otherwise."""
    given: dict[str, Any] = {"kind": Kind.CHARGE, "state": None, "at": None, "model": None, **more}
    money = None if amount is None else crun_credits(amount)
    raw = {"task": str(task_id), "amount": str(amount), "kind": str(given["kind"])}
    return Entry(task_id=task_id, amount=money, place="line 2", raw=raw, **given)


def record(here: House, *rows: Entry, **more: Any) -> Record:
    """A bill of the account that jobs run on, complete unless it is said otherwise."""
    place = here.meter("crun").place
    given: dict[str, Any] = {"is_complete": True, "address": place.address, **more}
    account = given.pop("account", place.account)
    earlier = tuple(here.ledger.evidence.entries("crun", account))
    return Record("crun", account, "bill.csv", rows, earlier=earlier, **given)


def billed(here: House, *rows: Entry, lag_s: float = 0, **more: Any) -> list[Line]:
    """Compare with a bill a second later."""
    told = record(here, *rows, **more)
    ours = here.ledger.reservations.at_provider("crun")
    named = {one.task_id for one in rows}
    elsewhere = [one for one in ours if one.task_id in named and not told.is_of(one)]
    lines, matched, unclaimed = compare(told, ours, elsewhere)
    lines.extend(only_theirs(unclaimed, matched.rest))
    now = datetime.now(UTC) + timedelta(seconds=1)
    lines.extend(only_ours(told, matched.rest, unclaimed, now=now, lag_s=lag_s))
    return lines


def only(lines: Sequence[Line]) -> Line:
    (line,) = lines
    return line


def applied(here: House, lines: list[Line], *rows: Entry, provider: str = "crun") -> AppliedPlan:
    account = here.meter(provider).place.account or ""
    made = here.ledger.evidence.apply(plan_of(provider, account, "bill.csv", lines, rows))
    assert made is not None
    assert here.ledger.verify().findings == ()
    return made


def in_doubt(here: House, prompt: str = "a lake") -> Reservation:
    """Return a job whose submission got no answer, and which Crun may or may not have taken."""
    return here.ledger.mark_in_doubt(here.submitting("crun", prompt).id, "no answer")


def at_account(here: House, account: str, task_id: str) -> Reservation:
    """Return a job at Crun that was charged at 135 on another account."""
    address = here.meter("crun").provider.address
    job = Job(provider="crun", model="kling/v3", address=address, account=account, request="{}")
    made = here.ledger.mark_submitting(here.ledger.reserve("crun", CLIP, job=job).id)
    here.ledger.mark_submitted(made.id, task_id)
    return here.ledger.commit(made.id, CLIP, settled_by="provider")


# --- a bill names the job, the account and the amount ---------------------------------------


def test_a_bill_of_the_same_amount_is_matched(here: House):
    ended = here.run("crun")
    line = only(billed(here, row(ended.task_id)))
    assert (line.verdict, line.change, line.stands) == (Verdict.MATCHED, None, False)


@pytest.mark.parametrize(
    ("theirs", "change"), [("134.999999", "refund"), ("135.000001", "late_commit"), ("0", "refund")]
)
def test_another_amount_differs_to_the_millionth_and_is_corrected(
    anywhere: House, theirs: str, change: str
):
    ended = anywhere.run("crun")
    lines = billed(anywhere, row(ended.task_id, theirs))
    line = only(lines)
    assert (line.verdict, line.ours, line.theirs) == (
        Verdict.AMOUNT_DIFFERS,
        CLIP,
        crun_credits(theirs),
    )
    applied(anywhere, lines)
    assert anywhere.standing("crun") == (theirs, "0")
    assert anywhere.ledger.reservations.get(ended.id).settled_by == "bill"
    assert [one["kind"] for one in found(anywhere.ledger, "SELECT kind FROM transfer ORDER BY id")][
        -1
    ] == change


def test_comparing_changes_nothing(here: House):
    ended = here.run("crun")
    before = list(here.ledger.canonical_journal())
    billed(here, row(ended.task_id, "1"))
    billed(here)
    assert list(here.ledger.canonical_journal()) == before
    assert here.ledger.evidence.entries("crun", here.meter("crun").place.account or "") == []


def test_a_bill_confirms_what_was_settled_by_the_quote(here: House):
    ended = here.run("crun")
    here.ledger.correct(ended.id, CLIP, settled_by="quote", reason="as if it named no cost")
    lines = billed(here, row(ended.task_id))
    assert only(lines).verdict is Verdict.MATCHED
    applied(here, lines)
    assert here.ledger.reservations.get(ended.id).settled_by == "bill"
    assert here.standing("crun") == ("135", "0")


def test_an_open_job_is_charged_what_the_bill_says(anywhere: House):
    running = anywhere.submitted("crun")
    applied(anywhere, billed(anywhere, row(running.task_id, "120")))
    ended = anywhere.ledger.reservations.get(running.id)
    assert (ended.state, ended.spent, ended.settled_by) == (
        State.COMMITTED,
        crun_credits("120"),
        "bill",
    )


def test_a_task_that_still_runs_agrees_with_an_open_reservation_only(here: House):
    running = here.submitted("crun")
    held = row(running.task_id, "135", kind=Kind.RESERVATION)
    assert only(billed(here, held)).verdict is Verdict.MATCHED
    here.ledger.roll_back(running.id, "enough")
    assert only(billed(here, held)).verdict is Verdict.UNANSWERED


def test_a_task_of_another_account_is_asked_about_and_nothing_moves(here: House):
    other = at_account(here, "south", "task-south")
    line = only(billed(here, row("task-south", "1")))
    assert (line.verdict, line.change, line.reservation) == (Verdict.QUESTION, None, None)
    assert "ran on south" in (line.problem or "")
    assert here.ledger.reservations.get(other.id) == other


def test_a_task_at_another_address_is_told_by_its_address(here: House):
    ended = here.run("crun")
    line = only(billed(here, row(ended.task_id, "1"), address="https://api.crun.ai"))
    assert (line.verdict, line.change, line.reservation) == (Verdict.QUESTION, None, None)
    assert f"ran at {ended.job.address}, not at https://api.crun.ai" in (line.problem or "")


def test_jobs_of_another_account_are_not_missed(here: House):
    at_account(here, "south", "task-south")
    assert billed(here) == []


def test_a_job_that_was_submitted_elsewhere_is_not_missed(here: House):
    here.run("crun")
    assert billed(here, address="https://api.crun.ai") == []


def own_client(here: House, task_id: str) -> Reservation:
    """Return a job that a script charged at 135 through a client of its own."""
    job = Job(provider="crun", model="kling/v3")
    made = here.ledger.mark_submitting(here.ledger.reserve("crun", CLIP, job=job).id)
    here.ledger.mark_submitted(made.id, task_id)
    return here.ledger.commit(made.id, CLIP, settled_by="provider")


def test_a_bill_that_names_the_task_of_a_scripts_own_client_corrects_it(here: House):
    own_client(here, "task-own")
    applied(here, billed(here, row("task-own", "120")))
    assert here.standing("crun") == ("120", "0")


def test_a_job_of_a_scripts_own_client_is_missed_on_the_only_account_alone(here: House):
    own_client(here, "task-own")
    assert billed(here) == []
    assert only(billed(here, is_only_account=True)).verdict is Verdict.NEVER_CHARGED


def test_a_job_of_an_older_ledger_is_corrected_by_its_task_and_never_missed(here: House):
    ended = here.run("crun")
    with_nobody = replace(ended, job=replace(ended.job, account=None))
    told = record(here, row(ended.task_id, "120"))
    lines, _, _ = compare(told, [with_nobody])
    assert only(lines).verdict is Verdict.AMOUNT_DIFFERS
    lines, matched, _ = compare(record(here, is_only_account=True), [with_nobody])
    assert (lines, matched.rest) == ([], [])


# --- rows of one task -----------------------------------------------------------------------


def test_what_a_bill_gives_back_is_given_back(here: House):
    ended = here.run("crun")
    back = row(ended.task_id, "-35", kind=Kind.REFUND)
    lines = billed(here, row(ended.task_id), back)
    assert only(lines).theirs == crun_credits("100")
    applied(here, lines)
    assert here.standing("crun") == ("100", "0")


def test_two_charges_that_differ_are_a_question_and_nothing_is_booked(here: House):
    ended = here.run("crun")
    twice = (row_counted(ended.task_id, "135", 1), row_counted(ended.task_id, "135", 2))
    line = only(billed(here, *twice))
    assert (line.verdict, line.change, line.theirs) == (
        Verdict.DUPLICATE,
        None,
        crun_credits("270"),
    )


def row_counted(task_id: str | None, amount: str, count: int, kind: Kind = Kind.CHARGE) -> Entry:
    raw = {"task": task_id or "", "amount": amount, "count": str(count)}
    return Entry(kind, task_id, crun_credits(amount), None, None, None, "line 2", raw)


def test_the_parts_of_a_task_add_up_in_a_complete_bill_only(here: House):
    ended = here.run("crun")
    parts = [row_counted(ended.task_id, amount, n) for n, amount in enumerate(("100", "40"))]
    whole = only(billed(here, *parts, is_itemised=True))
    assert (whole.verdict, whole.theirs) == (Verdict.AMOUNT_DIFFERS, crun_credits("140"))
    part = only(billed(here, *parts, is_itemised=True, is_complete=False))
    assert (part.verdict, part.change) == (Verdict.QUESTION, None)


def test_a_bill_that_gives_back_more_than_it_charged_is_left_to_a_person(here: House):
    ended = here.run("crun")
    line = only(billed(here, row(ended.task_id), row(ended.task_id, "-136", kind=Kind.REFUND)))
    assert (line.verdict, line.change) == (Verdict.QUESTION, None)


def test_a_refund_alone_is_taken_from_a_charge_that_a_bill_has_named(anywhere: House):
    ended = anywhere.run("crun")
    charge, back = row(ended.task_id, "140"), row(ended.task_id, "-35", kind=Kind.REFUND)
    assert only(billed(anywhere, back, is_complete=False)).verdict is Verdict.QUESTION
    applied(anywhere, billed(anywhere, charge), charge)
    lines = billed(anywhere, back, is_complete=False)
    applied(anywhere, lines, back)
    assert anywhere.standing("crun") == ("105", "0")
    assert only(billed(anywhere, back, is_complete=False)).verdict is Verdict.MATCHED


def test_a_surcharge_of_a_later_month_is_a_question_and_replaces_nothing(here: House):
    ended = here.run("crun")
    charge = row(ended.task_id, "140")
    applied(here, billed(here, charge), charge)
    line = only(billed(here, row(ended.task_id, "20"), is_complete=False))
    assert (line.verdict, line.change) == (Verdict.DUPLICATE, None)
    assert here.standing("crun") == ("140", "0")


def test_the_same_bill_again_moves_nothing(anywhere: House):
    ended = anywhere.run("crun")
    charge = row(ended.task_id, "140")
    applied(anywhere, billed(anywhere, charge), charge)
    before = list(anywhere.ledger.canonical_journal())
    lines = billed(anywhere, charge)
    assert only(lines).verdict is Verdict.MATCHED
    account = anywhere.meter("crun").place.account or ""
    again = plan_of("crun", account, "again.csv", lines, [charge])
    assert anywhere.ledger.evidence.apply(again) is None
    assert list(anywhere.ledger.canonical_journal()) == before


def test_a_refund_under_an_id_of_its_own_is_of_the_task_that_it_names(here: House):
    ended = here.run("crun")
    raw = {"task": "ref-1", "amount": "-35", "reference": str(ended.task_id)}
    back = Entry(Kind.REFUND, "ref-1", crun_credits("-35"), None, None, None, "line 3", raw)
    lines = billed(here, row(ended.task_id), back)
    assert only(lines).theirs == crun_credits("100")


def test_a_failed_row_with_an_amount_can_be_read_in_two_ways(here: House):
    ended = here.run("crun")
    line = only(billed(here, row(ended.task_id, state=TaskState.FAILED)))
    assert (line.verdict, line.change) == (Verdict.QUESTION, None)


def test_a_row_without_an_amount_moves_nothing(here: House):
    running = here.submitted("crun")
    line = only(billed(here, row(running.task_id, None, state=TaskState.COMPLETED)))
    assert (line.verdict, line.change) == (Verdict.QUESTION, None)


def test_a_bill_that_says_it_is_cut_off_corrects_nothing(here: House):
    ended = here.run("crun")
    assert only(billed(here, row(ended.task_id, "1"), is_cut_off=True)).change is None


def test_a_row_that_names_no_task_is_a_question(here: House):
    assert only(billed(here, row(None, kind=Kind.ADJUSTMENT))).verdict is Verdict.QUESTION
    assert billed(here, row(None, kind=Kind.TOTAL), row(None, kind=Kind.PAYMENT)) == []


# --- what only one side has -----------------------------------------------------------------


def test_what_only_they_have_is_told_and_given_to_nobody(here: House):
    doubtful = in_doubt(here)
    lines = billed(here, row("task-strange"), is_complete=False)
    theirs = next(line for line in lines if line.verdict is Verdict.ONLY_THEIRS)
    assert (theirs.change, theirs.candidates) == (None, (doubtful.id,))
    assert all(line.change is None for line in lines)


def test_a_person_says_whose_task_it_is_and_the_bill_settles_it(anywhere: House):
    doubtful = in_doubt(anywhere)
    anywhere.ledger.mark_submitted(doubtful.id, "task-strange")
    applied(anywhere, billed(anywhere, row("task-strange", "120")))
    assert anywhere.standing("crun") == ("120", "0")


def test_what_a_complete_bill_does_not_list_was_never_charged(anywhere: House):
    ended, running = anywhere.run("crun"), anywhere.submitted("crun")
    doubtful = in_doubt(anywhere)
    lines = billed(anywhere)
    assert {line.verdict for line in lines} == {Verdict.NEVER_CHARGED}
    applied(anywhere, lines)
    assert anywhere.standing("crun") == ("0", "0")
    states = [anywhere.state(one) for one in (ended, running, doubtful)]
    assert states == [State.COMMITTED, State.ROLLED_BACK, State.ROLLED_BACK]
    assert billed(anywhere) == []


@pytest.mark.parametrize(
    ("more", "said"),
    [
        ({"has_unzoned_times": True}, "no zone"),
        ({"is_cut_off": True}, "rows are missing"),
    ],
)
def test_never_charged_needs_a_whole_bill_in_a_zone(here: House, more: dict[str, Any], said: str):
    here.run("crun")
    line = only(billed(here, **more))
    assert (line.verdict, line.change) == (Verdict.QUESTION, None)
    assert said in (line.problem or "")


def test_nothing_is_missed_while_a_charge_that_it_could_be_is_nobodys(here: House):
    here.run("crun")
    verdicts = {line.verdict: line for line in billed(here, row("task-strange", "135"))}
    assert verdicts.keys() == {Verdict.QUESTION, Verdict.ONLY_THEIRS}
    assert verdicts[Verdict.QUESTION].change is None


@pytest.mark.parametrize(
    "more",
    [
        {"amount": "7"},
        {"model": "kling/v2-6"},
        {"at": datetime(2020, 1, 1, tzinfo=UTC)},
    ],
)
def test_a_charge_that_it_cannot_be_keeps_no_job_from_being_missed(
    here: House, more: dict[str, Any]
):
    here.run("crun")
    amount = more.pop("amount", "135")
    verdicts = {line.verdict for line in billed(here, row("task-strange", amount, **more))}
    assert verdicts == {Verdict.NEVER_CHARGED, Verdict.ONLY_THEIRS}


def test_a_bill_that_is_not_complete_misses_nothing(here: House):
    here.run("crun")
    here.submitted("crun")
    assert billed(here, is_complete=False) == []
    in_doubt(here)
    assert only(billed(here, is_complete=False)).verdict is Verdict.ONLY_OURS


@pytest.mark.parametrize(
    ("since_s", "until_s", "is_missed"),
    [(0, 1, True), (1, 2, False), (-2, 0, False), (-2, 1, True)],
)
def test_a_job_is_missed_only_in_the_time_that_the_bill_covers(
    here: House, since_s: float, until_s: float, is_missed: bool
):
    ended = here.run("crun")
    since = ended.created_at + timedelta(seconds=since_s)
    until = ended.created_at + timedelta(seconds=until_s)
    assert bool(billed(here, since=since, until=until)) is is_missed


@pytest.mark.parametrize(("lag_s", "is_missed"), [(0, True), (3600, False)])
def test_a_job_is_missed_only_when_it_is_older_than_the_lag(
    here: House, lag_s: float, is_missed: bool
):
    here.run("crun")
    assert bool(billed(here, lag_s=lag_s)) is is_missed


def test_where_more_are_missing_than_found_a_person_says_how_many(here: House):
    first, second = here.run("crun"), here.run("crun", "a hill")
    lines = billed(here)
    assert too_many(lines, said=None) == 2
    assert too_many(lines, said=2) is None
    assert too_many(lines, said=1) == 2
    assert too_many(billed(here, row(first.task_id)), said=None) is None
    whole = billed(here, row(first.task_id), row(second.task_id))
    assert too_many(whole, said=None) is None
    assert too_many(whole, said=2) is None, "nothing is missing, so nothing is given back"


# --- applying and undoing -------------------------------------------------------------------


def test_a_plan_is_refused_whole_where_the_ledger_moved_meanwhile(anywhere: House):
    first, second = anywhere.run("crun"), anywhere.run("crun", "a hill")
    lines = billed(anywhere, row(first.task_id, "1"), row(second.task_id, "1"))
    anywhere.ledger.refund(second.id, crun_credits("5"), reason="a person knew")
    before = list(anywhere.ledger.canonical_journal())
    with pytest.raises(LedgerMovedError):
        applied(anywhere, lines)
    assert list(anywhere.ledger.canonical_journal()) == before


def test_an_undone_plan_leaves_every_job_as_it_was(anywhere: House):
    ended, running = anywhere.run("crun"), anywhere.submitted("crun")
    doubtful = in_doubt(anywhere)
    charge = row(ended.task_id, "140")
    lines = billed(anywhere, charge, row(running.task_id, "120"))
    plan = applied(anywhere, lines, charge)
    assert anywhere.standing("crun") == ("260", "0")
    anywhere.ledger.evidence.undo(plan.id)
    assert anywhere.standing("crun") == ("135", "270")
    states = [anywhere.state(one) for one in (ended, running, doubtful)]
    assert states == [State.COMMITTED, State.IN_DOUBT, State.IN_DOUBT]
    assert anywhere.ledger.reservations.get(running.id).held == CLIP
    again = billed(anywhere, charge, row(running.task_id, "120"))
    applied(anywhere, again, charge)
    assert anywhere.standing("crun") == ("260", "0")


def test_a_plan_is_undone_once_and_only_if_nobody_moved_its_jobs(anywhere: House):
    first, second = anywhere.run("crun"), anywhere.run("crun", "a hill")
    plan = applied(anywhere, billed(anywhere, row(first.task_id, "1"), is_complete=False))
    anywhere.ledger.evidence.undo(plan.id)
    with pytest.raises(PlanUndoneError):
        anywhere.ledger.evidence.undo(plan.id)
    with pytest.raises(NotFoundError):
        anywhere.ledger.evidence.undo("pln_none")
    other = applied(anywhere, billed(anywhere, row(second.task_id, "1"), is_complete=False))
    anywhere.ledger.correct(second.id, crun_credits("2"), reason="a person knew")
    with pytest.raises(LedgerMovedError):
        anywhere.ledger.evidence.undo(other.id)
    assert anywhere.standing("crun") == ("137", "0")


def test_the_journal_says_why(here: House):
    ended = here.run("crun")
    applied(here, billed(here, row(ended.task_id, "100")))
    reasons = [str(one["reason"]) for one in found(here.ledger, "SELECT reason FROM transfer")]
    assert "reconciled with the provider's record" in reasons


def test_what_a_record_said_of_each_task_is_kept(here: House):
    ended = here.run("crun")
    lines = billed(here, row(ended.task_id, "140"), row("task-5", "5"))
    kept = records_of("crun", "north", "bill.csv", lines)
    assert sorted((one.task_id, one.verdict, one.billed) for one in kept) == sorted(
        [
            (str(ended.task_id), "amount_differs", crun_credits("140")),
            ("task-5", "only_theirs", crun_credits("5")),
        ]
    )


# --- what a task says of itself -------------------------------------------------------------


def tasks_of(here: House, provider: str = "crun") -> list[Line]:
    """Ask a provider for every task that we know, and compare."""
    return ask_tasks(here.ledger.reservations.at_provider(provider), here.meter_for)


@every_provider
def test_what_both_sides_have_alike_is_matched(here: House, provider: str):
    here.run(provider)
    line = only(tasks_of(here, provider))
    assert (line.verdict, line.change, line.stands) == (Verdict.MATCHED, None, False)
    assert line.ours == Money.parse(f"{PRICES[provider]} {UNITS[provider]}")


@every_provider
def test_a_job_that_succeeded_after_it_had_failed_is_charged_where_the_cost_is_named(
    anywhere: House, provider: str
):
    late = anywhere.submitted(provider, "a lake [never]")
    anywhere.ledger.roll_back(late.id, "a person thought so")
    anywhere.sandbox.finish()
    lines = tasks_of(anywhere, provider)
    if provider == "uniall":
        assert (only(lines).verdict, only(lines).change) == (Verdict.QUESTION, None)
        return
    applied(anywhere, lines, provider=provider)
    assert anywhere.standing(provider) == (PRICES[provider], "0")
    assert only(tasks_of(anywhere, provider)).verdict is Verdict.MATCHED


def test_an_open_job_that_has_ended_at_its_provider_is_settled(here: House):
    done, failed = here.submitted("crun"), here.submitted("crun", "a hill [fail] [takes 60]")
    here.sandbox.finish()
    applied(here, tasks_of(here))
    assert (here.state(done), here.state(failed)) == (State.COMMITTED, State.ROLLED_BACK)
    assert here.standing("crun") == ("135", "0")


def test_a_job_whose_cost_nobody_names_is_settled_by_the_quote_still(here: House):
    running = here.submitted("uniall")
    here.sandbox.finish()
    applied(here, tasks_of(here, "uniall"), provider="uniall")
    ended = here.ledger.reservations.get(running.id)
    assert (ended.committed, ended.settled_by) == (running.amount, "quote")


def test_a_task_that_was_asked_for_in_vain_is_unanswered(here: House):
    ended = here.run("crun")

    def meter_for(_: Reservation) -> Any:
        raise ConfigError("no key")

    line = only(ask_tasks([ended], meter_for))
    assert (line.verdict, line.problem, line.stands) == (Verdict.UNANSWERED, "no key", True)


def test_a_state_that_says_nothing_of_money_is_no_agreement(here: House):
    here.run("uniall", "a lake [fail]")
    line = only(tasks_of(here, "uniall"))
    assert (line.verdict, line.stands, line.change) == (Verdict.UNANSWERED, True, None)


def test_a_bill_outweighs_what_a_task_says_that_it_cost(here: House):
    ended = here.run("crun")
    applied(here, billed(here, row(ended.task_id, "270")))
    assert tasks_of(here) == []
    assert here.standing("crun") == ("270", "0")


# --- the balance ----------------------------------------------------------------------------


AT = datetime(2026, 11, 20, tzinfo=UTC)
BEFORE = ProviderBalance("evolink", "https://x", "north", Money.parse("1000 evolink-credit"), AT)


def evolink(amount: str) -> Money:
    return Money.parse(f"{amount} evolink-credit")


def quoted(here: House) -> Reservation:
    """Return a job of 5 seconds at 5.4 credits that nobody named a cost of."""
    job = Job(provider="evolink", billed_seconds=5)
    made = here.ledger.mark_submitting(here.ledger.reserve("evolink", evolink("27"), job=job).id)
    return here.ledger.commit(made.id, evolink("27"), settled_by="quote")


def test_an_account_that_fell_by_what_was_charged_agrees(here: House):
    assert compare_balance(BEFORE, evolink("973"), evolink("27"), [quoted(here)]) is None


@pytest.mark.parametrize("left", ["933", "960", "1003", "400"])
def test_a_balance_that_differs_is_a_question(here: House, left: str):
    line = compare_balance(BEFORE, evolink(left), evolink("27"), [quoted(here)])
    assert line is not None
    assert (line.verdict, line.change) == (Verdict.QUESTION, None)
    assert "does anyone else spend from it?" in (line.problem or "")


@pytest.mark.parametrize(
    ("left", "cost"), [("1000", "0"), ("946", "54"), ("994.6", "5.4"), ("973.1", None), ("1", None)]
)
def test_where_nobody_else_spends_a_balance_settles_the_one_job_that_it_fits(
    here: House, left: str, cost: str | None
):
    one = quoted(here)
    line = compare_balance(BEFORE, evolink(left), evolink("27"), [one], is_ours_alone=True)
    assert line is not None
    assert (line.theirs if line.change else None) == (None if cost is None else evolink(cost))


def test_of_two_jobs_nobody_knows_which_one_it_was(here: House):
    two = [quoted(here), quoted(here)]
    line = compare_balance(BEFORE, evolink("973"), evolink("54"), two, is_ours_alone=True)
    assert line is not None
    assert (line.verdict, line.change, line.reservation) == (Verdict.QUESTION, None, None)


def test_what_was_paid_in_is_no_difference(here: House):
    paid, now = evolink("100"), evolink("1073")
    assert compare_balance(BEFORE, now, evolink("27"), [], topped_up=paid) is None
    line = compare_balance(BEFORE, now, evolink("27"), [])
    assert line is not None
    assert "the account rose by 73 evolink-credit" in (line.problem or "")


@pytest.mark.parametrize(
    ("cost", "fits"), [("0", True), ("27", True), ("32.4", True), ("30", False), ("-5.4", False)]
)
def test_a_job_costs_whole_seconds_at_its_price(here: House, cost: str, fits: bool):
    assert is_possible(quoted(here), evolink(cost)) is fits


def test_a_job_without_a_known_length_fits_its_quote_or_nothing(here: House):
    one = quoted(here)
    bare = replace(one, job=replace(one.job, billed_seconds=None))
    assert [is_possible(bare, evolink(cost)) for cost in ("0", "27", "54")] == [True, True, False]


def test_an_older_bill_does_not_charge_again_what_a_complete_one_did_not_list(here: House):
    ended = here.run("crun")
    account = here.meter("crun").place.account or ""
    lines = billed(here)
    plan = plan_of("crun", account, "whole.csv", lines, unlisted=[str(ended.task_id)])
    assert here.ledger.evidence.apply(plan) is not None
    line = only(billed(here, row(ended.task_id), is_complete=False))
    assert (line.verdict, line.change) == (Verdict.QUESTION, None)
    assert "whole.csv" in (line.problem or "")


def test_an_older_bill_does_not_charge_again_what_a_later_one_had_at_nothing(here: House):
    ended = here.run("crun")
    free = row(ended.task_id, "0")
    applied(here, billed(here, free), free)
    line = only(billed(here, row(ended.task_id), is_complete=False))
    assert (line.verdict, line.change) == (Verdict.QUESTION, None)


@pytest.mark.parametrize(("sum_", "verdict"), [("135", "amount_differs"), ("35", "question")])
def test_a_lone_row_that_gives_back_is_all_of_it_only_where_it_names_the_whole(
    here: House, sum_: str, verdict: str
):
    ended = here.run("crun")
    raw = {"task": str(ended.task_id), "amount": sum_, "status": "refunded"}
    zero, failed = crun_credits("0"), TaskState.FAILED
    free = Entry(Kind.CHARGE, ended.task_id, zero, failed, None, None, "line 2", raw)
    assert str(only(billed(here, free, is_complete=False)).verdict) == verdict
