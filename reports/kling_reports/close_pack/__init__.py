"""The close pack: everything that finance keeps of a closed month, in one folder, and its sums.

The pack contains only what the seal covers: the month's transfers, what jobs held at its end, and
the facts of jobs that never change. So a second run gives identical bytes, at any time, on any
machine and either engine. What a provider's record says after the month is not included.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from decimal import Decimal
from pathlib import Path
from typing import Any, Final

from kling_ledger.errors import ConfigError, PeriodError
from kling_ledger.ledger.engines.database import Database
from kling_ledger.ledger.periods import Period
from kling_ledger.tabular.files import whole_folder
from kling_pricing.money import plain
from kling_reports.close_pack.checks import checked
from kling_reports.close_pack.sources import Sources
from kling_reports.close_pack.tables import layout_of
from kling_reports.doors import journal, months
from kling_reports.query import Query
from kling_reports.render import csv
from kling_reports.report import Table

MANIFEST: Final = "manifest.json"
"""The file that names all the others, each with its SHA-256."""

_SIGNED_SINCE: Final = 3
"""The first seal format that covers who prepared a close."""


def write(
    database: Database, month: str, folder: Path, *, rates: Mapping[str, Decimal] | None = None
) -> list[str]:
    """Write the pack of a month that is closed hard into a new folder; return its files' names.

    All or nothing: the folder appears once it is complete. If it already has the same pack, nothing
    is done. `rates` is as for focus.rows. Raises PeriodError for a month that is not closed hard or
    no longer matches its seal, ConfigError for a folder with other content.
    """
    files = contents(database, month, rates=rates)
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        _check_same(folder, files)
        return list(files)
    with whole_folder(folder) as made:
        for name, content in files.items():
            (made / name).write_bytes(content)
    return list(files)


def contents(
    database: Database, month: str, *, rates: Mapping[str, Decimal] | None = None
) -> dict[str, bytes]:
    """Return the files of a month's pack by name, the manifest last."""
    closed = months.closed(database, month)
    period = closed.period
    if closed.seal != period.seal:
        raise PeriodError(
            f"the journal of {month} differs from its seal",
            hint="kling-ledger verify names what was changed",
        )
    # The time of the close is used as now, so that a pack made again later is the same.
    query = Query(now=period.closed_at, period=month)
    lines = journal.lines(database, period=month)
    layout, sources = layout_of(period.format), Sources(database, period, lines)
    exported = layout.focus(sources, rates or {})
    found = {name: make(sources) for name, make in layout.tables.items()}
    found["checks"] = checked(sources, layout, tables=found, exported=exported["focus"])
    files = {f"{name}.csv": _csv(query, table) for name, table in found.items()}
    files |= {f"{name}.csv": content for name, content in exported.items()}
    files["seal.json"] = _json(_sealed(period))
    return {**files, MANIFEST: _json(_manifest(period, rates or {}, files))}


def _csv(query: Query, table: Table) -> bytes:
    return csv.render(query.answer(table.name, table.title, question="", tables=[table]))


def _sealed(period: Period) -> dict[str, Any]:
    return {
        **period.seal_dict(),
        "closed_at": period.closed_at.isoformat(),
        "closed_by": period.actor,
        "reason": period.reason,
        **(_signed(period) if (period.format or 1) >= _SIGNED_SINCE else {}),
    }


def _signed(period: Period) -> dict[str, Any]:
    """Return who prepared and who approved a close; seals before format 3 do not cover that."""
    return {
        "prepared_by": period.prepared_by,
        "prepared_at": period.prepared_at and period.prepared_at.isoformat(),
        "approved_by": period.approved_by,
    }


def _manifest(
    period: Period, rates: Mapping[str, Decimal], files: Mapping[str, bytes]
) -> dict[str, Any]:
    return {
        "close_pack": period.name,
        "seal": period.seal,
        "rates_given": {unit: plain(rate) for unit, rate in sorted(rates.items())},
        "files": [
            {"name": name, "bytes": len(content), "sha256": hashlib.sha256(content).hexdigest()}
            for name, content in sorted(files.items())
        ],
    }


def _json(thing: Mapping[str, Any]) -> bytes:
    return f"{json.dumps(thing, indent=2, ensure_ascii=False)}\n".encode()


def _check_same(folder: Path, files: Mapping[str, bytes]) -> None:
    there = {path.name for path in folder.iterdir()} if folder.is_dir() else set()
    if there != set(files) or any(
        (folder / name).read_bytes() != content for name, content in files.items()
    ):
        raise ConfigError(
            f"{folder} already exists and holds something other than this pack",
            hint="name a new folder with --out",
        )
