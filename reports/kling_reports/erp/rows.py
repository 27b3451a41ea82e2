"""Rows: documents as the CSV that an ERP imports, in the columns that a mapping names.

In the layout `lines`, each account of a document has one row for its debits and one for its
credits; in `pairs`, each posting has one row with its debit and its credit account.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from typing import Final, NamedTuple

from kling_ledger.errors import ConfigError
from kling_ledger.ledger import labels
from kling_ledger.tabular.cells import guarded
from kling_pricing.money import from_micro, plain
from kling_reports.erp.documents import SPLITS, Document, Posting, word_of
from kling_reports.erp.mapping import FIELD, FileForm, Mapping, filled
from kling_reports.exports.lines import Line

FIELDS: Final = (
    *("document", "date", "period", "account", "contra", "debit", "credit", "amount", "signed"),
    *("side", "currency", "cost_center", *SPLITS, "transfer", "reason", "label:NAME"),
)
"""What a column may contain. The words of SPLITS, a label and a reason appear only if all transfers
of a row share them."""

FIRST_LINE_FIELDS: Final = ("period", "first_day", "last_day")
"""What a line before the header may contain."""

_OF_USERS: Final = {"project", "model", "wallet", "user", "reason", "provider"}
"""Fields with text from users: no spreadsheet may take them for a formula."""


@dataclass(frozen=True, slots=True)
class _Row:
    """One row: an amount in millionths on one side of an account, or of a pair of accounts."""

    document: Document
    account: str
    contra: str
    is_debit: bool
    micro: int
    cost_center: str | None
    lines: tuple[Line, ...]


class _Side(NamedTuple):
    """What the postings of one row have in common."""

    account: str
    is_debit: bool
    cost_center: str | None
    words: tuple[str | None, ...]


def written(documents: Sequence[Document], mapping: Mapping, period: str) -> bytes:
    """Return the file of a month. Raises ConfigError for text that its encoding cannot hold."""
    form = mapping.form
    rows = [row for one in documents for row in _rows(one, mapping)]
    lines = [filled(line, _of_month(period)) for line in form.first_lines]
    if form.header:
        lines.append(form.separator.join(_quoted(one.name, form) for one in form.columns))
    lines += [form.separator.join(_cells(row, form, period)) for row in rows]
    try:
        return "".join(f"{line}{form.line_end}" for line in lines).encode(form.encoding)
    except UnicodeEncodeError as error:
        sign = error.object[error.start : error.end]
        raise ConfigError(
            f"the encoding {form.encoding} has no {sign!r}",
            hint='omit the column that contains it, or write encoding = "utf-8"',
        ) from error


def _rows(document: Document, mapping: Mapping) -> Iterator[_Row]:
    if mapping.form.layout == "pairs":
        for one in document.postings:
            yield _Row(
                document, one.debit, one.credit, True, one.amount_micro, one.cost_center, one.lines
            )
        return
    sides: dict[_Side, list[Posting]] = {}
    for posting in document.postings:
        words = tuple(word_of(posting.lines[0], word) for word in mapping.split)
        for is_debit in (True, False):
            account = posting.debit if is_debit else posting.credit
            own = posting.cost_center if posting.on_debit == is_debit else None
            sides.setdefault(_Side(account, is_debit, own, words), []).append(posting)
    for side, postings in sides.items():
        others = {one.credit if side.is_debit else one.debit for one in postings}
        yield _Row(
            document=document,
            account=side.account,
            contra=others.pop() if len(others) == 1 else "",
            is_debit=side.is_debit,
            micro=sum(one.amount_micro for one in postings),
            cost_center=side.cost_center,
            lines=tuple(line for one in postings for line in one.lines),
        )


def _cells(row: _Row, form: FileForm, period: str) -> Iterator[str]:
    for column in form.columns:
        fields = FIELD.findall(column.value)
        said = {field: _value(row, field, form, period) for field in fields}
        text = re.sub(r"[\x00-\x1f\x7f]", " ", filled(column.value, said))
        # A key stays as it is: an account or a cost centre with an apostrophe would be another one.
        if any(field in _OF_USERS for field in fields):
            text = str(guarded(text))
        yield _quoted(text, form, always=column.quoted)


def _value(row: _Row, field: str, form: FileForm, period: str) -> str:
    amount = _amount(row.micro, form)
    plain_fields = {
        "document": row.document.number,
        "date": row.document.day.strftime(form.date),
        "period": period,
        "account": row.account,
        "contra": row.contra,
        "debit": amount if row.is_debit else "",
        "credit": "" if row.is_debit else amount,
        "amount": amount,
        "signed": amount if row.is_debit else f"-{amount}",
        "side": form.debit if row.is_debit else form.credit,
        "currency": row.document.currency,
        "cost_center": row.cost_center or "",
    }
    return plain_fields[field] if field in plain_fields else _shared(row.lines, field)


def _shared(lines: Iterable[Line], field: str) -> str:
    """Return the value of a field that all transfers of a row share; empty if they differ."""
    found = {_word(line, field) for line in lines}
    return found.pop() or "" if len(found) == 1 else ""


def _word(line: Line, field: str) -> str | None:
    if field.startswith("label:"):
        return labels.from_text(line.labels).get(field.removeprefix("label:"))
    if field in {"transfer", "reason"}:
        return line.id if field == "transfer" else line.reason
    return word_of(line, field)


def _amount(micro: int, form: FileForm) -> str:
    exact = from_micro(micro)
    text = plain(exact) if form.decimals is None else f"{exact:.{form.decimals}f}"
    return text.replace(".", form.decimal)


def _quoted(cell: str, form: FileForm, *, always: bool = False) -> str:
    parted = (form.separator, '"', "\r", "\n")
    doubled = cell.replace('"', '""')
    needs = always or form.quote == "all" or any(sign in cell for sign in parted)
    return f'"{doubled}"' if needs else cell


def _of_month(period: str) -> dict[str, str]:
    first = date.fromisoformat(f"{period}-01")
    last = (first + timedelta(days=31)).replace(day=1) - timedelta(days=1)
    return {
        "period": period,
        "first_day": first.strftime("%Y%m%d"),
        "last_day": last.strftime("%Y%m%d"),
    }
