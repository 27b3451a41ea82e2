"""Variance: a book that is wrong is seen, whatever was held; only a provider confirms a cost."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from decimal import Decimal
from pathlib import Path

import pytest

from kling_ledger.ledger import Job, Ledger
from kling_ledger.ledger.reservations import SettledBy
from kling_reports import failures, reconciliation, variance
from kling_reports.render import terminal
from tests.ledgers import Chance, Clock, make_empty, usd
from tests.reports_ledger import query, rows, totals

FOUR = ("quoted", "estimated", "held", "settled", "variance")


@pytest.fixture(params=["sqlite", "postgresql"])
def ledger(
    request: pytest.FixtureRequest, tmp_path: Path, postgres_ledger: str
) -> Iterator[Ledger]:
    """A wallet of 100 USD, on each engine."""
    make_empty(postgres_ledger)
    url = str(tmp_path / "ledger") if request.param == "sqlite" else postgres_ledger
    with closing(Ledger(url, clock=Clock(), chance=Chance(), actor="ann")) as opened:
        opened.wallets.create("team", "USD")
        opened.wallets.fund("team", usd("100"))
        yield opened


def job(quoted: str | None = None, estimated: str | None = None) -> Job:
    return Job(
        provider="runapi",
        model="kling-3.0",
        quoted=None if quoted is None else usd(quoted),
        low=None if quoted is None else usd(quoted),
        estimated=None if estimated is None else usd(estimated),
    )


def charged(
    ledger: Ledger, what: Job, held: str, cost: str, settled_by: SettledBy = "provider"
) -> str:
    """Charge a job so much of what was held for it; return its reservation."""
    one = ledger.reserve("team", usd(held), job=what).id
    ledger.commit(one, usd(cost), settled_by=settled_by)
    return one


def amounts(*written: str) -> tuple[Decimal, ...]:
    return tuple(map(Decimal, written))


def test_a_book_that_is_wrong_is_seen_though_the_hold_was_right(ledger: Ledger):
    charged(ledger, job("0.675", "1.35"), "1.35", "1.35")
    table = variance.report(ledger.database, query("provider")).main
    assert rows(table, *FOUR) == [amounts("0.675", "1.35", "1.35", "1.35", "0.675")]
    assert rows(table, "confirmation", "accuracy", "estimate_accuracy", "dearer") == [
        ("all", Decimal(0), Decimal(1), 1)
    ]
    # Twice the quote is the whole of it more.
    assert rows(table, "variance_share", "median_error") == [amounts("1", "1")]


def test_what_only_an_estimate_priced_has_no_quote_to_be_off(ledger: Ledger):
    charged(ledger, job(estimated="0.8"), "0.8", "0.9")
    charged(ledger, job("0.5"), "0.5", "0.5")
    table = variance.report(ledger.database, query("provider")).main
    assert rows(table, *FOUR) == [amounts("0.5", "0.8", "1.3", "1.4", "0")]
    assert rows(table, "clips", "unquoted", "compared", "accuracy", "estimate_accuracy") == [
        (2, 1, 1, Decimal(1), Decimal(0))
    ]
    assert totals(table, *FOUR) == rows(table, *FOUR)


def test_where_no_clip_has_a_quote_there_is_no_variance(ledger: Ledger):
    charged(ledger, job(estimated="0.8"), "0.8", "0.9")
    table = variance.report(ledger.database, query("provider")).main
    assert rows(table, "quoted", "variance", "accuracy", "settled") == [
        (None, None, None, Decimal("0.9"))
    ]
    basis = reconciliation.report(ledger.database, query()).main
    assert rows(basis, "quoted", "spent") == totals(basis, "quoted", "spent")
    assert rows(basis, "quoted", "spent") == [(None, Decimal("0.9"))]


@pytest.mark.parametrize("settled_by", ["quote", "measured", "person"])
def test_only_a_provider_or_its_bill_confirms(ledger: Ledger, settled_by: SettledBy):
    charged(ledger, job("0.5", "0.5"), "0.5", "0.4", settled_by)
    table = variance.report(ledger.database, query("provider")).main
    assert rows(table, "confirmed_clips", "confirmation", "accuracy", "estimate_accuracy") == [
        (0, "none yet", None, None)
    ]
    assert rows(table, "variance") == [amounts("-0.1")]
    basis = reconciliation.report(ledger.database, query()).main
    assert rows(basis, "basis", "spent") == [(settled_by, Decimal("0.4"))]


def test_a_job_from_before_quotes_were_kept_was_quoted_what_was_held_first(ledger: Ledger):
    one = ledger.reserve("team", usd("0.5"), job=job()).id
    ledger.mark_submitting(one)
    ledger.hold(one, usd("0.6"), reason="the provider holds more")
    ledger.commit(one, usd("0.6"), settled_by="provider")
    table = variance.report(ledger.database, query("provider")).main
    assert rows(table, *FOUR) == [
        (Decimal("0.5"), None, Decimal("0.6"), Decimal("0.6"), Decimal("0.1"))
    ]


def test_a_failed_job_would_have_cost_its_quote_and_gave_back_its_hold(ledger: Ledger):
    for what in (job("0.675", "1.35"), job(estimated="1.35")):
        one = ledger.reserve("team", usd("1.35"), job=what).id
        ledger.mark_submitting(one)
        ledger.roll_back(one, "the clip could not be made")
    table = failures.report(ledger.database, query("provider")).main
    assert rows(table, "jobs", "quoted", "reserved", "charged", "returned") == [
        (2, *amounts("0.675", "2.7", "0", "2.7"))
    ]


def test_the_four_figures_and_the_accuracy_fit_on_eighty_columns(ledger: Ledger):
    charged(ledger, job("0.675", "1.35"), "1.35", "1.35")
    written = terminal.render(
        variance.report(ledger.database, query("provider", "model")), width=80
    )
    head = next(line for line in written.splitlines() if "quoted" in line and "held" in line)
    assert max(map(len, written.splitlines())) <= 80
    told = ("quoted", "estimate", "held", "settled", "variance", "accuracy")
    assert all(word in head for word in told), written
