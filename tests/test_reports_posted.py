"""Posted: one sum a month, in every report, however it is grouped and in whatever form."""

from __future__ import annotations

import csv
import io
import json
import tempfile
from collections import defaultdict
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from hashlib import sha256
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from openpyxl import load_workbook

from kling_ledger.errors import ConfigError
from kling_ledger.ledger import Ledger
from kling_pricing.money import Money, from_micro
from kling_reports import close_pack, spend, statement
from kling_reports.render import csv as csv_form
from kling_reports.render import json as json_form
from kling_reports.render import parquet, xlsx
from kling_reports.report import Report, Span
from tests.cli import Cli
from tests.export_ledger import ENDS, EVENTFUL, UNITS, WORTH, Step, happen, ledger_of
from tests.folders import memory_folder
from tests.ledgers import Chance, Clock, found, make_empty, usd
from tests.reports_ledger import query, rows, totals
from tests.sweeps import sampled

WORDS = (
    "day",
    "week",
    "month",
    "period",
    "project",
    "project:1",
    "wallet",
    "provider",
    "account",
    "model",
    "action",
    "resolution",
    "sound",
    "user",
    "label:team",
    "label:none",
)
ZONES = ("UTC", "Asia/Kolkata", "Pacific/Apia", "America/New_York", "Australia/Lord_Howe")

Figures = dict[str, tuple[int, Decimal, Decimal]]
"""Jobs, charged and refunded, by unit."""


def line(what: st.SearchStrategy[str]) -> st.SearchStrategy[Step]:
    return st.builds(
        Step,
        what=what,
        wallet=st.sampled_from(sorted(UNITS)),
        hours=st.integers(1, 24 * 25),
        micro=st.integers(2, 10**9),
        text=st.sampled_from([None, "film", "film/a", "film/a/b", "ads"]),
        seconds=st.sampled_from((None, 5, 10)),
        provider=st.sampled_from((None, "runapi", "crun")),
    )


OTHERS = ("fund", "buy", "euros", "adjust", "adjust_down", "close", "amend", "seal")
HISTORIES = st.lists(line(st.sampled_from((*ENDS, *OTHERS))), min_size=1, max_size=9)


@contextmanager
def lived(
    url: str, history: Sequence[Step], *, paid: bool = False
) -> Iterator[tuple[Ledger, Clock]]:
    """A ledger in which all this happened; months are closed softly, or sealed, on the way."""
    with ledger_of(url, [], paid=paid) as (ledger, clock):
        for step in history:
            clock.forward(hours=step.hours)
            last = f"{clock.now.replace(day=1) - timedelta(days=1):%Y-%m}"
            if step.what == "seal":
                seal(ledger, last)
            elif step.what in {"close", "amend"}:
                ledger.periods.close(last)
            else:
                happen(ledger, step)
            if step.what == "amend":
                amount = Money.from_micro(step.micro, UNITS[step.wallet])
                ledger.wallets.adjust(step.wallet, amount, reason="amended", corrects=last)
        yield ledger, clock


def seal(ledger: Ledger, last: str) -> None:
    for month in months(ledger):
        if month <= last:
            ledger.periods.close(month, hard=True)


def months(ledger: Ledger) -> list[str]:
    told = found(ledger, "SELECT DISTINCT period FROM transfer ORDER BY 1")
    return [row["period"] for row in told]


def charges(ledger: Ledger) -> list[dict[str, Any]]:
    """Each transfer that paid a provider or came back from one, by plain SQL alone."""
    return [
        dict(row)
        for row in found(
            ledger,
            "SELECT period, unit, reservation_id, created_at, amount_micro,"
            " CASE WHEN debit_account LIKE 'provider/%' THEN 1 ELSE 0 END AS is_back"
            " FROM transfer WHERE debit_account LIKE 'provider/%'"
            " OR credit_account LIKE 'provider/%' ORDER BY created_at, id",
        )
    ]


def added(lines: Sequence[dict[str, Any]]) -> Figures:
    """Jobs, charged and refunded of some of these, by unit."""
    sums: dict[str, list[int]] = defaultdict(lambda: [0, 0])
    jobs: dict[str, set[str]] = defaultdict(set)
    for one in lines:
        sums[one["unit"]][one["is_back"]] += int(one["amount_micro"])
        jobs[one["unit"]].add(one["reservation_id"])
    return {
        unit: (len(jobs[unit]), from_micro(charged), from_micro(back))
        for unit, (charged, back) in sums.items()
    }


def of_rows(found_rows: Sequence[tuple[Any, ...]]) -> Figures:
    """The same of rows of unit, jobs, charged, refunded and net."""
    sums: dict[str, list[Any]] = defaultdict(lambda: [0, Decimal(0), Decimal(0)])
    for unit, jobs, charged, refunded, net in found_rows:
        assert net == charged - refunded
        sums[unit] = [a + b for a, b in zip(sums[unit], (jobs, charged, refunded), strict=True)]
    return {unit: (one[0], one[1], one[2]) for unit, one in sums.items()}


FIGURES = ("unit", "jobs", "charged", "refunded", "net")


def nets(figures: Figures) -> dict[str, Decimal]:
    return {unit: charged - back for unit, (_, charged, back) in figures.items() if charged != back}


def packed(ledger: Ledger, month: str, name: str) -> Figures:
    written = close_pack.contents(ledger.database, month, rates=WORTH)[name].decode()
    read = csv.DictReader(io.StringIO(written, newline=""))
    return of_rows(
        [
            (
                row["unit"],
                int(row["jobs"]),
                *(Decimal(row[one]) for one in ("charged", "refunded", "net")),
            )
            for row in read
        ]
    )


def ask(ledger: Ledger, *by: str, **given: Any) -> Report:
    return spend.report(ledger.database, query(*by, basis="posted", **given))


def in_the_view(ledger: Ledger, month: str) -> dict[str, Decimal]:
    """What a month came to, as anyone asks the public view for it."""
    told = found(
        ledger,
        "SELECT unit, SUM(amount_micro) AS net FROM v1_spend WHERE period = :m GROUP BY unit",
        m=month,
    )
    return {row["unit"]: from_micro(int(row["net"])) for row in told if row["net"]}


def paid_in(ledger: Ledger, month: str) -> dict[str, Decimal]:
    """The cash of a month's purchases, by plain SQL alone."""
    told = found(
        ledger,
        "SELECT currency, SUM(cash_micro) AS cash FROM purchase_lot WHERE period = :m"
        " GROUP BY currency",
        m=month,
    )
    return {row["currency"]: from_micro(int(row["cash"])) for row in told}


def in_focus(written: bytes) -> tuple[dict[str, Decimal], dict[str, Decimal]]:
    """Usage by unit, and the cash of purchases by currency, as another reader adds a file up."""
    used: dict[str, Decimal] = defaultdict(Decimal)
    cash: dict[str, Decimal] = defaultdict(Decimal)
    for row in csv.DictReader(io.StringIO(written.decode(), newline="")):
        if row["ChargeCategory"] == "Usage":
            used[row["x_Unit"]] -= Decimal(row["x_Amount"])
        elif row["ChargeCategory"] == "Purchase":
            cash[row["BillingCurrency"]] += Decimal(row["BilledCost"])
    return {unit: one for unit, one in used.items() if one}, dict(cash)


@pytest.fixture(params=sampled(["postgresql", "sqlite"], every=2))
def url(request: pytest.FixtureRequest) -> Iterator[str]:
    if request.param == "sqlite":
        yield ""
        return
    yield request.getfixturevalue("postgres_ledger")


@contextmanager
def fresh(url: str) -> Iterator[str]:
    """The address of an empty ledger: of a new file, or of the server's own."""
    if url:
        make_empty(url)
        yield url
        return
    with tempfile.TemporaryDirectory(dir=memory_folder()) as made:
        yield f"{made}/ledger.sqlite"


@settings(max_examples=2, suppress_health_check=list(HealthCheck))
@given(
    history=HISTORIES,
    words=st.lists(st.sampled_from(WORDS), max_size=3, unique=True),
    zone=st.sampled_from(ZONES),
    paid=st.booleans(),
)
@example(history=EVENTFUL, words=["project:1", "week"], zone="Pacific/Apia", paid=True)
@example(history=[Step("amend", "Team")], words=[], zone="UTC", paid=False)
@example(
    history=[
        Step("seal", hours=24 * 4),
        Step("refund", hours=24 * 9),
        Step("late"),
        Step("seal", hours=24 * 25),
        Step("correct", hours=1),
        Step("amend", hours=24 * 30),
    ],
    words=["day", "provider"],
    zone="Asia/Kolkata",
    paid=True,
)
def test_a_month_has_one_sum_in_every_report(
    url: str, history: list[Step], words: list[str], zone: str, *, paid: bool
):
    with fresh(url) as address, lived(address, history, paid=paid) as (ledger, clock):
        lines = charges(ledger)
        whole = spend.report(ledger.database, query()).main
        kept = {}
        for month in months(ledger):
            expected = added([one for one in lines if one["period"] == month])
            kept[month] = ask(ledger, *words, period=month, zone=zone).main
            assert of_rows(totals(kept[month], *FIGURES)) == expected
            assert of_rows(rows(kept[month], *FIGURES)) == expected
            told = statement.report(ledger.database, query(period=month))
            assert of_rows(totals(told.table("charges"), *FIGURES)) == expected
            moved = totals(told.main, "unit", "spent", "refunded")
            left = {unit: -(out + back) for unit, out, back in moved if out + back}
            assert left == nets(expected)
            assert in_the_view(ledger, month) == nets(expected)
        every = added(lines)
        assert of_rows(rows(ask(ledger, *words, zone=zone).main, *FIGURES)) == every
        # What a month posted, and what jobs cost since they were reserved: over all time it is one.
        spent = {unit: amount for unit, amount in totals(whole, "unit", "spent") if amount}
        assert spent == nets(every)
        clock.forward(hours=24 * 40)
        sealed_and_corrected(ledger, words, zone, kept)


def sealed_and_corrected(ledger: Ledger, words: list[str], zone: str, kept: dict[str, Any]) -> None:
    """Seal all months, correct what can be, and ask again: nothing in them has changed."""
    seal(ledger, "9999-12")
    packs = {}
    for month, table in kept.items():
        expected = of_rows(totals(table, *FIGURES))
        packs[month] = close_pack.contents(ledger.database, month, rates=WORTH)
        for name in ("spend.csv", "reconciliation.csv"):
            assert packed(ledger, month, name) == expected
        assert in_focus(packs[month]["focus.csv"]) == (nets(expected), paid_in(ledger, month))
    for one in ledger.reservations.latest(limit=100):
        if one.committed and one.committed.amount > one.refunded.amount:
            ledger.refund(one.id, Money.from_micro(1, one.amount.unit), reason="found later")
        elif one.is_open:
            ledger.commit(one.id, one.amount, settled_by="provider")
    for month, table in kept.items():
        again = ask(ledger, *words, period=month, zone=zone).main
        assert list(again.rows()) == list(table.rows())
        assert close_pack.contents(ledger.database, month, rates=WORTH) == packs[month]


@pytest.mark.parametrize("zone", ZONES)
def test_a_transfer_counts_on_its_day_in_the_zone(tmp_path: Path, zone: str):
    with ledger_of(str(tmp_path / "ledger"), EVENTFUL) as (ledger, _):
        sums: dict[tuple[date, str], int] = defaultdict(int)
        for one in charges(ledger):
            at = datetime.fromtimestamp(one["created_at"] // 10**6, UTC).astimezone(ZoneInfo(zone))
            sums[at.date(), one["unit"]] += (-1 if one["is_back"] else 1) * one["amount_micro"]
        told = rows(ask(ledger, "day", zone=zone).main, "day", "unit", "net")
    assert {row[:2]: row[2] for row in told} == {key: from_micro(one) for key, one in sums.items()}


def test_every_form_has_the_same_totals(tmp_path: Path):
    with ledger_of(str(tmp_path / "ledger"), EVENTFUL) as (ledger, _):
        expected = added(charges(ledger))
        answered = ask(ledger, "period", "project", "provider")
    as_json = json.loads(json_form.render(answered))["tables"]["spend"]
    for part in ("rows", "totals"):
        assert of_rows([read(row) for row in as_json[part]]) == expected
    as_csv = csv.DictReader(io.StringIO(csv_form.render(answered).decode(), newline=""))
    assert of_rows([read(row) for row in as_csv]) == expected
    as_parquet = pq.read_table(io.BytesIO(parquet.render(answered))).to_pylist()
    assert of_rows([read(row) for row in as_parquet]) == expected
    assert of_rows(list(of_sheet(xlsx.render(answered)))) == expected


def read(row: dict[str, Any]) -> tuple[Any, ...]:
    amounts = (Decimal(row[one]) for one in ("charged", "refunded", "net"))
    return (row["unit"], int(row["jobs"]), *amounts)


def of_sheet(written: bytes) -> Iterator[tuple[Any, ...]]:
    """The rows of the workbook's table: below the second line of titles, which ends the totals."""
    sheet = load_workbook(io.BytesIO(written), data_only=True)["Spend as posted"]
    lines = [[cell.value for cell in line] for line in sheet.iter_rows()]
    heads = [place for place, cells in enumerate(lines) if "jobs" in cells]
    names = lines[heads[-1]]
    for cells in lines[heads[-1] + 1 :]:
        row = {name: cell for name, cell in zip(names, cells, strict=True) if name}
        if row.get("unit"):
            exact = {
                one: str(row.get(f"{one}, exact") or row[one])
                for one in ("charged", "refunded", "net")
            }
            yield read({**row, **exact})


def test_figures_worked_by_hand(tmp_path: Path):
    clock = Clock(datetime(2026, 9, 30, 23, 59, tzinfo=UTC))
    with Ledger(str(tmp_path / "ledger"), clock=clock, chance=Chance(), actor="ann") as ledger:
        ledger.wallets.create("team", "USD")
        ledger.wallets.fund("team", usd("10"))
        first = ledger.reserve("team", usd("1"), project="film").id
        ledger.commit(first, usd("0.9"), settled_by="provider")
        second = ledger.reserve("team", usd("2"), project="film").id
        clock.forward(minutes=2)
        # October: the first job's half comes back, the second is charged more than was set aside.
        ledger.refund(first, usd("0.45"), reason="half of it is black")
        ledger.commit(second, usd("2.5"), settled_by="provider")
        ledger.reserve("team", usd("1"), project="ads")
        told = rows(ask(ledger, "period", "project").main, "period", "project", *FIGURES[1:])
        of_october = rows(ask(ledger, period="2026-10").main, *FIGURES[1:])
        reserved = rows(spend.report(ledger.database, query("month")).main, "month", "spent")
    dec = Decimal
    # The first job counts once, where it was charged; in October alone, where it came back.
    assert told == [
        ("2026-09", "film", 1, dec("0.9"), dec(0), dec("0.9")),
        ("2026-10", "film", 1, dec("2.5"), dec("0.45"), dec("2.05")),
    ]
    assert of_october == [(2, dec("2.5"), dec("0.45"), dec("2.05"))]
    # By when they were reserved, both are of September.
    assert reserved == [(date(2026, 9, 1), dec("2.95")), (date(2026, 10, 1), dec(0))]


def test_a_span_has_its_start_and_not_its_end(tmp_path: Path):
    with ledger_of(str(tmp_path / "ledger"), EVENTFUL) as (ledger, _):
        lines = charges(ledger)
        cut = lines[len(lines) // 2]["created_at"]
        at = datetime(1970, 1, 1, tzinfo=UTC) + timedelta(microseconds=cut)
        parts = [
            of_rows(totals(ask(ledger, span=span).main, *FIGURES))
            for span in (Span(None, at), Span(at, None))
        ]
    assert parts == [
        added([one for one in lines if one["created_at"] < cut]),
        added([one for one in lines if one["created_at"] >= cut]),
    ]


@pytest.mark.parametrize(
    ("where", "condition"),
    [
        (["project=-"], "project IS NULL"),
        (["provider=crun", "provider=runapi"], "provider IN ('crun', 'runapi')"),
        (["wallet=team", "label:team=ads"], "transfer.unit = 'USD'"),
        (["period=2026-10"], "period = '2026-10'"),
    ],
)
def test_conditions_hold_on_this_axis_too(tmp_path: Path, where: list[str], condition: str):
    with ledger_of(str(tmp_path / "ledger"), EVENTFUL) as (ledger, _):
        told = of_rows(totals(ask(ledger, where=where).main, *FIGURES))
        lines = found(
            ledger,
            "SELECT transfer.unit, reservation_id, amount_micro,"
            " CASE WHEN kind = 'refund' THEN 1 ELSE 0 END AS is_back"
            " FROM transfer JOIN reservation ON reservation.id = reservation_id"
            " WHERE kind IN ('commit', 'overrun', 'late_commit', 'refund')"
            f" AND {condition}",
        )
    assert told == added([dict(line) for line in lines])
    assert told


@pytest.mark.parametrize("word", ["state", "settled_by"])
def test_what_may_change_after_a_close_is_refused_with_the_reason(tmp_path: Path, word: str):
    with ledger_of(str(tmp_path / "ledger"), []) as (ledger, _):
        with pytest.raises(ConfigError, match="a closed month stays as it is"):
            ask(ledger, word)
        with pytest.raises(ConfigError, match="a closed month stays as it is"):
            ask(ledger, where=[f"{word}=committed"])


def test_a_month_of_the_journal_is_nothing_that_a_job_is_reserved_in(tmp_path: Path):
    with (
        ledger_of(str(tmp_path / "ledger"), []) as (ledger, _),
        pytest.raises(ConfigError, match="has no period"),
    ):
        spend.report(ledger.database, query("period"))


PINNED = {
    "2026-09": ("1a1c21ae1fac450a", "fd76df43c36bf622"),
    "2026-10": ("f73e55f677fe326a", "2b952408c2e4b89d"),
    "2026-11": ("bd64bb6d1e96628d", "f2572b0698d07654"),
}
"""What `spend.csv` and `reconciliation.csv` of months were before one function made them."""


def test_what_was_written_of_closed_months_stays_to_the_byte(tmp_path: Path):
    with ledger_of(str(tmp_path / "ledger"), EVENTFUL) as (ledger, clock):
        clock.forward(hours=24 * 40)
        for month, pinned in PINNED.items():
            ledger.periods.close(month, hard=True)
            files = close_pack.contents(ledger.database, month, rates=WORTH)
            written = (files["spend.csv"], files["reconciliation.csv"])
            assert tuple(sha256(one).hexdigest()[:16] for one in written) == pinned


@pytest.fixture
def cli(tmp_path: Path) -> Cli:
    cli = Cli(tmp_path)
    with ledger_of(str(cli.database), EVENTFUL):
        pass
    return cli


def test_the_command_tells_a_month_and_every_word_of_it(cli: Cli):
    given = ("--db", str(cli.database), "--basis", "posted")
    told = cli.json("report", "spend", *given, "--period", "2026-10", "--by", "period")
    assert told["period"] == "2026-10"
    assert {row["period"] for row in told["tables"]["spend"]["rows"]} == {"2026-10"}
    whole = cli.json("report", "spend", *given, "--by", "project:1", "--where", "period=2026-10")
    assert whole["tables"]["spend"]["totals"] != []
    assert [row["net"] for row in whole["tables"]["spend"]["totals"]] == [
        row["net"] for row in told["tables"]["spend"]["totals"]
    ]


def test_the_last_month_is_the_one_before_this(cli: Cli):
    given = ("--db", str(cli.database), "--period", "last")
    now = datetime.now(UTC)
    last = f"{now.replace(day=1) - timedelta(days=1):%Y-%m}"
    for asked in (("statement",), ("spend", "--basis", "posted")):
        assert cli.json("report", *asked, *given)["period"] == last


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("budgets", "--period", "2026-10"), "use report spend for another period"),
        (("spend", "--basis", "posted", "--period", "October"), "2026-10"),
        (("spend", "--basis", "posted", "--period", "last", "--from", "2026-10"), "replaces"),
        (("spend", "--basis", "posted", "--by", "settled_by"), "use --basis reserved"),
        (("spend", "--by", "period"), "spend --basis posted"),
        (("variance", "--by", "period"), "spend --basis posted"),
    ],
)
def test_what_has_no_answer_is_refused_with_what_to_ask(
    cli: Cli, words: tuple[str, ...], said: str
):
    refused = cli("report", *words, "--db", str(cli.database))
    assert (refused.code, refused.out) == (2, "")
    assert said in refused.err
