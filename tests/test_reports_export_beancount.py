"""beancount: a journal that `bean-check` passes, with balances that are the ledger's own."""

from __future__ import annotations

import subprocess
import sys
from datetime import timedelta
from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest
from beancount import loader
from beancount.core.data import Balance, Transaction
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from kling_ledger.ledger import Job, Ledger
from kling_pricing.money import from_micro
from kling_reports.doors import journal, purchases
from kling_reports.exports import beancount
from kling_reports.exports.postings import component
from tests.export_ledger import (
    EVENTFUL,
    NASTY,
    START,
    UNITS,
    Step,
    held,
    ledger_of,
    spelled,
    steps,
)
from tests.ledgers import Chance, Clock, found, make_empty, money, usd

WALLETS = {"team": "Team", "Team": "Team-u", "team-a/b.c": "Team--a-x2f-b-x2e-c"}


def exported(ledger: Ledger, **which: str) -> bytes:
    lots = purchases.lots(ledger.database, **which)
    return beancount.export(journal.lines(ledger.database, **which), lots)


def bought_by(ledger: Ledger, month: str) -> dict[str, int]:
    """What purchases put into wallets through a month, by unit, by SQL alone."""
    rows = found(
        ledger,
        "SELECT unit, SUM(amount_micro) AS micro FROM transfer"
        " JOIN purchase_lot ON transfer_id = id WHERE transfer.period <= :month GROUP BY unit",
        month=month,
    )
    return {row["unit"]: int(row["micro"]) for row in rows}


def loaded(written: bytes) -> list[Any]:
    entries, errors, _ = loader.load_string(written.decode())
    assert errors == []
    return list(entries)


def named(ledger: Ledger, account: str) -> str:
    """Our own account as the export should name it, worked out from the names of wallets."""
    kind, _, rest = account.partition("/")
    if kind == "wallet":
        wallet_id, _, side = rest.partition("/")
        return f"Assets:Wallets:{WALLETS[ledger.wallets.get(wallet_id).name]}:{side.capitalize()}"
    return f"Expenses:Providers:{component(rest)}" if rest else f"Equity:{kind.capitalize()}"


@settings(max_examples=10, suppress_health_check=list(HealthCheck))
@given(history=steps)
def test_every_transfer_and_balance_is_the_journals_to_the_last_millionth(
    postgres_ledger: str, history: list[Step]
):
    make_empty(postgres_ledger)
    with ledger_of(postgres_ledger, history) as (ledger, _):
        entries = loaded(exported(ledger))
        transfers = found(ledger, "SELECT id, amount_micro, reason, period FROM transfer")
        moved: dict[str, Any] = {
            entry.meta["transfer"]: entry for entry in entries if isinstance(entry, Transaction)
        }
        assert len(moved) == len(transfers)
        for transfer in transfers:
            entry = moved[transfer["id"]]
            if entry.narration.startswith("purchase "):
                continue
            amount = from_micro(transfer["amount_micro"])
            out, into = (posting.units for posting in entry.postings)
            assert (out.number, into.number) == (-amount, amount)
            assert entry.meta.get("reason") == transfer["reason"]
            assert f"{entry.date:%Y-%m}" == transfer["period"]
        balances = [entry for entry in entries if isinstance(entry, Balance)]
        for month in {transfer["period"] for transfer in transfers}:
            asserted = {
                (entry.account, beancount.unit_of(entry.amount.currency)): entry.amount.number
                for entry in balances
                if f"{entry.date - timedelta(days=1):%Y-%m}" == month
            }
            # What was bought is owed to its seller, and did not come from equity.
            bought = {unit: -micro for unit, micro in bought_by(ledger, month).items()}
            expected = {
                (named(ledger, account), unit): from_micro(
                    micro - (bought.get(unit, 0) if account == "funding" else 0)
                )
                for (account, unit), micro in held(ledger, month).items()
            }
            owed = {key for key in asserted if key[0].startswith(("Liabilities:", "Expenses:Tax"))}
            assert {key: of for key, of in asserted.items() if key not in owed} == expected


@pytest.mark.parametrize("paid", [False, True])
def test_bean_check_passes_on_all_that_can_happen_on_either_engine(
    database_url: str, tmp_path: Path, *, paid: bool
):
    with ledger_of(database_url, EVENTFUL, paid=paid) as (ledger, _):
        written = exported(ledger)
    said = bean_check(written, tmp_path)
    assert (said.returncode, said.stdout, said.stderr) == (0, "", "")
    balances = [line for line in written.decode().splitlines() if " balance " in line]
    assert len({line[:7] for line in balances}) >= 3


def test_bean_check_finds_an_amount_that_was_changed(tmp_path: Path):
    with ledger_of(str(tmp_path / "ledger"), [Step("commit")]) as (ledger, _):
        lines = exported(ledger).decode().splitlines()
    place = next(place for place, line in enumerate(lines) if " balance Expenses:" in line)
    lines[place] = lines[place].replace("0.675000", "0.675001")
    said = bean_check("\n".join(lines).encode(), tmp_path)
    assert said.returncode == 1
    assert "Balance failed" in said.stdout + said.stderr


def bean_check(written: bytes, folder: Path) -> subprocess.CompletedProcess[str]:
    file = folder / "ledger.beancount"
    file.write_bytes(written)
    command = Path(sys.executable).parent / "bean-check"
    return subprocess.run([command, file], capture_output=True, text=True, timeout=60, check=False)


@pytest.mark.parametrize("text", NASTY)
def test_text_of_users_comes_back_as_it_was(tmp_path: Path, text: str):
    with ledger_of(str(tmp_path / "ledger"), [Step("refund", text=text)]) as (ledger, _):
        entries = loaded(exported(ledger))
    last = entries[-len([entry for entry in entries if isinstance(entry, Balance)]) - 1]
    assert (last.meta["project"], last.meta["reason"]) == (spelled(text), text)
    assert last.links == {last.meta["reservation"]}


def test_two_engines_write_the_same_bytes(tmp_path: Path, postgres_ledger: str):
    make_empty(postgres_ledger)
    with ledger_of(str(tmp_path / "ledger"), EVENTFUL) as (ledger, _):
        on_sqlite = exported(ledger)
    with ledger_of(postgres_ledger, EVENTFUL) as (ledger, _):
        assert exported(ledger) == on_sqlite


def test_a_journal_through_a_month_ends_with_its_balances(tmp_path: Path):
    with ledger_of(str(tmp_path / "ledger"), EVENTFUL) as (ledger, _):
        whole, part = exported(ledger), exported(ledger, through="2026-09")
    months = {f"{entry.date:%Y-%m}" for entry in loaded(part)}
    assert months == {"2026-09", "2026-10"}
    assert {entry.date.day for entry in loaded(part) if f"{entry.date:%m}" == "10"} == {1}
    assert len(part) < len(whole)


def test_what_comes_late_stands_in_the_month_that_it_counts_in(tmp_path: Path):
    with ledger_of(str(tmp_path / "ledger"), []) as (ledger, clock):
        clock.forward(hours=24 * 9)
        ledger.periods.close("2026-09")
        amount = ledger.wallets.get("team").posted
        ledger.wallets.adjust("team", amount, reason="found", corrects="2026-09")
        last = [entry for entry in loaded(exported(ledger)) if isinstance(entry, Transaction)][-1]
    assert (str(last.date), last.meta["at"][:10]) == ("2026-09-30", "2026-10-07")


def test_an_empty_ledger_is_an_empty_journal(ledger: Ledger, tmp_path: Path):
    assert bean_check(exported(ledger), tmp_path).returncode == 0


@given(unit=st.from_regex(r"[A-Za-z][A-Za-z0-9-]{0,31}", fullmatch=True))
def test_a_unit_can_be_read_back_from_its_commodity(unit: str):
    name = beancount.commodity(unit)
    assert beancount.unit_of(name) == unit
    assert loaded(f'2026-01-01 commodity {name}\n  unit: "{unit}"\n'.encode())[0].currency == name


@pytest.mark.parametrize(
    ("unit", "name"),
    [
        ("USD", "USD"),
        ("crun-credit", "CRUN-CREDIT"),
        ("usd", "USD.0"),
        ("POINTS", "POINTS.3F"),
        ("Credit", "CREDIT.1"),
        ("x-", "X-.0"),
    ],
)
def test_a_commodity_is_a_unit_in_capitals(unit: str, name: str):
    assert beancount.commodity(unit) == name
    assert beancount.unit_of(name) == unit


@given(
    names=st.lists(st.text(st.sampled_from("aAbxXeu-./1 é"), min_size=1), min_size=2, max_size=2)
)
def test_no_two_names_become_the_same_account(names: list[str]):
    first, second = names
    assert (component(first) == component(second)) == (first == second)


@given(name=st.text(min_size=1))
def test_any_name_can_be_part_of_an_account(name: str):
    account = f"Expenses:Providers:{component(name)}"
    entries = loaded(f"2026-01-01 open {account}\n".encode())
    assert entries[0].account == account


assert set(UNITS) == set(WALLETS)


@settings(max_examples=10, suppress_health_check=list(HealthCheck))
@given(history=steps)
def test_what_was_bought_is_in_wallets_at_cost_or_spent_to_the_last_millionth(
    postgres_ledger: str, history: list[Step]
):
    make_empty(postgres_ledger)
    with ledger_of(postgres_ledger, history, paid=True) as (ledger, _):
        entries = loaded(exported(ledger))
        accounts, paid = held(ledger), found(ledger, "SELECT * FROM purchase_lot")
        wallets = {key: named(ledger, key[0]) for key in accounts if key[0].startswith("wallet/")}
    units: dict[tuple[str, str], Any] = {}
    spent: dict[str, Any] = {}
    at_cost: dict[str, Fraction] = {}
    for entry in entries:
        postings: list[Any] = entry.postings if isinstance(entry, Transaction) else []
        for posting in postings:
            unit = beancount.unit_of(posting.units.currency)
            key = posting.account, unit
            units[key] = units.get(key, 0) + posting.units.number
            if posting.account.startswith("Assets:") and posting.cost is not None:
                of_one = Fraction(posting.cost.number) * Fraction(posting.units.number)
                at_cost[posting.cost.currency] = at_cost.get(posting.cost.currency, 0) + of_one
            elif unit in {"USD", "EUR"} and not posting.account.startswith("Assets:"):
                spent[unit] = spent.get(unit, 0) + posting.units.number
    # Every wallet holds what the journal has, whatever it cost.
    for (account, unit), name in wallets.items():
        assert units[name, unit] == from_micro(accounts[account, unit])
    owed = {
        currency: sum(
            from_micro(lot["cash_micro"] + (lot["tax_micro"] or 0))
            for lot in paid
            if lot["currency"] == currency
        )
        for currency in ("USD", "EUR")
    }
    for currency, cash in owed.items():
        sellers = sum(
            number
            for (account, unit), number in units.items()
            if account.startswith("Liabilities:") and unit == currency
        )
        assert sellers == -cash
    # A wallet in EUR there is none: all that was paid in EUR is spent, taxed, lost or at cost.
    assert abs(Fraction(spent.get("EUR", 0)) + at_cost.get("EUR", 0)) < Fraction(1, 10**12)


def test_credits_leave_at_what_they_cost(tmp_path: Path):
    with Ledger(str(tmp_path / "ledger"), clock=Clock(START), chance=Chance()) as ledger:
        ledger.wallets.create("team", "evolink-credit")
        ledger.wallets.purchase(
            "team",
            money("27 evolink-credit"),
            cash=usd("0.3375"),
            tax=usd("0.06"),
            seller="EvoLink",
            invoice="INV-7",
            bought_on=START.date(),
        )
        one = ledger.reserve("team", money("10.8 evolink-credit"), job=Job(provider="evolink"))
        ledger.commit(one.id, money("10.8 evolink-credit"))
        lines = exported(ledger).decode().splitlines()
    # 10.8 of 27 for 0.3375: 0.135.
    for line in (
        '2026-09-28 open Assets:Wallets:Team:Available "NONE"',
        '2026-09-28 * "purchase EvoLink"',
        '  invoice: "INV-7"',
        "  Liabilities:Sellers:EvoLink-u -0.397500 USD",
        "  Assets:Wallets:Team:Available 27.000000 EVOLINK-CREDIT {{0.337500 USD}}",
        "  Expenses:Taxes 0.060000 USD",
        "  Assets:Wallets:Team:Reserved -10.800000 EVOLINK-CREDIT {{0.135000 USD}}",
        "  Expenses:Providers:Evolink 0.135000 USD",
        "2026-10-01 balance Assets:Wallets:Team:Available 16.200000 ~ 0 EVOLINK-CREDIT",
        "2026-10-01 balance Expenses:Providers:Evolink 0.135000 ~ 0 USD",
    ):
        assert line in lines, line
    assert bean_check("\n".join(lines).encode(), tmp_path).returncode == 0
