"""A server that breaks what a ledger relies on is refused by name, before anything is written."""

from __future__ import annotations

import psycopg
import pytest
from psycopg import sql

from kling_ledger import Ledger
from kling_ledger.errors import DatabaseError
from tests.ledgers import plain_url
from tests.postgres import PostgresServer

EXPECTS_NOTHING = """
CREATE OR REPLACE FUNCTION kling_ledger_expect(changed bigint, expected bigint) RETURNS boolean
LANGUAGE sql AS 'SELECT true'
"""


@pytest.fixture
def url(postgres: PostgresServer) -> str:
    made = postgres.new_database()
    Ledger(made).close()
    return made


def run(url: str, statement: str) -> list[tuple[object, ...]]:
    with psycopg.connect(plain_url(url), autocommit=True) as server:
        cursor = server.execute(sql.SQL(statement))
        return cursor.fetchall() if cursor.description else []


def forget(url: str) -> None:
    run(url, "DELETE FROM setting WHERE name = 'engine'")


@pytest.mark.parametrize(
    ("breaking", "told"),
    [
        (EXPECTS_NOTHING, "a message that fails in the middle leaves something behind"),
        (
            "DROP TRIGGER provider_balance_never_update ON provider_balance",
            "its triggers do not protect the journal from changes",
        ),
        (
            "ALTER TABLE provider_balance DISABLE TRIGGER ALL",
            "its triggers do not protect the journal from changes",
        ),
    ],
)
def test_a_server_that_breaks_an_assumption_is_refused_by_name(url, breaking, told):
    run(url, breaking)
    forget(url)
    with pytest.raises(DatabaseError, match=told):
        Ledger(url)


def test_nothing_of_the_trials_stays(url):
    before = run(url, "SELECT name FROM setting ORDER BY name")
    forget(url)
    Ledger(url).close()
    assert run(url, "SELECT name FROM setting ORDER BY name") == before
    assert run(url, "SELECT * FROM provider_balance") == []


def test_a_server_that_passed_is_not_tried_again_until_it_is_another(url):
    [(passed,)] = run(url, "SELECT value FROM setting WHERE name = 'engine'")
    run(url, EXPECTS_NOTHING)
    Ledger(url).close()
    run(url, "UPDATE setting SET value = 'an older version' WHERE name = 'engine'")
    with pytest.raises(DatabaseError):
        Ledger(url)
    assert run(url, "SELECT value FROM setting WHERE name = 'engine'") != [(passed,)]


def test_a_role_that_may_only_read_is_let_through(url, postgres):
    run(url, "CREATE ROLE reader LOGIN")
    run(url, "GRANT SELECT ON ALL TABLES IN SCHEMA public TO reader")
    forget(url)
    with Ledger(url.replace("//postgres:", "//reader:"), create=False) as ledger:
        assert ledger.wallets.all() == []
        with pytest.raises(DatabaseError, match="permission denied"):
            ledger.wallets.create("team", "USD")
