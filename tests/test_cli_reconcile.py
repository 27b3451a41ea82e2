"""`kling-ledger reconcile`: exit 6 while differences stand, 0 once they are mended."""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from kling_ledger.ledger import State
from kling_ledger.sandbox import PROVIDERS
from tests.cli import Cli, Said
from tests.ledgers import unchanged
from tests.metering import SETTINGS, House, house
from tests.sandbox_rig import PRICES

KEYS = {f"{name.upper()}_API_KEY": SETTINGS.key_of(name) for name in PROVIDERS}


@pytest.fixture
def cli(tmp_path: Path) -> Cli:
    return Cli(tmp_path, dict(KEYS))


@pytest.fixture
def here(cli: Cli) -> Iterator[House]:
    with house(str(cli.database)) as made:
        yield made


def until_now() -> tuple[str, ...]:
    """All the time there was: no bill is complete up to an instant that is in the future."""
    now = datetime.now(UTC).isoformat()
    return ("--from", "2020-01-01", "--to", now, "--lag-hours", "0")


def reconcile(cli: Cli, here: House, provider: str, *more: str) -> Said:
    return cli(
        "reconcile", "--provider", provider, "--base-url", here.sandbox.url, *more,
        "--format", "json",
    )  # fmt: skip


def bill(cli: Cli, here: House, provider: str, text: str | None = None) -> tuple[str, ...]:
    """Write a provider's bill, and return the words that name it."""
    path = cli.folder / "bill.csv"
    path.write_text(here.bill(provider) if text is None else text)
    return ("--statement", str(path))


def verdicts(said: Said) -> list[str]:
    return sorted(row["verdict"] for row in said.json)


@pytest.mark.parametrize("provider", PROVIDERS)
def test_what_agrees_says_so(cli: Cli, here: House, provider: str):
    here.run(provider)
    for more in ((), (*bill(cli, here, provider), "--complete", *until_now())):
        said = reconcile(cli, here, provider, *more)
        assert (said.code, said.json) == (0, [])
        assert "1 matched" in said.err
    assert verdicts(reconcile(cli, here, provider, "--all")) == ["matched"]


def test_a_bill_that_differs_is_mended_once(cli: Cli, here: House):
    ended = here.run("uniall", "a lake [cost 150%]")
    words = bill(cli, here, "uniall")
    said = reconcile(cli, here, "uniall", *words)
    row: dict[str, Any]
    (row,) = said.json
    assert said.code == 6
    assert (row["verdict"], row["reservation"], row["task"]) == (
        "amount_differs",
        ended.id,
        ended.task_id,
    )
    assert (row["ours"], row["theirs"], row["unit"]) == ("0.84", "1.26", "USD")
    assert row["proposal"] == "correct to 1.26 USD"
    assert here.standing("uniall") == ("0.84", "0")
    said = reconcile(cli, here, "uniall", *words, "--apply")
    assert (said.code, said.json) == (0, [])
    assert f"{ended.id}: correct to 1.26 USD" in said.err
    journal = list(here.ledger.canonical_journal())
    assert reconcile(cli, here, "uniall", *words, "--apply").code == 0
    assert list(here.ledger.canonical_journal()) == journal
    assert here.standing("uniall") == ("1.26", "0")
    # Nor does asking for the task, which names no cost, undo what the bill said.
    assert reconcile(cli, here, "uniall", "--apply").code == 0
    assert here.standing("uniall") == ("1.26", "0")


def test_a_dry_run_prints_what_the_plan_would_move_and_changes_nothing(cli: Cli, here: House):
    here.run("uniall", "a lake [cost 150%]")
    words = bill(cli, here, "uniall")
    columns = ("kind", "debit_account", "credit_account", "amount", "unit")
    with unchanged(here.ledger):
        said = reconcile(cli, here, "uniall", *words, "--apply", "--dry-run")
    assert said.code == 6
    told = [{name: row[name] for name in columns} for row in said.json]
    assert [(row["kind"], row["amount"]) for row in told] == [("late_commit", "0.42")]
    assert "--undo" not in said.err
    applied = reconcile(cli, here, "uniall", *words, "--apply")
    assert here.standing("uniall") == ("1.26", "0")
    plan = re.findall("pln_[0-9a-z]+", applied.err)[0]
    with unchanged(here.ledger):
        said = cli("reconcile", "--undo", plan, "--dry-run", "--format", "json")
    back = {**told[0], "kind": "refund"}
    back["debit_account"], back["credit_account"] = back["credit_account"], back["debit_account"]
    assert [{name: row[name] for name in columns} for row in said.json] == [back]
    assert here.standing("uniall") == ("1.26", "0")


def test_a_lost_task_is_given_to_nobody_until_a_person_says_whose_it_is(cli: Cli, here: House):
    taken = here.sent("crun", "a lake [takes 0]")
    lost = here.submitting("crun", "a hill")
    here.recover()
    words = bill(cli, here, "crun")
    said = reconcile(cli, here, "crun", *words, "--apply")
    assert (said.code, verdicts(said)) == (6, ["only_ours", "only_ours", "only_theirs"])
    (task,) = here.tasks("crun")
    theirs = next(row for row in said.json if row["verdict"] == "only_theirs")
    assert "kling-ledger reservation submitted ID" in theirs["problem"]
    assert here.standing("crun") == ("0", "270")
    here.ledger.mark_submitted(taken.id, task["id"])
    assert reconcile(cli, here, "crun", *words, "--complete", *until_now(), "--apply").code == 0
    assert (here.state(taken), here.state(lost)) == (State.COMMITTED, State.ROLLED_BACK)
    assert here.standing("crun") == (PRICES["crun"], "0")


def test_a_failure_that_uniall_does_not_document_is_decided_by_its_bill(cli: Cli, here: House):
    failed = here.run("uniall", "a lake [fail]")
    assert here.state(failed) is State.IN_DOUBT
    said = reconcile(cli, here, "uniall")
    assert (said.code, verdicts(said)) == (6, ["unanswered"])
    here.run("uniall", "a hill")
    words = (*bill(cli, here, "uniall"), "--complete", *until_now())
    assert reconcile(cli, here, "uniall", *words, "--apply").code == 0
    assert here.state(failed) is State.ROLLED_BACK


def test_a_second_charge_is_asked_about_and_booked_where_a_person_says_so(cli: Cli, here: House):
    charged = here.run("evolink", "a lake [charge twice]")
    words = bill(cli, here, "evolink")
    said = reconcile(cli, here, "evolink", *words, "--apply")
    assert (said.code, verdicts(said)) == (6, ["duplicate"])
    assert f"reservation correct {charged.id}" in said.json[0]["problem"]
    assert here.standing("evolink") == ("54", "0")
    more = ("--itemised", "--complete", *until_now(), "--apply")
    assert reconcile(cli, here, "evolink", *words, *more).code == 0
    assert here.standing("evolink") == ("108", "0")


def test_what_was_applied_is_undone(cli: Cli, here: House):
    here.run("uniall", "a lake [cost 150%]")
    said = reconcile(cli, here, "uniall", *bill(cli, here, "uniall"), "--apply")
    plan = re.search(r"plan (pln_\w+):", said.err)
    assert plan is not None
    assert here.standing("uniall") == ("1.26", "0")
    undone = cli("reconcile", "--undo", plan[1])
    assert undone.code == 0
    assert here.standing("uniall") == ("0.84", "0")
    assert cli("reconcile", "--undo", plan[1]).code == 2


def test_a_bill_that_misses_more_than_it_has_asks_how_many(cli: Cli, here: House):
    here.run("crun")
    here.run("crun", "a hill")
    words = (*bill(cli, here, "crun", "task_id,amount\n"), "--complete", *until_now(), "--apply")
    said = reconcile(cli, here, "crun", *words)
    assert said.code == 6
    assert "--missing 2" in said.err
    assert "270 crun-credit in all" in said.err
    assert reconcile(cli, here, "crun", *words, "--missing", "3").code == 6
    assert here.standing("crun") == ("270", "0")
    assert reconcile(cli, here, "crun", *words, "--missing", "2").code == 0
    assert here.standing("crun") == ("0", "0")


def test_what_was_said_of_a_bill_is_kept_for_the_next_month(cli: Cli, here: House):
    ended = here.run("crun")
    text = f"Job Nr;Charged\n{ended.task_id};120,5\nx;1,25\n"
    words = bill(cli, here, "crun", text)
    said = ("--columns", "task_id=Job Nr,amount=Charged", "--numbers", "comma")
    first = reconcile(cli, here, "crun", *words, *said, "--save-profile", "crun-months")
    assert "saved: use --profile crun-months" in first.err
    reconcile(cli, here, "crun", *words, "--profile", "crun-months", "--apply")
    assert here.standing("crun") == ("120.5", "0")
    assert reconcile(cli, here, "crun", *words, "--profile", "none").code == 2


def test_an_account_on_which_no_job_ran_has_no_bill(cli: Cli, here: House):
    here.run("crun")
    said = reconcile(cli, here, "crun", *bill(cli, here, "crun"), "--account", "studio")
    assert said.code == 2
    assert "no job ran on account studio" in said.err


def test_a_charge_that_nobody_knows_stands(cli: Cli, here: House):
    words = bill(cli, here, "crun", "task_id,amount\ntask-strange,5\n")
    said = reconcile(cli, here, "crun", *words, "--apply")
    assert (said.code, verdicts(said)) == (6, ["only_theirs"])
    assert here.standing("crun") == ("0", "0")


def test_a_bill_of_one_month_gives_nothing_of_another_back(cli: Cli, here: House):
    here.run("crun")
    words = bill(cli, here, "crun", "task_id,amount\n")
    said = reconcile(cli, here, "crun", *words, "--complete", "--apply")
    assert said.code == 2
    assert "--from and --to" in said.err
    month = ("--from", "2020-01-01", "--to", "2020-02-01")
    assert reconcile(cli, here, "crun", *words, "--complete", *month, "--apply").code == 0
    assert here.standing("crun") == ("135", "0")


def test_a_charge_of_a_job_from_before_the_time_is_ours(cli: Cli, here: House):
    here.run("crun")
    words = (*bill(cli, here, "crun"), "--from", "2099-01-01")
    assert reconcile(cli, here, "crun", *words).code == 0


def test_jobs_at_a_sandbox_are_not_missed_on_the_real_bill(cli: Cli, here: House):
    here.run("crun")
    path = cli.folder / "real.csv"
    path.write_text("task_id,amount\n")
    said = cli(
        "reconcile", "--provider", "crun", "--statement", str(path), "--complete", *until_now(),
        "--no-balance", "--apply",
    )  # fmt: skip
    assert said.code == 0
    assert here.standing("crun") == ("135", "0")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("task_id,amount\nt1,abc\n", "line 2"),
        ("Job,Credits\nt1,5\n", '--columns "task_id=Job"'),
        ("", "empty"),
    ],
)
def test_a_bill_that_cannot_be_read_changes_nothing(cli: Cli, here: House, text: str, said: str):
    here.run("crun")
    refused = reconcile(cli, here, "crun", *bill(cli, here, "crun", text), "--apply")
    assert refused.code == 2
    assert said in refused.err
    assert here.standing("crun") == ("135", "0")


def test_the_columns_of_a_bill_are_named(cli: Cli, here: House):
    ended = here.run("crun")
    words = bill(cli, here, "crun", f"Job Nr;Charged\n{ended.task_id};100\n")
    words = (*words, "--columns", "task_id=Job Nr,amount=Charged")
    assert reconcile(cli, here, "crun", *words, "--apply").code == 0
    assert here.standing("crun") == ("100", "0")


@pytest.mark.parametrize("more", [("--complete",), ("--columns", "task_id=x")])
def test_what_is_about_a_bill_needs_one(cli: Cli, here: House, more: tuple[str, ...]):
    assert reconcile(cli, here, "crun", *more).code == 2


# --- the balance ----------------------------------------------------------------------------


def test_the_balance_is_a_question_unless_nobody_else_spends_from_it(cli: Cli, here: House):
    assert reconcile(cli, here, "evolink").code == 0
    here.run("evolink", "a lake [cost 150%]")
    said = reconcile(cli, here, "evolink", "--apply")
    row = said.json[0]
    assert (said.code, row["verdict"], row["proposal"]) == (6, "question", None)
    assert here.standing("evolink") == ("54", "0")


def test_a_bill_and_the_balance_correct_a_job_once(cli: Cli, here: House):
    reconcile(cli, here, "evolink")
    here.run("evolink", "a lake [cost 150%]")
    assert reconcile(cli, here, "evolink", *bill(cli, here, "evolink"), "--apply").code == 0
    assert here.standing("evolink") == ("81", "0")


def test_what_was_paid_in_is_told(cli: Cli, here: House):
    reconcile(cli, here, "crun")
    store = here.sandbox.stores["crun"]
    store.funds = store.funds + store.funds
    here.run("crun")
    said = reconcile(cli, here, "crun")
    assert said.code == 6
    assert "the account rose by" in said.json[0]["problem"]
    paid = SETTINGS.funds_of("crun")
    assert reconcile(cli, here, "crun", "--no-balance").code == 0
    assert reconcile(cli, here, "crun", "--topped-up", str(paid), "--apply").code == 0
    assert reconcile(cli, here, "crun").code == 0
    assert reconcile(cli, here, "crun", "--topped-up", "5 USD").code == 2


def test_while_jobs_are_open_the_balance_says_nothing(cli: Cli, here: House):
    reconcile(cli, here, "evolink")
    here.submitted("evolink")
    here.run("evolink", "a hill [cost 150%]")
    said = reconcile(cli, here, "evolink", "--apply")
    assert said.code == 0
    assert "was not compared" in said.err
    assert here.standing("evolink") == ("54", "54")


def test_a_cost_that_only_our_quote_says_is_not_confirmed(cli: Cli, here: House):
    # UniAll's tasks name no cost: the two jobs were charged their quotes, 0.84 USD each.
    first = here.run("uniall")
    here.run("uniall", "a hill")
    said = reconcile(cli, here, "uniall", "--all")
    assert said.code == 0
    assert "cost not confirmed: 2 jobs, 1.68 USD: known only from our own figures" in said.err
    table = cli("reconcile", "--provider", "uniall", "--base-url", here.sandbox.url)
    assert "no differences in confirmed costs" in table.err
    # A bill of one of them confirms that one alone.
    words = bill(cli, here, "uniall", f"task_id,amount,unit\n{first.task_id},0.84,USD\n")
    said = reconcile(cli, here, "uniall", *words, "--apply")
    assert (said.code, said.json) == (0, [])
    assert "cost not confirmed: 1 job, 0.84 USD" in said.err
    assert here.ledger.reservations.get(first.id).settled_by == "bill"


def test_where_the_provider_said_every_cost_nothing_is_left_to_confirm(cli: Cli, here: House):
    here.run("runapi")
    said = cli("reconcile", "--provider", "runapi", "--base-url", here.sandbox.url)
    assert "no differences\n" in said.err
    assert "not confirmed" not in said.err
