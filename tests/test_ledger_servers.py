"""Servers as people run them: roles, schemas as tenants, encodings, defaults and passwords."""

from __future__ import annotations

import re
import secrets
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote, urlencode

import psycopg
import pytest
from psycopg.conninfo import conninfo_to_dict

from kling_ledger.errors import DatabaseError
from kling_ledger.ledger import Ledger, State
from kling_pricing import KlingError
from kling_pricing.money import Money
from tests.cli import Cli, Said
from tests.ledger_worker import Nursery, nursery_running
from tests.ledgers import found, plain_url
from tests.postgres import PostgresServer
from tests.server_load import CLIP, wrong_sums

HUNDRED = Money.from_micro(100 * CLIP.micro, "USD")
PASSWORD = "p@ss:w0rd/x?y#z%2"


@pytest.fixture(scope="module")
def nursery() -> Iterator[Nursery]:
    with nursery_running() as running:
        yield running


def told(url: str, *statements: str) -> None:
    """Run statements on a database, as whoever its address names."""
    with psycopg.connect(plain_url(url), autocommit=True) as server:
        for statement in statements:
            server.execute(statement.encode())


def address(url: str, **changed: str) -> str:
    """Return an address of the same server with another user, password or database."""
    given = {name: str(value) for name, value in conninfo_to_dict(plain_url(url)).items()} | changed
    user, password, name = (quote(given.pop(key, ""), "") for key in ("user", "password", "dbname"))
    return f"postgresql://{user}:{password}@/{name}?{urlencode(given)}"


# --- roles -------------------------------------------------------------------------------------


class Roles:
    """Roles that may do nothing but log in; what they own goes with them."""

    def __init__(self, server: PostgresServer) -> None:
        self._server = server
        self._made: list[str] = []
        self._databases: list[str] = []

    def new(self) -> str:
        """Make a role and return its name."""
        role = f"{self._server.name}_role_{secrets.token_hex(4)}"
        try:
            told(self._server.address, f"CREATE ROLE {role} LOGIN PASSWORD '{PASSWORD}'")
        except psycopg.errors.InsufficientPrivilege:
            pytest.skip("the server's role may not create roles")
        self._made.append(role)
        return role

    def new_database(self) -> str:
        """Make a database that belongs to a role of its own; return the role's address of it."""
        url, role = self._server.new_database(), self.new()
        self._databases.append(url)
        name = conninfo_to_dict(plain_url(url))["dbname"]
        told(url, f"ALTER DATABASE {name} OWNER TO {role}")
        return address(url, user=role, password=PASSWORD)

    def drop(self) -> None:
        for role in self._made:
            for url in self._databases:
                told(url, f"DROP OWNED BY {role} CASCADE")
            told(self._server.address, f"REASSIGN OWNED BY {role} TO CURRENT_USER")
            told(self._server.address, f"DROP ROLE {role}")


@pytest.fixture
def roles(postgres: PostgresServer) -> Iterator[Roles]:
    made = Roles(postgres)
    yield made
    made.drop()


@pytest.fixture
def filled(roles: Roles) -> str:
    """A ledger with a wallet, by the address of the role that owns its database and no more."""
    owned = roles.new_database()
    with Ledger(owned) as ledger:
        ledger.wallets.create("team", "USD")
        ledger.wallets.fund("team", HUNDRED)
    return owned


def work(url: str) -> None:
    """Reserve, commit and roll back as a program does."""
    with Ledger(url) as ledger:
        before = ledger.wallets.get("team").available
        one, other = ledger.reserve("team", CLIP), ledger.reserve("team", CLIP)
        ledger.mark_submitting(one.id)
        ledger.mark_submitted(one.id, "task")
        assert ledger.commit(one.id, CLIP).state is State.COMMITTED
        ledger.roll_back(other.id, "it failed")
        assert ledger.wallets.get("team").available == before - CLIP
        assert ledger.verify().is_clean


def test_a_role_that_owns_its_database_needs_nothing_else(filled):
    work(filled)
    assert wrong_sums(filled) == []


def test_a_role_that_may_read_insert_and_update_works(filled, roles):
    worker = roles.new()
    told(
        filled,
        f"GRANT USAGE ON SCHEMA public TO {worker}",
        f"GRANT SELECT, INSERT, UPDATE ON ALL TABLES IN SCHEMA public TO {worker}",
    )
    work(address(filled, user=worker, password=PASSWORD))
    assert wrong_sums(filled) == []


def is_one_sentence(said: Said) -> bool:
    """Whether a refusal is one line, perhaps with a hint, and shows no SQL."""
    first, *others = said.lines
    hints = [line for line in others if line.startswith("hint: ")]
    return others == hints and "LINE 1" not in first and "INSERT INTO" not in first


def test_a_role_that_may_only_read_reports_and_is_refused_in_one_sentence(filled, roles, tmp_path):
    reader = roles.new()
    told(
        filled,
        f"GRANT USAGE ON SCHEMA public TO {reader}",
        f"GRANT SELECT ON ALL TABLES IN SCHEMA public TO {reader}",
    )
    cli = Cli(tmp_path, {"KLING_LEDGER_DB": address(filled, user=reader, password=PASSWORD)})
    assert cli.json("verify")["verdict"] == "clean"
    assert [row["name"] for row in cli.json("wallet", "list")] == ["team"]
    assert cli("report", "spend").code == 0
    assert cli("reservation", "list").code == 0
    refused = cli("wallet", "fund", "team", "1 USD")
    assert refused.code == 1
    assert re.search(r"permission denied|only (be )?read|may not", refused.lines[0])
    assert is_one_sentence(refused)
    with Ledger(filled) as ledger:
        assert ledger.wallets.get("team").posted == HUNDRED


# --- races on servers of other settings --------------------------------------------------------


def race(nursery: Nursery, *urls: str) -> None:
    """Let eight processes race on each ledger at once for exactly a hundred clips."""
    for url in urls:
        with Ledger(url) as ledger:
            ledger.wallets.create("team", "USD")
            ledger.wallets.fund("team", HUNDRED)
            ledger.budgets.set("all", HUNDRED + CLIP)
            ledger.budgets.set("month", HUNDRED + CLIP + CLIP, window="month")
    asked = {"do": "reserve", "wallet": "team", "amount": str(CLIP), "tries": 16}
    answers = nursery.run([{"path": url, **asked} for url in urls for _ in range(8)])
    for number, url in enumerate(urls):
        counts = sum((Counter(one) for one in answers[8 * number : 8 * number + 8]), Counter())
        assert counts == {"admitted": 100, "insufficient_credits": 28}
        assert wrong_sums(url) == []
        with Ledger(url) as ledger:
            assert ledger.wallets.get("team").available == Money.zero("USD")
            assert ledger.verify().is_clean


@pytest.mark.parametrize("level", ["serializable", "repeatable read"])
def test_a_database_with_another_isolation_level_is_as_exact(nursery, postgres, level):
    url = postgres.new_database()
    name = conninfo_to_dict(plain_url(url))["dbname"]
    told(url, f"ALTER DATABASE {name} SET default_transaction_isolation = '{level}'")
    race(nursery, url)


def test_schemas_are_tenants_that_see_nothing_of_one_another(nursery, postgres):
    url = postgres.new_database()
    told(url, "CREATE SCHEMA team_a", "CREATE SCHEMA team_b")
    one, other = (address(url, options=f"-csearch_path={name}") for name in ("team_a", "team_b"))
    race(nursery, one, other)
    with Ledger(one) as ledger:
        ledger.wallets.create("others", "USD")
        ledger.wallets.fund("team", CLIP)
        ledger.reserve("team", CLIP)
    with Ledger(other) as ledger:
        assert [wallet.name for wallet in ledger.wallets.all()] == ["team"]
        assert len(ledger.reservations.latest(limit=1000)) == 100
    with psycopg.connect(plain_url(url)) as server:
        rows = server.execute("SELECT count(*) FROM pg_tables WHERE schemaname = 'public'")
        assert rows.fetchone() == (0,)


# --- encodings ---------------------------------------------------------------------------------


def in_encoding(server: PostgresServer, encoding: str) -> str:
    url = server.new_database()
    name = conninfo_to_dict(plain_url(url))["dbname"]
    told(
        server.address,
        f"DROP DATABASE {name}",
        f"CREATE DATABASE {name} ENCODING '{encoding}' LOCALE 'C' TEMPLATE template0",
    )
    return url


def test_a_database_in_latin_1_is_exact_and_keeps_what_it_can_write(nursery, postgres):
    url = in_encoding(postgres, "LATIN1")
    race(nursery, url)
    with Ledger(url) as ledger:
        ledger.wallets.fund("team", CLIP, reason="Büro")
        assert found(ledger, "SELECT reason FROM transfer WHERE reason IS NOT NULL") == [
            {"reason": "Büro"}
        ]
        with pytest.raises(KlingError) as caught:
            ledger.wallets.fund("team", CLIP, reason="片")
        assert "LATIN1" in f"{caught.value} {caught.value.hint}"
        assert ledger.wallets.get("team").available == CLIP
        assert ledger.verify().is_clean


def test_a_database_without_an_encoding_is_refused_by_its_name(postgres):
    with pytest.raises(KlingError, match="SQL_ASCII") as caught:
        Ledger(in_encoding(postgres, "SQL_ASCII"))
    assert "UTF8" in (caught.value.hint or "")


# --- addresses and passwords -------------------------------------------------------------------


@pytest.mark.parametrize("command", [("wallet", "list"), ("db", "status"), ("verify",)])
@pytest.mark.parametrize(
    "secret",
    ["p@ss:w0rd/x", "hu/sh:hush", "hush@hush", "hush?a=b", "hush#x", "hush%zz", "[hush]:9"],
)
def test_no_message_holds_a_part_of_a_password(tmp_path: Path, secret: str, command):
    said = Cli(tmp_path)(*command, "--db", f"postgresql://app:{secret}@127.0.0.1:1/ledger")
    assert said.code in {1, 2}
    assert is_one_sentence(said)
    assert not [part for part in ("hush", "w0rd", "p@ss", secret) if part in said.out + said.err]


def test_a_password_of_any_characters_is_taken_where_it_is_written_in_percents(filled):
    assert quote(PASSWORD, "") in filled
    with Ledger(filled) as ledger:
        assert ledger.wallets.get("team").posted == HUNDRED
        assert not [one for one in (PASSWORD, quote(PASSWORD, "")) if one in ledger.database.name]


@pytest.mark.parametrize(
    "hosts",
    [
        "127.0.0.1:1,127.0.0.1:2/ledger?target_session_attrs=read-write",
        "/ledger?host=127.0.0.1,127.0.0.1&port=1,2&target_session_attrs=read-write",
    ],
)
def test_an_address_may_name_several_servers(hosts):
    with pytest.raises(DatabaseError, match=r"refused|unreachable|cannot be reached") as caught:
        Ledger(f"postgresql://ada:hush@{hosts}")
    assert caught.value.retryable
    assert "hush" not in str(caught.value)


def test_an_address_that_repeats_its_host_is_not_taken_for_one_of_the_last_alone():
    # So SQLAlchemy writes it; PostgreSQL's own programs would look for a host called "127.0.0.1:2".
    with pytest.raises(KlingError, match=r"refused|cannot be read|h1,h2") as caught:
        Ledger("postgresql://ada:hush@/ledger?host=127.0.0.1:1&host=127.0.0.1:2")
    assert "hush" not in str(caught.value)


def test_the_server_that_takes_writes_is_found_among_several(filled):
    given = conninfo_to_dict(plain_url(filled))
    ports = {"port": f"1,{given['port']}"} if given.get("port") else {}
    hosts = f"/nowhere,{given['host']}"
    several = address(filled, host=hosts, target_session_attrs="read-write", **ports)
    with Ledger(several) as ledger:
        assert ledger.wallets.get("team").posted == HUNDRED
