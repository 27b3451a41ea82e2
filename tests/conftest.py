"""What every test room shares: a ledger in a file of its own, a funded wallet, a sandbox."""

from __future__ import annotations

import gc
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import certifi
import pytest
from hypothesis import HealthCheck, settings

from kling_ledger import Ledger, testing
from kling_pricing import Money
from tests.folders import memory_folder
from tests.ledgers import SLOTS, make_empty
from tests.postgres import PostgresServer, postgres_server

if TYPE_CHECKING:
    from kling_ledger.sandbox import Sandbox


def pytest_configure(config: pytest.Config) -> None:
    """Let every `tmp_path` be in memory, as a disk is slow at the sync of each commit."""
    if folder := memory_folder():
        os.environ.setdefault("PYTEST_DEBUG_TEMPROOT", folder)
    # No test may fail because the machine is busy.
    is_slow = [HealthCheck.too_slow]
    settings.register_profile("busy", max_examples=40, deadline=None, suppress_health_check=is_slow)
    # `pytest --hypothesis-profile=thorough` draws five times as many as hypothesis does by itself.
    settings.register_profile("thorough", settings.get_profile("busy"), max_examples=500)
    settings.load_profile(config.getoption("--hypothesis-profile") or "busy")


def pytest_collection_finish() -> None:
    """Collect garbage rarely, and look past the tests themselves: it took a tenth of the time."""
    gc.freeze()
    gc.set_threshold(100_000, 20, 100)


@pytest.fixture(autouse=True)
def _no_settings_of_the_developer(
    monkeypatch: pytest.MonkeyPatch, no_books: str, one_authority: str
) -> None:
    for name in (
        "KLING_LEDGER_DB",
        "KLING_LEDGER_ACTOR",
        "RUNAPI_API_KEY",
        "CRUN_API_KEY",
        "EVOLINK_API_KEY",
        "UNIALL_API_KEY",
        "KLING_LEDGER_WEBHOOK_SECRET",
        "KLING_LEDGER_PAGE_PASSWORD",
    ):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("KLING_LEDGER_BOOKS", no_books)
    monkeypatch.setenv("KLING_LEDGER_CONFIG", os.devnull)
    monkeypatch.setenv("SSL_CERT_FILE", one_authority)


@pytest.fixture(scope="session")
def no_books(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The name of a folder without price books."""
    return str(tmp_path_factory.mktemp("no-books"))


@pytest.fixture(scope="session")
def one_authority(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A file with one authority: each HTTP client reads all that it is to trust, else some 150."""
    path = tmp_path_factory.mktemp("authorities") / "one.pem"
    first, end, _ = Path(certifi.where()).read_text("ascii").partition("-----END CERTIFICATE-----")
    path.write_text(f"{first}{end}\n", "ascii")
    return str(path)


@pytest.fixture
def collected() -> Iterator[None]:
    """Collect what a test has left at its own end: in another's, a socket left open is an error."""
    yield
    gc.collect()


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[Ledger]:
    """An empty ledger in an SQLite file."""
    with testing.ledger(str(tmp_path / "ledger.sqlite")) as opened:
        yield opened


@pytest.fixture
def team(ledger: Ledger) -> str:
    """The name of a wallet that holds 2 USD."""
    ledger.wallets.create("team", "USD")
    ledger.wallets.fund("team", Money.parse("2 USD"))
    return "team"


@pytest.fixture
def sandbox() -> Iterator[Sandbox]:
    """A sandbox whose jobs take a fifth of a second."""
    with testing.sandbox() as running:
        yield running


@pytest.fixture(scope="session")
def postgres() -> Iterator[PostgresServer]:
    """A PostgreSQL server for as long as the tests run; each asks it for databases of its own."""
    with postgres_server() as server:
        yield server


@pytest.fixture(params=["sqlite", "postgresql"])
def database_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """The address of a new ledger, on each engine in turn."""
    if request.param == "sqlite":
        return str(tmp_path / "ledger.sqlite")
    server: PostgresServer = request.getfixturevalue("postgres")
    return server.new_database()


@pytest.fixture(params=["sqlite", "postgresql"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """Where a ledger may be made on each engine: a new file, or a server's, which is emptied."""
    if request.param == "sqlite":
        return str(tmp_path / "ledger.sqlite")
    server: str = request.getfixturevalue("postgres_ledger")
    make_empty(server)
    return server


@pytest.fixture(scope="session")
def postgres_ledger(postgres: PostgresServer) -> str:
    """The address of a ledger on PostgreSQL that one test after another uses."""
    url = postgres.new_database()
    Ledger(url).close()
    return url


@pytest.fixture(scope="session")
def empty_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An empty ledger in a file, to be copied: quicker than making the tables each time."""
    path = tmp_path_factory.mktemp("empty") / "ledger.sqlite"
    Ledger(str(path)).close()
    return path


@pytest.fixture(params=["sqlite", "postgresql", "postgresql-slots"])
def empty_url(request: pytest.FixtureRequest, tmp_path: Path, empty_file: Path) -> str:
    """The address of an empty ledger, on each engine in turn, and with slots: for quick tests."""
    if request.param == "sqlite":
        return f"sqlite:///{shutil.copy(empty_file, tmp_path / 'ledger.sqlite')}"
    url: str = request.getfixturevalue("postgres_ledger")
    make_empty(url, slots=SLOTS if request.param.endswith("slots") else 0)
    return url
