"""What a cold command loads: a quote and a reservation leave out what they do not need."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Collection
from pathlib import Path

from kling_ledger.cli.output import print_table
from kling_ledger.cli.plain_table import plain_table
from kling_ledger.ledger import Ledger
from kling_pricing.money import Money

QUOTE = (
    *("quote", "--provider", "evolink", "--model", "kling-v3-text-to-video"),
    *("--seconds", "8", "--resolution", "1080p", "--sound"),
)
HEAVY = {
    *("rich", "pydantic", "sqlalchemy", "alembic", "psycopg", "pandas", "httpx", "platformdirs"),
    *("importlib.metadata", "email", "tempfile", "difflib", "csv", "shutil", "secrets", "socket"),
    *("kling_ledger.jobs", "kling_ledger.providers", "kling_reports"),
}
NOT_QUOTED = {*HEAVY, "pathlib", "urllib", "getpass", "sqlite3", "kling_ledger.ledger"}
NOT_RESERVED = {*HEAVY, "hashlib", "zoneinfo", "kling_ledger.ledger.verify", "kling_pricing.cells"}
LOADED = """
import sys
from kling_ledger.cli import main
try:
    main()
finally:
    print("loaded", *sys.modules, file=sys.stderr)
"""


def loaded(*arguments: str, folder: Path) -> set[str]:
    """Run a command in a process of its own; return the names of the modules it has loaded."""
    # As for most people: nobody names a folder of price books, and none is there.
    environ = {**os.environ, "KLING_LEDGER_BOOKS": "", "XDG_CONFIG_HOME": str(folder)}
    done = subprocess.run(
        [sys.executable, "-c", LOADED, *arguments],
        capture_output=True,
        text=True,
        check=True,
        env=environ,
    )
    return set(done.stderr.rpartition("loaded ")[2].split())


def needless(names: Collection[str], *, heavy: Collection[str]) -> set[str]:
    return set(names) & set(heavy)


def test_a_quote_loads_only_what_prices_it(tmp_path: Path):
    names = loaded(*QUOTE, "--format", "json", folder=tmp_path)
    assert "kling_pricing.quote" in names
    assert needless(names, heavy=NOT_QUOTED) == set()


def test_a_quote_as_a_table_in_a_pipe_loads_no_more(tmp_path: Path):
    assert needless(loaded(*QUOTE, folder=tmp_path), heavy=NOT_QUOTED) == set()


def test_a_reservation_loads_only_what_admits_it(tmp_path: Path):
    file = str(tmp_path / "ledger.sqlite")
    with Ledger(file) as ledger:
        ledger.wallets.create("team", "USD")
        ledger.wallets.fund("team", Money.parse("5 USD"))
    asked = ("--wallet", "team", "--amount", "0.5 USD", "--format", "json", "--db", file)
    names = loaded("reservation", "create", *asked, folder=tmp_path)
    assert "kling_ledger.ledger.admission" in names
    assert needless(names, heavy=NOT_RESERVED) == set()


def test_a_table_in_a_pipe_has_its_figures_at_the_right_and_every_line_of_a_cell():
    lines = plain_table(["id", "cost"], [["a\nb", "1.5"], ["c", "10"]], right={1}, title="T")
    assert lines == ["T", "", " id  cost", " ────────", " a    1.5", " b", " c     10", ""]


def test_what_characters_alone_do_not_line_up_is_left_to_rich(capsys):
    assert plain_table(["name"], [["映画"]]) is None
    assert plain_table(["a"], [["b"]], title="a title that is longer than the table") is None
    print_table([{"name": "映画", "n": "1"}], ["name", "n"])
    assert capsys.readouterr().out == "\n name  n\n ───────\n 映画  1\n\n"
