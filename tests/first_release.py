"""A ledger of the first release, as it lies on the disk of whoever has used it since."""

from __future__ import annotations

import sqlite3
import tempfile
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

from sqlalchemy import Connection, create_engine, text

from kling_ledger.ledger.engines.migrations import upgrade

WRITTEN = Path(__file__).parent / "goldens" / "ledger_0001.sql"
"""A ledger that the first release wrote, with every state and every end, as SQLite dumps it."""

HISTORY = ("wallet", "reservation", "transfer", "job_event", "idempotency")


def make_first_release(url: str) -> None:
    """Make a ledger of the first schema with a history; on PostgreSQL by the first migration."""
    if url.startswith("sqlite"):
        first_release(Path(url.removeprefix("sqlite:///"))).close()
        return
    with (
        tempfile.TemporaryDirectory() as folder,
        closing(first_release(Path(folder) / "ledger.sqlite")) as file,
        opened(url) as server,
    ):
        upgrade(server, to="0001")
        for table in HISTORY:
            _copy(file, server, table)


def first_release(path: Path) -> sqlite3.Connection:
    """Make a file as the first release left it."""
    file = sqlite3.connect(path)
    file.executescript(WRITTEN.read_text(encoding="utf-8"))
    file.row_factory = sqlite3.Row
    return file


@contextmanager
def opened(url: str) -> Iterator[Connection]:
    engine = create_engine(url)
    with engine.begin() as connection:
        yield connection
    engine.dispose()


def _copy(file: sqlite3.Connection, server: Connection, table: str) -> None:
    for row in file.execute(f"SELECT * FROM {table}"):
        values = dict(row)
        if values.get("sound") is not None:
            values["sound"] = bool(values["sound"])
        columns = ", ".join(f'"{name}"' for name in values)
        marks = ", ".join(f":{name}" for name in values)
        server.execute(text(f"INSERT INTO {table} ({columns}) VALUES ({marks})"), values)
