"""Reports agree: what a month posted is one in the journal, the statement and the close pack."""

from __future__ import annotations

import csv
import io
from collections import defaultdict
from decimal import Decimal

from hypothesis import HealthCheck, example, given, settings

from kling_ledger.ledger import Ledger
from kling_pricing.money import from_micro
from kling_reports import close_pack, spend, statement
from tests.export_ledger import EVENTFUL, WORTH, Step, ledger_of, steps
from tests.ledgers import found, make_empty
from tests.reports_ledger import query, totals

Amounts = dict[str, Decimal]


def posted(ledger: Ledger) -> dict[str, Amounts]:
    """What jobs cost less what came back, by month of the journal and unit, by plain SQL alone."""
    rows = found(
        ledger,
        "SELECT period, unit, SUM(CASE WHEN credit_account LIKE 'provider/%' THEN amount_micro"
        " WHEN debit_account LIKE 'provider/%' THEN -amount_micro ELSE 0 END) AS micro"
        " FROM transfer GROUP BY period, unit",
    )
    months: dict[str, Amounts] = defaultdict(dict)
    for row in rows:
        months[row["period"]][row["unit"]] = from_micro(int(row["micro"]))
    return {month: known(sums) for month, sums in sorted(months.items())}


def known(sums: Amounts) -> Amounts:
    """The units in which there is something."""
    return {unit: amount for unit, amount in sums.items() if amount}


def packed(ledger: Ledger, month: str) -> Amounts:
    ledger.periods.close(month, hard=True)
    written = close_pack.contents(ledger.database, month, rates=WORTH)["spend.csv"].decode()
    sums: Amounts = defaultdict(Decimal)
    for row in csv.DictReader(io.StringIO(written, newline="")):
        sums[row["unit"]] += Decimal(row["net"])
    return known(sums)


@settings(max_examples=2, suppress_health_check=list(HealthCheck))
@given(history=steps)
@example(history=EVENTFUL)
@example(history=[Step("amend", "Team")])
@example(history=[Step("late", hours=24), Step("refund", hours=24 * 9), Step("amend", hours=9)])
def test_what_a_month_posted_is_the_same_in_every_report(postgres_ledger: str, history: list[Step]):
    make_empty(postgres_ledger)
    with ledger_of(postgres_ledger, history) as (ledger, clock):
        spent = spend.report(ledger.database, query()).main
        clock.forward(hours=24 * 40)
        by_month = posted(ledger)
        for month, sums in by_month.items():
            told = statement.report(ledger.database, query(period=month))
            assert known(dict(totals(told.table("charges"), "unit", "net"))) == sums
            left = totals(told.main, "unit", "spent", "refunded")
            assert known({unit: -(out + back) for unit, out, back in left}) == sums
            assert packed(ledger, month) == sums
    # Spend counts a job when it was reserved, months when it was posted: over all time it is one.
    whole: Amounts = defaultdict(Decimal)
    for sums in by_month.values():
        for unit, amount in sums.items():
            whole[unit] += amount
    assert known(dict(totals(spent, "unit", "spent"))) == known(whole)
