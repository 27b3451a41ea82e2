"""Sources: what the tables of a close pack are made from, read once for all of them."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import pandas as pd

from kling_ledger.ledger.engines.database import Database
from kling_ledger.ledger.periods import Period
from kling_reports import statement
from kling_reports.close_pack.ended import ended_in
from kling_reports.doors import as_of, journal
from kling_reports.moves import CORRECTING, MOVES
from kling_reports.report import Table


@dataclass(frozen=True)
class Sources:
    """A closed month: its journal, `lines` (see journal.lines), and what follows from it."""

    database: Database
    period: Period
    lines: pd.DataFrame

    @property
    def month(self) -> str:
        """The month, such as `2026-10`."""
        return self.period.name

    @cached_property
    def movements(self) -> pd.DataFrame:
        """What moved in wallets through the month (see journal.movements).

        Without wallets that never held anything until then: they may have been created later.
        """
        found = journal.movements(self.database, period=self.month)
        return found[found["kind"].notna()].reset_index(drop=True)

    @cached_property
    def summary(self) -> Table:
        """Each wallet from its opening to its closing balance."""
        return statement.statement(self.movements)

    @cached_property
    def spend(self) -> Table:
        """What was charged and refunded in the month, by project, provider and model."""
        return statement.charges(self.database, period=self.month)

    @cached_property
    def moved(self) -> pd.DataFrame:
        """The month's lines that moved a balance, oldest first."""
        return self._ordered(list(MOVES))

    @cached_property
    def corrections(self) -> pd.DataFrame:
        """The month's lines outside the normal course of a job, oldest first."""
        return self._ordered(list(CORRECTING))

    @cached_property
    def touched(self) -> pd.DataFrame:
        """The whole history, up to the month, of the jobs that it touched."""
        return journal.lines(self.database, through=self.month, touched_in=self.month)

    @cached_property
    def ended(self) -> pd.DataFrame:
        """Those of these jobs whose charging ended in the month (see ended_in)."""
        return ended_in(self.touched, self.month)

    @cached_property
    def jobs(self) -> pd.DataFrame:
        """The jobs that the month touched, in their state at its end (see as_of.touched)."""
        return as_of.touched(self.database, self.month)

    def _ordered(self, kinds: list[str]) -> pd.DataFrame:
        ordered = self.lines.sort_values(["created_at", "id"])
        return ordered[ordered["kind"].isin(kinds)].reset_index(drop=True)
