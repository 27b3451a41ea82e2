"""Connecting: how a PostgreSQL server is reached, and what to know about each connection.

The driver reads the address itself, so that all its options work: several hosts with
`target_session_attrs`, `sslmode`, `options`, a socket as `host`. Time-outs that the address does
not set are set here: nobody waits forever for a silent server.
"""

from __future__ import annotations

import os
import secrets
from dataclasses import dataclass, field
from typing import Any, Final
from urllib.parse import parse_qsl, quote

import psycopg
from psycopg.conninfo import conninfo_to_dict

from kling_ledger.errors import ConfigError, DatabaseError
from kling_ledger.ledger.engines.pipeline import Pipeline

_SETTINGS: Final = {
    "connect_timeout": "5",
    # A network that drops everything is noticed within half a minute.
    "keepalives_idle": "10",
    "keepalives_interval": "5",
    "keepalives_count": "3",
    "tcp_user_timeout": "30000",
    "client_encoding": "UTF8",
}
"""Defaults that an address may override. Of several hosts, the writable one is used."""

_FACTS: Final = (
    "SELECT pg_backend_pid() AS process, current_schema() AS schema,"
    " current_setting('transaction_read_only') = 'on' AS is_read_only,"
    " current_setting('server_encoding') AS encoding"
)
_PROGRAM: Final = "kling-ledger"


@dataclass(frozen=True, slots=True)
class Address:
    """A database's address: the driver's parameters, and its name without a password."""

    parameters: dict[str, Any] = field(repr=False)
    name: str

    def connect(self, *, autocommit: bool) -> psycopg.Connection[Any]:
        """Connect. Raises psycopg's OperationalError if the server does not answer."""
        return psycopg.connect(**self.parameters, autocommit=autocommit)

    def pipeline(self) -> Pipeline:
        """Connect, and check the database.

        Raises DatabaseError for a database that cannot hold a ledger.
        """
        given = self.parameters.get("application_name", _PROGRAM)
        # With a name of its own it can be ended on the server if its answer is lost.
        own = f"{given[:40]} {os.getpid()} {secrets.token_hex(4)}"
        connection = psycopg.connect(
            **(self.parameters | {"application_name": own}), autocommit=True
        )
        try:
            row = connection.execute(_FACTS).fetchone()
            assert row is not None  # noqa: S101 - a SELECT without FROM has one row
            process, schema, is_read_only, encoding = row
            self._check(schema, encoding)
        except BaseException:
            connection.close()
            raise
        return Pipeline(
            connection,
            schema=schema,
            application=own,
            is_read_only=is_read_only,
            # A pooler makes up the process id that it reports; the server reports its own.
            is_pooled=process != connection.pgconn.backend_pid,
        )

    def _check(self, schema: str | None, encoding: str) -> None:
        if schema is None:
            raise DatabaseError(
                f"{self.name}: no schema in its search_path exists", hint="create the schema"
            )
        if encoding == "SQL_ASCII":
            raise DatabaseError(
                f"{self.name} is a database without an encoding (SQL_ASCII)",
                hint="create one with ENCODING 'UTF8' TEMPLATE template0",
            )


def read_address(written: str) -> Address:
    """Read a `postgresql://` address. Raises ConfigError, without any part of a password."""
    scheme, _, rest = written.partition("://")
    given = _read(f"{scheme.partition('+')[0]}://{rest}")
    settings = dict(_SETTINGS)
    if "," in str(given.get("host", "")):
        settings["target_session_attrs"] = "read-write"
    return Address(settings | given, _shown(given))


def _read(url: str) -> dict[str, Any]:
    unknown = ""
    try:
        told = conninfo_to_dict(url) | _several_hosts(url)
        given = {name: value for name, value in told.items() if value is not None}
    except psycopg.ProgrammingError as error:
        # Any other message of the driver may quote a part of the password.
        if "query parameter" in str(error) and "@" not in str(error):
            unknown = f": {str(error).strip()}"
    else:
        if _is_whole(url, given):
            return given
    raise ConfigError(
        f"invalid address of the database{unknown}",
        hint="write it as postgresql://user:password@host:5432/name, with @ : / % in a password"
        " as %40 %3A %2F %25",
    )


def _several_hosts(url: str) -> dict[str, str]:
    """Read hosts given one by one, `?host=a:5432&host=b`, as SQLAlchemy writes them."""
    named = [value for name, value in parse_qsl(url.partition("?")[2]) if name == "host"]
    if len(named) < 2:
        return {}
    pairs = [one.rpartition(":") if ":" in one else (one, "", "5432") for one in named]
    return {
        "host": ",".join(host for host, _, _ in pairs),
        "port": ",".join(port for _, _, port in pairs),
    }


def _is_whole(url: str, given: dict[str, Any]) -> bool:
    """Whether no part of a password was taken for a host, a port or a name."""
    ports = [port for port in str(given.get("port", "")).split(",") if port]
    return url.partition("?")[0].count("@") <= 1 and all(
        port.isdecimal() and 0 < int(port) < 65536 for port in ports
    )


def _shown(given: dict[str, Any]) -> str:
    """Return an address for people, without its password."""
    hosts = str(given.get("host") or "").split(",")
    ports = str(given.get("port") or "").split(",")
    ports += ports[-1:] * (len(hosts) - len(ports))
    is_socket = hosts[0].startswith("/")
    places = ",".join(
        f"{host}:{port}" if port else host for host, port in zip(hosts, ports, strict=False)
    )
    secret = ":***" if given.get("password") else ""
    user = f"{given['user']}{secret}@" if given.get("user") else ""
    told = {"host": given["host"]} if is_socket else {}
    told |= {"options": given["options"]} if given.get("options") else {}
    query = "&".join(f"{name}={quote(text, safe='/,')}" for name, text in told.items())
    base = f"postgresql://{user}{'' if is_socket else places}/{given.get('dbname') or ''}"
    return f"{base}?{query}" if query else base
