"""The checkup: what `doctor` checks on this machine, each with its remedy."""

from __future__ import annotations

import os
import platform
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.util import find_spec
from typing import Final, Literal

from kling_ledger import config
from kling_pricing.errors import KlingError

Level = Literal["ok", "warn", "fail"]

_EXTRAS: Final = {
    "postgres": ("psycopg",),
    "parquet": ("pyarrow",),
    "agents": ("mcp", "cryptography"),
    "otel": ("opentelemetry",),
}
_ONLINE_S: Final = 5.0


@dataclass(frozen=True, slots=True)
class Finding:
    """One check; `then` is the remedy, None if there is nothing to do."""

    level: Level
    check: str
    found: str
    then: str | None = None


def failed(check: str, error: KlingError) -> Finding:
    """Return the finding of an error, in the error's words."""
    from kling_ledger.cli.hints import hint_for

    return Finding("fail", check, error.message, hint_for(error))


def of_this_machine(secret: str, *, online: bool) -> Iterator[Finding]:
    """Check the program, its prices, the API keys and the providers' addresses.

    `secret` is the ledger's own, which fingerprints keys; empty without a ledger.
    """
    yield _python()
    yield from _packages()
    yield from _caught("price books", _books)
    yield from _keys(secret)
    yield from _caught("addresses", lambda: _addresses(online=online))


def _caught(check: str, look: Callable[[], Iterator[Finding]]) -> Iterator[Finding]:
    try:
        yield from look()
    except KlingError as error:
        yield failed(check, error)


def _python() -> Finding:
    found = f"{platform.python_version()} on {platform.system()} {platform.machine()}"
    return Finding("ok", "Python", found)


def _packages() -> Iterator[Finding]:
    from importlib.metadata import PackageNotFoundError, version

    try:
        yield Finding("ok", "kling-ledger", version("kling-ledger"))
    except PackageNotFoundError:
        yield Finding(
            "warn", "kling-ledger", "not installed: running from a folder", "pip install ."
        )
    there = [name for name, needed in _EXTRAS.items() if all(map(find_spec, needed))]
    lacking = [name for name in _EXTRAS if name not in there]
    told = f"{', '.join(there) or 'none'}; without {', '.join(lacking)}" if lacking else "all"
    yield Finding("ok", "extras", told)


def _books() -> Iterator[Finding]:
    from kling_pricing.audit import stale
    from kling_pricing.library import open_library
    from kling_pricing.quote import STALE_AFTER_DAYS

    library = open_library()
    books = [library.book(name) for name in library.providers]
    own = f", {len(library.user_books)} of them yours, in {library.folder}"
    told = f"{len(books)} providers{own if library.user_books else ''}"
    today = datetime.now(UTC).date()
    found = stale(books, today=today, max_age_days=STALE_AFTER_DAYS)
    old = sorted({one.provider for one in found if one.is_difference})
    if old:
        then = "kling-ledger prices check"
        yield Finding("warn", "price books", f"{told}; to check: {', '.join(old)}", then)
    else:
        yield Finding("ok", "price books", told)
    for note in library.notes:
        yield Finding("warn", "price books", note)


def _keys(secret: str) -> Iterator[Finding]:
    """Report which API keys are set, by fingerprint; no key is ever shown."""
    from kling_ledger.providers.http import Secret
    from kling_ledger.providers.registry import FACTS

    lacking = []
    for name, facts in FACTS.items():
        variable = facts.key_variable
        if not config.has_api_key(variable, None):
            lacking.append(variable)
            continue
        try:
            key = Secret(config.api_key(variable, None))
        except KlingError as error:
            yield failed(variable, error)
            continue
        known = f"fingerprint {key.fingerprint(secret, name)[:12]}" if secret else "set"
        yield Finding("ok", variable, known)
    if len(lacking) == len(FACTS):
        then = f"set {' or '.join(lacking)} to run jobs; quotes need none"
        yield Finding("warn", "API keys", "none is set", then)
    elif lacking:
        yield Finding("ok", "API keys", f"not set: {', '.join(lacking)}")


def _addresses(*, online: bool) -> Iterator[Finding]:
    from kling_ledger.providers.registry import FACTS

    for name, facts in FACTS.items():
        address = config.base_url(None, default=facts.base_url, provider=name)
        if online:
            yield _reached(name, address)
        elif address != facts.base_url:
            told = f"your settings put it at {address}, not at its own {facts.base_url}"
            yield Finding("warn", name, told, f"kling-ledger config unset base_url.{name}")
    if not online:
        yield Finding("ok", "providers", "not asked", "kling-ledger doctor --online")


def _reached(name: str, address: str) -> Finding:
    """Send a request to an address: any answer means that the provider is reachable."""
    import httpx

    try:
        answer = httpx.get(address, timeout=_ONLINE_S)
    except httpx.HTTPError as error:
        then = "check your network, proxy and firewall"
        return Finding("fail", name, f"{address}: {type(error).__name__}: {error}", then)
    return Finding("ok", name, f"{address} answers (HTTP {answer.status_code})")


def named_by(db: str | None, file: str, *, in_file: bool) -> str:
    """Return what names the ledger: an option, a variable, the settings file, or nothing."""
    if db is not None:
        return "--db"
    if os.environ.get(config.DATABASE_VARIABLE):
        return config.DATABASE_VARIABLE
    return file if in_file else "default"
