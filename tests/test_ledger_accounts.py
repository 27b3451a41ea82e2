"""Accounts: a key is known again by its fingerprint, and never kept."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace

import pytest

from kling_ledger.errors import (
    AccountError,
    AmbiguousTaskError,
    ConfigError,
    ConflictError,
    OtherAccountError,
)
from kling_ledger.jobs.places import Place
from kling_ledger.ledger import Job, Ledger, ProviderRecord
from kling_ledger.ledger.corrections import BillEntry, CorrectionPlan
from kling_ledger.providers.http import Secret
from tests.ledgers import Chance, Clock, found, usd

HERE = "https://runapi.ai"
JOB = Job(provider="runapi", model="kling-3.0", address=HERE, account="north", request="{}")


def key(value: str) -> Callable[[str], str]:
    return lambda secret: Secret(value).fingerprint(secret, "runapi")


@pytest.fixture
def ledger(empty_url: str) -> Iterator[Ledger]:
    with Ledger(empty_url, clock=Clock(), chance=Chance(), actor="ada") as opened:
        opened.wallets.create("film", "USD")
        opened.wallets.fund("film", usd("10"))
        yield opened
        assert opened.verify().is_clean


def taken(ledger: Ledger, task_id: str, job: Job = JOB) -> str:
    made = ledger.mark_submitting(ledger.reserve("film", usd("1"), job=job).id)
    return ledger.mark_submitted(made.id, task_id).id


def test_a_key_that_nobody_named_goes_by_its_fingerprint(ledger: Ledger):
    name = ledger.accounts.of_key("runapi", key("sk-secret-1"))
    assert name is not None
    assert name.startswith("key-")
    assert ledger.accounts.of_key("runapi", key("sk-secret-1")) == name
    assert ledger.accounts.of_key("runapi", key("sk-secret-2")) != name


def test_the_key_stands_nowhere_in_the_database(ledger: Ledger):
    ledger.accounts.of_key("runapi", key("sk-secret-1"))
    kept = repr(found(ledger, "SELECT * FROM account_key"))
    assert "sk-secret-1" not in kept


def test_the_same_key_has_another_fingerprint_in_another_ledger(ledger: Ledger, tmp_path):
    with Ledger(str(tmp_path / "other.sqlite")) as other:
        theirs = other.accounts.of_key("runapi", key("sk-secret-1"))
    assert ledger.accounts.of_key("runapi", key("sk-secret-1")) != theirs


def test_a_named_account_keeps_its_name(ledger: Ledger):
    assert ledger.accounts.of_key("runapi", key("one"), name="studio") == "studio"
    assert ledger.accounts.of_key("runapi", key("one")) == "studio"


def test_a_key_of_one_account_is_not_another_ones(ledger: Ledger):
    ledger.accounts.of_key("runapi", key("one"), name="studio")
    with pytest.raises(AccountError, match="belongs to account studio, not to other"):
        ledger.accounts.of_key("runapi", key("one"), name="other")
    with pytest.raises(AccountError, match="has another API key"):
        ledger.accounts.of_key("runapi", key("two"), name="studio")


def test_a_new_key_of_an_account_is_adopted(ledger: Ledger):
    ledger.accounts.of_key("runapi", key("one"), name="studio")
    ledger.accounts.of_key("runapi", key("two"))
    ledger.accounts.adopt("runapi", "studio", fingerprint=key("two"))
    assert ledger.accounts.of_key("runapi", key("two")) == "studio"
    assert [(one.name, one.keys) for one in ledger.accounts.all()] == [("studio", 2)]


def test_jobs_of_an_older_ledger_and_of_an_unnamed_key_are_adopted(ledger: Ledger):
    unnamed = ledger.accounts.of_key("runapi", key("one"))
    old = taken(ledger, "t1", replace(JOB, account=None))
    named_later = taken(ledger, "t2", replace(JOB, account=unnamed))
    assert ledger.accounts.adopt("runapi", "studio", jobs_of="") == 1
    assert ledger.accounts.adopt("runapi", "studio", jobs_of=unnamed) == 1
    for one in (old, named_later):
        assert ledger.reservations.get(one).job.account == "studio"
    assert ledger.accounts.of_key("runapi", key("one")) == "studio"


def test_what_is_known_of_both_accounts_is_kept_once(ledger: Ledger):
    unnamed = ledger.accounts.of_key("runapi", key("one"))
    assert unnamed is not None
    taken(ledger, "t1", replace(JOB, account=unnamed))
    entry = BillEntry("d1", "t1", "charge", usd("1"), "USD", None, None, "row 1", {})
    for account, verdict in ((unnamed, "matched"), ("studio", "only_theirs")):
        said = ProviderRecord("runapi", account, "t1", None, verdict, None, usd("1"), "may.csv")
        ledger.evidence.keep_records([said])
        ledger.evidence.apply(CorrectionPlan("runapi", account, "may.csv", (), (entry,)))
    assert ledger.accounts.adopt("runapi", "studio", jobs_of=unnamed) == 1
    assert [one.digest for one in ledger.evidence.entries("runapi", "studio")] == ["d1"]
    assert ledger.evidence.entries("runapi", unnamed) == []
    assert ledger.evidence.billed_at("runapi", "studio") == {"t1": usd("1")}
    assert ledger.accounts.adopt("runapi", "studio", jobs_of="studio") == 0
    assert ledger.evidence.billed_at("runapi", "studio") == {"t1": usd("1")}


def test_accounts_that_number_their_tasks_alike_are_two(ledger: Ledger):
    north, south = taken(ledger, "1"), taken(ledger, "1", replace(JOB, account="south"))
    with pytest.raises(ConflictError, match="task 1"):
        ledger.accounts.adopt("runapi", "north", jobs_of="south")
    assert [ledger.reservations.get(one).job.account for one in (north, south)] == [
        "north",
        "south",
    ]


@pytest.mark.parametrize("name", ["", " a", "a\n", "a" * 81])
def test_what_cannot_name_an_account_is_refused(ledger: Ledger, name: str):
    with pytest.raises(ConfigError):
        ledger.accounts.adopt("runapi", name)


def test_two_accounts_may_number_their_tasks_alike(ledger: Ledger):
    north, south = taken(ledger, "1"), taken(ledger, "1", replace(JOB, account="south"))
    elsewhere = taken(ledger, "1", replace(JOB, address="http://127.0.0.1:1"))
    with pytest.raises(AmbiguousTaskError):
        ledger.reservations.of_task("runapi", "1")
    seen = ledger.reservations.of_task("runapi", "1", address=HERE, account="south")
    assert seen is not None
    assert seen.id == south
    assert {one.id for one in ledger.reservations.at_provider("runapi")} == {
        north,
        south,
        elsewhere,
    }
    with pytest.raises(ConflictError):
        taken(ledger, "1")


@pytest.mark.parametrize("other", [{"address": "http://127.0.0.1:1"}, {"account": "south"}])
def test_a_key_of_a_rehearsal_is_not_taken_for_the_real_run(ledger: Ledger, other):
    ledger.reserve("film", usd("1"), job=JOB, key="shot-7")
    with pytest.raises(ConflictError):
        ledger.reserve("film", usd("1"), job=replace(JOB, **other), key="shot-7")
    assert ledger.reserve("film", usd("1"), job=JOB, key="shot-7").job.address == HERE


def test_a_job_is_asked_for_on_its_own_account_only(ledger: Ledger):
    job = ledger.reservations.get(taken(ledger, "t1"))
    Place("runapi", HERE, "north").check(job)
    with pytest.raises(OtherAccountError, match="runs on account north of runapi"):
        Place("runapi", HERE, "south").check(job)
    old = ledger.reservations.get(taken(ledger, "t2", replace(JOB, account=None)))
    with pytest.raises(OtherAccountError, match="account is unknown"):
        Place("runapi", HERE, "north").check(old)
