"""Postings: the journal as bookkeeping programs take it, the same for each of them.

A transfer is an entry of two postings that come to nothing. An entry has the day of its instant;
one that counts in another month than that, because it came after a close, has the nearest day of
the month that it counts in. So what accounts hold at the end of a month is what the month's own
transfers say, and that is what each month ends with: a list of balances to be checked.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from decimal import Decimal
from itertools import groupby
from typing import Final

import pandas as pd

from kling_ledger.ledger import labels
from kling_pricing.money import from_micro
from kling_reports.exports.lines import Line, lines

_SIDES: Final = {"available": "Available", "reserved": "Reserved"}


@dataclass(frozen=True, slots=True)
class Entry:
    """One transfer: out of the account that it debits in our journal, into the one it credits.

    `notes` are what else is known of it, as pairs of a plain word and any text.
    """

    day: date
    title: str
    source: str
    target: str
    amount: Decimal
    unit: str
    id: str
    reservation_id: str | None
    notes: tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True)
class Balance:
    """What an account holds of a unit."""

    account: str
    unit: str
    amount: Decimal


@dataclass(frozen=True, slots=True)
class Month:
    """The entries of a month in their order, and what every account holds when it ends."""

    name: str
    entries: tuple[Entry, ...]
    balances: tuple[Balance, ...]

    @property
    def first_day(self) -> date:
        """The day on which it begins."""
        return date.fromisoformat(f"{self.name}-01")

    @property
    def day_after(self) -> date:
        """The day on which it is over."""
        return (self.first_day + timedelta(days=31)).replace(day=1)


def months(journal: pd.DataFrame) -> Iterator[Month]:
    """Return the months of a journal (see journal.lines) that have transfers, in their order."""
    held: dict[tuple[str, str], int] = defaultdict(int)
    ordered = sorted(lines(journal), key=lambda line: line.period)
    for name, group in groupby(ordered, key=lambda line: line.period):
        of_month = list(group)
        for line in of_month:
            held[account(line.debit_account, line), line.unit] -= line.amount_micro
            held[account(line.credit_account, line), line.unit] += line.amount_micro
        entries = sorted(map(_entry, of_month), key=lambda entry: (entry.day, entry.id))
        yield Month(name, tuple(entries), _balances(held))


def accounts(all_months: Sequence[Month]) -> list[tuple[str, date]]:
    """Return every account that is used, by name, with the day of its first entry."""
    first: dict[str, date] = {}
    for month in all_months:
        for entry in month.entries:
            first.setdefault(entry.source, entry.day)
            first.setdefault(entry.target, entry.day)
    return sorted(first.items())


def account(path: str, line: Line) -> str:
    """Return the bookkeeper's name of an account of the journal.

    What wallets hold is an asset, what providers were paid an expense; where credits come from, and
    what corrects them, is equity.
    """
    if path.startswith("provider/"):
        return f"Expenses:Providers:{component(line.provider_name)}"
    if path.startswith("wallet/"):
        return f"Assets:Wallets:{component(line.wallet)}:{_SIDES[path.rpartition('/')[2]]}"
    return f"Equity:{path.title()}"


def component(name: str) -> str:
    """Return a name as one part of an account, so that no two names become the same.

    The first letter becomes a capital one; `-` becomes `--` and any other sign than a letter or a
    digit of ASCII `-xHEX-`: `team/a` is `Team-x2f-a`. What began with a capital letter ends with
    `-u`; what cannot begin a part has an `X` before it and ends with `-e`.
    """
    safe = "".join(_safe(sign) for sign in name)
    if not safe[:1].isalnum():
        return f"X{safe}-e"
    return f"{safe}-u" if safe[0].isupper() else safe[0].upper() + safe[1:]


def one_line(text: str) -> str:
    """Return any text as a JSON string of printable ASCII: one line that can be read back."""
    return json.dumps(text)


def _safe(sign: str) -> str:
    if sign == "-":
        return "--"
    return sign if sign.isascii() and sign.isalnum() else f"-x{ord(sign):x}-"


def _entry(line: Line) -> Entry:
    return Entry(
        day=_day(line),
        title=" ".join(filter(None, [line.kind, _paid(line), line.model])),
        source=account(line.debit_account, line),
        target=account(line.credit_account, line),
        amount=from_micro(line.amount_micro),
        unit=line.unit,
        id=line.id,
        reservation_id=line.reservation_id,
        notes=tuple(_notes(line)),
    )


def _paid(line: Line) -> str | None:
    return None if line.reservation_id is None else line.provider_name


def _notes(line: Line) -> Iterator[tuple[str, str]]:
    known = {
        "at": line.created_at.isoformat(),
        "transfer": line.id,
        "reservation": line.reservation_id,
        "project": line.project,
        "labels": json.dumps(labels.from_text(line.labels)) if line.labels else None,
        "corrects": line.corrects,
        "user": line.actor,
        "reason": line.reason,
    }
    return ((name, text) for name, text in known.items() if text is not None)


def _day(line: Line) -> date:
    day = line.created_at.date()
    first = date.fromisoformat(f"{line.period}-01")
    last = (first + timedelta(days=31)).replace(day=1) - timedelta(days=1)
    return min(max(day, first), last)


def _balances(held: dict[tuple[str, str], int]) -> tuple[Balance, ...]:
    return tuple(
        Balance(name, unit, from_micro(micro)) for (name, unit), micro in sorted(held.items())
    )
