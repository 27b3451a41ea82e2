"""The journal of a month for an ERP: the file, and its totals."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping as Words
from dataclasses import dataclass

import pandas as pd

from kling_reports.erp.amounts import Amounts, check_units, in_units
from kling_reports.erp.documents import Document, documents
from kling_reports.erp.mapping import Mapping
from kling_reports.erp.rows import written
from kling_reports.exports.lines import lines


@dataclass(frozen=True, slots=True)
class ErpJournal:
    """The file of a month and its documents."""

    content: bytes
    documents: tuple[Document, ...]

    def totals(self) -> Words[str, int]:
        """Return the sum of all debits, which equals all credits, in millionths by currency."""
        sums: dict[str, int] = defaultdict(int)
        for one in self.documents:
            sums[one.currency] += sum(posting.amount_micro for posting in one.postings)
        return sums


def erp_journal(
    journal: pd.DataFrame, mapping: Mapping, period: str, *, amounts: Amounts | None = None
) -> ErpJournal:
    """Write a month of the journal (see doors.journal.lines) as a mapping says.

    `amounts` gives a transfer's amount, by default from its units (see amounts.in_units). Raises
    ConfigError for accounts and currencies that the mapping lacks.
    """
    of_month = list(lines(journal))
    if amounts is None:
        check_units(mapping, of_month)
    found = documents(of_month, mapping, amounts or in_units(mapping))
    return ErpJournal(written(found, mapping, period), tuple(found))
