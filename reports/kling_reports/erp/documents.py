"""Documents: the transfers of a month as balanced entries between accounts of an ERP.

A transfer goes from one of our accounts to another. In bookkeeping terms the receiving account is
debited and the giving one credited: the cost of a job debits the expense and credits the
prepayment. Every document balances, because each of its postings has both sides.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import date, timedelta
from typing import Final, NamedTuple

from kling_ledger.errors import ConfigError
from kling_pricing.money import MICRO_PER_UNIT
from kling_reports.erp.amounts import Amounts
from kling_reports.erp.mapping import Mapping, filled, kind_of
from kling_reports.exports.lines import Line

EACH: Final = ("transfer", "job", "day", "month")
"""What one document covers."""

SPLITS: Final = ("project", "provider", "model", "wallet", "unit", "kind", "user", "reservation")
"""The words by which a document's postings are kept apart."""

_COSTS: Final = ("provider", "adjustment")
"""Our accounts with a cost centre: what was spent, and what corrects it."""

DOCUMENT_FIELDS: Final = ("period", "count", "date", "reservation", "transfer")
"""The fields that a document's number may contain."""


@dataclass(frozen=True, slots=True)
class Posting:
    """An amount in millionths, above zero, from one account of the ERP to another.

    `lines` are its transfers. The cost centre belongs to the side that is an expense or a
    correction: the debit side if `on_debit`, otherwise the other.
    """

    debit: str
    credit: str
    amount_micro: int
    currency: str
    cost_center: str | None
    on_debit: bool
    lines: tuple[Line, ...]


@dataclass(frozen=True, slots=True)
class Document:
    """A balanced entry in one currency, dated within its month."""

    number: str
    day: date
    currency: str
    postings: tuple[Posting, ...]


def documents(lines: Sequence[Line], mapping: Mapping, amounts: Amounts) -> list[Document]:
    """Return the documents of a month, oldest first, without movements within one account.

    Raises ConfigError, naming all of them, for accounts without a code in the mapping, and for
    numbers that two documents would share.
    """
    check_accounts(mapping, lines)
    found = list(_documents(lines, mapping, amounts))
    counts = Counter(one.number for one in found)
    twice = [number for number, count in counts.items() if count > 1]
    if twice:
        raise ConfigError(
            f"several documents would have the number {', '.join(twice[:5])}",
            hint="add {count} to number",
        )
    return found


def check_accounts(mapping: Mapping, lines: Iterable[Line]) -> None:
    """Refuse transfers with an account that has no code: ConfigError names all such accounts."""
    missing = sorted(
        {
            _named(line, path, mapping)
            for line in lines
            for path in (line.debit_account, line.credit_account)
            if mapping.account(line, kind_of(path)) is None
        }
    )
    if missing:
        raise ConfigError(
            f"the mapping has no account for: {'; '.join(missing)}",
            hint='write [[accounts]] of = "provider", provider = "runapi", code = "6810"',
        )


def _named(line: Line, path: str, mapping: Mapping) -> str:
    """Describe one of our accounts by everything that the rules of its kind check."""
    kind = kind_of(path)
    asked = {
        name
        for rule in mapping.accounts
        if rule.condition.of == kind
        for name in ("project", "model", "unit", "label")
        if getattr(rule.condition, name) is not None
    }
    whose = {"provider": line.provider_name} if kind == "provider" else {}
    whose |= {"wallet": line.wallet} if kind in {"available", "reserved"} else {}
    more = {"project": line.project, "model": line.model, "unit": line.unit, "label": line.labels}
    whose |= {name: (text or "none").strip(",") for name, text in more.items() if name in asked}
    return " ".join([kind, *(f"{name} {text}" for name, text in whose.items())])


def _documents(lines: Sequence[Line], mapping: Mapping, amounts: Amounts) -> Iterator[Document]:
    carried = _Rounding(mapping.form.decimals)
    count = 0
    for group in _groups(lines, mapping, amounts):
        day, currency = max(map(day_of, group)), amounts(group[0])[1]
        postings = tuple(carried.rounded(one) for one in _postings(group, mapping, amounts))
        kept = tuple(one for one in postings if one.amount_micro)
        if kept:
            count += 1
            yield Document(_number(mapping, group[0], day, count), day, currency, kept)


def _groups(lines: Sequence[Line], mapping: Mapping, amounts: Amounts) -> list[list[Line]]:
    """Group the transfers by document, in the order of their days and ids."""
    groups: dict[tuple[str, str], list[Line]] = {}
    for line in lines:
        groups.setdefault((_document_of(line, mapping.each), amounts(line)[1]), []).append(line)
    return sorted(groups.values(), key=lambda group: (max(map(day_of, group)), group[0].id))


def _document_of(line: Line, each: str) -> str:
    """Return what all transfers of a document have in common."""
    if each == "job":
        return line.reservation_id or line.id
    return {"day": day_of(line).isoformat(), "month": line.period}.get(each, line.id)


class _Between(NamedTuple):
    """What the transfers of one posting have in common."""

    debit: str | None
    credit: str | None
    cost_center: str | None
    on_debit: bool
    words: tuple[str | None, ...]


def _postings(group: Sequence[Line], mapping: Mapping, amounts: Amounts) -> Iterator[Posting]:
    """Add up what goes from one account to another, kept apart as the mapping says."""
    sides: dict[_Between, list[Line]] = {}
    for line in group:
        between = _between(line, mapping)
        if between.debit != between.credit:
            sides.setdefault(between, []).append(line)
    for between, own in sides.items():
        yield Posting(
            debit=str(between.debit),
            credit=str(between.credit),
            amount_micro=sum(amounts(line)[0] for line in own),
            currency=amounts(own[0])[1],
            cost_center=between.cost_center,
            on_debit=between.on_debit,
            lines=tuple(own),
        )


def _between(line: Line, mapping: Mapping) -> _Between:
    into, out_of = kind_of(line.credit_account), kind_of(line.debit_account)
    on_debit = into in _COSTS
    return _Between(
        debit=mapping.account(line, into),
        credit=mapping.account(line, out_of),
        cost_center=mapping.cost_center(line) if on_debit or out_of in _COSTS else None,
        on_debit=on_debit,
        words=tuple(word_of(line, word) for word in mapping.split),
    )


class _Rounding:
    """Rounds amounts to the decimals of a file, and carries the remainder to the next one.

    So the amounts between two accounts add up to their exact sum, rounded once.
    """

    def __init__(self, decimals: int | None) -> None:
        self._quantum = 1 if decimals is None else MICRO_PER_UNIT // 10**decimals
        self._exact: dict[tuple[str, str, str], int] = {}

    def rounded(self, posting: Posting) -> Posting:
        key = (posting.debit, posting.credit, posting.currency)
        before = self._exact.get(key, 0)
        after = self._exact[key] = before + posting.amount_micro
        micro = self._nearest(after) - self._nearest(before)
        return replace(posting, amount_micro=micro)

    def _nearest(self, micro: int) -> int:
        return (2 * micro + self._quantum) // (2 * self._quantum) * self._quantum


def day_of(line: Line) -> date:
    """Return the day of a transfer, or else the nearest day of the month that it counts in."""
    first = date.fromisoformat(f"{line.period}-01")
    last = (first + timedelta(days=31)).replace(day=1) - timedelta(days=1)
    return min(max(line.created_at.date(), first), last)


def word_of(line: Line, word: str) -> str | None:
    """Return a transfer's value for one of SPLITS."""
    named = {
        "provider": line.provider_name if line.reservation_id else None,
        "user": line.actor,
        "reservation": line.reservation_id,
    }
    found = named[word] if word in named else getattr(line, word)
    return None if found is None else str(found)


def _number(mapping: Mapping, line: Line, day: date, count: int) -> str:
    said = {
        "period": line.period,
        "count": f"{count:04}",
        "date": day.strftime(mapping.form.date),
        "reservation": line.reservation_id or line.id,
        "transfer": line.id,
    }
    return filled(mapping.number, said)
