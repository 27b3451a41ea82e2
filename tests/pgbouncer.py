"""PgBouncer in front of the tests' own PostgreSQL server, on a socket in a folder of its own."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final
from urllib.parse import urlencode

import psycopg
from psycopg.conninfo import conninfo_to_dict

from tests.folders import memory_folder
from tests.ledgers import plain_url

PROGRAM: Final = shutil.which("pgbouncer") or shutil.which("pgbouncer", path="/usr/sbin")
"""Where the program is; None where it is not installed."""

_PORT: Final = 6432  # only the name of its socket: it listens on no address
_START_S: Final = 10


@dataclass(frozen=True)
class Pooler:
    """A PgBouncer that runs."""

    folder: Path
    mode: str

    def address_of(self, database_url: str) -> str:
        """Return the address of a database through the pooler instead of the server's own."""
        name = conninfo_to_dict(plain_url(database_url))["dbname"]
        return f"postgresql+psycopg://ledger@/{name}?{self._where()}"

    def tell(self, *commands: str) -> None:
        """Say something to its console, such as `PAUSE`, `KILL name` or `RESUME name`."""
        console = f"postgresql://ledger@/pgbouncer?{self._where()}"
        # The console knows no parameters and no transactions.
        with psycopg.connect(
            console, autocommit=True, cursor_factory=psycopg.ClientCursor
        ) as asking:
            for command in commands:
                asking.execute(command.encode())

    def _where(self) -> str:
        return urlencode({"host": str(self.folder), "port": _PORT})


@contextmanager
def pgbouncer(server: str, mode: str, *, connections: int) -> Iterator[Pooler]:
    """Start one for all databases of a server's address, and stop it at the end."""
    if PROGRAM is None:
        raise FileNotFoundError("pgbouncer is not installed")
    with tempfile.TemporaryDirectory(prefix="pgbouncer-", dir=memory_folder()) as made:
        folder = Path(made)
        user = _user_for(server)
        (folder / "pgbouncer.ini").write_text(_settings(server, mode, connections, folder, user))
        if user:
            shutil.chown(folder, user)
        process = subprocess.Popen(
            [PROGRAM, "-q", str(folder / "pgbouncer.ini")],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        try:
            _wait_for(folder / f".s.PGSQL.{_PORT}", process)
            yield Pooler(folder, mode)
        finally:
            process.terminate()
            process.wait(10)


def _settings(server: str, mode: str, connections: int, folder: Path, user: str | None) -> str:
    given = conninfo_to_dict(server)
    where = " ".join(
        f"{name}={given[name]}" for name in ("host", "port", "user", "password") if given.get(name)
    )
    return f"""
[databases]
* = {where}
[pgbouncer]
listen_port = {_PORT}
unix_socket_dir = {folder}
logfile = {folder}/log
auth_type = any
admin_users = ledger
pool_mode = {mode}
default_pool_size = {connections}
max_client_conn = 400
server_login_retry = 1
ignore_startup_parameters = extra_float_digits
{f"user = {user}" if user else ""}
"""


def _user_for(server: str) -> str | None:
    """Return as whom it runs where we are root, which it refuses to be: who may use the socket."""
    if os.geteuid() != 0:
        return None
    host = str(conninfo_to_dict(server).get("host", ""))
    return Path(host).owner() if host.startswith("/") else "nobody"


def _wait_for(socket: Path, process: subprocess.Popen[bytes]) -> None:
    give_up_at = time.monotonic() + _START_S
    while not socket.exists():
        if process.poll() is not None or time.monotonic() > give_up_at:
            log = socket.with_name("log")
            raise AssertionError(log.read_text() if log.exists() else "pgbouncer did not start")
        time.sleep(0.02)
