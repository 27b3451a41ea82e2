"""FOCUS as it was first: months that were sealed by then keep their file, to the byte."""

from __future__ import annotations

import csv
import io
from datetime import UTC, datetime
from decimal import Decimal
from hashlib import sha256
from pathlib import Path

import pytest

from kling_ledger.ledger import Job, Ledger, seals
from kling_reports import close_pack
from kling_reports.doors import journal, reservations
from kling_reports.exports import focus_first
from tests.export_ledger import EVENTFUL, ledger_of
from tests.ledgers import Chance, Clock, money, usd

WRITTEN_FIRST = {
    "2026-09": "0a07ea30eb2659b5154c377d4d4ea1b7e533be22812f488709e87709f953bed8",
    "2026-10": "f5860cc2e98370a8c804d21f025947a53683c68489d5374accaff2f1fdd97457",
}
"""The SHA-256 of each month of EVENTFUL, as the version before purchases wrote it."""


@pytest.mark.parametrize("month", WRITTEN_FIRST)
def test_a_month_that_was_written_first_stays_what_it_was(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, month: str
):
    with ledger_of(str(tmp_path / "ledger"), EVENTFUL) as (ledger, clock):
        clock.forward(hours=24 * 62)
        monkeypatch.setattr(seals, "FORMAT", 2)
        for name in ("2026-08", *WRITTEN_FIRST):
            ledger.periods.close(name, hard=True)
        files = close_pack.contents(ledger.database, month)
    assert sha256(files["focus.csv"]).hexdigest() == WRITTEN_FIRST[month]
    assert not {"purchases.csv", "billing-period.csv", "invoice-detail.csv"} & set(files)


@pytest.fixture
def house(empty_url: str):
    """A ledger with a wallet of credits, on the first of September."""
    clock = Clock(datetime(2026, 9, 1, 12, tzinfo=UTC))
    with Ledger(empty_url, clock=clock, chance=Chance(), actor="ann") as ledger:
        ledger.wallets.create("team", "crun-credit")
        yield ledger, clock


def exported(ledger: Ledger) -> list[dict[str, str]]:
    written = focus_first.export(
        journal.lines(ledger.database),
        reservations.worths(ledger.database),
        units=journal.units(ledger.database),
        rates={},
    )
    return list(csv.DictReader(io.StringIO(written.decode(), newline="")))


def test_every_funding_was_a_purchase_at_the_rate_of_its_day(house):
    ledger, clock = house
    for dollars in ("0.17", "0.34", "0.51"):
        ledger.wallets.fund("team", money("1000 crun-credit"))
        clock.forward(hours=1)
        amount = money("17 crun-credit")
        job = Job(provider="crun", billed_seconds=5, usd=usd(dollars))
        ledger.commit(ledger.reserve("team", amount, job=job).id, amount)
        clock.forward(hours=1)
    rows = exported(ledger)
    # The first comes before any job; each later one has the rate of the last job before it.
    billed = [row["BilledCost"] for row in rows if row["ChargeCategory"] == "Purchase"]
    assert billed == ["10.0", "10.0", "20.0"]
    costs = [row["EffectiveCost"] for row in rows if row["ChargeCategory"] == "Usage"]
    assert costs == ["0.17", "0.34", "0.51"]
    assert {Decimal(row["BilledCost"]) for row in rows if row["ChargeCategory"] == "Usage"} == {0}
