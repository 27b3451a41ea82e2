"""Posted: what transfers charged jobs and returned; one row is a sum of similar ones."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from fractions import Fraction
from typing import Any, Final

import pandas as pd

from kling_ledger.errors import ConfigError
from kling_ledger.ledger.engines.database import Database
from kling_ledger.ledger.engines.transaction import Transaction
from kling_reports.currency import Conversion, converted, nearest
from kling_reports.doors import reservations
from kling_reports.doors.sums import Key, Source, added_up
from kling_reports.doors.times import posted_within, rate_key, stretches
from kling_reports.moves import CHARGING
from kling_reports.report import EVER, Kind, Span

_REFUND: Final = "refund"
_KINDS: Final = ", ".join(f"'{kind}'" for kind in (*CHARGING, _REFUND))
_TABLES: Final = (
    # Every charge has its job. In this join order, only jobs that were charged are looked up.
    "transfer LEFT JOIN reservation ON reservation.id = transfer.reservation_id"
)
_PAID_TO: Final = (
    "substr(CASE WHEN transfer.kind = 'refund' THEN transfer.debit_account"
    f" ELSE transfer.credit_account END, {len('provider/') + 1})"
)
_OWN: Final[Mapping[str, tuple[str, Kind]]] = {
    "period": ("transfer.period", "text"),
    "paid_to": (_PAID_TO, "text"),
}
"""The columns of the transfer rather than the job. `paid_to` is the provider that the journal paid:
the job's own may be missing."""

_MAY_CHANGE: Final = ("state", "settled_by")
"""What may change in a job after a month with its charges is closed hard."""

_FIGURES: Final[Mapping[str, str]] = {
    "charged_micro": "CASE WHEN transfer.kind = 'refund' THEN 0 ELSE transfer.amount_micro END",
    "refunded_micro": "CASE WHEN transfer.kind = 'refund' THEN transfer.amount_micro ELSE 0 END",
}

_OWN_RATE: Final[Mapping[str, str]] = {
    "usd_micro": "reservation.usd_micro",
    "reserved_micro": "reservation.reserved_micro",
    "first_micro": (
        "CASE WHEN reservation.provider_held_micro IS NULL THEN reservation.reserved_micro ELSE"
        " (SELECT told.amount_micro FROM transfer AS told"
        " WHERE told.reservation_id = reservation.id AND told.kind = 'reserve'"
        " ORDER BY told.id LIMIT 1) END"
    ),
}
"""The value of a job. If the provider itself reserves more, the first two rise together; to keep
the past unchanged, the rate is that of what was first held."""


def posted(
    database: Database,
    *,
    by: Sequence[str] = (),
    bucket: str | None = None,
    zone: str = "UTC",
    span: Span = EVER,
    period: str | None = None,
    conversion: Conversion | None = None,
) -> pd.DataFrame:
    """Add up what was posted in a span, or in a month of the journal, by some columns and `unit`.

    `by` names columns of reservations.KINDS that never change once a job is charged, `period` or
    `paid_to`; `bucket` and `zone` make the column `day`, of the instant of posting. Columns: these,
    `unit`, `jobs`, `charged_micro`, `refunded_micro`. A job counts once in `jobs`: in the row with
    the first of its charges and refunds in this time. Amounts are in the unit of a conversion.
    ConfigError for a column that may change later.
    """
    source = _source(span, period)
    with database.read() as transaction:
        keys = [
            *stretches(
                transaction, bucket, zone=zone, table="transfer", within=posted_within(span)
            ),
            *_keys(transaction, by),
        ]
        figures = {"jobs": _is_first(span, period), "transfers": "1", **_FIGURES}
        if conversion is not None:
            # Similar transfers are converted once, and they are few.
            keys += [Key(name, figures.pop(name), "money") for name in _FIGURES]
            keys += [Key(name, sql, "money") for name, sql in _OWN_RATE.items()]
            keys.append(rate_key(conversion, "transfer.created_at"))
        found = added_up(database, [transaction], keys=keys, figures=figures, source=source)
    if conversion is None:
        return found
    known = found.assign(usd_micro=_first_usd(found))
    own = ("usd_micro", "first_micro")
    return converted(known, conversion, amounts=tuple(_FIGURES), own=own, count="transfers")


def _first_usd(found: pd.DataFrame) -> pd.Series[Any]:
    """Return, in USD, what was first held, before a provider reserved more."""
    usd = [
        pd.NA if pd.isna(usd) else nearest(Fraction(int(usd) * int(first), int(reserved)))
        for usd, reserved, first in zip(
            *(found[name].astype(object) for name in _OWN_RATE), strict=True
        )
    ]
    return pd.Series(pd.array(usd, "Int64"), found.index)


def _source(span: Span, period: str | None) -> Source:
    kinds = f"transfer.kind IN ({_KINDS})"
    values = {} if period is None else {"period": period}
    return Source(_TABLES, f"{kinds} AND {_within(span, period, 'transfer')}", values)


def _within(span: Span, period: str | None, transfer: str) -> str:
    return posted_within(span, transfer) if period is None else f"{transfer}.period = :period"


def _keys(transaction: Transaction, by: Sequence[str]) -> Iterator[Key]:
    for name in by:
        if name in _MAY_CHANGE:
            raise ConfigError(
                f"what was posted cannot be told apart by {name}: it may change after a month is"
                " closed, and a closed month stays as it is",
                hint="use --basis reserved, or another word",
            )
        if name in _OWN:
            sql, kind = _OWN[name]
            yield Key(name, sql, kind)
        else:
            yield reservations.key_of(transaction, name)
    yield Key("unit", "transfer.unit", "text")


def _is_first(span: Span, period: str | None) -> str:
    """Write as 1 or 0 whether a transfer is the first of its job among those selected."""
    return (
        # A job that was charged exactly once has no other transfer: no look-up is needed.
        "CASE WHEN transfer.amount_micro = reservation.committed_micro"
        " AND reservation.refunded_micro = 0 THEN 1 WHEN EXISTS (SELECT 1 FROM transfer AS earlier"
        " WHERE earlier.reservation_id = transfer.reservation_id AND earlier.id < transfer.id"
        f" AND earlier.kind IN ({_KINDS}) AND {_within(span, period, 'earlier')})"
        " THEN 0 ELSE 1 END"
    )
