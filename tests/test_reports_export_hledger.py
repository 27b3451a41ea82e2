"""hledger: a journal that `hledger check --strict` passes, with the ledger's own balances."""

from __future__ import annotations

import json
import shutil
import subprocess
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings

from kling_ledger.ledger import Job, Ledger
from kling_pricing.money import from_micro
from kling_reports.doors import journal, purchases
from kling_reports.exports import hledger
from tests.export_ledger import EVENTFUL, NASTY, START, Step, held, ledger_of, spelled, steps
from tests.ledgers import Chance, Clock, found, make_empty, money, usd
from tests.test_reports_export_beancount import named


def exported(ledger: Ledger) -> bytes:
    return hledger.export(journal.lines(ledger.database), purchases.lots(ledger.database))


@pytest.fixture(scope="module")
def program() -> str:
    """The program itself, from the system's packages."""
    path = shutil.which("hledger")
    if path is None:
        pytest.skip("hledger is not installed: apt-get install hledger")
    return path


def run(program: str, written: bytes, *words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [program, *words, "-f", "-"],
        input=written.decode(),
        capture_output=True,
        text=True,
        env={"LC_ALL": "C.UTF-8", "HOME": "/nonexistent"},
        timeout=60,
        check=False,
    )


def printed(program: str, written: bytes) -> list[dict[str, Any]]:
    """The journal's entries as hledger itself understands them, without the monthly balances."""
    said = run(program, written, "print", "-O", "json")
    assert said.returncode == 0, said.stderr
    return [entry for entry in json.loads(said.stdout, parse_float=Decimal) if entry["tcode"]]


def amount(posting: dict[str, Any]) -> tuple[Decimal, str]:
    (one,) = posting["pamount"]
    quantity = one["aquantity"]
    places = quantity["decimalPlaces"]
    return Decimal(quantity["decimalMantissa"]).scaleb(-places), one["acommodity"]


@pytest.mark.parametrize("paid", [False, True])
def test_hledger_checks_all_that_can_happen_on_either_engine(
    program: str, database_url: str, *, paid: bool
):
    with ledger_of(database_url, EVENTFUL, paid=paid) as (ledger, _):
        written = exported(ledger)
    said = run(program, written, "check", "--strict")
    assert (said.returncode, said.stdout, said.stderr) == (0, "", "")
    assert written.count(b"balances at the end of") >= 3


@settings(max_examples=8, suppress_health_check=list(HealthCheck))
@given(history=steps)
def test_every_transfer_is_the_journals_to_the_last_millionth(
    program: str, postgres_ledger: str, history: list[Step]
):
    make_empty(postgres_ledger)
    with ledger_of(postgres_ledger, history) as (ledger, _):
        # Without what was paid, every funding is an allowance: two postings a transfer.
        written = hledger.export(journal.lines(ledger.database))
        transfers = {row["id"]: row for row in found(ledger, "SELECT * FROM transfer")}
        accounts = held(ledger)
        names = {account: named(ledger, account) for account, _ in accounts}
    assert run(program, written, "check", "--strict").returncode == 0
    entries = printed(program, written)
    assert {entry["tcode"] for entry in entries} == set(transfers)
    sums: dict[tuple[str, str], Decimal] = {}
    for entry in entries:
        transfer = transfers[entry["tcode"]]
        out, into = entry["tpostings"]
        assert amount(into) == (from_micro(transfer["amount_micro"]), transfer["unit"])
        assert amount(out) == (-from_micro(transfer["amount_micro"]), transfer["unit"])
        for posting in (out, into):
            moved, unit = amount(posting)
            key = posting["paccount"], unit
            sums[key] = sums.get(key, Decimal(0)) + moved
    assert sums == {
        (names[account], unit): from_micro(micro) for (account, unit), micro in accounts.items()
    }


def test_hledger_finds_an_amount_that_was_changed(program: str, tmp_path: Path):
    with ledger_of(str(tmp_path / "ledger"), [Step("commit")]) as (ledger, _):
        written = exported(ledger)
    assert written.count(b"= 0.675000 USD") >= 1
    said = run(program, written.replace(b"= 0.675000 USD", b"= 0.675001 USD"), "check")
    assert said.returncode != 0
    assert "assertion" in said.stderr


@pytest.mark.parametrize("text", NASTY)
def test_text_of_users_stays_in_its_tag_and_comes_back(program: str, tmp_path: Path, text: str):
    with ledger_of(str(tmp_path / "ledger"), [Step("refund", text=text)]) as (ledger, _):
        entry = printed(program, exported(ledger))[-1]
    tags = dict(entry["ttags"])
    assert json.loads(tags["project"]) == spelled(text)
    assert json.loads(tags["reason"]) == text
    assert set(tags) == {"at", "transfer", "reservation", "project", "labels", "user", "reason"}


def test_two_engines_write_the_same_bytes(tmp_path: Path, postgres_ledger: str):
    make_empty(postgres_ledger)
    with ledger_of(str(tmp_path / "ledger"), EVENTFUL) as (ledger, _):
        on_sqlite = exported(ledger)
    with ledger_of(postgres_ledger, EVENTFUL) as (ledger, _):
        assert exported(ledger) == on_sqlite


def test_an_empty_ledger_is_an_empty_journal(program: str, ledger: Ledger):
    assert run(program, exported(ledger), "check", "--strict").returncode == 0


def test_a_unit_stays_what_it_is():
    assert hledger.commodity("USD") == "USD"
    assert hledger.commodity("crun-credit") == '"crun-credit"'


def test_credits_leave_at_what_they_cost(program: str, tmp_path: Path):
    with Ledger(str(tmp_path / "ledger"), clock=Clock(START), chance=Chance()) as ledger:
        ledger.wallets.create("team", "evolink-credit")
        for cash, bought in (("0.3375", "27"), ("1", "3")):
            ledger.wallets.purchase(
                "team",
                money(f"{bought} evolink-credit"),
                cash=usd(cash),
                seller="EvoLink",
                bought_on=START.date(),
            )
        one = ledger.reserve("team", money("28 evolink-credit"), job=Job(provider="evolink"))
        ledger.commit(one.id, money("28 evolink-credit"))
        written = exported(ledger)
    # All 27 of the first, for 0.3375; one of three for 1: 0.333333, and the rest stays.
    lines = written.decode().splitlines()
    for line in (
        '    Assets:Wallets:Team:Reserved  -27.000000 "evolink-credit" @@ 0.337500 USD',
        '    Assets:Wallets:Team:Reserved  -1.000000 "evolink-credit" @@ 0.333333 USD',
        "    Expenses:Providers:Evolink  0.333333 USD",
    ):
        assert line in lines, line
    assert run(program, written, "check", "--strict").returncode == 0
    said = run(program, written, "balance", "-B", "-O", "csv", "Assets", "Expenses").stdout
    assert '"Expenses:Providers:Evolink","0.670833 USD"' in said
    assert '"Total:","1.337500 USD"' in said.replace('"total"', '"Total:"')
