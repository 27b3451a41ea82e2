"""The close pack: everything that finance keeps of a closed month, in one folder, and its sums.

The pack is made from what a seal covers: the month's transfers, what jobs held at its end, and of
jobs only what never changes. So it is the same to the byte whenever, wherever and on whichever
engine it is made again. What a provider's own record says may still change: it is not in the pack.
"""

from __future__ import annotations

import hashlib
import json
import tempfile
from collections.abc import Iterator, Mapping
from decimal import Decimal
from pathlib import Path
from typing import Any, Final

import pandas as pd

from kling_ledger.errors import ConfigError, PeriodError
from kling_ledger.ledger.engines.database import Database
from kling_ledger.ledger.periods import Period
from kling_ledger.ledger.states import State
from kling_pricing.money import plain
from kling_reports import frames, reconciliation, statement, variance
from kling_reports.exports import focus
from kling_reports.groups import read_groups
from kling_reports.query import Query
from kling_reports.render import csv
from kling_reports.report import UNIT, Column, Table, typed

MANIFEST: Final = "manifest.json"
"""The file that names all the others, each with its SHA-256."""

_FREEING: Final = ("commit", "return", "roll_back", "expire")
_CHARGING: Final = ("commit", "overrun", "late_commit")
_CORRECTING: Final = ("adjust", "adjust_down", "overrun", "late_commit", "refund")
_NOT_SEALED: Final = ("billed_clips", "billed_micro")
"""Columns of the variance that rest on what may change after the close."""

_ACCRUALS: Final = (
    Column("reservation_id", "reservation", "text"),
    Column("created_at", "reserved at", "instant"),
    Column("amount_micro", "amount", "money", "what it held when the month ended", adds_up=True),
    Column(UNIT, "unit", "text"),
    Column("wallet", "wallet", "text"),
    Column("project", "project", "text"),
    Column("provider", "provider", "text"),
    Column("model", "model", "text"),
    Column("actor", "user", "text"),
)
_BY_PROVIDER: Final = (
    Column("provider", "provider", "text", "to be laid beside this provider's bill"),
    Column(UNIT, "unit", "text"),
    Column("jobs", "jobs", "integer", "jobs that were charged or refunded in the month", True),
    Column("charged_micro", "charged", "money", "posted in the month", adds_up=True),
    Column("refunded_micro", "refunded", "money", "what came back in the month", adds_up=True),
    Column("net_micro", "net", "money", "charged less refunded", adds_up=True),
)
_CHECKS: Final = (
    Column("figure", "figure", "text", "what was worked out in two ways"),
    Column(UNIT, "unit", "text"),
    Column("journal_micro", "journal", "money", "as the database adds its transfers up"),
    Column("pack_micro", "pack", "money", "as the files of this pack say it"),
    Column("difference_micro", "difference", "money", "pack less journal: zero"),
)


def write(
    database: Database, month: str, folder: Path, *, rates: Mapping[str, Decimal] | None = None
) -> list[str]:
    """Write the pack of a month that is closed hard into a new folder; return its files' names.

    All of it or nothing: the folder appears when everything is in it. Where it is there already
    with the same pack, nothing is done. `rates` is as for focus.export. Raises PeriodError for a
    month that is not closed hard or not what was sealed, ConfigError for a folder of other things.
    """
    files = contents(database, month, rates=rates)
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        _check_same(folder, files)
        return list(files)
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder.parent, prefix=f".{folder.name}-") as made_in:
        made = Path(made_in) / "pack"
        made.mkdir()
        for name, content in files.items():
            (made / name).write_bytes(content)
        if folder.exists():
            folder.rmdir()
        made.rename(folder)
    return list(files)


def contents(
    database: Database, month: str, *, rates: Mapping[str, Decimal] | None = None
) -> dict[str, bytes]:
    """Return the files of a month's pack by name, the manifest last."""
    closed = frames.closed_month(database, month)
    period = closed.period
    if closed.seal != period.seal:
        raise PeriodError(
            f"the journal of {month} is not what was sealed",
            hint="kling-ledger verify names what was changed",
        )
    query = Query(now=period.closed_at, period=month)
    journal = frames.journal(database, period=month)
    exported = focus.export(journal, frames.worths(database, through=month), rates=rates)
    tables = _tables(database, month, journal)
    tables["checks"] = _checked(database, month, tables, exported)
    files = {f"{name}.csv": _csv(query, table) for name, table in tables.items()}
    files |= {"focus.csv": exported, "seal.json": _json(_sealed(period))}
    return {**files, MANIFEST: _json(_manifest(period, rates or {}, files))}


def _tables(database: Database, month: str, journal: pd.DataFrame) -> dict[str, Table]:
    ordered = journal.sort_values(["created_at", "id"])
    moved = ordered[ordered["kind"].isin(list(frames.MOVES))].reset_index(drop=True)
    corrections = ordered[ordered["kind"].isin(_CORRECTING)].reset_index(drop=True)
    touched = frames.journal(database, through=month, touched_in=month)
    summary = statement.statement(_movements(database, month))
    return {
        "statement": summary,
        "statement-lines": statement.entries(moved, summary.frame),
        "spend": statement.charges(moved),
        "variance": variance_of(touched, month),
        "reconciliation": by_provider(moved),
        "corrections": reconciliation.corrected(corrections),
        "accruals": accrued(frames.accruals(database, month)),
    }


def _movements(database: Database, month: str) -> pd.DataFrame:
    """Return what moved in wallets, without those that did not yet hold anything."""
    movements = frames.movements(database, period=month)
    return movements[movements["kind"].notna()].reset_index(drop=True)


def variance_of(touched: pd.DataFrame, month: str) -> Table:
    """Compare what was quoted and charged for the clips whose charging ended in a month.

    `touched` is the history up to the month (see frames.journal) of the jobs that it touched.
    """
    amount, kind = touched["amount_micro"], touched["kind"]
    charged = amount.where(kind.isin(_CHARGING), 0)
    held = amount.where(kind == "reserve", (-amount).where(kind.isin(_FREEING), 0))
    is_before = touched["period"] < month
    figures = {
        "committed_micro": charged,
        "held": held,
        "charged_before": charged.where(is_before, 0),
        "held_before": held.where(is_before, 0),
    }
    words = ["provider", "model", UNIT, "reserved_micro"]
    lines = pd.DataFrame({"id": touched["reservation_id"], **touched[words], **figures})
    keys = ["id", *words]
    jobs = lines[lines["id"].notna()].groupby(keys, dropna=False, as_index=False).sum()
    was_over = (jobs["held_before"] == 0) & (jobs["charged_before"] > 0)
    ended = jobs[(jobs["held"] == 0) & (jobs["committed_micro"] > 0) & ~was_over]
    alike = ended.assign(
        jobs=pd.Series(1, ended.index, "Int64"),
        state=pd.Series(str(State.COMMITTED), ended.index, "string"),
        settled_by=pd.Series(pd.NA, ended.index, "string"),
    )
    return _without(variance.variance(alike, read_groups(("provider", "model"))), _NOT_SEALED)


def by_provider(moved: pd.DataFrame) -> Table:
    """Add up what each provider was paid and gave back in the month, to lay beside its bill."""
    paid = moved["credit_account"].where(moved["kind"] != "refund", moved["debit_account"])
    charges = statement.charges(moved.assign(provider=paid.str.removeprefix("provider/")))
    keys = ["provider", UNIT]
    figures = [column.name for column in _BY_PROVIDER if column.adds_up]
    rows = charges.frame.groupby(keys, dropna=False, as_index=False)[figures].sum()
    return Table("reconciliation", "By provider", _BY_PROVIDER, typed(rows, _BY_PROVIDER))


def accrued(held: pd.DataFrame) -> Table:
    """List what jobs still held when the month was closed (see frames.accruals)."""
    return Table("accruals", "Accruals", _ACCRUALS, typed(held, _ACCRUALS))


def _checked(database: Database, month: str, tables: Mapping[str, Table], exported: bytes) -> Table:
    """Lay what the files say beside what the database adds up; PeriodError where they differ."""
    rows = list(_checks(_movements(database, month), tables, exported))
    for row in rows:
        if row["difference_micro"]:
            raise PeriodError(
                f"{row['figure']} of {month} in {row[UNIT]} differ by {row['difference_micro']}"
                " millionths between the journal and the pack",
                hint="kling-ledger verify",
            )
    kinds = {column.name: column.kind for column in _CHECKS}
    return Table("checks", "Checks", _CHECKS, frames.frame_of(rows, kinds))


def _checks(
    movements: pd.DataFrame, tables: Mapping[str, Table], exported: bytes
) -> Iterator[dict[str, Any]]:
    within = movements[~movements["before"].astype(bool)]
    for unit in sorted(set(movements[UNIT])):
        moved = _moved(within[within[UNIT] == unit])
        for figure, journal, pack in _figures(unit, moved, tables, exported):
            yield {
                "figure": figure,
                UNIT: unit,
                "journal_micro": journal,
                "pack_micro": pack,
                "difference_micro": pack - journal,
            }


def _figures(
    unit: str, moved: Mapping[str, int], tables: Mapping[str, Table], exported: bytes
) -> Iterator[tuple[str, int, int]]:
    """Return each figure of a unit as the journal has it and as the pack has it."""
    said = focus.amounts(exported, unit)
    net = moved["spent"] + moved["refunded"]
    yield "usage in focus", net, said["Usage"]
    yield "purchases in focus", moved["funded"], said["Purchase"]
    yield "adjustments in focus", moved["adjusted"], said["Adjustment"]
    yield "spend", -net, _sum(tables["spend"], "net_micro", unit)
    yield "reconciliation", -net, _sum(tables["reconciliation"], "net_micro", unit)
    lines = _sum(tables["statement-lines"], "amount_micro", unit)
    yield "statement lines", sum(moved.values()), lines
    held = _sum(tables["statement"], "reserved_micro", unit)
    yield "accruals", held, _sum(tables["accruals"], "amount_micro", unit)


def _moved(movements: pd.DataFrame) -> dict[str, int]:
    """Add up what went into wallets, or out of them below zero, by figure of the statement."""
    moved = {figure: 0 for figure, _ in frames.MOVES.values()}
    for kind, amount in zip(movements["kind"], movements["amount_micro"], strict=True):
        if kind in frames.MOVES:
            figure, sign = frames.MOVES[kind]
            moved[figure] += sign * int(amount)
    return moved


def _sum(table: Table, column: str, unit: str) -> int:
    frame = table.frame
    return int(frame.loc[frame[UNIT] == unit, column].sum())


def _without(table: Table, names: tuple[str, ...]) -> Table:
    columns = tuple(column for column in table.columns if column.name not in names)
    return Table(table.name, table.title, columns, typed(table.frame, columns))


def _csv(query: Query, table: Table) -> bytes:
    return csv.render(query.answer(table.name, table.title, question="", tables=[table]))


def _sealed(period: Period) -> dict[str, Any]:
    return {
        "period": period.name,
        "state": period.state,
        "transfers": period.transfers,
        "seal": period.seal,
        "previous_seal": period.previous_seal,
        "closed_at": period.closed_at.isoformat(),
        "closed_by": period.actor,
        "reason": period.reason,
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
            f"{folder} is there already and holds something else than this pack",
            hint="name a new folder with --out",
        )
