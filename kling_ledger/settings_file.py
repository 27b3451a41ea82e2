"""The settings file: a user's defaults for every command and script.

It is TOML and holds no secrets. Options win over environment variables, variables over this file,
and this file over the defaults.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any, Final

from kling_ledger.errors import ConfigError
from kling_pricing.own_books import in_settings

FILE_VARIABLE: Final = "KLING_LEDGER_CONFIG"
"""The variable that selects the file, instead of `config.toml` in the user's settings."""

PROVIDERS: Final = ("runapi", "crun", "evolink", "uniall")
KEYS: Final[Mapping[str, tuple[str, str]]] = {
    "db": ("text", "the ledger's database: a file or an address"),
    "wallet": ("text", "who pays for run, batch, check and exec"),
    "project": ("text", "what their jobs are for"),
    "provider": ("text", "who makes the clips of quote, run and check"),
    "format": ("text", "table, json or csv"),
    "books": ("text", "the folder of your own price books"),
    "approve_above": ("amount", "the cost above which a person must approve a job"),
    "timeout": ("seconds", "how long a job may take before it is in doubt"),
    "poll_every": ("seconds", "how often a job is polled"),
    **{f"base_url.{name}": ("address", f"where {name} is") for name in PROVIDERS},
}
"""Every key of the file: the kind of its value, and its meaning."""

_SECRET: Final = re.compile(r"api_?key|secret|password|passwd|token|credential|(^|_)key$")
_PASSWORD: Final = re.compile(r"://[^/@\s]*:[^/@\s]*@")


@dataclass(frozen=True, slots=True)
class Settings:
    """What the file says, by key; `base_url.runapi` is that of one provider. `path` need not exist.

    Empty without a file.
    """

    path: str
    values: Mapping[str, str | float] = field(default_factory=dict)

    def text(self, key: str) -> str | None:
        """Return the file's value of a key, None if it is not set."""
        found = self.values.get(key)
        return None if found is None else str(found)


def settings_path(environ: Mapping[str, str] = os.environ) -> str:
    """Return the path of the file: from the variable, or `config.toml` in the user's settings."""
    return in_settings("config.toml", FILE_VARIABLE, environ)


def read_settings(environ: Mapping[str, str] = os.environ) -> Settings:
    """Read the file. Raises ConfigError for a missing file that was named, or an invalid one.

    An unknown key is an error: it may be meant to limit something.
    """
    path = settings_path(environ)
    try:
        if not os.path.getsize(path):  # noqa: PTH202
            return Settings(path)
        with open(path, encoding="utf-8-sig") as file:  # noqa: PTH123
            return Settings(path, parsed(file.read(), path))
    except FileNotFoundError:
        if environ.get(FILE_VARIABLE):
            raise ConfigError(
                f"there is no settings file at {path}",
                hint=f"create it, or leave out --config and {FILE_VARIABLE}",
            ) from None
        return Settings(path)
    except UnicodeDecodeError:
        raise ConfigError(f"{path} is not UTF-8 text") from None
    except OSError as error:
        raise ConfigError(f"{path} cannot be read: {error.strerror}") from None


def parsed(text: str, path: str) -> dict[str, str | float]:
    """Read the text of a settings file, key by key. Raises ConfigError naming the key at fault."""
    import tomllib

    try:
        said = tomllib.loads(text)
    except (tomllib.TOMLDecodeError, RecursionError) as error:
        raise ConfigError(
            f"{path} is not valid TOML: {error}", hint='write a line as wallet = "team"'
        ) from None
    return {key: checked(key, value, path) for key, value in _flat(said)}


def checked(key: str, value: object, path: str) -> str | float:
    """Return the value of a key if it can be one. ConfigError for a secret or an unknown key."""
    if key not in KEYS:
        raise _unknown(key, path)
    kind = KEYS[key][0]
    if kind == "seconds":
        is_number = isinstance(value, (int, float)) and not isinstance(value, bool)
        if not is_number or not 0 < float(str(value)) < Decimal("Infinity"):
            raise ConfigError(f"{path}: {key}: got {value}, allowed: seconds above 0")
        return float(str(value))
    if not isinstance(value, str) or not value.strip():
        raise ConfigError(f"{path}: {key}: got {value!r}, allowed: text")
    if _PASSWORD.search(value):
        raise ConfigError(
            f"{path}: {key} holds a password, but this file must hold no secrets",
            hint="PostgreSQL reads it from ~/.pgpass; or set KLING_LEDGER_DB",
        )
    if kind == "address" and not value.startswith(("http://", "https://")):
        raise ConfigError(f"{path}: {key}: got {value}, allowed: an address, as https://host")
    return value


def _flat(said: Mapping[str, Any]) -> list[tuple[str, Any]]:
    """Return the keys of a document, those of its tables after a dot."""
    found: list[tuple[str, Any]] = []
    for key, value in said.items():
        if isinstance(value, dict):
            found += [(f"{key}.{name}", one) for name, one in value.items()]
        else:
            found.append((key, value))
    return found


def _unknown(key: str, path: str) -> ConfigError:
    if _SECRET.search(key.casefold()):
        return ConfigError(
            f"{path}: {key} looks like a secret, and this file must hold none",
            hint="set a variable of the environment, such as RUNAPI_API_KEY",
        )
    from difflib import get_close_matches

    near = get_close_matches(key, KEYS, n=1)
    return ConfigError(
        f"{path}: no such setting: {key}",
        hint=f"did you mean {near[0]}?" if near else f"settings: {', '.join(KEYS)}",
    )
