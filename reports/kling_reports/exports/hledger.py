"""hledger: the journal, with every account and unit declared and every month-end asserted.

`hledger check --strict -f FILE` verifies all of it. Source: https://hledger.org/1.25/
hledger.html#journal-format, checked 2026-11-20.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from decimal import Decimal

import pandas as pd

from kling_reports.exports.postings import (
    Entry,
    Month,
    Posting,
    accounts,
    months,
    one_line,
    units,
)


def export(journal: pd.DataFrame, lots: pd.DataFrame | None = None) -> bytes:
    """Return a whole journal (see journal.lines) for hledger, in ASCII.

    `lots` are its purchases (see purchases.lots). The same journal gives the same bytes.
    """
    return "".join(f"{line}\n" for line in _lines(list(months(journal, lots)))).encode()


def commodity(unit: str) -> str:
    """Return a unit as an hledger commodity: quoted, so that it stays unchanged."""
    return unit if unit.isalpha() else f'"{unit}"'


def _lines(all_months: list[Month]) -> Iterator[str]:
    yield "; The journal of a ledger."
    for unit in units(all_months):
        yield f"commodity 1.000000 {commodity(unit)}"
    for name, _ in accounts(all_months):
        yield f"account {name}"
    for month in all_months:
        for entry in month.entries:
            yield from _entry(entry)
        yield from _balances(month)


def _entry(entry: Entry) -> Iterator[str]:
    yield ""
    yield f"{entry.day} * ({entry.id}) {_description(entry.title)}"
    for name, text in entry.notes:
        yield f"    ; {name}: {_text(text)}"
    for posting in entry.postings:
        yield f"    {posting.account}  {_amount(posting.amount, posting.unit)}{_cost(posting)}"


def _balances(month: Month) -> Iterator[str]:
    """Assert what every account holds, with empty postings after all others on the last day."""
    yield ""
    yield f"{month.day_after - timedelta(days=1)} * balances at the end of {month.name}"
    for held in month.balances:
        nothing, amount = _amount(Decimal(0), held.unit), _amount(held.amount, held.unit)
        yield f"    {held.account}  {nothing} = {amount}"


def _cost(posting: Posting) -> str:
    """Write the total cost: a unit cost might have endless decimals."""
    return "" if posting.currency is None else f" @@ {_amount(posting.cost, posting.currency)}"


def _amount(amount: Decimal, unit: str) -> str:
    return f"{amount:.6f} {commodity(unit)}"


def _text(text: str) -> str:
    """Write text as a JSON string without commas, which would end the value of a tag."""
    return one_line(text).replace(",", "\\u002c")


def _description(text: str) -> str:
    """Write a title on one line; `;` would begin a comment, `|` would split it in two."""
    return _text(text)[1:-1].replace(";", "\\u003b").replace("|", "\\u007c")
