"""Purchases: what was paid for credits is written once, with its funding, and sealed with it."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, date, datetime
from typing import Any

import pytest

from kling_ledger.errors import (
    ConfigError,
    ConflictError,
    LedgerError,
    NotFoundError,
    PeriodError,
)
from kling_ledger.ledger import Ledger
from kling_pricing.errors import AmountError
from kling_pricing.money import Money
from tests.ledgers import Clock, found, money, tamper, unchanged, usd, write

OCTOBER = datetime(2026, 10, 5, 12, tzinfo=UTC)
DAY = date(2026, 10, 3)
PAID: dict[str, Any] = {"cash": usd("33.75"), "seller": "EvoLink", "bought_on": DAY}
UNITS = money("2700 evolink-credit")


@pytest.fixture
def clock() -> Clock:
    return Clock(OCTOBER)


@pytest.fixture
def ledger(empty_url: str, clock: Clock) -> Iterator[Ledger]:
    with Ledger(empty_url, clock=clock, actor="ada") as opened:
        opened.wallets.create("team", "evolink-credit")
        yield opened


def lots(ledger: Ledger) -> list[dict[str, Any]]:
    return [dict(row) for row in found(ledger, "SELECT * FROM purchase_lot ORDER BY transfer_id")]


def funding(ledger: Ledger) -> str:
    """The id of the last funding."""
    rows = found(ledger, "SELECT MAX(id) AS id FROM transfer WHERE kind = 'fund'")
    return str(rows[0]["id"])


def test_a_purchase_adds_credits_and_keeps_what_was_paid(ledger):
    wallet = ledger.wallets.purchase(
        "team", UNITS, **PAID, invoice="INV-7", tax=usd("6.41"), expires_on=date(2027, 10, 3)
    )
    assert (wallet.funded, wallet.available) == (UNITS, UNITS)
    assert lots(ledger) == [
        {
            "transfer_id": funding(ledger),
            "seller": "EvoLink",
            "cash_micro": 33_750_000,
            "currency": "USD",
            "tax_micro": 6_410_000,
            "invoice": "INV-7",
            "bought_on": "2026-10-03",
            "expires_on": "2027-10-03",
            "actor": "ada",
            "created_at": 1_791_201_600_000_000,
            "period": "2026-10",
        }
    ]
    assert ledger.verify().findings == ()


def test_a_funding_without_a_purchase_is_an_allowance(ledger):
    ledger.wallets.fund("team", UNITS)
    assert lots(ledger) == []


def test_a_purchase_is_made_once_per_key_and_names_what_differs(ledger):
    for _ in range(2):
        ledger.wallets.purchase("team", UNITS, **PAID, key="inv-7")
    assert ledger.wallets.get("team").funded == UNITS
    assert len(lots(ledger)) == 1
    with unchanged(ledger), pytest.raises(ConflictError) as caught:
        ledger.wallets.purchase("team", UNITS, **{**PAID, "cash": usd("34")}, key="inv-7")
    assert (caught.value.field, caught.value.stored, caught.value.given) == (
        "cash",
        "33.75 USD",
        "34 USD",
    )
    with unchanged(ledger), pytest.raises(ConflictError):
        ledger.wallets.fund("team", UNITS, key="inv-7")


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"cash": money("5 crun-credit")}, "cash: .* an amount in a currency"),
        ({"cash": usd("-1")}, "cash: .* 0 or more"),
        ({"cash": 5}, "cash: .* Money"),
        ({"tax": money("1 EUR")}, "tax: .* an amount in USD"),
        ({"tax": usd("-0.01")}, "tax: .* 0 or more"),
    ],
)
def test_cash_that_cannot_have_been_paid_is_refused(ledger, wrong, said):
    with unchanged(ledger), pytest.raises(AmountError, match=said):
        ledger.wallets.purchase("team", UNITS, **{**PAID, **wrong})


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"bought_on": date(2026, 10, 6)}, "2026-10-06 is in the future"),
        ({"expires_on": date(2026, 10, 2)}, "after it expired on 2026-10-02"),
        ({"seller": " "}, "seller has 1 to 200 characters"),
        ({"seller": "x" * 201}, "seller has 1 to 200 characters"),
        ({"invoice": ""}, "invoice has 1 to 200 characters"),
    ],
)
def test_a_day_or_a_name_that_cannot_be_is_refused(ledger, wrong, said):
    with unchanged(ledger), pytest.raises(ConfigError, match=said):
        ledger.wallets.purchase("team", UNITS, **{**PAID, **wrong})


def test_what_is_bought_today_may_expire_today_and_cost_nothing(ledger):
    today = OCTOBER.date()
    ledger.wallets.purchase(
        "team", UNITS, cash=usd("0"), seller="x" * 200, bought_on=today, expires_on=today
    )
    assert lots(ledger)[0]["cash_micro"] == 0


@pytest.mark.parametrize("amount", ["0 evolink-credit", "-1 evolink-credit", "1 USD"])
def test_nothing_and_another_unit_cannot_be_bought(ledger, amount):
    with unchanged(ledger), pytest.raises(AmountError):
        ledger.wallets.purchase("team", money(amount), **PAID)


def test_an_earlier_funding_may_be_said_to_be_a_purchase_once(ledger):
    ledger.wallets.fund("team", UNITS)
    before = ledger.wallets.get("team")
    assert ledger.wallets.record_purchase("team", funding(ledger), **PAID, key="k") == before
    ledger.wallets.record_purchase("team", funding(ledger), **PAID, key="k")
    (lot,) = lots(ledger)
    assert (lot["transfer_id"], lot["cash_micro"], lot["period"]) == (
        funding(ledger),
        33_750_000,
        "2026-10",
    )
    with unchanged(ledger), pytest.raises(ConflictError):
        ledger.wallets.record_purchase("team", funding(ledger), **PAID)
    assert ledger.verify().findings == ()


@pytest.mark.parametrize(
    "damage",
    ["UPDATE purchase_lot SET period = '2026-09'", "UPDATE transfer SET period = '2026-09'"],
)
def test_a_purchase_that_counts_in_another_month_than_its_funding_is_found(ledger, damage):
    ledger.wallets.purchase("team", UNITS, **PAID)
    tamper(ledger.database.url, damage)
    (finding,) = ledger.verify().findings
    assert finding.law == "a purchase is of a funding, and counts in its month"
    assert finding.subject == funding(ledger)


def test_what_was_paid_is_never_changed(ledger):
    ledger.wallets.purchase("team", UNITS, **PAID)
    for change in ("UPDATE purchase_lot SET cash_micro = 1", "DELETE FROM purchase_lot"):
        with pytest.raises(LedgerError, match="append-only"):
            write(ledger, change)


def test_a_purchase_of_a_closed_month_counts_in_it_and_of_a_sealed_one_not_at_all(ledger, clock):
    ledger.wallets.fund("team", UNITS)
    first = funding(ledger)
    clock.forward(hours=1)
    ledger.wallets.fund("team", UNITS)
    clock.forward(days=30)
    ledger.periods.close("2026-10")
    ledger.wallets.record_purchase("team", first, **PAID)
    assert lots(ledger)[0]["period"] == "2026-10"
    ledger.periods.close("2026-10", hard=True)
    with unchanged(ledger), pytest.raises(PeriodError, match="2026-10, which is sealed"):
        ledger.wallets.record_purchase("team", funding(ledger), **PAID)
    assert ledger.verify().findings == ()


def test_a_seal_covers_what_was_paid(ledger, clock):
    ledger.wallets.purchase("team", UNITS, **PAID)
    clock.forward(days=30)
    ledger.periods.close("2026-10", hard=True)
    tamper(ledger.database.url, "UPDATE purchase_lot SET cash_micro = cash_micro - 1")
    assert any("2026-10" in finding.subject for finding in ledger.verify().findings)


def test_only_a_funding_of_the_wallet_can_have_been_paid_for(ledger):
    ledger.wallets.create("other", "evolink-credit")
    ledger.wallets.fund("other", UNITS)
    other = funding(ledger)
    ledger.wallets.adjust("team", UNITS, reason="found")
    rows = found(ledger, "SELECT id FROM transfer WHERE kind = 'adjust'")
    for transfer in (other, rows[0]["id"], "txf_nothing", "é"):
        with unchanged(ledger), pytest.raises(NotFoundError):
            ledger.wallets.record_purchase("team", transfer, **PAID)


def test_a_wallet_is_costed_first_in_first_out_unless_it_is_said_for_ever(ledger):
    assert ledger.wallets.get("team").costing == "fifo"
    made = ledger.wallets.create("pool", "evolink-credit", costing="average")
    assert made.costing == ledger.wallets.get("pool").costing == "average"
    assert ledger.wallets.create("pool", "evolink-credit") == made
    with unchanged(ledger), pytest.raises(ConflictError) as caught:
        ledger.wallets.create("pool", "evolink-credit", costing="fifo")
    assert caught.value.field == "costing"
    with unchanged(ledger), pytest.raises(ConfigError, match="no such costing"):
        ledger.wallets.create("new", "USD", costing="lifo")


def test_a_purchase_is_bound_as_any_funding_is(ledger):
    largest = Money.from_micro(2**53 - 1, "evolink-credit")
    ledger.wallets.purchase("team", largest, **PAID)
    with unchanged(ledger), pytest.raises(AmountError):
        ledger.wallets.purchase("team", Money.from_micro(1, "evolink-credit"), **PAID)
