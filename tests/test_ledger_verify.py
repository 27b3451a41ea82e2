"""verify: whoever changes a balance, a state or the journal behind the ledger's back is found."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from kling_ledger.ledger import Finding, Job, Ledger
from kling_ledger.ledger.tables import APPEND_ONLY
from kling_pricing.money import Money

ENTRY = "a transfer moves credits of its wallet's unit between the two accounts of its kind"
AMOUNT = "a reservation's transfers set aside its amount, and free all of it when it ends"
CHARGE = "what a reservation committed is what its transfers spent"
STATE = "a reservation is in the state that its last event left it in"
FUNDED = "a wallet's balance: funded"
POSTED = "a wallet's balance: posted = funded - spent"
FREED = "a wallet's balance: reserved = set aside - freed"
OPEN = "a wallet's balance: reserved = its open reservations"
SPENT = "a wallet's balance: spent = its committed reservations"
SOUND = "the file is sound"
BELONGS = "every row belongs to something"

COPY = (
    "INSERT INTO transfer SELECT 'txf_extra', kind, debit_account, credit_account, amount_micro,"
    " unit, wallet_id, reservation_id, actor, reason, created_at FROM transfer WHERE kind = '{}'"
)


def usd(text: str) -> Money:
    return Money.parse(text, default_unit="USD")


def committed(ledger: Ledger, task: str, amount: str) -> str:
    """Return a reservation of 3 USD that was committed at an amount."""
    reservation_id = ledger.reserve("team", usd("3"), job=Job(provider="crun")).id
    ledger.mark_submitting(reservation_id)
    ledger.mark_submitted(reservation_id, task)
    return ledger.commit(reservation_id, usd(amount)).id


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[Ledger]:
    """Two wallets; in one a job that cost less, one that cost more, one given back, one open."""
    with Ledger(str(tmp_path / "ledger.sqlite")) as opened:
        opened.create_wallet("team", "USD")
        opened.create_wallet("other", "USD")
        opened.fund_wallet("team", usd("20"))
        committed(opened, "task-1", "2")
        committed(opened, "task-2", "4")
        opened.roll_back(opened.reserve("team", usd("5")).id, "not wanted")
        opened.reserve("team", usd("7"))
        yield opened


def tamper(ledger: Ledger, *statements: str) -> None:
    """Change the file as somebody would who first takes away what protects it."""
    path = ledger.database.url.removeprefix("sqlite:///")
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.execute("PRAGMA ignore_check_constraints = ON")
        for trigger in APPEND_ONLY:
            connection.execute(f"DROP TRIGGER {trigger.split()[2]}")
        for statement in statements:
            connection.execute(statement)


def laws(ledger: Ledger) -> set[str]:
    return {finding.law for finding in ledger.verify().findings}


def subjects(ledger: Ledger, law: str) -> set[str]:
    return {finding.subject for finding in ledger.verify().findings if finding.law == law}


def ids(ledger: Ledger, query: str) -> set[str]:
    with ledger.database.read() as transaction:
        return {row["id"] for row in transaction.rows(query)}


def test_a_new_ledger_is_clean(tmp_path):
    with Ledger(str(tmp_path / "new.sqlite")) as ledger:
        verification = ledger.verify()
    assert verification.is_clean
    assert (verification.wallets, verification.reservations, verification.transfers) == (0, 0, 0)


def test_an_honest_ledger_is_clean_and_counted(ledger):
    verification = ledger.verify()
    assert verification.is_clean
    assert (verification.wallets, verification.reservations) == (2, 4)
    assert (verification.transfers, verification.open_reservations) == (10, 1)


def test_verifying_changes_nothing(ledger):
    path = ledger.database.url.removeprefix("sqlite:///")
    with closing(sqlite3.connect(path)) as connection:
        before = list(connection.iterdump())
        ledger.verify()
        assert list(connection.iterdump()) == before


def test_without_its_triggers_alone_the_figures_still_agree(ledger):
    tamper(ledger)
    assert ledger.verify().is_clean


@pytest.mark.parametrize(
    ("column", "broken"),
    [
        ("funded_micro", {FUNDED}),
        ("posted_micro", {POSTED}),
        ("reserved_micro", {FREED, OPEN}),
    ],
)
def test_a_changed_balance_names_the_wallet(ledger, column, broken):
    tamper(ledger, f"UPDATE wallet SET {column} = {column} + 1 WHERE name = 'team'")
    assert laws(ledger) == broken
    assert {finding.subject for finding in ledger.verify().findings} == {"team"}


def test_a_changed_balance_shows_both_figures(ledger):
    tamper(ledger, "UPDATE wallet SET funded_micro = 20000001 WHERE name = 'team'")
    problem = "it says 20000001 millionths, the journal says 20000000"
    assert Finding(FUNDED, "team", problem) in ledger.verify().findings


def test_credits_given_to_an_empty_wallet_are_found(ledger):
    tamper(
        ledger,
        "UPDATE wallet SET funded_micro = 5, posted_micro = 5 WHERE name = 'other'",
    )
    assert subjects(ledger, FUNDED) == subjects(ledger, POSTED) == {"other"}


@pytest.mark.parametrize(
    ("state", "broken"),
    [
        ("submitted", {STATE}),
        ("in_doubt", {STATE}),
        ("rolled_back", {STATE, AMOUNT, OPEN}),
        ("expired", {STATE, AMOUNT, OPEN}),
    ],
)
def test_a_changed_state_of_an_open_reservation_is_found(ledger, state, broken):
    open_one = ids(ledger, "SELECT id FROM reservation WHERE state = 'reserved'")
    tamper(ledger, f"UPDATE reservation SET state = '{state}' WHERE state = 'reserved'")
    assert laws(ledger) == broken
    assert subjects(ledger, STATE) == open_one


def test_a_reservation_that_is_opened_again_is_found(ledger):
    tamper(ledger, "UPDATE reservation SET state = 'reserved' WHERE state = 'rolled_back'")
    assert laws(ledger) == {STATE, AMOUNT, OPEN}


def test_a_changed_committed_amount_is_found(ledger):
    cheap = ids(ledger, "SELECT id FROM reservation WHERE committed_micro = 2000000")
    tamper(ledger, "UPDATE reservation SET committed_micro = 1 WHERE committed_micro = 2000000")
    assert laws(ledger) == {CHARGE, SPENT}
    assert subjects(ledger, CHARGE) == cheap


def test_a_changed_amount_of_a_reservation_is_found(ledger):
    open_one = ids(ledger, "SELECT id FROM reservation WHERE state = 'reserved'")
    tamper(ledger, "UPDATE reservation SET reserved_micro = 1 WHERE state = 'reserved'")
    assert laws(ledger) == {AMOUNT, OPEN}
    assert subjects(ledger, AMOUNT) == open_one


KINDS = {
    "fund": {FUNDED, POSTED},
    "reserve": {AMOUNT, FREED},
    "commit": {AMOUNT, CHARGE, POSTED, FREED, SPENT},
    "return": {AMOUNT, FREED},
    "overrun": {CHARGE, POSTED, SPENT},
    "roll_back": {AMOUNT, FREED},
}


@pytest.mark.parametrize("kind", KINDS)
def test_a_changed_amount_of_a_transfer_is_found(ledger, kind):
    tamper(ledger, f"UPDATE transfer SET amount_micro = amount_micro + 1 WHERE kind = '{kind}'")
    assert laws(ledger) == KINDS[kind]


@pytest.mark.parametrize("kind", KINDS)
def test_a_deleted_transfer_is_found(ledger, kind):
    tamper(
        ledger,
        "DELETE FROM transfer WHERE id = "
        f"(SELECT id FROM transfer WHERE kind = '{kind}' ORDER BY rowid LIMIT 1)",
    )
    assert laws(ledger) == KINDS[kind]


@pytest.mark.parametrize("kind", KINDS)
def test_an_extra_transfer_is_found(ledger, kind):
    tamper(ledger, COPY.format(kind) + " ORDER BY rowid LIMIT 1")
    assert laws(ledger) == KINDS[kind]


def test_a_transfer_that_changes_sides_is_found(ledger):
    tamper(
        ledger,
        "UPDATE transfer SET debit_account = credit_account, credit_account = debit_account"
        " WHERE kind = 'roll_back'",
    )
    assert FREED in laws(ledger)


def test_a_transfer_that_goes_to_another_wallet_is_named(ledger):
    tamper(
        ledger,
        "UPDATE transfer SET credit_account ="
        " (SELECT 'wallet/' || id || '/available' FROM wallet WHERE name = 'other')"
        " WHERE kind = 'roll_back'",
    )
    assert laws(ledger) == {ENTRY}
    assert subjects(ledger, ENTRY) == ids(ledger, "SELECT id FROM transfer WHERE kind='roll_back'")


def test_a_transfer_in_another_unit_is_named(ledger):
    tamper(ledger, "UPDATE transfer SET unit = 'CNY' WHERE kind = 'fund'")
    assert laws(ledger) == {ENTRY}
    assert subjects(ledger, ENTRY) == ids(ledger, "SELECT id FROM transfer WHERE kind = 'fund'")


def test_a_wallet_in_another_unit_is_found_by_all_its_transfers(ledger):
    tamper(ledger, "UPDATE wallet SET unit = 'CNY' WHERE name = 'team'")
    assert subjects(ledger, ENTRY) == ids(ledger, "SELECT id FROM transfer")


def test_a_transfer_below_nothing_is_named_and_breaks_the_tables_own_law(ledger):
    tamper(ledger, "UPDATE transfer SET amount_micro = -1 WHERE kind = 'fund'")
    assert {ENTRY, SOUND} <= laws(ledger)


def test_a_transfer_of_a_wallet_that_never_was_is_found(ledger):
    tamper(ledger, "UPDATE transfer SET wallet_id = 'wal_nothing' WHERE kind = 'fund'")
    assert Finding(BELONGS, "transfer", "row 1") in ledger.verify().findings


def test_a_deleted_reservation_is_found(ledger):
    tamper(ledger, "DELETE FROM reservation WHERE state = 'reserved'")
    assert laws(ledger) == {BELONGS, OPEN}


def test_a_deleted_last_event_is_found(ledger):
    tamper(ledger, "DELETE FROM job_event WHERE to_state = 'rolled_back'")
    assert laws(ledger) == {STATE}


def test_a_reservation_without_any_event_is_found(ledger):
    tamper(ledger, "DELETE FROM job_event")
    assert len(subjects(ledger, STATE)) == 4


def test_an_unlikely_state_breaks_the_tables_own_law(ledger):
    tamper(ledger, "UPDATE reservation SET state = 'lost' WHERE state = 'reserved'")
    assert {SOUND, STATE} <= laws(ledger)


def test_every_tampered_place_is_named_at_once(ledger):
    tamper(
        ledger,
        "UPDATE wallet SET posted_micro = posted_micro + 1",
        "UPDATE transfer SET unit = 'CNY' WHERE kind = 'overrun'",
        "UPDATE reservation SET committed_micro = 1 WHERE committed_micro = 2000000",
    )
    assert {POSTED, ENTRY, CHARGE} <= laws(ledger)
    assert subjects(ledger, POSTED) == {"team", "other"}
