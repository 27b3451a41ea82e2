"""Schemas as tenants: ledgers of one PostgreSQL database are listed, and asked together."""

from __future__ import annotations

from pathlib import Path
from urllib.parse import quote

import psycopg
import pytest
from psycopg import sql

from kling_ledger.ledger import Job, Ledger
from kling_ledger.ledger.tenants import address_of
from kling_pricing.money import Money
from tests.cli import Cli
from tests.postgres import PostgresServer

TEAMS = {"team_a": "USD", "Team B": "USD", "team_c": "crun-credit"}


@pytest.fixture
def cli(tmp_path: Path, postgres: PostgresServer) -> Cli:
    """The command with a database in which three teams have a ledger and one schema has none."""
    url = postgres.new_database()
    with psycopg.connect(url.replace("+psycopg", ""), autocommit=True) as connection:
        for team in (*TEAMS, "empty"):
            connection.execute(sql.SQL("CREATE SCHEMA {}").format(sql.Identifier(team)))
    for number, (team, unit) in enumerate(TEAMS.items(), start=1):
        with Ledger(address_of(url, team)) as ledger:
            ledger.wallets.create("team", unit)
            ledger.wallets.fund("team", Money.parse(f"10 {unit}"))
            job = Job(provider="runapi")
            made = ledger.reserve("team", Money.parse(f"{number} {unit}"), job=job)
            ledger.commit(made.id, Money.parse(f"{number} {unit}"))
            ledger.reserve("team", Money.parse(f"0.5 {unit}"), job=job)
    return Cli(tmp_path, {"KLING_LEDGER_DB": url})


def test_tenants_are_listed_with_how_they_stand(cli: Cli) -> None:
    told = cli.json("db", "tenants")
    assert [row["tenant"] for row in told] == sorted(TEAMS)
    assert {(row["wallets"], row["open"]) for row in told} == {(1, 1)}
    assert all(row["last_activity"].startswith("20") for row in told)


def test_a_report_over_all_says_whose_each_row_is_and_adds_up_by_unit(cli: Cli) -> None:
    told = cli.json("report", "spend", "--by", "provider", "--tenants")
    table = told["tables"]["spend"]
    assert [row["tenant"] for row in table["rows"]] == sorted(TEAMS)
    spent = {row["tenant"]: (row["spent"], row["unit"]) for row in table["rows"]}
    assert spent["Team B"] == ("2", "USD")
    totals = {row["unit"]: row["spent"] for row in table["totals"]}
    # team_a spent 1 USD and Team B 2 USD.
    assert totals == {"USD": "3", "crun-credit": "3"}


def test_a_report_over_some_is_of_those(cli: Cli) -> None:
    told = cli.json("report", "open", "--tenants", "team_a,Team B")
    assert {row["tenant"] for row in told["tables"]["jobs"]["rows"]} == {"team_a", "Team B"}
    assert cli("report", "budgets", "--tenants", "team_a").code == 0
    said = cli("report", "spend", "--tenants", "team_z")
    assert said.code == 2
    assert "no such tenant: team_z" in said.err


def test_a_database_without_ledgers_is_told(tmp_path: Path, postgres: PostgresServer) -> None:
    cli = Cli(tmp_path, {"KLING_LEDGER_DB": postgres.new_database()})
    assert cli.json("db", "tenants") == []
    said = cli("report", "spend", "--tenants")
    assert said.code == 2
    assert "no schema of this database holds a ledger" in said.err


def test_a_file_has_no_tenants(tmp_path: Path) -> None:
    cli = Cli(tmp_path)
    cli.fund("1 USD")
    for words in (("db", "tenants"), ("report", "spend", "--tenants")):
        said = cli(*words)
        assert said.code == 2
        assert "which holds one ledger" in said.err


def test_the_address_of_a_tenant_keeps_what_else_it_says() -> None:
    found = address_of("postgresql+psycopg://a@h/d?options=-cx%3D1&sslmode=require", 'T "1"')
    expected = quote('-cx=1 -csearch_path="T\\ ""1"""', safe="")
    assert found == f"postgresql+psycopg://a@h/d?sslmode=require&options={expected}"
