"""Query: what every question needs: when, for which time, in which zone and currency."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Literal

import pandas as pd

from kling_ledger.errors import ConfigError
from kling_reports.currency import Conversion, Rates
from kling_reports.doors.batches import BATCH
from kling_reports.groups import Filter, Group, filtered
from kling_reports.report import EVER, Report, Span, Table

Basis = Literal["reserved", "posted"]
"""An axis of time."""


@dataclass(frozen=True, slots=True)
class Query:
    """The parameters of a question.

    `now` is given by the caller; `currency` is the display currency, at `rates` (see currency.py);
    USD needs none. `by` and `filters` are for questions that can be grouped and filtered. `basis`
    is the axis of time: a job counts when it was `reserved`, or each charge and refund when it was
    `posted`. `period` is a month of the journal instead of a span, for questions about the journal.
    `batch` is how many rows of a long table are in memory at a time.
    """

    now: datetime
    span: Span = EVER
    zone: str = "UTC"
    by: tuple[Group, ...] = ()
    filters: tuple[Filter, ...] = ()
    currency: str | None = None
    period: str | None = None
    basis: Basis = "reserved"
    rates: Rates | None = None
    batch: int = BATCH

    @property
    def conversion(self) -> Conversion | None:
        """The display currency and its rates; None if each amount stays in its own unit."""
        if self.currency is None:
            return None
        return Conversion(self.currency, self.rates or Rates())

    def filtered(self, frame: pd.DataFrame) -> pd.DataFrame:
        """Return the rows of a frame that all filters keep; ConfigError if one cannot apply."""
        for one in self.filters:
            if one.group.source not in frame:
                raise ConfigError(
                    f"{one}: this report knows no {one.group.word}",
                    hint="omit it, or use another report",
                )
        return filtered(frame, self.filters)

    def filtered_where_known(self, frame: pd.DataFrame) -> pd.DataFrame:
        """Return the rows of a frame that the filters applicable to it keep."""
        return filtered(frame, [one for one in self.filters if one.group.source in frame])

    def answer(
        self,
        name: str,
        title: str,
        *,
        question: str,
        tables: Sequence[Table],
        notes: Sequence[str] = (),
    ) -> Report:
        """Return the report that answers this query."""
        return Report(
            name=name,
            title=title,
            question=question,
            tables=tuple(tables),
            generated_at=self.now,
            span=self.span,
            period=self.period,
            timezone=self.zone,
            filters=tuple(map(str, self.filters)),
            currency=self.currency,
            notes=tuple(notes),
        )
