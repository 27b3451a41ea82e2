"""Purchases and allowances in reports: worked by hand, and the same for ever once it is sealed."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings

from kling_ledger.ledger import Job, Ledger
from kling_pricing.money import from_micro
from kling_reports import close_pack, purchases
from kling_reports.exports import of_ledger
from kling_reports.query import Query
from tests.export_ledger import Step, held, ledger_of, steps
from tests.ledgers import Chance, Clock, found, make_empty, money, usd

OCTOBER = datetime(2026, 10, 1, 12, tzinfo=UTC)


@pytest.fixture
def house(empty_url: str) -> Iterator[tuple[Ledger, Clock]]:
    """A ledger with a wallet of credits and one of dollars, on the first of October."""
    clock = Clock(OCTOBER)
    with Ledger(empty_url, clock=clock, chance=Chance(), actor="ann") as ledger:
        ledger.wallets.create("team", "crun-credit")
        ledger.wallets.create("cash", "USD")
        yield ledger, clock


def buy(ledger: Ledger, units: str, cash: str, **said: Any) -> None:
    amount = money(f"{units} crun-credit")
    paid = {"seller": "Crun", "bought_on": OCTOBER.date(), **said}
    ledger.wallets.purchase("team", amount, cash=money(cash), **paid)


def use(ledger: Ledger, amount: str, *, wallet: str = "team", worth: str | None = None) -> str:
    """A job that is charged what was set aside for it."""
    job = Job(provider="crun", billed_seconds=5, usd=None if worth is None else usd(worth))
    one = ledger.reserve(wallet, money(amount), job=job).id
    ledger.commit(one, money(amount), settled_by="provider")
    return one


def focus(ledger: Ledger, month: str | None = None) -> list[dict[str, str]]:
    written = of_ledger.focus(ledger.database, month)
    return list(csv.DictReader(io.StringIO(written.decode(), newline="")))


def said(rows: list[dict[str, str]], *columns: str) -> list[tuple[str, ...]]:
    return [tuple(row[column] for column in columns) for row in rows]


COSTS = ("ChargeCategory", "BilledCost", "EffectiveCost", "x_Amount")


def test_what_was_paid_is_billed_and_not_what_credits_are_worth(house):
    ledger, _ = house
    buy(ledger, "27", "0.3375 USD", invoice="INV-7", tax=usd("0.06"))
    use(ledger, "10.8 crun-credit", worth="0.15")
    purchase, tax, usage = focus(ledger)
    assert said([purchase, tax, usage], *COSTS) == [
        ("Purchase", "0.3375", "0.0", "27.0"),
        ("Tax", "0.06", "0.06", "0.0"),
        # 10.8 of 27 are two fifths.
        ("Usage", "0.0", "0.135", "-10.8"),
    ]
    assert (purchase["PricingQuantity"], purchase["ContractedUnitPrice"]) == ("27.0", "0.0125")
    assert (purchase["InvoiceIssuerName"], purchase["InvoiceId"]) == ("Crun", "INV-7")
    assert (tax["InvoiceId"], usage["InvoiceId"]) == ("INV-7", "")
    assert (usage["PricingQuantity"], usage["ListUnitPrice"]) == ("5.0", "0.027")
    assert purchase["x_LotId"] == usage["x_LotId"] == purchase["x_TransferId"]


def test_a_purchase_is_valid_from_its_day_to_its_expiry(house):
    ledger, _ = house
    buy(ledger, "1", "1 USD", bought_on=date(2026, 9, 3), expires_on=date(2027, 9, 3))
    buy(ledger, "1", "1 CNY")
    first, second = focus(ledger)
    assert said([first, second], "ChargePeriodStart", "ChargePeriodEnd", "BillingCurrency") == [
        ("2026-09-03T00:00:00Z", "2027-09-04T00:00:00Z", "USD"),
        ("2026-10-01T00:00:00Z", "2026-10-02T00:00:00Z", "CNY"),
    ]
    # It is billed in the month of the journal that it counts in.
    assert first["BillingPeriodStart"] == "2026-10-01T00:00:00Z"


def test_an_allowance_is_no_purchase_and_what_was_charged_is_what_is_billed(house):
    ledger, _ = house
    ledger.wallets.create("other", "USD")
    ledger.wallets.fund("cash", usd("500"))
    ledger.wallets.fund("other", usd("300"))
    use(ledger, "400 USD", wallet="cash")
    use(ledger, "75 USD", wallet="other")
    rows = focus(ledger)
    assert {row["ChargeCategory"] for row in rows} == {"Usage"}
    assert sum(Decimal(row["BilledCost"]) for row in rows) == 475


def test_a_charge_of_two_packs_has_a_row_for_each(house):
    ledger, _ = house
    buy(ledger, "10", "1 USD")
    buy(ledger, "10", "16 CNY")
    ledger.wallets.fund("team", money("10 crun-credit"))
    use(ledger, "25 crun-credit", worth="0.25")
    rows = [row for row in focus(ledger) if row["ChargeCategory"] == "Usage"]
    assert said(rows, "BilledCost", "EffectiveCost", "BillingCurrency", "x_Amount") == [
        ("0.0", "1.0", "USD", "-10.0"),
        ("0.0", "16.0", "CNY", "-10.0"),
        ("0.05", "0.05", "USD", "-5.0"),
    ]
    # The 5 seconds of 25 credits: two, two and one of them.
    assert [row["PricingQuantity"] for row in rows] == ["2.0", "2.0", "1.0"]
    assert [row["x_RateBasis"] for row in rows] == ["lot", "lot", "job"]


def test_a_refund_and_a_loss_cost_what_their_credits_did(house):
    ledger, clock = house
    buy(ledger, "10", "1 USD")
    buy(ledger, "10", "2 USD")
    one = use(ledger, "12 crun-credit", worth="9")
    clock.forward(hours=1)
    ledger.refund(one, money("3 crun-credit"), reason="bad")
    clock.forward(hours=1)
    ledger.wallets.adjust("team", money("-5 crun-credit"), reason="lost")
    rows = [row for row in focus(ledger) if row["ChargeCategory"] != "Purchase"]
    assert said(rows, *COSTS) == [
        ("Usage", "0.0", "1.0", "-10.0"),
        ("Usage", "0.0", "0.4", "-2.0"),
        # Back come the two of the second pack at 0.20 and one of the first at 0.10.
        ("Usage", "0.0", "-0.4", "2.0"),
        ("Usage", "0.0", "-0.1", "1.0"),
        # Out go the one of the first pack that came back, and four of the second.
        ("Adjustment", "0.0", "0.1", "-1.0"),
        ("Adjustment", "0.0", "0.8", "-4.0"),
    ]


def test_what_was_used_on_credit_is_costed_in_the_month_in_which_it_is_bought(house):
    ledger, clock = house
    ledger.wallets.fund("team", money("4 crun-credit"))
    one = ledger.reserve(
        "team", money("4 crun-credit"), job=Job(provider="crun", billed_seconds=5, usd=usd("0.4"))
    ).id
    ledger.commit(one, money("10 crun-credit"), settled_by="provider")
    october = focus(ledger, "2026-10")
    # Nobody has bought it yet: it is billed at the job's own rate, 0.10 each.
    assert said(october, *COSTS) == [
        ("Usage", "0.4", "0.4", "-4.0"),
        ("Usage", "0.6", "0.6", "-6.0"),
    ]
    clock.forward(hours=24 * 40)
    ledger.periods.close("2026-10", hard=True)
    sealed = close_pack.contents(ledger.database, "2026-10")
    buy(ledger, "20", "5 USD")
    november = focus(ledger, "2026-11")
    assert said(november, *COSTS, "ChargeClass") == [
        ("Purchase", "5.0", "0.0", "20.0", ""),
        # Taken back as it was billed, and 6 of 20 for 5.00.
        ("Usage", "-0.6", "-0.6", "6.0", "Correction"),
        ("Usage", "0.0", "1.5", "-6.0", "Correction"),
    ]
    assert {row["x_ReservationId"] for row in november[1:]} == {one}
    assert {row["x_Corrects"] for row in november[1:]} == {"2026-10"}
    assert focus(ledger, "2026-10") == october
    assert close_pack.contents(ledger.database, "2026-10") == sealed
    assert focus(ledger) == october + november


def test_a_month_never_changes_when_a_later_purchase_comes(house):
    ledger, clock = house
    buy(ledger, "10", "1 USD")
    one = use(ledger, "6 crun-credit")
    october = focus(ledger, "2026-10")
    clock.forward(hours=24 * 40)
    ledger.periods.close("2026-10", hard=True)
    sealed = close_pack.contents(ledger.database, "2026-10")
    buy(ledger, "10", "9 USD", bought_on=OCTOBER.date())
    ledger.refund(one, money("2 crun-credit"), reason="bad")
    use(ledger, "10 crun-credit")
    assert focus(ledger, "2026-10") == october
    assert close_pack.contents(ledger.database, "2026-10") == sealed
    november = focus(ledger, "2026-11")
    # 2 came back at 0.10; then 6 at 0.10 and 4 at 0.90.
    assert said(november, *COSTS[:3]) == [
        ("Purchase", "9.0", "0.0"),
        ("Usage", "0.0", "-0.2"),
        ("Usage", "0.0", "0.6"),
        ("Usage", "0.0", "3.6"),
    ]


def asked(ledger: Ledger, now: datetime, **options: Any) -> dict[str, list[dict[str, Any]]]:
    answer = purchases.report(ledger.database, Query(now=now, **options))
    found_tables = {
        table.name: [
            dict(zip((column.key for column in table.columns), row, strict=True))
            for row in table.rows()
        ]
        for table in answer.tables
    }
    totals = [
        dict(zip((column.key for column in answer.main.columns), row, strict=True))
        for row in answer.main.total_rows()
    ]
    return {**found_tables, "totals": totals, "notes": [{"note": note} for note in answer.notes]}


def test_the_report_says_what_is_left_of_each_lot_and_what_it_cost(house):
    ledger, clock = house
    buy(ledger, "10", "1 USD", invoice="INV-1", tax=usd("0.19"), expires_on=date(2026, 10, 31))
    buy(ledger, "30", "1 USD")
    buy(ledger, "10", "16 CNY")
    ledger.wallets.fund("team", money("4 crun-credit"), reason="a trial")
    use(ledger, "7 crun-credit")
    lots = asked(ledger, datetime(2026, 11, 1, tzinfo=UTC))
    assert [
        (row["units"], row["used"], row["left"], row["cash"], row["cost_left"], row["unit"])
        for row in lots["purchases"]
    ] == [
        (10, 7, 3, 1, Decimal("0.3"), "USD"),
        (30, 0, 30, 1, 1, "USD"),
        (10, 0, 10, 16, 16, "CNY"),
    ]
    first = lots["purchases"][0]
    assert (first["invoice"], first["tax"], first["state"]) == ("INV-1", Decimal("0.19"), "expired")
    # A third of a tenth of a dollar, to the nearest millionth.
    assert lots["purchases"][1]["unit_price"] == Decimal("0.033333")
    assert [(row["unit"], row["cash"], row["tax"], row["cost_left"]) for row in lots["totals"]] == [
        ("CNY", 16, None, 16),
        ("USD", 2, Decimal("0.19"), Decimal("1.3")),
    ]
    assert [(row["units"], row["used"], row["left"]) for row in lots["allowances"]] == [(4, 0, 4)]
    assert lots["notes"][0]["note"].startswith("1 of 4 fundings are allowances")
    assert lots["notes"][1]["note"].startswith("1 expired with something left")
    clock.forward(hours=24 * 40)
    use(ledger, "5 crun-credit")
    assert asked(ledger, clock.now)["purchases"][0]["state"] == "used up"
    # As it stood at the end of October.
    october = asked(ledger, clock.now, period="2026-10")
    assert [row["left"] for row in october["purchases"]] == [3, 30, 10]


def test_on_its_last_day_a_lot_has_not_expired(house):
    ledger, _ = house
    buy(ledger, "10", "1 USD", expires_on=date(2026, 10, 31))
    states = [
        asked(ledger, datetime(2026, *day, 23, 59, tzinfo=UTC))["purchases"][0]["state"]
        for day in ((10, 31), (11, 1))
    ]
    assert states == ["open", "expired"]


def test_the_pack_of_a_month_says_how_each_lot_came_from_its_opening_to_its_closing(house):
    ledger, clock = house
    buy(ledger, "10", "1 USD", invoice="INV-1", expires_on=date(2026, 11, 30))
    use(ledger, "4 crun-credit")
    ledger.wallets.create("pool", "crun-credit", costing="average")
    for cash in ("1", "3"):
        ledger.wallets.purchase(
            "pool",
            money("10 crun-credit"),
            cash=usd(cash),
            seller="Crun",
            bought_on=OCTOBER.date(),
        )
    clock.forward(hours=24 * 40)
    ledger.wallets.fund("team", money("2 crun-credit"))
    buy(ledger, "10", "2 USD", expires_on=date(2026, 11, 30))
    use(ledger, "11 crun-credit", worth="1.1")
    use(ledger, "5 crun-credit", wallet="pool")
    clock.forward(hours=24 * 30)
    for month in ("2026-10", "2026-11"):
        ledger.periods.close(month, hard=True)
    files = close_pack.contents(ledger.database, "2026-11")
    rows = list(csv.DictReader(io.StringIO(files["purchases.csv"].decode(), newline="")))
    units = ("opening_units", "in_units", "used_units", "closing_units")
    costs = ("opening_cost", "in_cost", "used_cost", "closing_cost")
    assert said(rows, "wallet", "kind", *units) == [
        ("pool", "average", "20", "0", "5", "15"),
        ("team", "lot", "6", "0", "6", "0"),
        ("team", "allowance", "0", "2", "2", "0"),
        ("team", "lot", "0", "10", "3", "7"),
    ]
    assert said(rows, *costs, "unit", "state") == [
        ("4", "0", "1", "3", "USD", ""),
        ("0.6", "0", "0.6", "0", "USD", "used up"),
        ("", "", "", "", "crun-credit", ""),
        # When the month ends its last day is over.
        ("0", "2", "0.6", "1.4", "USD", "expired"),
    ]
    october = close_pack.contents(ledger.database, "2026-10")
    rows = list(csv.DictReader(io.StringIO(october["purchases.csv"].decode(), newline="")))
    assert said(rows, "wallet", "kind", *units, "state") == [
        ("pool", "average", "0", "20", "0", "20", ""),
        ("team", "lot", "0", "10", "4", "6", "open"),
    ]


@settings(max_examples=4, suppress_health_check=list(HealthCheck))
@given(history=steps)
def test_a_pack_rolls_every_unit_and_all_cash_forward(postgres_ledger: str, history: list[Step]):
    make_empty(postgres_ledger)
    months = ("2026-09", "2026-10")
    with ledger_of(postgres_ledger, history, paid=True) as (ledger, clock):
        clock.forward(hours=24 * 62)
        for month in ("2026-08", *months):
            ledger.periods.close(month, hard=True)
        packs = [close_pack.contents(ledger.database, month) for month in months]
        accounts = [held(ledger, month) for month in months]
        wallets = {row["id"]: row["name"] for row in found(ledger, "SELECT id, name FROM wallet")}
        paid = found(ledger, "SELECT currency, cash_micro, period FROM purchase_lot")
    before: dict[str, Decimal] = {}
    for month, pack, of in zip(months, packs, accounts, strict=True):
        rows = list(csv.DictReader(io.StringIO(pack["purchases.csv"].decode(), newline="")))
        for wallet_id, name in wallets.items():
            closing = sum(Decimal(row["closing_units"]) for row in rows if row["wallet"] == name)
            posted = sum(
                micro
                for (account, _), micro in of.items()
                if account.startswith(f"wallet/{wallet_id}/")
            )
            assert closing == from_micro(posted)
        for currency in ("USD", "EUR"):
            costs = [row for row in rows if row["unit"] == currency and row["closing_cost"]]
            came = sum(
                from_micro(lot["cash_micro"])
                for lot in paid
                if (lot["currency"], lot["period"]) == (currency, month)
            )
            assert sum(Decimal(row["in_cost"]) for row in costs) == came
            opening = sum(Decimal(row["opening_cost"]) for row in costs)
            assert opening == before.get(currency, 0)
            before[currency] = sum((Decimal(row["closing_cost"]) for row in costs), Decimal(0))
            focus_rows = csv.DictReader(io.StringIO(pack["focus.csv"].decode(), newline=""))
            # What left these stocks is what usage and losses cost, in the same month.
            cost = sum(
                Decimal(row["EffectiveCost"])
                for row in focus_rows
                if row["BillingCurrency"] == currency
                and row["x_RateBasis"] in {"lot", "average"}
                and row["ChargeCategory"] in {"Usage", "Adjustment"}
            )
            assert sum(Decimal(row["used_cost"]) for row in costs) == cost
