"""Views: the columns that docs/reference/sql.md promises, with the same values on both engines."""

from __future__ import annotations

import json
import re
import secrets
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from decimal import Decimal
from pathlib import Path
from typing import Any

import psycopg
import pytest

from kling_ledger.config import database_url as address_of
from kling_ledger.ledger import Ledger
from kling_ledger.ledger.views import VIEWS
from tests.cli import Cli
from tests.ledgers import found, plain_url
from tests.pages import Page
from tests.postgres import PostgresServer
from tests.views_ledger import viewed

PAGE = Page("docs/reference/sql.md")
NAMES = [view.name for view in VIEWS]
TYPES = {
    "text": ("TEXT", "text"),
    "integer": ("INTEGER", "int8"),
    "flag": ("INTEGER", "int4"),
    "amount": ("TEXT", "numeric"),
    "micro": ("INTEGER", "int8"),
    "instant": ("TEXT", "text"),
    "day": ("TEXT", "text"),
    "labels": ("TEXT", "text"),
}


def documented() -> dict[str, list[tuple[str, str]]]:
    """The columns of each view and their kinds, as the page lists them."""
    sections = re.split(r"^## (v1_\w+)$", PAGE.text, flags=re.MULTILINE)
    return {
        name: re.findall(r"^\| `(\w+)` \| (\w+) \|", text.split("\n## ")[0], re.MULTILINE)
        for name, text in zip(sections[1::2], sections[2::2], strict=True)
    }


def examples(language: str, name: str | None = None) -> list[str]:
    """The examples of the page in a language, of one name if it is given."""
    return [block.text for block in PAGE.blocks(language, name)]


@contextmanager
def connected(url: str) -> Iterator[Any]:
    """A plain connection, as other programs have one."""
    if "://" in url:
        with psycopg.connect(plain_url(url), autocommit=True) as server:
            yield server
    else:
        with closing(sqlite3.connect(f"file:{url}?mode=ro", uri=True)) as file:
            yield file


@pytest.fixture(scope="module")
def file_url(tmp_path_factory: pytest.TempPathFactory) -> str:
    path = str(tmp_path_factory.mktemp("views") / "ledger.sqlite")
    with viewed(path):
        return path


@pytest.fixture(scope="module")
def server_url(postgres: PostgresServer) -> str:
    url = postgres.new_database()
    with viewed(url):
        return url


@pytest.fixture(params=["file_url", "server_url"])
def url(request: pytest.FixtureRequest) -> str:
    address: str = request.getfixturevalue(request.param)
    return address


def rows(url: str, query: str) -> list[tuple[Any, ...]]:
    with connected(url) as connection:
        return [tuple(row) for row in connection.execute(query).fetchall()]


def test_the_page_promises_each_view():
    assert list(documented()) == NAMES


@pytest.mark.parametrize("name", NAMES)
def test_a_view_has_the_documented_columns_in_their_order(url: str, name: str):
    with connected(url) as connection:
        told = connection.execute(f"SELECT * FROM {name}").description
    assert [column[0] for column in told] == [column for column, _ in documented()[name]]


@pytest.mark.parametrize("name", NAMES)
def test_a_column_is_of_the_documented_type_on_a_server(server_url: str, name: str):
    told = rows(
        server_url,
        "SELECT udt_name FROM information_schema.columns"
        f" WHERE table_name = '{name}' ORDER BY ordinal_position",
    )
    # What is text in a table is varchar there: nobody who reads it can tell the two apart.
    types = ["text" if one == "varchar" else one for (one,) in told]
    assert types == [TYPES[kind][1] for _, kind in documented()[name]]


@pytest.mark.parametrize("name", NAMES)
def test_a_column_is_of_the_documented_type_in_a_file(file_url: str, name: str):
    columns = documented()[name]
    types = ", ".join(f"group_concat(DISTINCT upper(typeof({column})))" for column, _ in columns)
    [told] = rows(file_url, f"SELECT {types} FROM {name}")
    for (column, kind), of_values in zip(columns, told, strict=True):
        assert set((of_values or "NULL").split(",")) <= {TYPES[kind][0], "NULL"}, column


@pytest.mark.parametrize("name", NAMES)
def test_both_engines_have_the_same_values(file_url: str, server_url: str, name: str):
    columns = documented()[name]

    def written(url: str) -> list[list[str]]:
        # The text of a decimal too, with all its places.
        return sorted([str(value) for value in row] for row in rows(url, select))

    select = f"SELECT {', '.join(column for column, _ in columns)} FROM {name}"
    in_a_file = written(file_url)
    assert in_a_file == written(server_url)
    assert len(in_a_file) >= 3


@pytest.mark.parametrize("name", NAMES)
def test_an_amount_is_the_same_as_its_millionths(url: str, name: str):
    for column, kind in documented()[name]:
        if kind == "amount":
            for decimal, micro in rows(url, f"SELECT {column}, {column}_micro FROM {name}"):
                told = None if decimal is None else Decimal(decimal)
                assert told == (None if micro is None else Decimal(micro) / 1_000_000), column


def test_the_figures_of_jobs_are_those_that_are_known(url: str):
    latest = rows(
        url,
        "SELECT quoted, estimated, reserved, held, settled, labels, created_at, day FROM v1_jobs"
        " ORDER BY job_id DESC LIMIT 3",
    )
    # 39 steps of 29 hours after noon of September 28, and the odd microseconds.
    at = "2026-11-14T15:00:00.040007Z"
    amounts = [
        [None if one is None else f"{Decimal(one):.6f}" for one in row[:5]] for row in latest
    ]
    assert amounts == [
        # From before quotes were kept: what was set aside first.
        ["1.000003", None, "1.000003", "1.000003", None],
        [None, "0.800000", "1.000002", "1.000002", None],
        ["0.900000", None, "1.000001", "1.000001", None],
    ]
    assert [json.loads(row[5]) for row in latest] == [
        {},
        {"team": "ads", "z": "1"},
        {"team": "a/b+c:d@e"},
    ]
    assert {row[6] for row in latest} == {at}
    assert {row[7] for row in latest} == {at[:10]}


def test_what_was_charged_and_came_back_is_what_the_journal_has(url: str):
    told = dict(rows(url, "SELECT unit, SUM(amount_micro) FROM v1_spend GROUP BY unit"))
    journal = rows(
        url,
        "SELECT unit, SUM(CASE WHEN credit_account LIKE 'provider/%' THEN amount_micro"
        " WHEN debit_account LIKE 'provider/%' THEN -amount_micro ELSE 0 END)"
        " FROM transfer GROUP BY unit",
    )
    jobs = dict(rows(url, "SELECT unit, SUM(spent_micro) FROM v1_jobs GROUP BY unit"))
    wallets = dict(rows(url, "SELECT unit, SUM(spent_micro) FROM v1_wallets GROUP BY unit"))
    assert told == dict(journal) == jobs == wallets
    assert len(told) == 3


def test_accounts_are_named_after_wallets_and_not_after_ids(url: str):
    told = rows(url, "SELECT debit_account, credit_account FROM v1_transfers")
    accounts = {account for row in told for account in row}
    assert {"funding", "wallet/team/available", "wallet/team-a/b.c/reserved"} <= accounts
    assert not [account for account in accounts if "wal_" in account]


def test_a_window_that_never_ends_and_a_budget_without_one_have_no_ends(url: str):
    told = rows(url, "SELECT budget, starts_at, ends_at, spent, base_limit FROM v1_budgets")
    by_name = {row[0]: row[1:] for row in told}
    assert by_name["month"][:2] == ("2026-11-01T00:00:00.000000Z", "2026-12-01T00:00:00.000000Z")
    assert by_name["all"][:2] == (None, None)
    assert [by_name[one][2] is None for one in ("all", "unused")] == [False, True]
    assert Decimal(by_name["unused"][3]) == Decimal("0.5")


@pytest.mark.parametrize("name", NAMES)
def test_nothing_is_written_through_a_view(file_url: str, server_url: str, name: str):
    column = "actor" if name != "v1_budgets" else "mode"
    with closing(sqlite3.connect(file_url)) as file, connected(server_url) as server:
        for statement in (f"UPDATE {name} SET {column} = 'x'", f"DELETE FROM {name}"):
            with pytest.raises(sqlite3.OperationalError, match="view"):
                file.execute(statement)
            with pytest.raises(psycopg.Error, match="view"):
                server.execute(statement)


def test_a_reader_needs_the_views_alone(server_url: str):
    reader = f"reader_{secrets.token_hex(4)}"
    [statements] = [one for one in examples("sql") if "CREATE ROLE" in one]
    granted = statements.replace("reader", reader).replace("LOGIN PASSWORD '...'", "")
    with connected(server_url) as server:
        server.execute(granted)
        try:
            server.execute(f"SET ROLE {reader}")
            for name in NAMES:
                assert server.execute(f"SELECT COUNT(*) FROM {name}").fetchone()[0] > 0
            for table in ("reservation", "transfer", "setting"):
                with pytest.raises(psycopg.errors.InsufficientPrivilege):
                    server.execute(f"SELECT COUNT(*) FROM {table}")
        finally:
            server.execute(f"RESET ROLE; DROP OWNED BY {reader}; DROP ROLE {reader}")


@pytest.mark.parametrize("name", ["by-project", "by-period", "by-provider", "by-label"])
def test_the_questions_of_the_page_have_answers(url: str, name: str):
    [query] = examples("sql", name)
    if name == "by-label" and "://" in url:
        query = query.replace("json_extract(labels, '$.team')", "labels::jsonb ->> 'team'")
    assert len(rows(url, query)) >= 3


def test_the_canned_query_of_the_page_runs(file_url: str):
    [written] = examples("json", "datasette")
    query = json.loads(written)["databases"]["ledger"]["queries"]["posted"]["sql"]
    with connected(file_url) as file:
        told = file.execute(query, {"period": "2026-10"}).fetchall()
        whole = file.execute(
            "SELECT SUM(amount_micro) FROM v1_spend WHERE period = '2026-10'"
        ).fetchone()
    assert sum(row[2] for row in told) == whole[0] > 0


@pytest.fixture(scope="module")
def exported(file_url: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    from kling_reports import view_files

    folder = tmp_path_factory.mktemp("exported") / "files"
    with Ledger(file_url, create=False) as ledger:
        view_files.write(ledger.database, folder)
    return folder


def test_duckdb_adds_the_files_up_as_the_page_says(
    file_url: str, exported: Path, monkeypatch: pytest.MonkeyPatch
):
    duckdb = pytest.importorskip("duckdb")
    monkeypatch.chdir(exported)
    [query] = examples("sql", "duckdb")
    told = {row[:3]: row[3] for row in duckdb.sql(query).fetchall()}
    expected = rows(
        file_url, "SELECT period, project, unit, SUM(amount_micro) FROM v1_spend GROUP BY 1, 2, 3"
    )
    assert told == {row[:3]: Decimal(row[3]) / 1_000_000 for row in expected}


def test_polars_adds_the_files_up_as_the_page_says(
    file_url: str,
    exported: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
):
    polars = pytest.importorskip("polars")
    monkeypatch.chdir(exported)
    [code] = examples("python", "polars")
    exec(code, {})  # noqa: S102 - it is the page's own example that is tried
    assert "period" in capsys.readouterr().out
    [query] = examples("sql", "by-period")
    with connected(file_url) as file:
        read = polars.read_database(query, file)
    assert sorted(read.rows()) == sorted(rows(file_url, query))


@pytest.mark.parametrize("name", NAMES)
def test_a_file_has_the_rows_and_columns_of_its_view(file_url: str, exported: Path, name: str):
    pq = pytest.importorskip("pyarrow.parquet")
    table = pq.read_table(exported / f"{name}.parquet")
    columns = documented()[name]
    types = {
        "amount": "decimal128(19, 6)",
        "instant": "timestamp[us, tz=UTC]",
        "day": "date32[day]",
        "flag": "bool",
        "integer": "int64",
        "micro": "int64",
    }
    assert [(field.name, str(field.type)) for field in table.schema] == [
        (column, types.get(kind, "string")) for column, kind in columns
    ]
    told = [tuple(plain(value) for value in row.values()) for row in table.to_pylist()]
    assert sorted(told, key=repr) == sorted(rows(file_url, f"SELECT * FROM {name}"), key=repr)


def plain(value: Any) -> Any:
    """A value of a file as the view in SQLite has it."""
    if isinstance(value, bool):
        return int(value)
    if isinstance(value, Decimal):
        return f"{value:.6f}"
    if hasattr(value, "astimezone"):
        return f"{value:%Y-%m-%dT%H:%M:%S.%f}Z"
    return value.isoformat() if hasattr(value, "isoformat") else value


def test_export_writes_a_new_folder_or_nothing(url: str, tmp_path: Path):
    cli, folder = Cli(tmp_path), tmp_path / "files"
    asked = ("export", "--parquet", "files", "--db", url)
    assert [row["file"] for row in cli.json(*asked)] == [f"{name}.parquet" for name in NAMES]
    assert sorted(one.name for one in folder.iterdir()) == sorted(
        f"{name}.parquet" for name in NAMES
    )
    before = {one.name: one.read_bytes() for one in folder.iterdir()}
    again = cli(*asked)
    assert again.code == 2
    assert "already exists" in again.err
    assert {one.name: one.read_bytes() for one in folder.iterdir()} == before
    assert [one.name for one in tmp_path.iterdir()] == ["files"]


def test_export_of_a_period_has_its_days_alone(url: str, tmp_path: Path):
    pq = pytest.importorskip("pyarrow.parquet")
    cli = Cli(tmp_path)
    asked = ("export", "--db", url)
    whole = {row["file"]: row["rows"] for row in cli.json(*asked, "--parquet", "whole")}
    days = sorted(set(pq.read_table(tmp_path / "whole" / "v1_jobs.parquet")["day"].to_pylist()))
    one = cli.json(*asked, "--parquet", "one", "--period", f"{days[0]}")
    for name in ("v1_jobs", "v1_spend", "v1_transfers"):
        kept = pq.read_table(tmp_path / "one" / f"{name}.parquet")["day"].to_pylist()
        everything = pq.read_table(tmp_path / "whole" / f"{name}.parquet")["day"].to_pylist()
        assert kept == [day for day in everything if day == days[0]]
    counts = {row["file"]: row["rows"] for row in one}
    assert counts["v1_wallets.parquet"] == whole["v1_wallets.parquet"]
    none = cli.json(*asked, "--parquet", "none", "--period", "1999")
    assert [row["rows"] for row in none[:3]] == [0, 0, 0]


def test_views_come_back_with_a_backup(url: str, tmp_path: Path):
    from kling_ledger.ledger.backup import backup

    copy = tmp_path / "copy.sqlite"
    backup(address_of(url), copy)
    for name in NAMES:
        assert len(rows(str(copy), f"SELECT * FROM {name}")) == len(
            rows(url, f"SELECT * FROM {name}")
        )


def test_slots_count_in_wallets_and_windows(empty_url: str):
    from tests.ledgers import usd

    with Ledger(empty_url) as ledger:
        ledger.wallets.create("team", "USD")
        ledger.wallets.fund("team", usd("10"))
        ledger.budgets.set("all", usd("9"))
        made = [ledger.reserve("team", usd("1")).id for _ in range(3)]
        ledger.commit(made[0], usd("0.5"), settled_by="provider")
        [wallet] = found(ledger, "SELECT spent_micro, reserved_micro FROM v1_wallets")
        [window] = found(ledger, "SELECT spent_micro, reserved_micro FROM v1_budgets")
    assert dict(wallet) == dict(window) == {"spent_micro": 500_000, "reserved_micro": 2_000_000}
