"""Reservations: one row is the credits of one job, or of several similar ones."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Final

import pandas as pd

from kling_ledger.errors import ConfigError
from kling_ledger.jobs.endings import MAKES_NO_CLIP
from kling_ledger.ledger.engines.database import Database
from kling_ledger.ledger.engines.transaction import Transaction
from kling_ledger.ledger.reservations import CONFIRMED_BY, NEEDED_TO_RESUME
from kling_ledger.ledger.states import OPEN_STATES, State
from kling_reports.currency import Conversion, converted
from kling_reports.doors.batches import BATCH, whole
from kling_reports.doors.sums import THREADS, Key, Source, added_up, selected
from kling_reports.doors.times import rate_key, stretches, within
from kling_reports.doors.told import FIRST_HELD, QUOTED, UNDONE
from kling_reports.frames import frame_of
from kling_reports.report import EVER, Column, Kind, Span

KINDS: Final[Mapping[str, Kind]] = {
    "id": "text",
    "wallet": "text",
    "state": "text",
    "unit": "text",
    "project": "text",
    "labels": "text",
    "provider": "text",
    "account": "text",
    "model": "text",
    "action": "text",
    "resolution": "text",
    "sound": "flag",
    "billed_seconds": "integer",
    "quoted_micro": "money",
    "low_micro": "money",
    "estimated_micro": "money",
    "reserved_micro": "money",
    "held_micro": "money",
    "committed_micro": "money",
    "refunded_micro": "money",
    "undone_micro": "money",
    "usd_micro": "money",
    "usd_held_micro": "money",
    "usd_spent_micro": "money",
    "settled_by": "text",
    "task_id": "text",
    "problem": "text",
    "has_clip": "flag",
    "can_resume": "flag",
    "actor": "text",
    "expires_at": "instant",
    "created_at": "instant",
    "updated_at": "instant",
}
"""Every column of a reservation that a report may ask for.

`labels` has the ledger's own form. `quoted_micro` is the most that the book quoted (for jobs from
before this was recorded, what was first held), `low_micro` the least, `estimated_micro` what the
provider estimated before the run: each is missing if unknown. `reserved_micro` is the most that was
held: a provider that itself reserved more has raised it. `committed_micro` is missing until
something is charged, `usd_...` if no rate is known. `undone_micro` was charged before the job was
reopened, and came back: it is included in both the committed and the refunded amount.
"""

WORTH_KINDS: Final[Mapping[str, Kind]] = {
    "unit": "text",
    "reserved_at": "instant",
    "period": "text",
    "quoted_micro": "money",
    "reserved_micro": "money",
    "usd_micro": "money",
}
"""The columns of values in USD; `period` is the month of the journal in which the job was
reserved."""

BILLED: Final = CONFIRMED_BY
"""The words of `settled_by` for the provider's own figures: from its answer, or its bill. A quote,
a measured length or a person's figure confirms nothing."""

OUTCOMES: Final = ("accepted", "rejected", "open", "failed")
"""The outcome of a reservation: charged; charged, but fully refunded or labelled `accepted=no`;
still open; or ended with nothing made."""

_OPEN: Final = ", ".join(f"'{state}'" for state in OPEN_STATES)
_EXPRESSIONS: Final[Mapping[str, str]] = {
    "wallet": "reservation.wallet_id",
    "quoted_micro": QUOTED,
    "undone_micro": UNDONE,
    "has_clip": "CASE WHEN reservation.videos IS NULL THEN 0 ELSE 1 END",
    "can_resume": "CASE WHEN "
    + " OR ".join(f"reservation.{name} IS NULL" for name in NEEDED_TO_RESUME)
    + " THEN 0 ELSE 1 END",
}
_CLIPLESS: Final = ", ".join(f"'{action}'" for action in sorted(MAKES_NO_CLIP))
_TROUBLED: Final = f"""
state = 'committed' AND problem IS NOT NULL
AND ((videos IS NULL AND COALESCE(action, '') NOT IN ({_CLIPLESS})) OR EXISTS (
    SELECT 1 FROM job_event AS ended WHERE ended.reservation_id = reservation.id
    AND ended.to_state = 'committed' AND ended.reason = reservation.problem))
"""
"""Charged with a problem. A successful job may still carry an old problem, from a doubt since
resolved: it counts only if it came with the end."""
_OUTCOME: Final = f"""
CASE WHEN state = 'committed' THEN
    CASE WHEN refunded_micro > 0 AND refunded_micro >= committed_micro THEN 1
         WHEN {{position}}(labels, ',accepted=no,') > 0 THEN 1
         ELSE 0 END
WHEN state IN ({_OPEN}) THEN 2 ELSE 3 END
"""
_POSITION: Final = {"sqlite": "instr", "postgresql": "strpos"}

_FIGURES: Final[Mapping[str, str]] = {
    "seconds": "billed_seconds",
    "held_micro": "held_micro",
    "spent_micro": "COALESCE(committed_micro, 0) - refunded_micro",
}
_IN_USD: Final[Mapping[str, str]] = {
    "held_micro": "COALESCE(usd_held_micro, held_micro)",
    "spent_micro": "COALESCE(usd_spent_micro, COALESCE(committed_micro, 0) - refunded_micro)",
}
"""The same at the reservation's own rate. One without a rate stays in its own unit, in a separate
row."""

_UNIT_IN_USD: Final = "CASE WHEN usd_micro IS NULL THEN unit ELSE 'USD' END"
_TO_CONVERT: Final = ("spent_micro", "held_micro")
_OWN_RATE: Final = ("usd_micro", "reserved_micro")


def spending(
    database: Database,
    *,
    by: Sequence[str] = (),
    bucket: str | None = None,
    zone: str = "UTC",
    span: Span = EVER,
    conversion: Conversion | None = None,
) -> pd.DataFrame:
    """Add reservations up by some columns of KINDS, `unit` and outcome, and by a stretch of time.

    A reservation belongs to the instant at which it was made. `bucket` is `day`, `week` or `month`
    and makes the column `day`: the beginning of the stretch, in a zone. Columns: those of `by`,
    `unit`, `outcome` (see OUTCOMES), `jobs`, `seconds` (missing if any job has none), `held_micro`,
    and `spent_micro` (committed less refunded), both in the unit of a conversion.
    """
    # Each job stores its value in USD, so the database adds it up. Other currencies are computed
    # here.
    is_kept = conversion is not None and conversion.is_of_jobs_alone
    unit, asked = (_UNIT_IN_USD, {**_FIGURES, **_IN_USD}) if is_kept else ("unit", dict(_FIGURES))
    outcome = _OUTCOME.format(position=_POSITION[database.engine.dialect])
    source = _source(span)
    with database.read_together(THREADS) as transactions:
        transaction = transactions[0]
        keys = [
            *stretches(
                transaction, bucket, zone=zone, table="reservation", within=source.condition
            ),
            Key("outcome", outcome, "text", choices=OUTCOMES),
            *(key_of(transaction, name) for name in by),
            Key("unit", unit, "text"),
        ]
        if conversion is not None and not is_kept:
            # Jobs with equal amounts are converted once, and are few.
            keys += [Key(name, asked.pop(name), "money") for name in _TO_CONVERT]
            keys += [key_of(transaction, name) for name in _OWN_RATE]
            keys.append(rate_key(conversion, "reservation.created_at"))
        figures = {"jobs": "1", **asked}
        found = added_up(database, transactions, keys=keys, figures=figures, source=source)
    if conversion is None or is_kept:
        return found
    return converted(found, conversion, amounts=_TO_CONVERT, own=_OWN_RATE, count="jobs")


def _source(span: Span, states: Iterable[str] | None = None) -> Source:
    # A span has an index; only for all rows is the table itself scanned.
    condition = f"{within(span)} AND {_of_states(states)}"
    return Source("reservation", condition, place="rowid" if span == EVER else None)


def alike(
    database: Database,
    *,
    columns: Sequence[str],
    bucket: str | None = None,
    zone: str = "UTC",
    span: Span = EVER,
    states: Iterable[str] | None = None,
) -> pd.DataFrame:
    """Return reservations by some columns of KINDS; those equal in all of them are one row.

    `jobs` is their number. Prices come from a list, so even many reservations make few rows.
    `bucket` and `zone` make the column `day`, as for `spending`. Of all states, or of some. A
    column may be named twice.
    """
    source = _source(span, states)
    with database.read_together(THREADS) as transactions:
        transaction = transactions[0]
        keys = [
            *stretches(
                transaction, bucket, zone=zone, table="reservation", within=source.condition
            ),
            *(key_of(transaction, name) for name in dict.fromkeys(columns)),
        ]
        return added_up(database, transactions, keys=keys, figures={"jobs": "1"}, source=source)


def listed(
    database: Database,
    *,
    columns: Sequence[str] = tuple(KINDS),
    span: Span = EVER,
    states: Iterable[str] | None = None,
) -> pd.DataFrame:
    """Return reservations one by one, oldest first, with some columns of KINDS; all states or some.

    There may be many: ask only for the columns that you need. A column may be named twice.
    """
    found = listed_batches(database, columns=columns, span=span, states=states)
    return whole(found, _kinds(columns))


def listed_batches(
    database: Database,
    *,
    columns: Sequence[str],
    span: Span = EVER,
    states: Iterable[str] | None = None,
    size: int = BATCH,
) -> Iterator[pd.DataFrame]:
    """Yield the rows of `listed` in batches."""
    return _listed(database, columns, span, _of_states(states), size)


def troubled(
    database: Database, *, columns: Sequence[str] = tuple(KINDS), span: Span = EVER
) -> pd.DataFrame:
    """Return, like `listed`, the jobs that were charged although something was wrong.

    They ended with an error or without a clip, or failed and were charged anyway.
    """
    return whole(_listed(database, columns, span, _TROUBLED, BATCH), _kinds(columns))


def _of_states(states: Iterable[str] | None) -> str:
    if states is None:
        return "1 = 1"
    given = ", ".join(f"'{State(state)}'" for state in states)
    return f"state IN ({given})"


def _kinds(columns: Sequence[str]) -> dict[str, Kind]:
    return {name: KINDS[name] for name in columns}


def _listed(
    database: Database, columns: Sequence[str], span: Span, condition: str, size: int
) -> Iterator[pd.DataFrame]:
    with database.read() as transaction:
        keys = [key_of(transaction, name) for name in dict.fromkeys(columns)]
        statement = (
            f"SELECT {selected(keys)} FROM reservation WHERE {within(span)} AND {condition}"
            " ORDER BY created_at, id"
        )
        for rows in transaction.batches(statement, size):
            values = zip(keys, zip(*rows, strict=True), strict=True)
            yield pd.DataFrame({key.name: key.values(found) for key, found in values})


def read_for(columns: Iterable[Column]) -> tuple[str, ...]:
    """Return those column names of a table that are columns of a reservation."""
    return tuple(column.name for column in columns if column.name in KINDS)


def worths(database: Database, *, through: str | None = None) -> pd.DataFrame:
    """Return the USD value of each job in credits that has a rate, with WORTH_KINDS, oldest first.

    Of all jobs, or only of those reserved in months of the journal up to and including `through`.
    """
    condition = "1 = 1" if through is None else "transfer.period <= :through"
    with database.read() as transaction:
        rows = transaction.rows(
            f"SELECT reservation.unit, {FIRST_HELD} AS quoted_micro, reserved_micro, usd_micro,"
            " reservation.created_at AS reserved_at, MIN(transfer.period) AS period"
            " FROM reservation JOIN transfer ON transfer.reservation_id = reservation.id"
            # Dollars need no rate. A raised hold has a second reserve transfer, hence the GROUP BY.
            " WHERE kind = 'reserve' AND usd_micro > 0 AND reservation.unit <> 'USD'"
            f" AND {condition} GROUP BY reservation.id ORDER BY reservation.created_at,"
            " reservation.id",
            **({} if through is None else {"through": through}),
        )
    return frame_of(rows, WORTH_KINDS)


def key_of(transaction: Transaction, name: str) -> Key:
    """Return a column of KINDS as a key of reservations; ConfigError for any other."""
    if name not in KINDS:
        raise ConfigError(
            f"a reservation has no {name} of the journal",
            hint=f"use spend --basis posted for the {name}",
        )
    sql = _EXPRESSIONS.get(name, f"reservation.{name}")
    if name == "wallet":
        # A join would read a wallet for each of a million rows; names are looked up afterwards.
        wallets = transaction.rows("SELECT id, name FROM wallet")
        names = {row["id"]: row["name"] for row in wallets}
        return Key(name, sql, "text", names.__getitem__)
    return Key(name, sql, KINDS[name])
