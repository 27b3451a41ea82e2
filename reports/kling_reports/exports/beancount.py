"""beancount: the journal, with every account opened and every month-end balance asserted.

`bean-check FILE` verifies all of it. Source: https://beancount.github.io/docs/
beancount_language_syntax.html, checked 2026-11-20.
"""

from __future__ import annotations

from collections.abc import Iterator
from decimal import Decimal
from typing import Final

import pandas as pd

from kling_reports.exports.postings import Entry, Month, Posting, accounts, months, units

_LETTERS: Final = 3
"""How many letters a currency has: `USD`. A unit of that many capitals is written as it is."""

_ESCAPES: Final = {"\\": "\\\\", '"': '\\"', "\n": "\\n", "\r": "\\r", "\t": "\\t"}
"""The backslash comes first, because the other escapes contain backslashes."""


def export(journal: pd.DataFrame, lots: pd.DataFrame | None = None) -> bytes:
    """Return a whole journal (see journal.lines) for beancount, in UTF-8.

    `lots` are its purchases (see purchases.lots). The same journal gives the same bytes.
    """
    return "".join(f"{line}\n" for line in _lines(list(months(journal, lots)))).encode()


def commodity(unit: str) -> str:
    """Return a unit as a beancount commodity, which is all capitals.

    `USD` stays `USD` and `crun-credit` becomes `CRUN-CREDIT`: three letters are read back as
    capitals, anything else as lower case. Any other unit gets a suffix: a dot and the positions of
    its capitals as bits in hexadecimal, the first letter's the lowest: `Credit` becomes `CREDIT.1`.
    """
    name = unit.upper()
    if unit == _plain_unit(name) and len(name) > 1 and name[-1].isalnum():
        return name
    capitals = sum(1 << place for place, sign in enumerate(unit) if sign.isupper())
    return f"{name}.{capitals:X}"


def unit_of(name: str) -> str:
    """Return the unit of a commodity: the inverse of `commodity`."""
    base, dot, capitals = name.rpartition(".")
    if not dot:
        return _plain_unit(name)
    upper = int(capitals, 16)
    return "".join(sign if upper >> place & 1 else sign.lower() for place, sign in enumerate(base))


def _plain_unit(name: str) -> str:
    return name if len(name) == _LETTERS and name.isalpha() else name.lower()


def _lines(all_months: list[Month]) -> Iterator[str]:
    yield ";; The journal of a ledger. Units are written in capitals; see `unit` of each commodity."
    for unit in units(all_months):
        yield f"{all_months[0].first_day} commodity {commodity(unit)}"
        yield f"  unit: {_text(unit)}"
    at_cost = _at_cost(all_months)
    for name, day in accounts(all_months):
        # We give the cost of what leaves an account: beancount looks for no lot.
        yield f'{day} open {name} "NONE"' if name in at_cost else f"{day} open {name}"
    for month in all_months:
        for entry in month.entries:
            yield from _entry(entry)
        yield ""
        for held in month.balances:
            # Without an explicit tolerance, a balance may be off by one in its last decimal.
            amount = f"{held.amount:f} ~ 0 {commodity(held.unit)}"
            yield f"{month.day_after} balance {held.account} {amount}"


def _entry(entry: Entry) -> Iterator[str]:
    link = f" ^{entry.reservation_id}" if entry.reservation_id else ""
    yield ""
    yield f"{entry.day} * {_text(entry.title)}{link}"
    for name, text in entry.notes:
        yield f"  {name}: {_text(text)}"
    for posting in entry.postings:
        yield f"  {posting.account} {_amount(posting.amount, posting.unit)}{_cost(posting)}"


def _at_cost(all_months: list[Month]) -> set[str]:
    """Return the accounts that ever held anything at cost."""
    entries = [entry for month in all_months for entry in month.entries]
    postings = (posting for entry in entries for posting in entry.postings)
    return {posting.account for posting in postings if posting.currency is not None}


def _cost(posting: Posting) -> str:
    """Write the total cost: a unit cost might have endless decimals."""
    if posting.currency is None:
        return ""
    return f" {{{{{_amount(posting.cost, posting.currency)}}}}}"


def _amount(amount: Decimal, unit: str) -> str:
    return f"{amount:f} {commodity(unit)}"


def _text(text: str) -> str:
    """Write text as a one-line beancount string, with the few escapes that beancount knows."""
    for sign, escaped in _ESCAPES.items():
        text = text.replace(sign, escaped)
    return f'"{text}"'
