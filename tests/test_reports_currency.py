"""Currency: dated rates, one rounding a job or transfer, and the same total in any grouping."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import replace
from datetime import date, timedelta
from decimal import Decimal
from fractions import Fraction
from math import floor
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from kling_ledger.errors import ConfigError
from kling_ledger.ledger import Ledger
from kling_ledger.ledger.ids import from_us
from kling_pricing.money import from_micro
from kling_reports import overview, spend
from kling_reports.currency import HOLDS_DAYS, DatedRate, Rates, nearest, read_rates
from kling_reports.query import Basis
from tests.cli import Cli
from tests.export_ledger import EVENTFUL, ledger_of
from tests.ledgers import found, make_empty
from tests.reports_ledger import START, Made, query, rows, totals
from tests.reports_ledger import ledger_of as jobs_of
from tests.test_reports_posted import WORDS, ZONES

CSV = """day,from,to,rate,source
2026-03-20,USD,EUR,0.92,ECB
2026-03-21,USD,EUR,0.9,ECB
2026-03-01,crun-credit,EUR,0.0046,contract
"""
TOML = """
[[rate]]
day = 2026-03-20
from = "USD"
to = "EUR"
rate = 0.92
source = "ECB"
[[rate]]
day = "2026-03-21"
from = "USD"
to = "EUR"
rate = "0.9"
source = "ECB"
[[rate]]
day = 2026-03-01
from = "crun-credit"
to = "EUR"
rate = 0.0046
source = "contract"
"""


def rate(day: str, worth: str, unit: str = "USD", currency: str = "EUR") -> DatedRate:
    return DatedRate(date.fromisoformat(day), unit, currency, Fraction(worth), "ECB")


@pytest.fixture(params=["rates.csv", "rates.toml"])
def file(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    path = tmp_path / str(request.param)
    path.write_text(CSV if path.suffix == ".csv" else TOML, encoding="utf-8")
    return path


def test_rates_are_read_exactly_from_either_form(file: Path):
    rates = read_rates(file)
    assert rates.on(date(2026, 3, 20), "USD", "EUR") == Fraction(92, 100)
    assert rates.on(date(2026, 3, 21), "USD", "EUR") == Fraction(9, 10)
    assert rates.on(date(2026, 3, 31), "crun-credit", "EUR") == Fraction(46, 10_000)
    # Nothing is turned round: who sells euros for dollars has a rate of his own.
    assert rates.on(date(2026, 3, 21), "EUR", "USD") is None


def test_a_rate_holds_from_its_day_until_the_next_one_or_for_so_many_days():
    rates = Rates([rate("2026-03-20", "0.92"), rate("2026-03-25", "0.9")])
    last = date(2026, 3, 25) + timedelta(days=HOLDS_DAYS)
    worths = [
        rates.on(day, "USD", "EUR")
        for day in (
            date(2026, 3, 19),
            date(2026, 3, 20),
            date(2026, 3, 24),
            date(2026, 3, 25),
            last,
            last + timedelta(days=1),
        )
    ]
    first, second = Fraction("0.92"), Fraction("0.9")
    assert worths == [None, first, first, second, second, None]


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("2026-03-32,USD,EUR,0.9,ECB", "line 2: not a day: 2026-03-32"),
        ("2026-03-20,USD,EUR,0.9,", "line 2: a rate without source"),
        ("2026-03-20,USD,EUR,-0.9,ECB", "not a rate: -0.9"),
        ("2026-03-20,USD,EUR,0,ECB", "not a rate: 0"),
        ("2026-03-20,USD,EUR,NaN,ECB", "not a rate: NaN"),
        ("2026-03-20,EUR,EUR,1,ECB", "to itself"),
        ("2026-03-20,USD,EUR,0.9,ECB\n2026-03-20,USD,EUR,0.91,ECB", "two rates from USD to EUR"),
    ],
)
def test_what_is_no_rate_is_refused_with_its_place(tmp_path: Path, line: str, said: str):
    path = tmp_path / "rates.csv"
    path.write_text(f"day,from,to,rate,source\n{line}\n", encoding="utf-8")
    with pytest.raises(ConfigError, match=said):
        read_rates(path)


@pytest.mark.parametrize("toml", ["rate = 1", "[[rate]\n", "[[rate]]\nday = 2026-03-20"])
def test_what_is_no_toml_of_rates_is_refused(tmp_path: Path, toml: str):
    path = tmp_path / "rates.toml"
    path.write_text(toml, encoding="utf-8")
    with pytest.raises(ConfigError, match=r"rates\.toml"):
        read_rates(path)


@pytest.mark.parametrize(
    ("exact", "whole"),
    [("0.5", 1), ("0.4999999", 0), ("1.5", 2), ("2.5", 3), ("-0.5", 0), ("7", 7)],
)
def test_an_amount_is_rounded_to_the_nearest_half_up(exact: str, whole: int):
    assert nearest(Fraction(exact)) == whole


BASES: tuple[Basis, Basis] = ("reserved", "posted")
CREDIT = 135_000_000
MIXED = [
    # On March 20, at noon; the second is reserved a minute before midnight and charged after it.
    Made(cost=675_001),
    Made(minute=12 * 60 - 1, quoted=1_000_000, cost=1_000_000, provider="crun"),
    Made(minute=24 * 60, wallet="crun", quoted=CREDIT, cost=CREDIT, usd=675_000),
    Made(minute=24 * 60, wallet="crun", quoted=CREDIT, cost=CREDIT),
]


def test_figures_worked_by_hand_on_the_axis_of_reservation(tmp_path: Path, file: Path):
    with jobs_of(str(tmp_path / "l"), MIXED) as ledger:
        asked = query("provider", currency="EUR", rates=read_rates(file))
        answered = spend.report(ledger.database, asked)
    # 0.675001 x 0.92 = 0.62100092; 1 x 0.92; 0.675 x 0.9; 135 credits x 0.0046.
    assert rows(answered.main, "provider", "unit", "clips", "spent") == [
        ("crun", "EUR", 1, Decimal("0.92")),
        ("runapi", "EUR", 3, Decimal("0.621001") + Decimal("0.6075") + Decimal("0.621")),
    ]
    assert totals(answered.main, "unit", "spent") == [("EUR", Decimal("2.769501"))]
    assert any("by ECB" in note or "ECB, contract" in note for note in answered.notes)
    assert any("40 days at most" in note for note in answered.notes)


def test_a_posting_has_the_rate_of_the_day_on_which_it_was_posted(tmp_path: Path, file: Path):
    with jobs_of(str(tmp_path / "l"), [MIXED[1], Made(minute=13 * 60, refund=75_000)]) as ledger:
        # Reserved 30 seconds before it is charged: 23:59:30 is still March 20.
        asked = query("day", currency="EUR", rates=read_rates(file), basis="posted")
        answered = spend.report(ledger.database, asked)
    assert rows(answered.main, "day", "unit", "charged", "refunded", "net") == [
        (date(2026, 3, 20), "EUR", Decimal("0.92"), Decimal(0), Decimal("0.92")),
        (date(2026, 3, 21), "EUR", Decimal("0.6075"), Decimal("0.0675"), Decimal("0.54")),
    ]


def test_what_has_no_rate_stays_in_its_own_unit_and_is_told(tmp_path: Path):
    rates = Rates([rate("2026-03-21", "0.9")])
    with jobs_of(str(tmp_path / "l"), MIXED) as ledger:
        answers = [
            spend.report(ledger.database, replace(query(currency="EUR", rates=rates), basis=basis))
            for basis in BASES
        ]
    for answered, amount in zip(answers, ("spent", "net"), strict=True):
        # On March 20 no rate holds yet, and one job in credits has none of its own.
        assert totals(answered.main, "unit", amount) == [
            ("EUR", Decimal("0.6075")),
            ("USD", Decimal("1.675001")),
            ("crun-credit", Decimal(135)),
        ]
        assert any("3 jobs have no known rate" in note for note in answered.notes)


def test_rates_into_usd_are_for_what_has_none_of_its_own(tmp_path: Path):
    rates = Rates([rate("2026-03-01", "0.004", "crun-credit", "USD")])
    with jobs_of(str(tmp_path / "l"), MIXED[2:]) as ledger:
        answered = spend.report(ledger.database, query(currency="USD", rates=rates))
    assert totals(answered.main, "unit", "spent") == [("USD", Decimal("0.675") + Decimal("0.54"))]


RATES = st.lists(
    st.builds(
        lambda days, unit, worth: rate(
            str(date(2026, 9, 20) + timedelta(days=days)), str(worth), unit
        ),
        days=st.integers(0, 150),
        unit=st.sampled_from(["USD", "USD", "crun-credit"]),
        worth=st.decimals("0.0001", 9, places=4),
    ),
    max_size=8,
    unique_by=lambda one: (one.day, one.unit),
)


def own_worth(line: Mapping[str, Any]) -> Fraction | None:
    return None if line["usd"] is None else Fraction(int(line["usd"]), int(line["reserved"]))


def expected(ledger: Ledger, rates: Rates, basis: str) -> dict[str, Decimal]:
    """What it comes to by unit, from the tables and by fractions alone."""
    of_jobs = (
        "SELECT unit, created_at AS at, usd_micro AS usd, reserved_micro AS reserved,"
        " COALESCE(committed_micro, 0) - refunded_micro AS amount, 1 AS sign FROM reservation"
    )
    of_transfers = (
        "SELECT transfer.unit, transfer.created_at AS at, usd_micro AS usd,"
        " reserved_micro AS reserved, amount_micro AS amount,"
        " CASE WHEN kind = 'refund' THEN -1 ELSE 1 END AS sign FROM transfer"
        " JOIN reservation ON reservation.id = reservation_id"
        " WHERE kind IN ('commit', 'overrun', 'late_commit', 'refund')"
    )
    sums: dict[str, int] = defaultdict(int)
    for line in found(ledger, of_jobs if basis == "reserved" else of_transfers):
        day = from_us(line["at"]).date()
        usd = Fraction(1) if line["unit"] == "USD" else own_worth(line)
        into = rates.on(day, "USD", "EUR")
        worth = usd * into if usd is not None and into is not None else None
        worth = worth or rates.on(day, line["unit"], "EUR")
        amount = int(line["amount"]) * (worth or 1)
        unit = "EUR" if worth else line["unit"]
        sums[unit] += line["sign"] * floor(amount + Fraction(1, 2))
    return {unit: from_micro(micro) for unit, micro in sums.items() if micro}


@pytest.fixture(scope="module", params=["sqlite", "postgresql"])
def eventful(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Ledger]:
    if request.param == "sqlite":
        url = str(tmp_path_factory.mktemp("currency") / "ledger.sqlite")
    else:
        url = request.getfixturevalue("postgres_ledger")
        make_empty(url)
    with ledger_of(url, EVENTFUL) as (ledger, _):
        yield ledger


@pytest.mark.parametrize("basis", ["reserved", "posted"])
@settings(max_examples=6, suppress_health_check=list(HealthCheck))
@given(
    given_rates=RATES,
    words=st.lists(st.sampled_from([one for one in WORDS if one != "period"]), max_size=3),
    zone=st.sampled_from(ZONES),
)
def test_any_grouping_in_any_zone_has_the_same_total(
    eventful: Ledger, basis: Basis, given_rates: list[DatedRate], words: list[str], zone: str
):
    rates = Rates(given_rates)
    asked = query(*words, zone=zone, currency="EUR", rates=rates, basis=basis)
    table = spend.report(eventful.database, asked).main
    amount = "spent" if basis == "reserved" else "net"
    worked_out = expected(eventful, rates, basis)
    assert {unit: one for unit, one in totals(table, "unit", amount) if one} == worked_out
    parts: dict[str, Decimal] = defaultdict(Decimal)
    for unit, one in rows(table, "unit", amount):
        parts[unit] += one
    assert {unit: one for unit, one in parts.items() if one} == worked_out


def test_the_overview_tells_spending_in_the_currency(tmp_path: Path, file: Path):
    jobs = [*MIXED, Made(end="in_doubt")]
    with jobs_of(str(tmp_path / "l"), jobs) as ledger:
        asked = query("provider", currency="EUR", rates=read_rates(file), now=START)
        answered = overview.report(ledger.database, asked)
    [(unit, spent)] = totals(answered.main, "unit", "spent")
    assert (unit, spent) == ("EUR", Decimal("2.769501"))
    # Open credits are told in their own units: nobody spent them yet.
    assert {row[0] for row in rows(answered.table("open"), "unit")} == {"USD"}


def test_the_command_takes_a_currency_and_its_rates(tmp_path: Path, file: Path):
    cli = Cli(tmp_path)
    with jobs_of(str(cli.database), MIXED[:1]):
        pass
    asked = ("report", "spend", "--db", str(cli.database), "--currency", "eur")
    told = cli.json(*asked, "--rates", str(file))
    assert told["currency"] == "EUR"
    assert [row["spent"] for row in told["tables"]["spend"]["totals"]] == ["0.621001"]
    refused = cli(*asked)
    assert (refused.code, refused.out) == (2, "")
    assert "--rates FILE" in refused.err
    assert cli(*asked[:4], "--rates", str(file)).code == 2
    assert cli(*asked[:4], "--currency", "euros").code == 2
