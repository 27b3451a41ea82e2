"""Reconcile: what both sides have of each job, what differs, and what mends it."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from kling_ledger.cli.next_steps import look_for_task
from kling_ledger.errors import ConfigError
from kling_ledger.evidence.apply import apply, records_of
from kling_ledger.evidence.balances import compare_balance
from kling_ledger.evidence.charges import Charge, Record
from kling_ledger.evidence.matching import with_theirs
from kling_ledger.evidence.plan import Line, Verdict, compare
from kling_ledger.evidence.tasks import ask_tasks
from kling_ledger.ledger import ProviderBalance, Reservation, State
from kling_ledger.providers.base import TaskState
from kling_pricing import Money
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


def tasks_of(here: House, provider: str = "crun") -> list[Line]:
    """Ask a provider for every task that we know, and compare."""
    ours = here.ledger.reservations.at_provider(provider)
    return compare(ask_tasks(provider, ours, here.meter_for), ours, now=datetime.now(UTC))


def billed(here: House, *charges: Charge, later_s: float = 1, **more: Any) -> list[Line]:
    """Compare with a bill that is complete unless it is said otherwise, a second later."""
    given: dict[str, Any] = {"covers_all": True, **more}
    record = Record("crun", "bill.csv", charges, **given)
    now = datetime.now(UTC) + timedelta(seconds=later_s)
    return compare(record, here.ledger.reservations.at_provider("crun"), now=now, lag_s=0)


def charged(found: Reservation, amount: str | None = "135", **more: Any) -> Charge:
    return Charge(
        found.task_id or "task-x", None if amount is None else crun_credits(amount), **more
    )


def only(lines: list[Line]) -> Line:
    (line,) = lines
    return line


def applied(here: House, lines: list[Line]) -> None:
    for line, error in apply(here.ledger, lines):
        assert error is None, line
    assert here.ledger.verify().findings == ()


def in_doubt(here: House, prompt: str = "a lake") -> Reservation:
    """Return a job whose submission got no answer, and which Crun may or may not have taken."""
    return here.ledger.mark_in_doubt(here.submitting("crun", prompt).id, "no answer")


# --- the verdicts ---------------------------------------------------------------------------


@every_provider
def test_what_both_sides_have_alike_is_matched(here: House, provider: str):
    here.run(provider)
    line = only(tasks_of(here, provider))
    assert (line.verdict, line.proposal, line.stands) == (Verdict.MATCHED, (), False)
    assert line.ours == Money.parse(f"{PRICES[provider]} {UNITS[provider]}")


def test_a_bill_of_the_same_amount_is_matched(here: House):
    ended = here.run("crun")
    assert only(billed(here, charged(ended))).verdict is Verdict.MATCHED


@pytest.mark.parametrize(
    ("theirs", "change"), [("134.999999", "refund"), ("135.000001", "late_commit"), ("0", "refund")]
)
def test_another_amount_differs_to_the_millionth_and_is_corrected(
    anywhere: House, theirs: str, change: str
):
    ended = anywhere.run("crun")
    lines = billed(anywhere, charged(ended, theirs))
    line = only(lines)
    assert (line.verdict, line.ours, line.theirs) == (
        Verdict.AMOUNT_DIFFERS,
        CLIP,
        crun_credits(theirs),
    )
    assert line.stands
    applied(anywhere, lines)
    assert anywhere.standing("crun") == (theirs, "0")
    assert only(billed(anywhere, charged(ended, theirs))).verdict is Verdict.MATCHED


def test_comparing_changes_nothing(here: House):
    ended = here.run("crun")
    before = list(here.ledger.canonical_journal())
    billed(here, charged(ended, "1"))
    billed(here)
    assert list(here.ledger.canonical_journal()) == before


def test_what_only_they_have_is_told_and_mended_by_nobody(here: House):
    line = only(billed(here, Charge("task-strange", crun_credits("5"))))
    assert (line.verdict, line.theirs, line.proposal) == (
        Verdict.ONLY_THEIRS,
        crun_credits("5"),
        (),
    )
    assert line.stands


def test_what_a_complete_bill_does_not_list_was_never_charged(anywhere: House):
    ended, running = anywhere.run("crun"), anywhere.submitted("crun")
    doubtful = in_doubt(anywhere)
    lines = billed(anywhere)
    assert {line.verdict for line in lines} == {Verdict.ONLY_OURS}
    applied(anywhere, lines)
    assert anywhere.standing("crun") == ("0", "0")
    states = [anywhere.state(one) for one in (ended, running, doubtful)]
    assert states == [State.COMMITTED, State.ROLLED_BACK, State.ROLLED_BACK]
    assert billed(anywhere) == []


def test_a_bill_that_is_not_complete_misses_nothing(here: House):
    here.run("crun")
    here.submitted("crun")
    assert billed(here, covers_all=False) == []
    doubtful = in_doubt(here)
    line = only(billed(here, covers_all=False))
    assert (line.verdict, line.proposal) == (Verdict.ONLY_OURS, ())
    assert line.problem is None
    assert f"reservation rollback {doubtful.id}" in look_for_task(doubtful)


@pytest.mark.parametrize(("lag_s", "is_missed"), [(59, True), (61, False)])
def test_a_job_is_missed_only_when_it_is_older_than_the_lag(
    here: House, lag_s: float, is_missed: bool
):
    ended = here.run("crun")
    now = ended.created_at + timedelta(minutes=1)
    lines = compare(Record("crun", "bill", (), covers_all=True), [ended], now=now, lag_s=lag_s)
    assert bool(lines) is is_missed


@pytest.mark.parametrize(
    ("since_s", "until_s", "is_missed"),
    [(0, 1, True), (1, 2, False), (-2, 0, False), (-2, 1, True)],
)
def test_a_job_is_missed_only_in_the_time_that_the_bill_covers(
    here: House, since_s: float, until_s: float, is_missed: bool
):
    ended = here.run("crun")
    record = Record(
        "crun",
        "bill",
        (),
        covers_all=True,
        since=ended.created_at + timedelta(seconds=since_s),
        until=ended.created_at + timedelta(seconds=until_s),
    )
    now = ended.created_at + timedelta(hours=1)
    assert bool(compare(record, [ended], now=now, lag_s=0)) is is_missed


def test_a_job_from_just_before_the_end_of_a_bill_may_be_on_the_next_one(here: House):
    ended = here.run("crun")
    until = ended.created_at + timedelta(seconds=30)
    record = Record("crun", "november", (), covers_all=True, until=until)
    later = ended.created_at + timedelta(days=9)
    assert compare(record, [ended], now=later, lag_s=60) == []
    assert compare(record, [ended], now=later, lag_s=20) != []


def test_a_job_that_was_submitted_elsewhere_is_not_missed(here: House):
    ended = here.run("crun")
    assert billed(here, address="https://api.crun.ai") == []
    assert only(billed(here, address=here.sandbox.url)).reservation == ended


def test_a_charge_that_was_made_twice_is_booked_whole_and_named(anywhere: House):
    ended = anywhere.run("crun")
    assert anywhere.standing("crun") == ("135", "0")
    lines = billed(anywhere, charged(ended), charged(ended))
    line = only(lines)
    assert (line.verdict, line.theirs, line.stands) == (
        Verdict.DUPLICATE,
        crun_credits("270"),
        True,
    )
    assert line.problem == "it is charged 2 times: ask for the money back"
    applied(anywhere, lines)
    assert anywhere.standing("crun") == ("270", "0")
    again = only(billed(anywhere, charged(ended), charged(ended)))
    assert (again.verdict, again.proposal, again.stands) == (Verdict.DUPLICATE, (), False)


def test_what_a_bill_gives_back_is_given_back(here: House):
    ended = here.run("crun")
    lines = billed(here, charged(ended, "-35"), charged(ended))
    assert (only(lines).verdict, only(lines).theirs) == (
        Verdict.AMOUNT_DIFFERS,
        crun_credits("100"),
    )
    applied(here, lines)
    assert here.standing("crun") == ("100", "0")


def test_what_was_only_held_is_not_added_to_what_was_charged(here: House):
    ended = here.run("crun")
    held = charged(ended, "200", state=TaskState.RUNNING)
    assert only(billed(here, held, charged(ended))).verdict is Verdict.MATCHED


def test_a_second_charge_that_was_given_back_leaves_nothing_to_do(here: House):
    ended = here.run("crun")
    line = only(billed(here, charged(ended), charged(ended), charged(ended, "-135")))
    assert (line.verdict, line.stands) == (Verdict.DUPLICATE, False)


def test_a_bill_that_gives_back_more_than_it_charged_is_left_to_a_person(here: House):
    ended = here.run("crun")
    line = only(billed(here, charged(ended), charged(ended, "-136")))
    assert (line.verdict, line.proposal, line.stands) == (Verdict.AMOUNT_DIFFERS, (), True)
    assert "-1 crun-credit" in (line.problem or "")


def test_a_task_that_was_asked_for_in_vain_is_unanswered(here: House):
    ended = here.run("crun")

    def meter_for(_: Reservation) -> Any:
        raise ConfigError("no key")

    ours = [ended]
    line = only(compare(ask_tasks("crun", ours, meter_for), ours, now=datetime.now(UTC)))
    assert (line.verdict, line.problem, line.stands) == (Verdict.UNANSWERED, "no key", True)


def test_a_task_that_still_runs_agrees_with_an_open_reservation_only(here: House):
    running = here.submitted("crun")
    assert only(tasks_of(here)).verdict is Verdict.MATCHED
    here.ledger.roll_back(running.id, "enough")
    line = only(tasks_of(here))
    assert (line.verdict, line.stands, line.proposal) == (Verdict.UNANSWERED, True, ())
    assert line.problem == "ours is rolled_back, theirs is running: ask again later"


def test_a_state_that_nobody_documented_is_no_agreement(here: House):
    here.run("uniall", "a lake [fail]")
    line = only(tasks_of(here, "uniall"))
    assert (line.verdict, line.stands, line.proposal) == (Verdict.UNANSWERED, True, ())


# --- what a task says of itself -------------------------------------------------------------


@every_provider
def test_a_job_that_succeeded_after_it_had_failed_is_charged_after_all(
    anywhere: House, provider: str
):
    found = anywhere.submitted(provider, "a lake [never]")
    anywhere.ledger.roll_back(found.id, "a person thought so")
    anywhere.sandbox.finish()
    lines = tasks_of(anywhere, provider)
    assert only(lines).verdict is Verdict.AMOUNT_DIFFERS
    applied(anywhere, lines)
    assert anywhere.standing(provider) == (PRICES[provider], "0")
    assert only(tasks_of(anywhere, provider)).verdict is Verdict.MATCHED


def test_an_open_job_that_has_ended_at_its_provider_is_settled(here: House):
    done, failed = here.submitted("crun"), here.submitted("crun", "a hill [fail] [takes 60]")
    here.sandbox.finish()
    applied(here, tasks_of(here))
    assert (here.state(done), here.state(failed)) == (State.COMMITTED, State.ROLLED_BACK)
    assert here.standing("crun") == ("135", "0")


def test_a_job_at_its_quote_is_settled_by_the_quote_still(here: House):
    found = here.submitted("evolink")
    here.sandbox.finish()
    applied(here, tasks_of(here, "evolink"))
    ended = here.ledger.reservations.get(found.id)
    assert (ended.committed, ended.settled_by) == (found.amount, "quote")


def test_what_a_person_said_that_it_cost_stands_where_the_task_says_nothing(here: House):
    found = here.submitted("evolink")
    here.ledger.commit(found.id, Money.parse("50 evolink-credit"), settled_by="person")
    here.sandbox.finish()
    assert only(tasks_of(here, "evolink")).verdict is Verdict.MATCHED


def test_a_bill_outweighs_what_a_task_says_that_it_cost(here: House):
    ended = here.run("crun")
    twice = (charged(ended), charged(ended))
    record = Record("crun", "bill.csv", twice)
    applied(here, lines := billed(here, *twice))
    here.ledger.evidence.keep_records(records_of(record, lines))
    known = here.ledger.evidence.billed_at("crun", "")
    assert known == {ended.task_id: crun_credits("270")}
    ours = here.ledger.reservations.at_provider("crun")
    asked = ask_tasks("crun", ours, here.meter_for, billed=known)
    line = only(compare(asked, ours, now=datetime.now(UTC)))
    assert line.verdict is Verdict.MATCHED
    # Nor does asking put itself in the bill's place.
    here.ledger.evidence.keep_records(records_of(asked, [line]))
    assert here.ledger.evidence.billed_at("crun", "") == known


# --- tasks of unknown origin ----------------------------------------------------------------


@pytest.mark.parametrize("provider", ["crun", "evolink", "uniall"])
def test_a_charge_for_a_task_that_nobody_knows_is_of_the_job_in_doubt(
    anywhere: House, provider: str
):
    found = anywhere.sent(provider)
    anywhere.recover()
    anywhere.sandbox.finish()
    (task,) = anywhere.tasks(provider)
    charge = Charge(
        task["id"],
        Money.parse(f"{task['charged']} {task['unit']}"),
        created_at=datetime.fromisoformat(task["accepted_at"]),
        model=task["model"],
    )
    record = Record(provider, "bill", (charge,))
    lines = compare(
        record, anywhere.ledger.reservations.at_provider(provider), now=datetime.now(UTC)
    )
    applied(anywhere, lines)
    ended = anywhere.ledger.reservations.get(found.id)
    assert (ended.state, ended.task_id, ended.committed) == (
        State.COMMITTED,
        task["id"],
        charge.amount,
    )


def strange(found: Reservation, amount: str = "135", **more: Any) -> Charge:
    """A charge for a task that nobody knows, which may be of a reservation's job."""
    given = {"created_at": found.created_at, "model": found.job.model, **more}
    return Charge(f"task-{amount}", crun_credits(amount), **given)


@pytest.mark.parametrize(
    ("more", "verdict"),
    [
        ({}, Verdict.AMOUNT_DIFFERS),
        ({"model": None}, Verdict.AMOUNT_DIFFERS),
        ({"model": "kling/v2-6"}, Verdict.ONLY_THEIRS),
        ({"created_at": None}, Verdict.AMOUNT_DIFFERS),
    ],
)
def test_a_strange_task_is_of_a_job_in_doubt_of_the_same_model(
    here: House, more: dict[str, Any], verdict: Verdict
):
    found = in_doubt(here)
    assert billed(here, strange(found, **more), covers_all=False)[0].verdict is verdict


@pytest.mark.parametrize(("apart_s", "is_its"), [(-299, True), (-301, False), (299, True)])
def test_a_strange_task_is_of_a_job_begun_about_then(here: House, apart_s: float, is_its: bool):
    found = in_doubt(here)
    at = found.created_at + timedelta(seconds=apart_s)
    line = billed(here, strange(found, created_at=at), covers_all=False)[0]
    assert (line.reservation is not None) is is_its


def test_without_a_time_a_strange_task_needs_the_same_cost(here: House):
    found = in_doubt(here)
    (theirs, _) = billed(here, strange(found, "134", created_at=None), covers_all=False)
    assert theirs.verdict is Verdict.ONLY_THEIRS


def test_a_job_of_the_same_cost_is_likelier_than_an_earlier_one(here: House):
    first, second = in_doubt(here), in_doubt(here, "a hill")
    here.ledger.roll_back(second.id, "reserved anew")
    dearer = here.ledger.reserve("crun", crun_credits("270"), job=first.job)
    here.ledger.mark_submitting(dearer.id)
    dearer = here.ledger.mark_in_doubt(dearer.id, "no answer")
    lines = billed(here, strange(dearer, "270"), strange(first, "120"), covers_all=False)
    claims = {line.charge.task_id: line.reservation for line in lines if line.charge}
    assert claims == {"task-270": dearer, "task-120": first}


def test_a_job_in_doubt_is_likelier_than_one_that_was_given_up(here: House):
    given_up, doubtful = in_doubt(here), in_doubt(here, "a hill")
    given_up = here.ledger.roll_back(given_up.id, "a person thought so")
    lines = billed(here, strange(given_up), covers_all=False)
    assert lines[0].reservation == doubtful


def test_one_that_was_given_up_is_charged_after_all_where_everything_fits(here: House):
    found = in_doubt(here)
    here.ledger.roll_back(found.id, "a person thought so")
    assert billed(here, strange(found, "134"))[0].verdict is Verdict.ONLY_THEIRS
    assert billed(here, strange(found, created_at=None))[0].verdict is Verdict.ONLY_THEIRS
    lines = billed(here, strange(found))
    applied(here, lines)
    ended = here.ledger.reservations.get(found.id)
    assert (ended.state, ended.task_id, ended.committed) == (
        State.COMMITTED,
        "task-135",
        CLIP,
    )
    assert only(billed(here, strange(found))).verdict is Verdict.MATCHED


def test_two_strange_tasks_are_never_of_the_same_job(here: House):
    found = in_doubt(here)
    charges = (strange(found), replace(strange(found), task_id="task-other"))
    verdicts = sorted(line.verdict for line in billed(here, *charges, covers_all=False))
    assert verdicts == [Verdict.AMOUNT_DIFFERS, Verdict.ONLY_THEIRS]


def test_jobs_one_after_another_are_found_by_their_times(here: House):
    doubtful = [in_doubt(here, f"a lake {number}") for number in range(3)]
    charges = [
        replace(strange(one, amount), created_at=one.created_at)
        for one, amount in zip(doubtful, ("1", "2", "3"), strict=True)
    ]
    lines = billed(here, *reversed(charges), covers_all=False)
    assert [line.reservation for line in lines] == doubtful


def test_a_task_from_before_the_time_that_is_looked_at_is_ours_all_the_same(here: House):
    ended = here.run("crun")
    record = Record("crun", "bill", (charged(ended),))
    ours = with_theirs(record, [], lambda task: here.ledger.reservations.of_task("crun", task))
    assert only(compare(record, ours, now=datetime.now(UTC))).verdict is Verdict.MATCHED


# --- applying -------------------------------------------------------------------------------


def test_applying_a_second_time_changes_nothing(anywhere: House):
    ended, doubtful = anywhere.run("crun"), in_doubt(anywhere)
    lines = billed(anywhere, charged(ended, "100"), strange(doubtful))
    applied(anywhere, lines)
    before = list(anywhere.ledger.canonical_journal())
    told = [error for _, error in apply(anywhere.ledger, lines)]
    assert [error is None for error in told].count(True) >= 1
    assert list(anywhere.ledger.canonical_journal()) == before
    assert anywhere.standing("crun") == ("235", "0")


def test_what_somebody_else_moved_on_meanwhile_keeps_its_error(here: House):
    doubtful = in_doubt(here)
    lines = billed(here, strange(doubtful))
    here.ledger.commit(doubtful.id, crun_credits("1"), settled_by="person")
    ((line, error),) = apply(here.ledger, lines)
    assert (line, error is not None) == (lines[0], True)
    assert here.standing("crun") == ("1", "0")


def test_the_journal_says_why(here: House):
    ended = here.run("crun")
    applied(here, billed(here, charged(ended, "100")))
    assert any("reconciled with the provider's record" in line for line in journal(here))


def journal(here: House) -> list[str]:
    from tests.ledgers import found

    return [str(row["reason"]) for row in found(here.ledger, "SELECT reason FROM transfer")]


# --- the balance ----------------------------------------------------------------------------


def balance(here: House, provider: str) -> Money:
    return here.meter(provider).provider.balance().available


def seen(here: House, provider: str, *, topped_up: Money | None = None) -> Line | None:
    """Compare what the account holds with the last balance that was kept."""
    reached = here.meter(provider).provider
    before = here.ledger.evidence.last_balance(provider, reached.address)
    assert before is not None
    ours = here.ledger.reservations.at_provider(provider)
    now = balance(here, provider)
    since = here.ledger.evidence.charged_since(before)
    return compare_balance(before, now, since, ours, topped_up=topped_up)


def keep(here: House, provider: str) -> None:
    address = here.meter(provider).provider.address
    here.ledger.evidence.keep_balance(provider, address, balance(here, provider))


@pytest.mark.parametrize("provider", ["runapi", "crun", "evolink"])
def test_an_account_that_fell_by_what_was_charged_agrees(here: House, provider: str):
    keep(here, provider)
    here.run(provider)
    here.run(provider, "a hill [fail]")
    assert seen(here, provider) is None


@pytest.mark.parametrize(("share", "cost"), [("50%", "27"), ("150%", "81"), ("0%", "0")])
def test_the_balance_says_what_the_only_job_without_a_cost_has_cost(
    here: House, share: str, cost: str
):
    keep(here, "evolink")
    ended = here.run("evolink", f"a lake [cost {share}]")
    line = seen(here, "evolink")
    assert line is not None
    assert line.theirs == Money.parse(f"{cost} evolink-credit")
    applied(here, [line])
    assert here.standing("evolink") == (cost, "0")
    assert here.ledger.reservations.get(ended.id).settled_by == "provider"
    assert seen(here, "evolink") is None


def test_of_two_jobs_without_a_cost_nobody_knows_which_one_it_was(here: House):
    keep(here, "evolink")
    here.run("evolink", "a lake [cost 50%]")
    here.run("evolink", "a hill")
    line = seen(here, "evolink")
    assert line is not None
    assert (line.proposal, line.stands, line.reservation) == ((), True, None)
    assert "the account fell by 81 evolink-credit" in (line.problem or "")
    assert "jobs cost 108 evolink-credit" in (line.problem or "")


def test_a_job_before_the_last_balance_is_not_blamed(here: House):
    here.run("evolink", "a lake [cost 50%]")
    keep(here, "evolink")
    here.run("evolink", "a hill [cost 150%]")
    line = seen(here, "evolink")
    assert line is not None
    assert line.theirs == Money.parse("81 evolink-credit")


def test_what_was_paid_in_is_no_difference():
    credit = "evolink-credit"
    at = datetime(2026, 11, 20, tzinfo=UTC)
    before = ProviderBalance("evolink", "https://x", Money.parse(f"10 {credit}"), at)
    now, cost = Money.parse(f"105 {credit}"), Money.parse(f"5 {credit}")
    assert compare_balance(before, now, cost, [], topped_up=Money.parse(f"100 {credit}")) is None
    line = compare_balance(before, now, cost, [])
    assert line is not None
    assert "the account rose by 95 evolink-credit" in (line.problem or "")
    assert "was it topped up" in (line.problem or "")


# --- what is kept ---------------------------------------------------------------------------


def test_what_a_record_said_of_each_task_is_kept_once(here: House):
    ended = here.run("crun")
    record = Record("crun", "bill.csv", (charged(ended), charged(ended), strange(ended, "5")))
    lines = compare(record, [ended], now=datetime.now(UTC))
    kept = records_of(record, lines)
    assert sorted((one.task_id, one.verdict, one.billed) for one in kept) == sorted(
        [
            (ended.task_id, "duplicate", crun_credits("270")),
            ("task-5", "only_theirs", crun_credits("5")),
        ]
    )
    assert {one.source for one in kept} == {"bill.csv"}


def test_a_failed_task_on_a_bill_without_an_amount_cost_nothing(here: House):
    ended = here.run("crun")
    lines = billed(here, charged(ended, None, state=TaskState.FAILED))
    applied(here, lines)
    assert here.standing("crun") == ("0", "0")
