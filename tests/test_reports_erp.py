"""The journal for an ERP: each document balances, and the month's totals are the statement's."""

from __future__ import annotations

import csv
import io
import re
from collections import defaultdict
from collections.abc import Iterator
from datetime import datetime, timedelta
from decimal import Decimal
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from kling_ledger.errors import ConfigError
from kling_ledger.ledger import Job, Ledger
from kling_reports import statement
from kling_reports.doors import journal
from kling_reports.erp.journal import ErpJournal, erp_journal
from kling_reports.erp.mapping_reader import EXAMPLES, example, parse
from tests.cli import Cli
from tests.export_ledger import EVENTFUL, START, UNITS, Step, ledger_of, steps
from tests.ledgers import Chance, Clock, make_empty, money, usd
from tests.reports_ledger import query, rows

ROOT = Path(__file__).resolve().parent.parent
ACCOUNTS = {
    "available": "1370",
    "reserved": "1371",
    "provider": "6810",
    "funding": "1590",
    "adjustment": "6969",
}
COLUMNS = ("document", "date", "account", "contra", "debit", "credit", "signed", "currency")


def mapping(
    *,
    each: str = "transfer",
    file: str = "",
    split: str = "",
    more: str = "",
    accounts: dict[str, str] = ACCOUNTS,
    columns: tuple[str, ...] = COLUMNS,
) -> str:
    """A mapping with these accounts; units that are no currency are one as they are."""
    rules = "\n".join(
        f'[[accounts]]\nof = "{of}"\ncode = "{code}"' for of, code in accounts.items()
    )
    named = "\n".join(f'[[columns]]\nname = "{one}"\nvalue = "{{{one}}}"' for one in columns)
    return (
        f'[file]\nline_end = "lf"\n{file}\n[documents]\neach = "{each}"\nsplit = [{split}]\n'
        'number = "D{count}"\n[currencies]\n'
        'crun-credit = { currency = "CRC", rate = "1" }\n'
        f'evolink-credit = {{ currency = "EVC", rate = "1" }}\n{more}\n{rules}\n{named}'
    )


def made(ledger: Ledger, text: str, month: str) -> ErpJournal:
    return erp_journal(journal.lines(ledger.database, period=month), parse(text), month)


def told(ledger: Ledger, text: str, month: str = "2026-09") -> list[dict[str, str]]:
    content = made(ledger, text, month).content.decode()
    return list(csv.DictReader(io.StringIO(content, newline="")))


@pytest.fixture
def ledger_clock(tmp_path: Path) -> Iterator[tuple[Ledger, Clock]]:
    with ledger_of(str(tmp_path / "ledger"), []) as opened:
        yield opened


@pytest.fixture
def small(tmp_path: Path) -> Iterator[tuple[Ledger, Clock]]:
    """A wallet into which 100 USD were paid on 28 September 2026."""
    clock = Clock(START)
    with Ledger(str(tmp_path / "small"), clock=clock, chance=Chance(), actor="ann") as ledger:
        ledger.wallets.create("team", "USD")
        ledger.wallets.fund("team", usd("100"))
        clock.forward(hours=1)
        yield ledger, clock


def job(ledger: Ledger, held: str, cost: str, **more: str) -> str:
    made_by = Job(provider=more.pop("provider", "runapi"), model="kling-3.0")
    labels = {"team": more.pop("team")} if "team" in more else None
    one = ledger.reserve("team", usd(held), job=made_by, project=more.get("project"), labels=labels)
    ledger.commit(one.id, usd(cost))
    return one.id


def test_what_receives_is_debited_and_what_gives_is_credited(small: tuple[Ledger, Clock]):
    ledger, _ = small
    one = job(ledger, "3", "2")
    ledger.refund(one, usd("0.5"), reason="bad")
    ledger.wallets.adjust("team", usd("-4"), reason="a fee")
    found = told(ledger, mapping())
    assert [(row["account"], row["debit"], row["credit"]) for row in found] == [
        # Paid in; set aside; charged, the rest returned; refunded; a fee.
        *[("1370", "100", ""), ("1590", "", "100")],
        *[("1371", "3", ""), ("1370", "", "3")],
        *[("6810", "2", ""), ("1371", "", "2")],
        *[("1370", "1", ""), ("1371", "", "1")],
        *[("1370", "0.5", ""), ("6810", "", "0.5")],
        *[("6969", "4", ""), ("1370", "", "4")],
    ]
    assert [row["signed"] for row in found[:2]] == ["100", "-100"]
    assert [row["contra"] for row in found[:2]] == ["1590", "1370"]
    assert {row["date"] for row in found} == {"2026-09-28"}


def test_what_moves_within_one_account_is_not_booked(small: tuple[Ledger, Clock]):
    ledger, _ = small
    job(ledger, "3", "2")
    one_account = ACCOUNTS | {"reserved": "1370"}
    found = told(ledger, mapping(each="job", accounts=one_account))
    assert [(row["document"], row["account"], row["debit"]) for row in found] == [
        ("D0001", "1370", "100"),
        ("D0001", "1590", ""),
        ("D0002", "6810", "2"),
        ("D0002", "1370", ""),
    ]


@pytest.mark.parametrize(
    ("each", "layout", "split"),
    [
        ("transfer", "lines", ""),
        ("job", "pairs", '"project", "provider"'),
        ("day", "lines", '"project"'),
        ("month", "pairs", ""),
        ("month", "lines", '"kind"'),
    ],
)
@settings(max_examples=4, suppress_health_check=list(HealthCheck))
@given(history=st.just(EVENTFUL) | steps)
def test_every_document_balances_and_the_totals_are_the_statements(
    postgres_ledger: str, each: str, layout: str, split: str, history: list[Step]
):
    make_empty(postgres_ledger)
    # Months that were closed out of their order are refused when they are sealed, not here.
    calm = [step for step in history if step.what not in {"close", "amend"}]
    text = mapping(each=each, split=split, file=f'layout = "{layout}"')
    codes = {"USD": "USD", "crun-credit": "CRC", "evolink-credit": "EVC"}
    with ledger_of(postgres_ledger, calm) as (ledger, _):
        for month in ("2026-09", "2026-10", "2026-11"):
            sums = _moved(told(ledger, text, month), layout)
            answered = statement.report(ledger.database, query(period=month)).main
            keys = ("unit", "opening", "closing", "funded", "spent", "refunded", "adjusted")
            for unit, opening, closing, funded, spent, refunded, adjusted in rows(answered, *keys):
                own = sums[codes[unit]]
                assert own["1370"] + own["1371"] == closing - opening
                assert own["6810"] == -(spent + refunded)
                assert (own["1590"], own["6969"]) == (-funded, -adjusted)


def _moved(found: list[dict[str, str]], layout: str) -> dict[str, dict[str, Decimal]]:
    """What each account was debited less credited, by currency; every document is checked."""
    sums: dict[str, dict[str, Decimal]] = defaultdict(lambda: defaultdict(Decimal))
    documents: dict[str, Decimal] = defaultdict(Decimal)
    for row in found:
        own = sums[row["currency"]]
        if layout == "pairs":
            own[row["account"]] += Decimal(row["debit"])
            own[row["contra"]] -= Decimal(row["debit"])
            continue
        own[row["account"]] += Decimal(row["signed"])
        documents[row["document"]] += Decimal(row["signed"])
        assert bool(row["debit"]) is not bool(row["credit"])
    assert set(documents.values()) <= {Decimal(0)}
    assert len({(row["document"], row["currency"]) for row in found}) == len(
        {row["document"] for row in found}
    )
    return sums


@pytest.mark.parametrize(
    ("each", "split", "documents", "expenses"),
    [
        ("transfer", "", 7, ["2", "2", "2"]),
        ("job", "", 4, ["2", "2", "2"]),
        ("day", "", 2, ["4", "2"]),
        ("month", "", 1, ["6"]),
        ("month", '"project"', 1, ["4", "2"]),
    ],
)
def test_documents_and_lines_are_as_fine_as_the_mapping_says(
    small: tuple[Ledger, Clock], each: str, split: str, documents: int, expenses: list[str]
):
    ledger, clock = small
    job(ledger, "2", "2", project="film")
    job(ledger, "2", "2", project="ads")
    clock.forward(hours=24)
    job(ledger, "2", "2", project="film")
    found = told(ledger, mapping(each=each, split=split))
    assert len({row["document"] for row in found}) == documents
    assert [row["debit"] for row in found if row["account"] == "6810"] == expenses


def test_amounts_are_rounded_so_that_they_add_up_to_the_exact_sum(small: tuple[Ledger, Clock]):
    ledger, _ = small
    for _ in range(3):
        job(ledger, "0.675", "0.675")
    found = told(ledger, mapping(each="job", file="decimals = 2"))
    charged = [row["debit"] for row in found if row["account"] == "6810"]
    # 0.675, 1.35 and 2.025 in all: 0.68, 1.35 and 2.03.
    assert charged == ["0.68", "0.67", "0.68"]
    assert found[0]["debit"] == "100.00"
    exact = [row["debit"] for row in told(ledger, mapping(each="job")) if row["account"] == "6810"]
    assert exact == ["0.675"] * 3


def test_what_rounds_to_nothing_is_not_booked_until_it_is_something(small: tuple[Ledger, Clock]):
    ledger, _ = small
    for _ in range(3):
        job(ledger, "0.003", "0.003")
    found = told(ledger, mapping(each="job", file="decimals = 2"))
    assert [row["debit"] for row in found if row["account"] == "6810"] == ["0.01"]


def test_a_transfer_after_the_close_has_a_day_of_the_month_that_it_counts_in(
    small: tuple[Ledger, Clock],
):
    ledger, clock = small
    clock.now = datetime(2026, 10, 2, 12, tzinfo=START.tzinfo)
    ledger.periods.close("2026-09")
    ledger.wallets.adjust("team", usd("1"), reason="a bill", corrects="2026-09")
    assert {row["date"] for row in told(ledger, mapping())} == {"2026-09-28", "2026-09-30"}


def test_the_first_rule_that_fits_counts(small: tuple[Ledger, Clock]):
    ledger, _ = small
    for project, provider in (("film/a", "runapi"), ("films", "runapi"), ("ads", "crun")):
        job(ledger, "2", "2", project=project, provider=provider)
    rules = (
        '[[accounts]]\nof = "provider"\nproject = "film/"\ncode = "1"\n'
        '[[accounts]]\nof = "provider"\nprovider = "crun"\ncode = "2"'
    )
    found = told(ledger, mapping(each="job", more=rules))
    assert [row["account"] for row in found if row["debit"] == "2"][1::2] == ["1", "6810", "2"]


def test_accounts_without_a_code_are_all_named(small: tuple[Ledger, Clock]):
    ledger, _ = small
    job(ledger, "2", "2", project="film/a")
    job(ledger, "2", "2", project="ads", provider="crun")
    few = {"available": "1370", "funding": "1590"}
    with pytest.raises(ConfigError) as said:
        told(ledger, mapping(accounts=few))
    assert said.value.message == (
        "the mapping has no account for: provider provider crun; provider provider runapi;"
        " reserved wallet team"
    )
    rule = '[[accounts]]\nof = "provider"\nproject = "film/"\ncode = "1"'
    with pytest.raises(ConfigError, match="for: provider provider crun project ads; reserved"):
        told(ledger, mapping(accounts=few, more=rule))


def test_units_that_are_no_currency_are_all_named(ledger_clock: tuple[Ledger, Clock]):
    ledger, _ = ledger_clock
    text = re.sub(r".*-credit = .*\n", "", mapping())
    with pytest.raises(ConfigError, match="are: crun-credit, evolink-credit") as said:
        told(ledger, text)
    assert "rate" in str(said.value.hint)


def test_credits_are_booked_in_money_at_the_rate_of_the_mapping(
    ledger_clock: tuple[Ledger, Clock],
):
    ledger, _ = ledger_clock
    text = mapping().replace('currency = "CRC", rate = "1"', 'currency = "USD", rate = "0.005"')
    found = told(ledger, text)
    held = [row["debit"] for row in found if row["account"] == "1371"]
    # 0.675 credits at 0.005 are 0.003375.
    assert sorted(held) == ["0.003375", "0.675", "0.675"]
    assert {row["currency"] for row in found} == {"USD", "EVC"}


def test_a_cost_centre_stands_with_the_expense_alone(small: tuple[Ledger, Clock]):
    ledger, _ = small
    job(ledger, "2", "2", project="film/a", team="x")
    job(ledger, "2", "2", project="ads", team="ads-team")
    job(ledger, "2", "2", project="ads")
    rules = (
        '[[cost_centers]]\nproject = "film/"\ncode = "100"\n[[cost_centers]]\nfrom_label = "team"'
    )
    columns = ("account", "debit", "cost_center")
    found = told(ledger, mapping(each="month", more=rules, columns=columns))
    assert [(row["debit"], row["cost_center"]) for row in found if row["account"] == "6810"] == [
        ("2", "100"),
        ("2", "ads-team"),
        ("2", ""),
    ]
    assert {row["cost_center"] for row in found if row["account"] != "6810"} == {""}


def test_signs_dates_encoding_and_lines_are_as_the_mapping_says(small: tuple[Ledger, Clock]):
    ledger, _ = small
    file = (
        'layout = "pairs"\nseparator = ";"\ndecimal = ","\ndecimals = 2\ndate = "%d%m"\n'
        'encoding = "cp1252"\nheader = false\nfirst_lines = ["Ü {first_day} {last_day}"]\n'
        'debit = "S"'
    )
    text = mapping(file=file, columns=("amount", "side", "account", "contra", "date"))
    content = made(ledger, text, "2026-09").content
    assert content == "Ü 20260901 20260930\n100,00;S;1370;1590;2809\n".encode("cp1252")


def test_what_an_encoding_does_not_have_is_said(small: tuple[Ledger, Clock]):
    ledger, _ = small
    job(ledger, "2", "2", project="影片")
    text = mapping(file='encoding = "cp1252"', columns=("project", "debit"))
    with pytest.raises(ConfigError, match="the encoding cp1252 has no '影片'"):
        told(ledger, text)


def test_text_of_people_is_no_formula_and_keys_are_as_they_are(small: tuple[Ledger, Clock]):
    ledger, _ = small
    ledger.wallets.adjust("team", usd("1"), reason='=1+1, "x"\nnew')
    codes = ACCOUNTS | {"adjustment": "-6969"}
    text = mapping(accounts=codes, columns=("account", "reason", "signed"))
    found = told(ledger, text)
    assert found[-1] == {"account": "-6969", "reason": '\'=1+1, "x" new', "signed": "-1"}


def test_two_documents_never_share_a_number(small: tuple[Ledger, Clock]):
    ledger, _ = small
    job(ledger, "2", "2")
    with pytest.raises(ConfigError, match="several documents would have the number 2026-09"):
        told(ledger, mapping(each="job").replace("D{count}", "{period}"))


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[file", "not valid TOML"),
        ("[fiel]\n", "the mapping knows no fiel"),
        ("[file]\nlayout = 'rows'\n", "layout cannot be 'rows'"),
        ("[file]\ndecimals = 7\n", "decimals cannot be 7"),
        ("[file]\ndecimals = true\n", "decimals cannot be True"),
        ("[file]\nseparator = ';;'\n", "separator must be one character"),
        ("[file]\ndecimal = ','\n", "separator and decimal are the same character"),
        ("[file]\nencoding = 'klingon'\n", "unknown encoding"),
        ("[file]\nline_end = 'cr'\n", "line_end cannot be 'cr'"),
        ("[documents]\neach = 'hour'\n", "each cannot be 'hour'"),
        ("[documents]\nnumber = '{day}'\n", r"number '\{day\}' has no field \{day\}"),
        ("[documents]\nsplit = ['seconds']\n", "split cannot be 'seconds'"),
        ("[[accounts]]\nof = 'bank'\ncode = '1'\n", "of cannot be 'bank'"),
        ("[[accounts]]\nof = 'funding'\ncode = 1590\n", "code is a text, got 1590"),
        ("[[accounts]]\nof = 'funding'\n", "code is a text, got None"),
        ("[[accounts]]\nof = 'funding'\ncod = '1'\n", "knows no cod"),
        ("[[cost_centers]]\nproject = 'film'\n", "a cost centre needs a code"),
        ("[currencies]\npoints = {currency = 'USD', rate = '0'}\n", "not a rate: '0'"),
        ("[currencies]\npoints = {currency = 'USD', rate = 0.5}\n", "rate is a text, got 0.5"),
        ("[[columns]]\nname = 'a'\nvalue = '{debits}'\n", r"has no field \{debits\}"),
        ("[file]\nheader = true\n", "there are no columns"),
    ],
)
def test_what_a_mapping_cannot_say_is_refused(text: str, said: str):
    column = "" if "columns" in text or "header" in text else "[[columns]]\nname='a'\nvalue='b'\n"
    with pytest.raises(ConfigError, match=said):
        parse(f"{text}{column}")


@pytest.mark.parametrize("name", sorted(path.stem for path in EXAMPLES.glob("*.toml")))
def test_every_example_books_a_month_and_stands_in_the_page(tmp_path: Path, name: str):
    page = (ROOT / "docs/reference/erp-mapping.md").read_text("utf-8")
    assert f"```toml\n{example(name)}```" in page
    clock = Clock(START)
    with Ledger(str(tmp_path / "ledger"), clock=clock, actor="ann") as ledger:
        for wallet, unit in (("team", "USD"), ("crun", "crun-credit")):
            ledger.wallets.create(wallet, unit)
            ledger.wallets.fund(wallet, money(f"100 {unit}"))
        job(ledger, "3", "2.505", project="film/a")
        ledger.wallets.adjust("crun", money("-10 crun-credit"), reason="expired")
        found = made(ledger, example(name), "2026-09")
    # Of the month: 100 USD and 100 credits at 0.005 were paid in, 2.505 and 0.05 went.
    booked = {"USD": Decimal("103.06")} | ({} if name != "netsuite" else {"USD": Decimal("106.56")})
    assert {unit: Decimal(micro) / 10**6 for unit, micro in found.totals().items()} == booked
    lines = found.content.decode(parse(example(name)).form.encoding).split("\r\n")
    assert len(lines) > 4


def test_the_command_writes_the_file_and_says_what_it_comes_to(tmp_path: Path):
    cli = Cli(tmp_path)
    month = (datetime.now(tz=START.tzinfo)).strftime("%Y-%m")
    cli.fund("5 USD")
    said = cli("report", "erp-journal", "--example")
    assert (said.code, said.out) == (0, example("quickbooks"))
    (tmp_path / "mapping.toml").write_text(example("xero"))
    words = ("report", "erp-journal", "--mapping", "mapping.toml", "--out", "journal.csv")
    said = cli(*words, "--period", month)
    assert said.code == 0
    assert f"{month}: 1 documents, debits and credits 5 USD" in said.err
    assert f"{month} is not sealed" in said.err
    assert ",620,Tax Exempt,5.00" in (tmp_path / "journal.csv").read_text()
    for wrong in (("--period", "March"), ()):
        assert cli(*words, *wrong).code == 2
    assert cli("report", "erp-journal", "--example", "sage").code == 2


def test_a_day_has_the_transfers_of_that_day(small: tuple[Ledger, Clock]):
    ledger, clock = small
    clock.now = datetime(2026, 9, 28, 23, 59, 59, tzinfo=START.tzinfo)
    job(ledger, "2", "2")
    clock.now += timedelta(seconds=1)
    job(ledger, "3", "3")
    found = told(ledger, mapping(each="day"))
    assert [(row["date"], row["debit"]) for row in found if row["account"] == "6810"] == [
        ("2026-09-28", "2"),
        ("2026-09-29", "3"),
    ]


def test_a_month_without_transfers_has_a_header_alone(small: tuple[Ledger, Clock]):
    ledger, _ = small
    assert told(ledger, mapping(), "2026-12") == []
    assert set(UNITS.values()) == {"USD", "crun-credit", "evolink-credit"}
