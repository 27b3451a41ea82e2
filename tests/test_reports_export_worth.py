"""Worth: what was paid and used is what it was on its day, whatever came later and is exported."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator
from datetime import UTC, datetime
from decimal import Decimal
from fractions import Fraction

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from kling_ledger.errors import ConfigError
from kling_ledger.ledger import Change, Job, Ledger, State
from kling_pricing.money import Money
from kling_reports import close_pack, spend
from kling_reports.exports import of_ledger
from kling_reports.exports.worth import currency_codes, first_worth
from tests.ledgers import Chance, Clock, money, usd
from tests.reports_ledger import query, totals

SEPTEMBER = datetime(2026, 9, 1, 12, tzinfo=UTC)


def used(lines: list[dict[str, str]]) -> list[tuple[str, str]]:
    """What usage was billed, and what it cost."""
    return [
        (line["BilledCost"], line["EffectiveCost"])
        for line in lines
        if line["ChargeCategory"] == "Usage"
    ]


@pytest.fixture
def house(empty_url: str) -> Iterator[tuple[Ledger, Clock]]:
    """A ledger with a wallet of credits, on the first of September."""
    clock = Clock(SEPTEMBER)
    with Ledger(empty_url, clock=clock, chance=Chance(), actor="ann") as ledger:
        ledger.wallets.create("team", "crun-credit")
        yield ledger, clock


def fund(ledger: Ledger, credits_: str = "1000") -> None:
    ledger.wallets.fund("team", money(f"{credits_} crun-credit"))


def job(ledger: Ledger, dollars: str | None, credits_: str = "17") -> str:
    """A job that is charged what it was quoted."""
    amount = money(f"{credits_} crun-credit")
    worth = None if dollars is None else usd(dollars)
    one = ledger.reserve("team", amount, job=Job(provider="crun", billed_seconds=5, usd=worth)).id
    ledger.commit(one, amount, settled_by="provider")
    return one


def buy(ledger: Ledger, cash: str) -> None:
    """Buy a thousand credits."""
    credits_ = money("1000 crun-credit")
    ledger.wallets.purchase(
        "team", credits_, cash=usd(cash), seller="Crun", bought_on=SEPTEMBER.date()
    )


def exported(ledger: Ledger, period: str | None = None, **options) -> list[dict[str, str]]:
    """The lines of a month, or of all, as the command writes them."""
    written = of_ledger.focus(ledger.database, period, **options)
    return list(csv.DictReader(io.StringIO(written.decode(), newline="")))


def of_month(lines: list[dict[str, str]], month: str) -> list[dict[str, str]]:
    return [line for line in lines if line["x_Period"] == month]


def bought(lines: list[dict[str, str]]) -> list[str]:
    return [line["BilledCost"] for line in lines if line["ChargeCategory"] == "Purchase"]


def test_a_month_is_the_same_alone_and_among_others_whatever_a_later_job_is_worth(house):
    ledger, clock = house
    fund(ledger, "17")
    buy(ledger, "10")
    clock.forward(hours=1)
    job(ledger, "0.17")
    job(ledger, "0.17")
    before = exported(ledger, "2026-09")
    assert bought(before) == ["10.0"]
    # The allowance at the job's own rate, then 17 of the thousand that were bought.
    assert used(before) == [("0.17", "0.17"), ("0.0", "0.17")]
    clock.forward(hours=24 * 31)
    ledger.periods.close("2026-09", hard=True)
    sealed = close_pack.contents(ledger.database, "2026-09")
    buy(ledger, "12.5")
    job(ledger, "0.18")
    assert exported(ledger, "2026-09") == before == of_month(exported(ledger), "2026-09")
    assert exported(ledger, "2026-10") == of_month(exported(ledger), "2026-10")
    assert close_pack.contents(ledger.database, "2026-09") == sealed


def test_a_purchase_costs_what_was_paid_whatever_jobs_are_worth(house):
    ledger, clock = house
    for cash, dollars in (("8", "0.17"), ("10", "0.34"), ("12.000001", "0.51")):
        buy(ledger, cash)
        clock.forward(hours=1)
        job(ledger, dollars)
        clock.forward(hours=1)
    assert bought(exported(ledger)) == ["8.0", "10.0", "12.000001"]
    # 17 of the first thousand, three times: what the job itself was worth says nothing of it.
    assert used(exported(ledger)) == [("0.0", "0.136")] * 3


def test_a_job_without_a_rate_has_that_of_its_day_in_its_refund_too(house):
    ledger, clock = house
    fund(ledger)
    job(ledger, "0.17")
    clock.forward(hours=1)
    one = job(ledger, None)
    clock.forward(hours=24 * 31)
    job(ledger, "0.34")
    clock.forward(hours=1)
    ledger.refund(one, money("17 crun-credit"), reason="bad")
    lines = [line for line in exported(ledger) if line["x_ReservationId"] == one]
    assert [line["EffectiveCost"] for line in lines] == ["0.17", "-0.17"]
    assert [line["x_RateBasis"] for line in lines] == ["unit", "unit"]


def test_the_rate_of_a_later_month_prices_no_earlier_one(house):
    ledger, clock = house
    fund(ledger)
    job(ledger, None)
    clock.forward(hours=24 * 31)
    job(ledger, "0.17")
    for period in ("2026-09", None):
        with pytest.raises(ConfigError, match="the worth of one crun-credit in USD is unknown"):
            exported(ledger, period)
    rates = {"crun-credit": Decimal("0.02")}
    assert used(exported(ledger, rates=rates)) == [("0.34", "0.34"), ("0.17", "0.17")]
    assert exported(ledger, "2026-09", rates=rates) == of_month(
        exported(ledger, rates=rates), "2026-09"
    )


def test_what_a_provider_sets_aside_later_changes_no_line_that_is_written(house):
    ledger, clock = house
    fund(ledger)
    amount = money("17 crun-credit")
    one = ledger.reserve(
        "team", amount, job=Job(provider="crun", billed_seconds=5, usd=usd("0.100001"))
    ).id
    ledger.commit(one, money("4 crun-credit"), is_part=True, key="part", settled_by="provider")
    clock.forward(hours=24 * 31)
    ledger.periods.close("2026-09", hard=True)
    sealed = close_pack.contents(ledger.database, "2026-09")
    ledger.mark_submitting(one)
    ledger.hold(one, money("29.000001 crun-credit"), reason="it reserved more")
    assert close_pack.contents(ledger.database, "2026-09") == sealed
    ledger.commit(one, money("20 crun-credit"), settled_by="provider")
    undo = Change(one, State.IN_DOUBT, amount, is_undo=True, reason="of another job")
    ledger.settle([undo])
    assert close_pack.contents(ledger.database, "2026-09") == sealed


@given(
    quoted=st.integers(1, 2**53 - 1),
    usd_micro=st.integers(1, 2**53 - 1),
    more=st.integers(0, 2**53 - 1),
)
def test_a_raised_hold_comes_down_to_what_was_quoted(quoted: int, usd_micro: int, more: int):
    reserved = quoted + more
    # As the ledger raises it: at the same rate, to the nearest millionth.
    raised = (2 * usd_micro * reserved + quoted) // (2 * quoted)
    assert first_worth(quoted, reserved, raised) == Fraction(usd_micro, quoted)


def test_spend_in_dollars_keeps_the_rate_of_each_job(house):
    ledger, clock = house
    fund(ledger)
    job(ledger, "0.17")
    clock.forward(hours=24 * 31)
    job(ledger, "0.18")
    answered = spend.report(ledger.database, query("month", currency="USD"))
    assert totals(answered.main, "unit", "spent") == [("USD", Decimal("0.35"))]
    assert [str(row["spent_micro"]) for row in answered.main.frame.to_dict("records")] == [
        "170000",
        "180000",
    ]


def test_a_unit_keeps_its_code_when_others_come():
    later = [f"points-{number}" for number in range(360)]
    codes = currency_codes(["zeta-credit", *later])
    assert codes["zeta-credit"] == currency_codes(["zeta-credit"])["zeta-credit"]
    assert codes.items() >= currency_codes(["zeta-credit", *later[:100]]).items()


steps = st.lists(
    st.tuples(
        st.sampled_from(["fund", "buy", "buy", "job", "job", "unrated", "refund", "adjust"]),
        st.integers(1, 40 * 24),
        st.integers(1, 10**6),
    ),
    min_size=1,
    max_size=12,
)


@settings(max_examples=15, suppress_health_check=list(HealthCheck))
@given(history=steps)
def test_every_line_stays_what_it_was_in_every_history(
    tmp_path_factory: pytest.TempPathFactory, history: list[tuple[str, int, int]]
):
    clock = Clock(SEPTEMBER)
    url = str(tmp_path_factory.mktemp("worth") / "ledger")
    rates = {"points": Decimal("0.5")}
    with Ledger(url, clock=clock, chance=Chance(), actor="ann") as ledger:
        ledger.wallets.create("team", "crun-credit")
        ledger.wallets.create("other", "points")
        buy(ledger, "9.99")
        fund(ledger, "1000")
        job(ledger, "0.17")
        said: dict[tuple[str, str, str], dict[str, str]] = {}
        for what, hours, micro in history:
            clock.forward(hours=hours)
            happen(ledger, what, micro)
            lines = exported(ledger, rates=rates)
            now = {_name(line): line for line in lines}
            assert len(now) == len(lines)
            assert now.items() >= said.items()
            said = now
        for month in {line["x_Period"] for line in lines}:
            assert exported(ledger, month, rates=rates) == of_month(lines, month)


def _name(line: dict[str, str]) -> tuple[str, str, str]:
    return line["x_TransferId"], line["x_LotId"], line["ChargeCategory"]


def happen(ledger: Ledger, what: str, micro: int) -> None:
    """Let one thing happen, at a rate of its own."""
    if what in {"job", "unrated"}:
        job(ledger, f"0.{micro:06d}1"[:8] if what == "job" else None)
    elif what == "refund":
        one = ledger.reservations.latest()[0]
        left = Money.from_micro(min(micro, one.spent.micro), "crun-credit")
        if left.micro:
            ledger.refund(one.id, left, reason="bad")
    elif what == "buy":
        buy(ledger, f"{micro % 97 + 1}.{micro % 1000:03d}")
    elif what == "fund":
        fund(ledger)
        ledger.wallets.fund("other", Money.from_micro(micro, "points"))
    else:
        ledger.wallets.adjust("team", Money.from_micro(micro, "crun-credit"), reason="found")
