"""The checkup of the ledger: which one it is, whether it can be used, and what is pending in it."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final

from kling_ledger import config
from kling_ledger.cli.checkup import Finding, Level, failed, named_by
from kling_ledger.errors import NewerSchemaError, NoLedgerError, OlderSchemaError
from kling_pricing.counting import counted
from kling_pricing.errors import KlingError

if TYPE_CHECKING:
    from kling_ledger.ledger.looking import Looked

_LARGE_LOG: Final = 256 * 1024 * 1024


def of_settings() -> Iterator[Finding]:
    """Check the settings file."""
    from kling_ledger.settings_file import read_settings, settings_path

    try:
        settings = read_settings()
    except KlingError as error:
        yield failed("settings", error)
        return
    if settings.values:
        yield Finding("ok", "settings", f"{settings.path}: {', '.join(settings.values)}")
    else:
        yield Finding("ok", "settings", f"none in {settings_path()}")


def looked_at(db: str | None) -> tuple[Looked | None, list[Finding]]:
    """Check the ledger; return its contents, None if it cannot be read, and the findings."""
    try:
        url, origin = _which(db)
    except KlingError as error:
        return None, [failed("ledger", error)]
    from kling_ledger.cli.keys import without_password
    from kling_ledger.ledger.looking import look

    which = f"{without_password(url)} ({origin})"
    try:
        seen = look(url, at_us=int(datetime.now(UTC).timestamp() * 1_000_000))
    except NoLedgerError as error:
        then = failed("ledger", error).then
        level: Level = "warn" if origin == "default" else "fail"
        return None, [Finding(level, "ledger", f"none yet at {which}", then)]
    except KlingError as error:
        return None, [Finding("ok", "ledger", which), failed("database", error)]
    return seen, [Finding("ok", "ledger", which), *_of_database(seen), *_of_jobs(seen, url)]


def _which(db: str | None) -> tuple[str, str]:
    from kling_ledger.settings_file import read_settings

    url = config.database_url(db)
    settings = read_settings() if db is None else None
    in_file = settings is not None and settings.text("db") is not None
    return url, named_by(db, "" if settings is None else settings.path, in_file=in_file)


def _of_database(seen: Looked) -> Iterator[Finding]:
    if seen.version == seen.needed:
        yield Finding("ok", "schema", f"version {seen.version}")
    else:
        kind = OlderSchemaError if seen.version < seen.needed else NewerSchemaError
        yield failed("schema", kind("the ledger", version=seen.version, needed=seen.needed))
    if seen.server is not None:
        pooled = ", behind a pooler" if seen.server.is_pooled else ""
        replica = ", a read-only replica" if seen.server.is_replica else ""
        yield Finding("ok", "PostgreSQL", f"{seen.server.version}{pooled}{replica}")
    if seen.can_be_written:
        yield Finding("ok", "writing", "writable")
    else:
        then = "ask its owner for write permission, or use it read-only"
        yield Finding("warn", "writing", "read-only", then)
    yield from _of_files(seen)
    if seen.clock is not None:
        yield failed("clock", seen.clock)
    elif config.trusts_clock():
        then = f"unset {config.CLOCK_VARIABLE} once the clock is right"
        yield Finding("warn", "clock", "not checked", then)
    else:
        yield Finding("ok", "clock", "agrees with the ledger")


def _of_files(seen: Looked) -> Iterator[Finding]:
    if not seen.beside:
        return
    told = ", ".join(f"{name} ({size:,} bytes)" for name, size in seen.beside)
    if any(name.endswith("-wal") and size > _LARGE_LOG for name, size in seen.beside):
        then = "stop long reads; copy a ledger with kling-ledger db backup, never its file"
        yield Finding("warn", "files beside it", told, then)
    else:
        yield Finding("ok", "files beside it", f"{told}: they belong to it")


def _of_jobs(seen: Looked, url: str) -> Iterator[Finding]:
    from kling_ledger.ledger.unwritten import notes

    # That function logs unreadable files; they are not a finding.
    logging.getLogger("kling_ledger.ledger").addHandler(logging.NullHandler())
    left = list(notes(url))
    if left:
        are = counted(len(left), "task is", "tasks are")
        told = f"{are} in files and not in the ledger, such as {left[0].path}"
        yield Finding("warn", "task files", told, "kling-ledger resume")
    if seen.in_doubt:
        told = f"{seen.in_doubt} in doubt, with credits still reserved"
        yield Finding("warn", "jobs", told, "kling-ledger resume")
    else:
        yield Finding("ok", "jobs", f"none in doubt, {seen.still_open} open")
    if seen.waiting:
        told = f"{seen.waiting} wait for a person"
        yield Finding("warn", "approvals", told, "kling-ledger approval list")
