"""Postings: the journal as bookkeeping programs take it, the same for each of them.

A transfer is an entry whose postings sum to zero. Bought credits are held in a wallet at cost: they
come in against what is owed to their seller, and what leaves takes its cost along, to the
provider's expenses in the currency of the purchase. Credits of an allowance have no cash: they come
from equity, and are spent as credits. An entry has the day of its instant; if it counts in another
month, because it came after a close, it has the nearest day of that month. So the balances at the
end of a month follow from that month's own transfers, and each month ends with a list of balances
to check.
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
from kling_reports.costing import Books, Costed, Filled, Lot, Part, costed, lots_of
from kling_reports.exports.lines import Line, lines

_SIDES: Final = {"available": "Available", "reserved": "Reserved"}


@dataclass(frozen=True, slots=True)
class Posting:
    """What comes into an account; negative for what goes out.

    `cost` is the total cost in `currency`, never negative; without a currency there is none.
    """

    account: str
    micro: int
    unit: str
    cost_micro: int = 0
    currency: str | None = None

    @property
    def amount(self) -> Decimal:
        """Its amount, in its unit."""
        return from_micro(self.micro)

    @property
    def cost(self) -> Decimal:
        """Its cost, in its currency."""
        return from_micro(self.cost_micro)


@dataclass(frozen=True, slots=True)
class Entry:
    """One transfer, outgoing postings first; they sum to zero, those with a cost at cost.

    `notes` are further facts, as pairs of a plain word and any text.
    """

    day: date
    title: str
    postings: tuple[Posting, ...]
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
    """The entries of a month in order, and what every account holds at its end."""

    name: str
    entries: tuple[Entry, ...]
    balances: tuple[Balance, ...]

    @property
    def first_day(self) -> date:
        """The first day."""
        return date.fromisoformat(f"{self.name}-01")

    @property
    def day_after(self) -> date:
        """The day after the last."""
        return (self.first_day + timedelta(days=31)).replace(day=1)


def months(journal: pd.DataFrame, lots: pd.DataFrame | None = None) -> Iterator[Month]:
    """Return the months of a journal that have transfers, in order.

    `journal` comes from journal.lines, `lots` from purchases.lots.
    """
    held: dict[tuple[str, str], int] = defaultdict(int)
    bought = {lot.transfer_id: lot for lot in ([] if lots is None else lots_of(lots))}
    ordered = sorted(lines(journal), key=lambda line: (line.period, line.id))
    costs = {one.line.id: one for one in costed(ordered, Books(list(bought.values())))}
    for name, group in groupby(ordered, key=lambda line: line.period):
        entries = [
            _entry(line, costs.get(line.id, Costed(line)), bought.get(line.id)) for line in group
        ]
        for entry in entries:
            for posting in entry.postings:
                held[posting.account, posting.unit] += posting.micro
        entries.sort(key=lambda entry: (entry.day, entry.id))
        yield Month(name, tuple(entries), _balances(held))


def units(all_months: Sequence[Month]) -> list[str]:
    """Return every unit and currency that is used."""
    postings = [one for month in all_months for entry in month.entries for one in entry.postings]
    found = {one.unit for one in postings} | {one.currency for one in postings}
    return sorted(unit for unit in found if unit is not None)


def accounts(all_months: Sequence[Month]) -> list[tuple[str, date]]:
    """Return every account that is used, by name, with the day of its first entry."""
    first: dict[str, date] = {}
    for month in all_months:
        for entry in month.entries:
            for posting in entry.postings:
                first.setdefault(posting.account, entry.day)
    return sorted(first.items())


def account(path: str, line: Line) -> str:
    """Return the bookkeeper's name of an account of the journal.

    A wallet's credits are an asset, what providers were paid an expense; the sources of credits,
    and corrections, are equity.
    """
    if path.startswith("provider/"):
        return f"Expenses:Providers:{component(line.provider_name)}"
    if path.startswith("wallet/"):
        return f"Assets:Wallets:{component(line.wallet)}:{_SIDES[path.rpartition('/')[2]]}"
    return f"Equity:{path.title()}"


def component(name: str) -> str:
    """Return a name as one component of an account; different names never become equal.

    The first letter is capitalised; `-` becomes `--`, and any other character except an ASCII
    letter or digit becomes `-xHEX-`: `team/a` becomes `Team-x2f-a`. A name that began with a
    capital gets the suffix `-u`; one that cannot begin a component gets the prefix `X` and the
    suffix `-e`.
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


def _entry(line: Line, costs: Costed, lot: Lot | None) -> Entry:
    if lot is None:
        title = " ".join(filter(None, [line.kind, _paid(line), line.model]))
    else:
        title = f"purchase {lot.seller}"
    return Entry(
        day=_day(line),
        title=title,
        postings=tuple(_postings(line, costs, lot)),
        id=line.id,
        reservation_id=line.reservation_id,
        notes=(*_notes(line), *_notes_of(lot)),
    )


def _postings(line: Line, costs: Costed, lot: Lot | None) -> Iterator[Posting]:
    source, target = account(line.debit_account, line), account(line.credit_account, line)
    if lot is not None:
        yield from _bought(line, lot, target)
    elif costs.parts:
        for part in costs.parts:
            yield from _moved(line, part, source, target)
    else:
        yield Posting(source, -line.amount_micro, line.unit)
        yield Posting(target, line.amount_micro, line.unit)
    for filled in costs.filled:
        yield from _bought_later(filled, target)


def _bought(line: Line, lot: Lot, wallet: str) -> Iterator[Posting]:
    """Return a purchase: what is owed to its seller, and the tax on it."""
    tax = lot.tax_micro or 0
    seller = f"Liabilities:Sellers:{component(lot.seller)}"
    yield Posting(seller, -lot.cash_micro - tax, lot.currency)
    yield _at_cost(wallet, line.amount_micro, line.unit, Part(0, lot.cash_micro, lot.currency))
    if tax:
        yield Posting("Expenses:Taxes", tax, lot.currency)


def _moved(line: Line, part: Part, source: str, target: str) -> Iterator[Posting]:
    """Return part of a charge, a refund or an adjustment down: from one account to another."""
    if part.currency is None:
        yield Posting(source, -part.units_micro, line.unit)
        yield Posting(target, part.units_micro, line.unit)
    elif line.kind == "refund":
        yield Posting(source, -part.cost_micro, part.currency)
        yield _at_cost(target, part.units_micro, line.unit, part)
    else:
        yield _at_cost(source, -part.units_micro, line.unit, part)
        yield Posting(_expense(line, target), part.cost_micro, part.currency)


def _bought_later(filled: Filled, wallet: str) -> Iterator[Posting]:
    """Return usage on credit as bought: its credits come back, and leave again at their cost."""
    charge, part = filled.charge, filled.part
    spent = account(charge.credit_account, charge)
    yield Posting(spent, -part.units_micro, charge.unit)
    yield Posting(wallet, part.units_micro, charge.unit)
    yield from _moved(charge, part, wallet, spent)


def _expense(line: Line, target: str) -> str:
    """Return the account for the cost of what leaves a wallet: removals by hand are a loss."""
    return "Expenses:Losses" if line.kind == "adjust_down" else target


def _at_cost(name: str, micro: int, unit: str, part: Part) -> Posting:
    """Return credits at cost; money that costs itself is plain money."""
    if part.currency == unit and part.cost_micro == abs(micro):
        return Posting(name, micro, unit)
    return Posting(name, micro, unit, part.cost_micro, part.currency)


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


def _notes_of(lot: Lot | None) -> Iterator[tuple[str, str]]:
    if lot is not None:
        expires_on = None if lot.expires_on is None else lot.expires_on.isoformat()
        known = {"bought": lot.bought_on.isoformat(), "expires": expires_on, "invoice": lot.invoice}
        yield from ((name, text) for name, text in known.items() if text is not None)


def _day(line: Line) -> date:
    day = line.created_at.date()
    first = date.fromisoformat(f"{line.period}-01")
    last = (first + timedelta(days=31)).replace(day=1) - timedelta(days=1)
    return min(max(day, first), last)


def _balances(held: dict[tuple[str, str], int]) -> tuple[Balance, ...]:
    return tuple(
        Balance(name, unit, from_micro(micro)) for (name, unit), micro in sorted(held.items())
    )
