"""`--dry-run`: what would move is what then moves, and until then nothing is another."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from kling_ledger import Job, Ledger
from kling_ledger.sandbox import Sandbox
from tests.cli import Cli, Said, body
from tests.ledgers import dump, found, money, on_disk
from tests.test_cli_errors import nobody

JOB = Job(provider="runapi", model="kling-3.0")
TRANSFERS = """
SELECT transfer.id, transfer.kind, amount_micro, transfer.unit, period,
    replace(debit_account, wallet.id, wallet.name) AS debit_account,
    replace(credit_account, wallet.id, wallet.name) AS credit_account
FROM transfer JOIN wallet ON wallet.id = transfer.wallet_id ORDER BY transfer.id
"""
BOUGHT = ("--cash", "1.8 USD", "--seller", "RunAPI", "--date", "2026-10-03")
REASON = ("--reason", "the invoice says so")


@pytest.fixture
def made(url: str, tmp_path: Path) -> tuple[Cli, str, dict[str, str]]:
    """A ledger on each engine with a wallet, and reservations in three states."""
    with Ledger(url) as ledger:
        ledger.wallets.create("team", "USD")
        ledger.wallets.fund("team", money("5 USD"))
        ids = {
            name: ledger.reserve("team", money("0.6 USD"), job=JOB, project="film").id
            for name in ("open", "other", "done")
        }
        ledger.commit(ids["done"], money("0.5 USD"))
    return Cli(tmp_path), url, ids


def state_of(url: str) -> tuple[list[str], dict[str, bytes]]:
    """Everything in a ledger; what its file is, once nobody has it open."""
    with Ledger(url) as ledger:
        dumped = dump(ledger)
    return dumped, on_disk(ledger)


def moved(url: str) -> list[Mapping[str, Any]]:
    with Ledger(url) as ledger:
        return found(ledger, TRANSFERS)


def told(said: Said) -> list[tuple[str, str, str, str, str, str]]:
    return [
        (
            *(one["kind"], one["debit_account"], one["credit_account"]),
            *(one["amount"], one["unit"], one["period"]),
        )
        for one in said.json
    ]


def made_of(row: Mapping[str, Any]) -> tuple[str, str, str, str, str, str]:
    amount = f"{row['amount_micro'] / 1_000_000:f}".rstrip("0").rstrip(".")
    names = (row["kind"], row["debit_account"], row["credit_account"])
    return (*names, amount, row["unit"], row["period"])


MOVING = [
    ("wallet", "fund", "team", "2 USD"),
    ("wallet", "adjust", "team", "-3 USD", *REASON),
    ("wallet", "purchase", "team", "2 USD", *BOUGHT),
    ("reservation", "create", "--wallet", "team", "--amount", "0.7 USD", "--provider", "crun"),
    ("reservation", "commit", "{open}"),
    ("reservation", "commit", "{open}", "--amount", "0.75 USD"),
    ("reservation", "commit", "{open}", "--amount", "0.2 USD", "--part"),
    ("reservation", "rollback", "{open}"),
    ("reservation", "refund", "{done}", "--amount", "0.1 USD", *REASON),
    ("reservation", "correct", "{done}", "--amount", "0.55 USD", *REASON),
    ("reservation", "resolve", "--where", "reserved", "--rollback", "--yes", *REASON),
    ("resume", "--no-wait", "--grace", "0"),
]


@pytest.mark.parametrize("words", MOVING, ids=lambda words: " ".join(words[:2]))
def test_what_would_move_is_what_then_moves_and_nothing_changes_before(made, words):
    cli, url, ids = made
    named = [word.format(**ids) for word in words]
    before, there = state_of(url), moved(url)
    said = cli(*named, "--dry-run", "--db", url, "--format", "json")
    assert said.code == 0, said.err
    assert "a dry run: nothing was changed" in said.err
    assert state_of(url) == before
    done = cli(*named, "--db", url, "--format", "json")
    assert done.code in {0, 5}, done.err
    since = moved(url)[len(there) :]
    assert told(said) == [made_of(row) for row in since]
    assert told(said) or words[0] == "resume"


def test_a_refusal_is_told_as_it_would_be(made):
    cli, url, _ = made
    before = state_of(url)
    words = ("reservation", "create", "--wallet", "team", "--amount", "90 USD")
    said = cli(*words, "--dry-run", "--db", url, "--format", "json")
    assert (said.code, said.json["error"]["code"]) == (3, "insufficient_credits")
    assert state_of(url) == before


def test_only_a_reservation_that_is_there_has_an_id(made):
    cli, url, ids = made
    words = ("--dry-run", "--db", url)
    create = ("reservation", "create", "--wallet", "team", "--amount", "1")
    assert [one["reservation"] for one in cli.json(*create, *words)] == [None]
    (row,) = cli.json("reservation", "rollback", ids["open"], *words)
    assert row["reservation"] == ids["open"]


def test_what_a_key_has_done_before_moves_nothing(made):
    cli, url, _ = made
    words = ("wallet", "fund", "team", "1 USD", "--key", "invoice-7", "--db", url)
    cli.json(*words)
    said = cli(*words, "--dry-run")
    assert said.out == ""
    assert said.lines == ["nothing would move", "note: a dry run: nothing was changed"]


def test_what_would_expire_is_told_and_stays_reserved(made):
    cli, url, _ = made
    yesterday = datetime.now(UTC) - timedelta(days=1)
    with Ledger(url, clock=lambda: yesterday) as earlier:
        ends = yesterday + timedelta(hours=1)
        due = earlier.reserve("team", money("0.4 USD"), expires_at=ends).id
    before = state_of(url)
    rows = cli.json("reservation", "expire", "--dry-run", "--db", url)
    assert [(row["kind"], row["amount"], row["reservation"]) for row in rows] == [
        ("expire", "0.4", due)
    ]
    assert state_of(url) == before


def test_a_script_rehearses_several_steps_as_one(made):
    _, url, _ = made
    before = state_of(url)
    with Ledger(url, dry_run=True) as ledger:
        ledger.wallets.fund("team", money("1 USD"))
        job = ledger.reserve("team", money("2 USD"), job=JOB)
        ledger.mark_submitting(job.id)
        ended = ledger.commit(job.id, money("1.5 USD"))
        assert str(ended.state) == "committed"
        kinds = [f"{one.kind} {one.amount}" for one in ledger.would_move]
    assert kinds == ["fund 1 USD", "reserve 2 USD", "commit 1.5 USD", "return 0.5 USD"]
    assert state_of(url) == before


def test_a_run_sends_nothing_and_moves_what_it_would(cli: Cli, sandbox: Sandbox):
    cli.fund("2 USD")
    url = str(cli.database)
    words = (
        *("run", "--provider", "uniall", "--model", "kling-v3-std-silent", "--prompt", "a"),
        *("--seconds", "5", "--wallet", "team", "--key", "a"),
    )
    before = state_of(url)
    # No key and nobody who listens: a call would fail, and be told.
    nowhere = ("--base-url", nobody())
    said = cli(*words, *nowhere, "--dry-run", "--format", "json")
    assert said.code == 0, said.err
    assert said.lines == [
        "note: a dry run: nothing was changed",
        "note: assumes that the job succeeds at the price books' price; the provider was not asked",
    ]
    assert state_of(url) == before
    there = moved(url)
    at = ("--base-url", sandbox.url, "--api-key", "sandbox-key", "--poll-every", "0.05")
    assert cli(*words, *at).code == 0
    assert told(said) == [made_of(row) for row in moved(url)[len(there) :]]
    again = cli(*words, *nowhere, "--dry-run", "--format", "json")
    assert (again.code, json.loads(again.out)) == (0, [])
    assert "which is committed: no other job is started" in again.err


def test_a_run_that_a_person_has_to_approve_says_so_and_asks_nobody(cli: Cli):
    cli.fund("2 USD")
    words = ("run", "--provider", "runapi", "--request", "-", "--wallet", "team")
    said = cli(*words, "--approve-above", "0.1 USD", "--dry-run", stdin=body())
    assert said.code == 3
    assert "a person must approve it first" in said.err
    assert cli.json("approval", "list", "--all") == []


@pytest.fixture
def cli(tmp_path: Path) -> Cli:
    return Cli(tmp_path)
