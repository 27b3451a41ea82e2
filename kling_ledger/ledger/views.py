"""Views: what other people's programs may read in a ledger's database, version 1.

The tables are ours and change; these views are a contract. Version 1 never loses a column and never
changes what one means; a column may be added at the end of a view. Both engines give the same names
and the same values:

| kind      | on both engines                                              | on PostgreSQL, SQLite |
|-----------|--------------------------------------------------------------|-----------------------|
| `text`    | text                                                         |                       |
| `integer` | a 64-bit integer                                             |                       |
| `flag`    | 1 for yes, 0 for no                                          |                       |
| `amount`  | two columns: `NAME` exact, `NAME_micro` in millionths        | `numeric`, text       |
| `instant` | text, ISO 8601 in UTC: `2026-10-01T12:00:00.000000Z`         |                       |
| `day`     | text, ISO 8601 in UTC: `2026-10-01`                          |                       |
| `labels`  | text, a JSON object of texts: `{"team":"ads"}`, `{}`         |                       |

Whatever is unknown or does not apply is NULL, never zero.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Final, Literal

from kling_ledger.ledger.slots import WALLETS, WINDOWS

Kind = Literal["text", "integer", "flag", "amount", "instant", "day", "labels"]
"""What a column holds; the module's docstring lists the kinds."""


@dataclass(frozen=True, slots=True)
class View:
    """One view: its columns, each as (name, kind, SQL), and their source.

    `order` is the order of its rows in an export.
    """

    name: str
    columns: tuple[tuple[str, Kind, str], ...]
    source: str
    order: str

    def kinds(self) -> Iterator[tuple[str, Kind]]:
        """Return every column that a reader sees, with its kind; `NAME_micro` is an integer."""
        for name, kind, _ in self.columns:
            yield name, kind
            if kind == "amount":
                yield f"{name}_micro", "integer"

    def statement(self, dialect: str) -> str:
        """Return the statement that creates it."""
        known = ",\n    ".join(
            f"{sql} AS {_known_as(name, kind)}" for name, kind, sql in self.columns
        )
        told = ",\n    ".join(self._told(_WRITTEN[dialect]))
        return (
            f"CREATE VIEW {self.name} AS SELECT\n    {told}\n"
            f"FROM (SELECT\n    {known}\nFROM {self.source}\n) AS known"
        )

    def _told(self, written: Mapping[Kind, Callable[[str], str]]) -> Iterator[str]:
        for name, kind, _ in self.columns:
            known = _known_as(name, kind)
            yield f"{written[kind](known)} AS {name}" if kind in written else known
            if kind == "amount":
                yield known


def _known_as(name: str, kind: Kind) -> str:
    return f"{name}_micro" if kind == "amount" else name


def _decimal_text(micro: str) -> str:
    """Write millionths as the text of a decimal: SQLite has no type that holds one exactly."""
    return (
        f"substr('-', 1, {micro} < 0)"
        f" || printf('%d.%06d', abs({micro}) / 1000000, abs({micro}) % 1000000)"
    )


def _instant_of_a_file(micro: str) -> str:
    return (
        f"strftime('%Y-%m-%dT%H:%M:%S', {micro} / 1000000, 'unixepoch')"
        f" || printf('.%06dZ', {micro} % 1000000)"
    )


def _time_of_a_server(micro: str) -> str:
    return f"timestamp '1970-01-01' + {micro} * interval '1 microsecond'"


def _labels(text: str) -> str:
    """Write labels as JSON: they are words without quotes, equals signs or commas."""
    words = f"""replace(replace(trim({text}, ','), '=', '":"'), ',', '","')"""
    return f"""COALESCE('{{"' || {words} || '"}}', '{{}}')"""


_WRITTEN: Final[Mapping[str, Mapping[Kind, Callable[[str], str]]]] = {
    "sqlite": {
        "amount": _decimal_text,
        "instant": _instant_of_a_file,
        "day": lambda micro: f"strftime('%Y-%m-%d', {micro} / 1000000, 'unixepoch')",
        "labels": _labels,
    },
    "postgresql": {
        # A decimal of six places: no division, no rounding.
        "amount": lambda micro: f"{micro} * 0.000001",
        "flag": lambda flag: f"CAST({flag} AS integer)",
        "instant": lambda micro: (
            f'to_char({_time_of_a_server(micro)}, \'YYYY-MM-DD"T"HH24:MI:SS.US"Z"\')'
        ),
        "day": lambda micro: f"to_char({_time_of_a_server(micro)}, 'YYYY-MM-DD')",
        "labels": _labels,
    },
}
"""How a kind of column is written in SQL on each engine; other kinds are unchanged."""

_OF_JOBS: Final[tuple[tuple[str, Kind, str], ...]] = (
    ("project", "text", "reservation.project"),
    ("provider", "text", "reservation.provider"),
    ("account", "text", "reservation.account"),
    ("model", "text", "reservation.model"),
    ("action", "text", "reservation.action"),
    ("resolution", "text", "reservation.resolution"),
    ("sound", "flag", "reservation.sound"),
    ("billed_seconds", "integer", "reservation.billed_seconds"),
    ("actor", "text", "reservation.actor"),
    ("labels", "labels", "reservation.labels"),
)
"""What a job is, in every view that has it."""

_QUOTED: Final = (
    "CASE WHEN reservation.quoted_micro IS NOT NULL THEN reservation.quoted_micro"
    # If only an estimate was known, the book gave no price.
    " WHEN reservation.estimated_micro IS NOT NULL THEN NULL"
    # From before quotes were stored: what was first set aside.
    " WHEN reservation.provider_held_micro IS NULL THEN reservation.reserved_micro ELSE"
    " (SELECT first.amount_micro FROM transfer AS first"
    " WHERE first.reservation_id = reservation.id AND first.kind = 'reserve'"
    " ORDER BY first.id LIMIT 1) END"
)
_SPENT: Final = "COALESCE(reservation.committed_micro, 0) - reservation.refunded_micro"
_SPENT_IN_USD: Final = (
    f"CASE WHEN reservation.unit = 'USD' THEN {_SPENT} ELSE reservation.usd_spent_micro END"
)

_JOBS: Final = View(
    "v1_jobs",
    (
        ("job_id", "text", "reservation.id"),
        ("wallet", "text", "wallet.name"),
        ("state", "text", "reservation.state"),
        *_OF_JOBS,
        ("unit", "text", "reservation.unit"),
        ("quoted", "amount", _QUOTED),
        ("estimated", "amount", "reservation.estimated_micro"),
        ("reserved", "amount", "reservation.reserved_micro"),
        ("held", "amount", "reservation.held_micro"),
        ("settled", "amount", "reservation.committed_micro"),
        ("settled_by", "text", "reservation.settled_by"),
        ("refunded", "amount", "reservation.refunded_micro"),
        ("spent", "amount", _SPENT),
        ("spent_usd", "amount", _SPENT_IN_USD),
        ("task_id", "text", "reservation.task_id"),
        ("problem", "text", "reservation.problem"),
        ("day", "day", "reservation.created_at"),
        ("created_at", "instant", "reservation.created_at"),
        ("updated_at", "instant", "reservation.updated_at"),
    ),
    # On PostgreSQL a view of one table would be writable; one of two tables is not.
    "reservation LEFT JOIN wallet ON wallet.id = reservation.wallet_id",
    order="job_id",
)
_OF_TRANSFERS: Final = (
    ("kind", "text", "transfer.kind"),
    ("period", "text", "transfer.period"),
    ("corrects", "text", "transfer.corrects"),
    ("day", "day", "transfer.created_at"),
    ("posted_at", "instant", "transfer.created_at"),
    ("wallet", "text", "wallet.name"),
)
_SPEND: Final = View(
    "v1_spend",
    (
        ("transfer_id", "text", "transfer.id"),
        ("job_id", "text", "transfer.reservation_id"),
        *_OF_TRANSFERS,
        *_OF_JOBS,
        ("unit", "text", "transfer.unit"),
        (
            "amount",
            "amount",
            "transfer.amount_micro * CASE WHEN transfer.kind = 'refund' THEN -1 ELSE 1 END",
        ),
        ("reserved_at", "instant", "reservation.created_at"),
    ),
    "transfer LEFT JOIN reservation ON reservation.id = transfer.reservation_id"
    " LEFT JOIN wallet ON wallet.id = transfer.wallet_id"
    " WHERE transfer.kind IN ('commit', 'overrun', 'late_commit', 'refund')",
    order="transfer_id",
)
_TRANSFERS: Final = View(
    "v1_transfers",
    (
        ("transfer_id", "text", "transfer.id"),
        *_OF_TRANSFERS,
        ("unit", "text", "transfer.unit"),
        ("amount", "amount", "transfer.amount_micro"),
        ("debit_account", "text", "replace(transfer.debit_account, wallet.id, wallet.name)"),
        ("credit_account", "text", "replace(transfer.credit_account, wallet.id, wallet.name)"),
        ("job_id", "text", "transfer.reservation_id"),
        ("actor", "text", "transfer.actor"),
        ("reason", "text", "transfer.reason"),
    ),
    "transfer LEFT JOIN wallet ON wallet.id = transfer.wallet_id",
    order="transfer_id",
)
_ENDLESS: Final = "CASE WHEN budget.repeats <> 'none' THEN budget_window.{edge} END"
_BUDGETS: Final = View(
    "v1_budgets",
    (
        ("budget", "text", "budget.name"),
        ("mode", "text", "budget.mode"),
        ("wallet", "text", "wallet.name"),
        ("project", "text", "budget.project"),
        ("provider", "text", "budget.provider"),
        ("model", "text", "budget.model"),
        ("label", "text", "budget.label"),
        ("repeats", "text", "budget.repeats"),
        ("timezone", "text", "budget.timezone"),
        ("starts_at", "instant", _ENDLESS.format(edge="starts_at")),
        ("ends_at", "instant", _ENDLESS.format(edge="ends_at")),
        ("unit", "text", "budget.unit"),
        ("base_limit", "amount", "budget.limit_micro"),
        ("spent", "amount", "budget_window.spent_micro"),
        ("reserved", "amount", "budget_window.held_micro"),
        ("created_at", "instant", "budget.created_at"),
        ("removed_at", "instant", "budget.removed_at"),
    ),
    f"budget LEFT JOIN {WINDOWS} ON budget_window.budget_id = budget.id"
    " LEFT JOIN wallet ON wallet.id = budget.wallet_id",
    order="budget, created_at, starts_at",
)
_WALLETS: Final = View(
    "v1_wallets",
    (
        ("wallet", "text", "wallet.name"),
        ("unit", "text", "wallet.unit"),
        ("funded", "amount", "wallet.funded_micro"),
        ("adjusted", "amount", "wallet.adjusted_micro"),
        ("spent", "amount", "wallet.funded_micro + wallet.adjusted_micro - wallet.posted_micro"),
        ("posted", "amount", "wallet.posted_micro"),
        ("reserved", "amount", "wallet.reserved_micro"),
        ("available", "amount", "wallet.posted_micro - wallet.reserved_micro"),
        ("actor", "text", "wallet.actor"),
        ("created_at", "instant", "wallet.created_at"),
    ),
    WALLETS,
    order="wallet",
)

VIEWS: Final = (_JOBS, _SPEND, _TRANSFERS, _BUDGETS, _WALLETS)
"""The views of version 1."""


def views(dialect: str) -> tuple[str, ...]:
    """Return the statements that create the views on an engine."""
    return tuple(view.statement(dialect) for view in VIEWS)
