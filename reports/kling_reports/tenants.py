"""One question asked of several ledgers: their answers in one, each row with its tenant."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any, Final

import pandas as pd

from kling_reports.report import UNIT, Column, Report, Stream, Table, typed, typed_totals

TENANT: Final = Column("tenant", "tenant", "text", "whose ledger the row is of")


def joined(answers: Mapping[str, Report]) -> Report:
    """Join the answers of ledgers, by tenant. Totals are per unit: those of one unit add up."""
    reports = list(answers.values())
    tables = [
        _joined({name: report.tables[place] for name, report in answers.items()})
        for place in range(len(reports[0].tables))
    ]
    notes = dict.fromkeys(note for report in reports for note in report.notes)
    return replace(reports[0], tables=tuple(tables), notes=tuple(notes))


def _joined(tables: Mapping[str, Table]) -> Table:
    first = next(iter(tables.values()))
    columns = (TENANT, *first.columns)

    def batches() -> Iterator[pd.DataFrame]:
        for name, table in tables.items():
            for frame in table.batches():
                yield _named(frame, name, columns)

    is_long = any(table.stream is not None for table in tables.values())
    return replace(
        first,
        columns=columns,
        frame=pd.concat(_first_frames(tables, columns), ignore_index=True),
        totals=_totals(tables, columns),
        # Bars of several tenants under the same name would be read as one.
        picture=None,
        stream=Stream(sum(table.count for table in tables.values()), batches) if is_long else None,
    )


def _first_frames(
    tables: Mapping[str, Table], columns: tuple[Column, ...]
) -> Iterator[pd.DataFrame]:
    """Return the first rows of all tenants, as far as they are loaded without a gap."""
    for name, table in tables.items():
        yield _named(table.frame, name, columns)
        if len(table.frame) < table.count:
            return


def _named(frame: pd.DataFrame, name: str, columns: tuple[Column, ...]) -> pd.DataFrame:
    return typed(frame.assign(tenant=pd.Series(name, frame.index, "string")), columns)


def _totals(tables: Mapping[str, Table], columns: tuple[Column, ...]) -> pd.DataFrame | None:
    """Sum totals by unit. Figures computed from them, such as a cost per clip, are missing."""
    known = [table.totals for table in tables.values() if table.totals is not None]
    added = [column.name for column in columns if column.adds_up]
    if len(known) < len(tables) or UNIT not in known[0] or not added:
        return None
    whole = pd.concat(known, ignore_index=True)
    sums = whole.groupby(UNIT, sort=True)[added].agg(_sum)
    return typed_totals(sums.reset_index(), columns)


def _sum(values: pd.Series[Any]) -> Any:
    """Sum values: an unknown one makes the sum unknown."""
    return values.sum(skipna=False)
