"""The environment: where the ledger lives, who acts, which key to use, what time it is.

Settings are read only here.
"""

from __future__ import annotations

import math
import os
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final

from kling_ledger.errors import (
    ConfigError,
    NoKeyError,
)
from kling_ledger.settings_file import read_settings

if TYPE_CHECKING:
    from pathlib import Path

DATABASE_VARIABLE: Final = "KLING_LEDGER_DB"
ACTOR_VARIABLE: Final = "KLING_LEDGER_ACTOR"
CLOCK_VARIABLE: Final = "KLING_LEDGER_TRUST_CLOCK"
SENDING_S: Final = 120.0
"""How long a job is left to the process that is sending it: longer than one call may take."""

_POSTGRES: Final = ("postgresql", "postgres", "postgresql+psycopg")


def database_url(given: str | None, environ: Mapping[str, str] = os.environ) -> str:
    """Return the database address: as given, from the variable, from the settings file, or the
    default.

    The default is a file in the user's data folder.

    A bare path stands for an SQLite file; `postgresql://` for the driver that we use. An empty
    address is a ConfigError: most likely an unset variable, and the default would then be the wrong
    ledger.
    """
    if given is not None and not given.strip():
        raise ConfigError(
            "the database's address is empty",
            hint="check the variable that sets it, or omit the address for the default",
        )
    written = given or environ.get(DATABASE_VARIABLE) or read_settings(environ).text("db")
    if not written:
        return f"sqlite:///{_default_file()}"
    scheme, separator, rest = written.partition("://")
    if separator and scheme in _POSTGRES:
        return f"postgresql+psycopg://{rest}"
    if separator and (scheme != "sqlite" or not rest.startswith("/")):
        raise ConfigError(
            f"database {scheme}:// is not supported",
            hint="use a path, sqlite:///path/to/file or postgresql+psycopg://host/name",
        )
    file = rest.removeprefix("/") if separator else written
    if file in {"", ":memory:"} or not file.isprintable():
        raise ConfigError(
            f"an SQLite ledger needs a file, got {written!r}",
            hint="use a path or sqlite:///path/to/file",
        )
    from pathlib import Path

    return f"sqlite:///{Path(file).expanduser()}"


def ledger_name(address: str) -> str:
    """Return the name of a ledger: its file's name without the extension, or its database's.

    Never a part of the address that may be secret: empty for an unreadable address.
    """
    from pathlib import Path
    from urllib.parse import unquote, urlsplit

    scheme, _, rest = address.partition("://")
    if scheme == "sqlite":
        return Path(rest).stem
    try:
        parts = urlsplit(address)
    except ValueError:
        return ""
    # A password with a sign that should have been escaped would spill into what follows.
    return "" if "@" in parts.path + parts.query + parts.fragment else unquote(parts.path[1:])


def actor(environ: Mapping[str, str] = os.environ) -> str:
    """Return who is acting, for the journal: the variable's name, or the login name."""
    named = environ.get(ACTOR_VARIABLE)
    if named:
        return named
    import getpass

    try:
        return getpass.getuser()
    except (OSError, KeyError, ImportError):
        return "unknown"


def trusts_clock(environ: Mapping[str, str] = os.environ) -> bool:
    """Whether the user says that this clock is right."""
    return environ.get(CLOCK_VARIABLE, "").strip().lower() in {"1", "yes", "true", "on"}


def set_variables(names: Iterable[str], environ: Mapping[str, str] = os.environ) -> dict[str, str]:
    """Return which variables are set, as they are written here or in small letters, and to what."""
    either = (spelling for name in names for spelling in (name, name.lower()))
    return {name: environ[name] for name in either if environ.get(name)}


def has_api_key(variable: str, given: str | None, environ: Mapping[str, str] = os.environ) -> bool:
    """Whether a provider's API key is set."""
    return bool((given or environ.get(variable) or "").strip())


def api_key(variable: str, given: str | None, environ: Mapping[str, str] = os.environ) -> str:
    """Return a provider's API key: the one given, or the variable's. It is never stored.

    Raises ConfigError, which does not contain the key, if it is missing or invalid.
    """
    key = (given or environ.get(variable) or "").strip()
    if not key:
        raise NoKeyError(variable)
    if not all(" " < character <= "~" for character in key):
        raise ConfigError(
            f"the API key that was passed or is in {variable} contains a space or an unusual"
            " character",
            hint="copy it again: a key is one word",
        )
    return key


def base_url(
    given: str | None,
    *,
    default: str,
    provider: str,
    environ: Mapping[str, str] = os.environ,
) -> str:
    """Return the address of a provider: as given, from the settings file, or its own.

    ConfigError for an invalid address.
    """
    said = read_settings(environ).text(f"base_url.{provider}") if given is None else given.strip()
    url = default if said is None else said
    if not url.startswith(("http://", "https://")):
        raise ConfigError(
            f"invalid provider address: {url!r}", hint="use https://, or http:// on this machine"
        )
    return url.rstrip("/")


def timeout_s(given: float) -> float:
    """Return how long a call may take, in seconds. ConfigError for an invalid one."""
    if not 0 < given < math.inf:
        raise ConfigError(f"invalid time-out: {given!r}", hint="give seconds above 0, such as 60")
    return given


def data_folder() -> Path:
    """Return the user's data folder of this program. It need not exist."""
    from platformdirs import user_data_path

    return user_data_path("kling-ledger", appauthor=False)


def _default_file() -> Path:
    return data_folder() / "ledger.sqlite"


def utc_now() -> datetime:
    """Return the present instant, aware, in UTC: the default clock."""
    return datetime.now(UTC)
