"""The checks of a close pack: each figure as summed by the database and as in the files."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import chain
from typing import Any, Final

import pandas as pd

from kling_ledger.errors import PeriodError
from kling_reports.close_pack.purchased import allowed
from kling_reports.close_pack.sources import Sources
from kling_reports.close_pack.tables import Layout
from kling_reports.exports import focus
from kling_reports.frames import frame_of
from kling_reports.moves import FIGURES, MOVES
from kling_reports.report import UNIT, Column, Table

_CHECKS: Final = (
    Column("figure", "figure", "text", "what was worked out in two ways"),
    Column(UNIT, "unit", "text"),
    Column("journal_micro", "journal", "money", "as the database adds its transfers up"),
    Column("pack_micro", "pack", "money", "as the files of this pack say it"),
    Column("difference_micro", "difference", "money", "pack less journal: zero"),
)


def checked(of: Sources, layout: Layout, *, tables: Mapping[str, Table], exported: bytes) -> Table:
    """Compare a pack with what moved in its month; PeriodError if they differ.

    `exported` is the pack's FOCUS file. A pack that contradicts the journal is never written.
    """
    more = layout.more_checks(of, tables, exported)
    rows = [*_rows(of, layout, tables, exported), *map(_row, more)]
    for row in rows:
        if row["difference_micro"]:
            raise PeriodError(
                f"{row['figure']} of {of.month} in {row[UNIT]} differ by {row['difference_micro']}"
                " millionths between the journal and the pack",
                hint="kling-ledger verify",
            )
    kinds = {column.name: column.kind for column in _CHECKS}
    return Table("checks", "Checks", _CHECKS, frame_of(rows, kinds))


def _rows(
    of: Sources, layout: Layout, tables: Mapping[str, Table], exported: bytes
) -> Iterator[dict[str, Any]]:
    within = of.movements[~of.movements["before"].astype(bool)]
    for unit in sorted(set(of.movements[UNIT])):
        moved = _moved(within[within[UNIT] == unit])
        held = _sum(tables["statement"], "reserved_micro", unit)
        own = layout.checks(of, tables, unit, held)
        for figure, journal, pack in chain(_figures(unit, moved, tables, exported), own):
            yield _row((figure, unit, journal, pack))


def _row(compared: tuple[str, str, int, int]) -> dict[str, Any]:
    figure, unit, journal, pack = compared
    return {
        "figure": figure,
        UNIT: unit,
        "journal_micro": journal,
        "pack_micro": pack,
        "difference_micro": pack - journal,
    }


def _figures(
    unit: str, moved: Mapping[str, int], tables: Mapping[str, Table], exported: bytes
) -> Iterator[tuple[str, int, int]]:
    """Return each figure of a unit as in the journal and as in the pack."""
    said = focus.amounts(exported, unit)
    net = moved["spent"] + moved["refunded"]
    yield "usage in focus", net, said["Usage"]
    yield "purchases in focus", moved["funded"] - allowed(tables, unit), said["Purchase"]
    yield "adjustments in focus", moved["adjusted"], said["Adjustment"]
    # What left the wallets is negative in the journal's sums, positive in these tables.
    yield "spend", -net, _sum(tables["spend"], "net_micro", unit)
    yield "reconciliation", -net, _sum(tables["reconciliation"], "net_micro", unit)
    lines = _sum(tables["statement-lines"], "amount_micro", unit)
    yield "statement lines", sum(moved.values()), lines


def _moved(movements: pd.DataFrame) -> dict[str, int]:
    """Add up what went into wallets (negative: out of them), by figure of the statement."""
    moved = dict.fromkeys(FIGURES, 0)
    for kind, amount in zip(movements["kind"], movements["amount_micro"], strict=True):
        if kind in MOVES:
            figure, sign = MOVES[kind]
            moved[figure] += sign * int(amount)
    return moved


def _sum(table: Table, column: str, unit: str) -> int:
    frame = table.frame
    return int(frame.loc[frame[UNIT] == unit, column].sum())
