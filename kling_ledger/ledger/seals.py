"""Seals: what the seal of a month covers, row by row, and the hash over all of it.

A seal covers what the reports of a month rest on: its transfers, and what was paid for them; the
unchanging columns of each reservation made in it; its job events, with the task, the settlement and
the value at that time; the events of budgets; the keys of payments; what was carried out of the
month; who prepared and closed it, when and why; and the seal before. It is SHA-256 over a JSON
array of the month's own row and of each section's name, number of rows and SHA-256. A section's
hash is over its rows in the order of their keys, each a JSON array of texts and nulls without
spaces, followed by a line feed.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import groupby
from operator import itemgetter
from typing import TYPE_CHECKING, Any, Final

from kling_ledger.ledger.engines.transaction import Row, Transaction

if TYPE_CHECKING:
    from hashlib import _Hash

FORMAT: Final = 3
"""What new seals cover. Format 1 covered only the transfers (see first_seals); format 2 left out
purchases, the quotes of jobs, and who prepared the close."""

_AT_ONCE: Final = 2000
"""How many rows are read at a time: a month is never in memory as a whole."""


@dataclass(frozen=True, slots=True)
class Section:
    """Rows of one kind under a seal: their source, and the sealed columns, key first.

    The columns are listed here for good: today's seal must be computed the same way in years.
    """

    name: str
    source: str
    period: str
    key: tuple[str, ...]
    columns: tuple[str, ...]


_SECTIONS: Final = (
    Section(
        "transfer",
        "transfer",
        "period",
        ("id",),
        (
            *("id", "kind", "debit_account", "credit_account", "amount_micro", "unit"),
            *("wallet_id", "reservation_id", "period", "corrects", "actor", "reason", "created_at"),
        ),
    ),
    # A reservation is sealed with the month of its first event, with the columns that never change
    # later.
    Section(
        "reservation",
        "job_event AS event JOIN reservation AS job"
        " ON job.id = event.reservation_id AND event.step = 1",
        "event.period",
        ("event.reservation_id",),
        (
            *("job.id", "job.wallet_id", "job.unit", "job.project", "job.labels", "job.provider"),
            *("job.model", "job.action", "job.seconds", "job.billed_seconds", "job.resolution"),
            *("job.sound", "job.quote", "job.request", "job.payload_hash", "job.address"),
            *("job.actor", "job.expires_at", "job.created_at"),
        ),
    ),
    Section(
        "job_event",
        "job_event",
        "period",
        ("reservation_id", "step"),
        (
            *("reservation_id", "step", "from_state", "to_state", "actor", "reason", "created_at"),
            *("period", "task_id", "settled_by", "usd_micro"),
        ),
    ),
    Section(
        "budget_event",
        "budget_event",
        "period",
        ("budget_id", "step"),
        ("budget_id", "step", "change", "actor", "reason", "created_at", "period"),
    ),
    Section(
        "key",
        "idempotency",
        "period",
        ("key",),
        ("key", "content", "result_id", "created_at", "period"),
    ),
    Section(
        "accrual",
        "accrual",
        "period",
        ("period", "reservation_id"),
        ("period", "reservation_id", "amount_micro", "unit"),
    ),
)
_QUOTED: Final = ("job.quoted_micro", "job.low_micro", "job.estimated_micro")
_PURCHASES: Final = Section(
    "purchase_lot",
    "purchase_lot",
    "period",
    ("transfer_id",),
    (
        *("transfer_id", "seller", "cash_micro", "currency", "tax_micro", "invoice", "bought_on"),
        *("expires_on", "actor", "created_at", "period"),
    ),
)

SECTIONS: Final[Mapping[int, tuple[Section, ...]]] = {
    2: _SECTIONS,
    3: (
        *(
            replace(one, columns=(*one.columns, *_QUOTED)) if one.name == "reservation" else one
            for one in _SECTIONS
        ),
        _PURCHASES,
    ),
}
"""What a seal of each format covers besides the month's own row, in order."""

_OWN: Final = ("name", "actor", "reason", "closed_at", "previous_seal")
_OWN_SINCE: Final[Mapping[int, tuple[str, ...]]] = {
    2: _OWN,
    3: (*_OWN, "prepared_by", "prepared_at"),
}

_NUMBERS: Final = {
    *("amount_micro", "usd_micro", "step", "created_at", "expires_at", "billed_seconds"),
    *("quoted_micro", "low_micro", "estimated_micro", "cash_micro", "tax_micro"),
}
_FLAGS: Final = {"sound"}


class Sum:
    """How many rows a section has, and their hash."""

    def __init__(self) -> None:
        import hashlib

        self._hash: _Hash = hashlib.sha256()
        self.rows = 0

    def add(self, lines: Sequence[str]) -> None:
        """Add rows, as they are sealed."""
        self._hash.update("".join([f"{line}\n" for line in lines]).encode())
        self.rows += len(lines)

    @property
    def value(self) -> str:
        """The hash over everything so far, in hexadecimal."""
        return self._hash.hexdigest()


Sums = Mapping[str, Sum]
"""The sums of a month by section."""


def seal_of(period: Row, sums: Sums) -> str:
    """Return the seal of a month in its own format, from its row and the sums of its sections."""
    import hashlib

    own = [period[name] for name in _OWN_SINCE[period["format"]]]
    parts = [(section.name, sums[section.name]) for section in SECTIONS[period["format"]]]
    said = [period["format"], *own, *([name, one.rows, one.value] for name, one in parts)]
    return hashlib.sha256(json.dumps(said, separators=(",", ":")).encode()).hexdigest()


def sums_of(
    transaction: Transaction, *, seal_format: int, first: str, last: str
) -> dict[str, dict[str, Sum]]:
    """Hash what seals of a format cover in the months from `first` to `last`.

    By month, then by section.
    """
    sections = SECTIONS[seal_format]
    months: dict[str, dict[str, Sum]] = defaultdict(
        lambda: {section.name: Sum() for section in sections}
    )
    for section in sections:
        for rows in chunks(transaction, section, first=first, last=last):
            for period, lines in by_month(rows):
                months[period][section.name].add(lines)
    return months


def chunks(
    transaction: Transaction, section: Section, *, first: str, last: str
) -> Iterator[list[Row]]:
    """Return the rows of a section in months from `first` to `last`, some thousand at a time.

    Each has its `period` and its `line`; they come in the order of their keys.
    """
    rows: list[Row] | None = None
    while rows is None or len(rows) == _AT_ONCE:
        rows = chunk(transaction, section, first=first, last=last, after=rows)
        if rows:
            yield rows


def chunk(
    transaction: Transaction,
    section: Section,
    *,
    first: str,
    last: str,
    after: Sequence[Row] | None,
) -> list[Row]:
    """Return the first rows of a section, or those after given ones."""
    given: dict[str, Any] = {"first": first, "last": last}
    if after:
        key = _key(section, after[-1]["line"])
        given |= {f"key{place}": part for place, part in enumerate(key)}
    return transaction.rows(_query(transaction, section, is_first=not after), **given)


def by_month(rows: Sequence[Row]) -> Iterator[tuple[str, list[str]]]:
    """Yield consecutive rows of one month: the month and their lines."""
    for period, some in groupby(rows, itemgetter("period")):
        yield period, [row["line"] for row in some]


def key_of(section: Section, line: str) -> str:
    """Return the key of a row under a seal, as it is printed."""
    return " ".join(str(part) for part in _key(section, line))


def digests_of(section: Section, lines: Sequence[str]) -> dict[str, str]:
    """Return a short digest of each row, by key, which tells which rows were changed.

    A checksum is enough: the seal itself proves that something was changed.
    """
    import zlib

    return {key_of(section, line): f"{zlib.crc32(line.encode()):08x}" for line in lines}


def _key(section: Section, line: str) -> list[str | int]:
    """Return the key of a row: its first columns."""
    texts: list[str] = json.loads(line)[: len(section.key)]
    names = section.columns[: len(texts)]
    return [
        int(text) if name in _NUMBERS else text for name, text in zip(names, texts, strict=True)
    ]


def _query(transaction: Transaction, section: Section, *, is_first: bool) -> str:
    keys = ", ".join(section.key)
    marks = ", ".join(f":key{place}" for place in range(len(section.key)))
    line = transaction.json_array([_text(column) for column in section.columns])
    beyond = "" if is_first else f" AND ({keys}) > ({marks})"
    return (
        f"SELECT {section.period} AS period, {line} AS line FROM {section.source}"
        f" WHERE {section.period} >= :first AND {section.period} <= :last{beyond}"
        f" ORDER BY {keys} LIMIT {_AT_ONCE}"
    )


def _text(column: str) -> str:
    """Write a column as text: a number by its digits, a flag as 1 or 0."""
    name = column.rpartition(".")[2]
    if name in _FLAGS:
        return f"CAST(CAST({column} AS integer) AS text)"
    return f"CAST({column} AS text)" if name in _NUMBERS else column
