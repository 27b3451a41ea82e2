"""The only door from the database to pandas: fixed columns, fixed types, one state of the ledger.

Amounts stay integers of millionths inside a frame, so that sums are exact; they become decimals
when they are rendered. What is only added up is added up by the database, in integers: a report
over a million reservations reads a few thousand rows. Everything else is read row by row.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any, Final
from zoneinfo import ZoneInfo

import pandas as pd

from kling_ledger.errors import PeriodError
from kling_ledger.ledger import budgets as budget_words
from kling_ledger.ledger import periods, standing
from kling_ledger.ledger.engines.database import Database
from kling_ledger.ledger.engines.transaction import Row, Transaction
from kling_ledger.ledger.ids import from_us, to_us
from kling_ledger.ledger.periods import Period
from kling_ledger.ledger.scopes import Scope, Subject
from kling_ledger.ledger.standing import BudgetStatus
from kling_ledger.ledger.states import OPEN_STATES, State
from kling_ledger.ledger.windows import window_at
from kling_pricing.errors import AmountError
from kling_reports.report import DTYPES, EVER, Kind, Span

_OPEN: Final = ", ".join(f"'{state}'" for state in OPEN_STATES)

KINDS: Final[Mapping[str, Kind]] = {
    "id": "text",
    "wallet": "text",
    "state": "text",
    "is_open": "flag",
    "unit": "text",
    "project": "text",
    "labels": "text",
    "provider": "text",
    "model": "text",
    "action": "text",
    "resolution": "text",
    "sound": "flag",
    "billed_seconds": "integer",
    "reserved_micro": "money",
    "held_micro": "money",
    "committed_micro": "money",
    "refunded_micro": "money",
    "usd_micro": "money",
    "usd_held_micro": "money",
    "usd_spent_micro": "money",
    "settled_by": "text",
    "task_id": "text",
    "problem": "text",
    "actor": "text",
    "expires_at": "instant",
    "created_at": "instant",
    "updated_at": "instant",
}
"""Every column of a reservation that a report may ask for. `labels` is as the ledger keeps them;
`committed_micro` is missing until something was charged, `usd_...` where no rate is known."""

_EXPRESSIONS: Final[Mapping[str, str]] = {
    "wallet": "wallet_id",
    "is_open": f"CASE WHEN state IN ({_OPEN}) THEN 1 ELSE 0 END",
}

OUTCOMES: Final = ("accepted", "rejected", "open", "failed")
"""What became of a reservation: charged; charged, but all of it refunded or labelled
`accepted=no`; still open; or ended with nothing made."""

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
    "unit": "CASE WHEN usd_micro IS NULL THEN unit ELSE 'USD' END",
    "held_micro": "COALESCE(usd_held_micro, held_micro)",
    "spent_micro": "COALESCE(usd_spent_micro, COALESCE(committed_micro, 0) - refunded_micro)",
}
"""The same at the reservation's own rate. What has none stays in its own unit: a row of its own."""

_TRANSFER_SQL: Final[Mapping[str, str]] = {
    "wallet": "wallet.name AS wallet",
    **{name: f"reservation.{name}" for name in ("project", "provider", "model")},
}
_NOT_SEALED: Final = {"soft": "closed but not sealed", "open": "open again"}
_LAST: Final = 2**63 - 1
_SUMS: Final = "report_sums"


@dataclass(frozen=True, slots=True)
class Key:
    """What rows are put together by: a column of the answer, its SQL, and what its values are.

    `choices` are what the numbers 0, 1, ... stand for, where the SQL gives such numbers; `read`
    makes a value of the answer from any other.
    """

    name: str
    sql: str
    kind: Kind
    read: Callable[[Any], Any] = lambda value: value
    choices: tuple[Any, ...] = ()


def spending(
    database: Database,
    *,
    by: Sequence[str] = (),
    bucket: str | None = None,
    zone: str = "UTC",
    span: Span = EVER,
    currency: str | None = None,
) -> pd.DataFrame:
    """Add reservations up by some columns of KINDS, `unit` and outcome, and by a stretch of time.

    A reservation belongs to the instant at which it was made. `bucket` is `day`, `week` or `month`
    and makes the column `day`: where the stretch begins, in a zone. Columns: those of `by`, `unit`,
    `outcome` (see OUTCOMES), `jobs`, `seconds` (missing if any job has none), `held_micro`, and
    `spent_micro` (committed less refunded). The only currency is USD.
    """
    asked = {"unit": "unit", **_FIGURES} if currency is None else {**_FIGURES, **_IN_USD}
    outcome = _OUTCOME.format(position=_POSITION[database.engine.dialect])
    with database.read() as transaction:
        keys = [
            *_time_keys(transaction, bucket, zone, span),
            Key("outcome", outcome, "text", choices=OUTCOMES),
            *(_key(transaction, name) for name in by),
            Key("unit", asked.pop("unit"), "text"),
        ]
        return _added_up(database, transaction, keys, asked, span)


def alike(
    database: Database,
    *,
    columns: Sequence[str],
    bucket: str | None = None,
    zone: str = "UTC",
    span: Span = EVER,
) -> pd.DataFrame:
    """Return reservations by some columns of KINDS: those alike in all of them are one row.

    `jobs` says how many they are. Prices come from a list, so there are few rows even of many.
    `bucket` and `zone` make the column `day`, as for `spending`.
    """
    with database.read() as transaction:
        keys = [
            *_time_keys(transaction, bucket, zone, span),
            *(_key(transaction, name) for name in columns),
        ]
        return _added_up(database, transaction, keys, {}, span)


def reservations(
    database: Database,
    *,
    columns: Sequence[str] = tuple(KINDS),
    span: Span = EVER,
    states: Iterable[str] | None = None,
) -> pd.DataFrame:
    """Return reservations one by one, oldest first, with some columns of KINDS; or of some states.

    Where many may be asked for, ask for no more columns than are needed.
    """
    listed = "" if states is None else ", ".join(f"'{State(state)}'" for state in states)
    condition = "1 = 1" if states is None else f"state IN ({listed})"
    with database.read() as transaction:
        keys = [_key(transaction, name) for name in columns]
        rows = transaction.rows(
            f"SELECT {_selected(keys)} FROM reservation WHERE {_within(span)} AND {condition}"
            " ORDER BY created_at, id"
        )
    return _frame(rows, keys)


TRANSFER_KINDS: Final[Mapping[str, Kind]] = {
    "id": "text",
    "created_at": "instant",
    "period": "text",
    "corrects": "text",
    "kind": "text",
    "amount_micro": "money",
    "unit": "text",
    "wallet": "text",
    "reservation_id": "text",
    "project": "text",
    "provider": "text",
    "model": "text",
    "debit_account": "text",
    "credit_account": "text",
    "actor": "text",
    "reason": "text",
}
"""The columns of transfers: one row each, as the journal has it; `amount_micro` is above zero."""

MOVES: Final[Mapping[str, tuple[str, int]]] = {
    "fund": ("funded", 1),
    "adjust": ("adjusted", 1),
    "adjust_down": ("adjusted", -1),
    "commit": ("spent", -1),
    "overrun": ("spent", -1),
    "late_commit": ("spent", -1),
    "refund": ("refunded", 1),
}
"""The kinds of transfers that change what a wallet holds: in which figure, up or down. The others
move credits between available and reserved, inside the wallet."""


def transfers(
    database: Database,
    *,
    kinds: Iterable[str],
    span: Span = EVER,
    period: str | None = None,
) -> pd.DataFrame:
    """Return transfers of some kinds, oldest first, with the columns of TRANSFER_KINDS.

    By the instants of a span, or by the month of the journal that they count in.
    """
    listed = ", ".join(f"'{kind}'" for kind in kinds)
    columns = ", ".join(_TRANSFER_SQL.get(name, f"transfer.{name}") for name in TRANSFER_KINDS)
    condition = _within(span, "transfer.created_at") if period is None else "period = :period"
    with database.read() as transaction:
        rows = transaction.rows(
            f"SELECT {columns} FROM transfer JOIN wallet ON wallet.id = transfer.wallet_id"
            " LEFT JOIN reservation ON reservation.id = transfer.reservation_id"
            f" WHERE kind IN ({listed}) AND {condition} ORDER BY transfer.created_at, transfer.id",
            **({} if period is None else {"period": period}),
        )
    return frame_of(rows, TRANSFER_KINDS)


def movements(database: Database, *, span: Span = EVER, period: str | None = None) -> pd.DataFrame:
    """Add transfers up by wallet, kind and whether they came `before` a span or within it.

    Columns: `wallet`, `unit`, `kind` (missing for a wallet without any), `before`, `amount_micro`.
    """
    if period is None:
        before, until = _before(span.starts_at), _before(span.ends_at, beyond="1 = 1")
    else:
        before, until = "period < :period", "period <= :period"
    with database.read() as transaction:
        rows = transaction.rows(
            "SELECT wallet.name AS wallet, wallet.unit, moved.kind, moved.is_before AS before,"
            " moved.amount_micro FROM wallet LEFT JOIN ("
            f"  SELECT wallet_id, kind, CASE WHEN {before} THEN 1 ELSE 0 END AS is_before,"
            f"  SUM(amount_micro) AS amount_micro FROM transfer WHERE {until} GROUP BY 1, 2, 3"
            ") AS moved ON moved.wallet_id = wallet.id ORDER BY wallet.name, moved.kind",
            **({} if period is None else {"period": period}),
        )
    kinds: dict[str, Kind] = {"wallet": "text", "unit": "text", "kind": "text"}
    return frame_of(rows, {**kinds, "before": "flag", "amount_micro": "money"})


RECORD_KINDS: Final[Mapping[str, Kind]] = {
    "provider": "text",
    "task_id": "text",
    "reservation_id": "text",
    "verdict": "text",
    "billed_micro": "money",
    "spent_micro": "money",
    "unit": "text",
    "source": "text",
    "checked_at": "instant",
    "project": "text",
    "model": "text",
    "wallet": "text",
}
"""The columns of what providers' own records said, one task each, when they were last compared:
`billed_micro` is theirs, `spent_micro` ours, each missing where there is none. What they bill in
another unit than ours has our amount missing."""


def records(database: Database) -> pd.DataFrame:
    """Return every task that was compared with a provider's record, with RECORD_KINDS."""
    with database.read() as transaction:
        rows = transaction.rows(
            "SELECT record.provider, record.task_id, reservation_id, verdict, billed_micro,"
            " CASE WHEN COALESCE(record.unit, reservation.unit) = reservation.unit THEN"
            " COALESCE(committed_micro, 0) - refunded_micro END AS spent_micro,"
            " COALESCE(record.unit, reservation.unit) AS unit, source, checked_at, project, model,"
            " wallet.name AS wallet FROM provider_record AS record"
            " LEFT JOIN reservation ON reservation.id = record.reservation_id"
            " LEFT JOIN wallet ON wallet.id = reservation.wallet_id"
            " ORDER BY record.provider, record.task_id"
        )
    return frame_of(rows, RECORD_KINDS)


BUDGET_KINDS: Final[Mapping[str, Kind]] = {
    "budget": "text",
    "covers": "text",
    "mode": "text",
    "window": "text",
    "timezone": "text",
    "unit": "text",
    "limit_micro": "money",
    "spent_micro": "money",
    "reserved_micro": "money",
    "begins_at": "instant",
    "ends_at": "instant",
}
"""The columns of budgets, each in the window that holds an instant. `begins_at` of a budget that
never begins anew is when the first job that it covers was reserved."""


def budgets(database: Database, *, at: datetime) -> pd.DataFrame:
    """Return every budget by name, as it stands in its window at an instant."""
    with database.read() as transaction:
        known = sorted(budget_words.every(transaction), key=lambda budget: budget.name)
        stands = [standing.status(transaction, one, to_us(at)) for one in known]
        firsts = _first_jobs(transaction) if any(one.window == "none" for one in known) else []
    return frame_of([_budget_row(one, firsts) for one in stands], BUDGET_KINDS)


def _budget_row(stands: BudgetStatus, firsts: Sequence[tuple[Subject, int]]) -> dict[str, Any]:
    budget, scope = stands.budget, stands.budget.scope
    parts = {name: getattr(scope, name) for name in Scope.__slots__}
    covered = [first for subject, first in firsts if budget.covers(subject)]
    begins = to_us(stands.starts_at) if stands.starts_at else min(covered, default=None)
    return {
        "budget": budget.name,
        "covers": ", ".join(f"{name} {text}" for name, text in parts.items() if text) or "all",
        "mode": budget.mode,
        "window": budget.window,
        "timezone": budget.timezone,
        "unit": budget.unit,
        "limit_micro": stands.limit.micro,
        "spent_micro": stands.spent.micro,
        "reserved_micro": stands.reserved.micro,
        "begins_at": begins,
        "ends_at": None if stands.ends_at is None else to_us(stands.ends_at),
    }


def _first_jobs(transaction: Transaction) -> list[tuple[Subject, int]]:
    """Return when the first job was reserved of each kind that a budget can tell apart."""
    columns = ", ".join(Subject.__slots__)
    rows = transaction.rows(
        f"SELECT {columns}, MIN(created_at) AS first_at FROM reservation GROUP BY {columns}"
    )
    return [
        (Subject(*(row[name] for name in Subject.__slots__)), int(row["first_at"])) for row in rows
    ]


LINE_KINDS: Final[Mapping[str, Kind]] = {
    **TRANSFER_KINDS,
    "wallet_id": "text",
    "labels": "text",
    "action": "text",
    "resolution": "text",
    "sound": "flag",
    "billed_seconds": "integer",
    "reserved_micro": "money",
    "usd_micro": "money",
}
"""The columns of the journal as it is exported: of the job only what never changes."""

_OF_JOBS: Final = (
    "project",
    "provider",
    "model",
    "labels",
    "action",
    "resolution",
    "sound",
    "billed_seconds",
    "reserved_micro",
    "usd_micro",
)


def journal(
    database: Database,
    *,
    period: str | None = None,
    through: str | None = None,
    touched_in: str | None = None,
) -> pd.DataFrame:
    """Return the journal's transfers of every kind with LINE_KINDS, in the order of their ids.

    Of one month, or of all months through one; or of the jobs alone that a month touched. What a
    month holds never changes again once it is closed hard.
    """
    given = {"period": period, "through": through, "touched": touched_in}
    conditions = {
        "period": "transfer.period = :period",
        "through": "transfer.period <= :through",
        "touched": "transfer.reservation_id IN"
        " (SELECT reservation_id FROM transfer WHERE period = :touched)",
    }
    asked = {name: value for name, value in given.items() if value is not None}
    condition = " AND ".join(["1 = 1", *(conditions[name] for name in asked)])
    sources = {name: f"reservation.{name}" for name in _OF_JOBS} | {"wallet": "wallet.name"}
    columns = ", ".join(f"{sources.get(name, f'transfer.{name}')} AS {name}" for name in LINE_KINDS)
    with database.read() as transaction:
        rows = transaction.rows(
            f"SELECT {columns} FROM transfer JOIN wallet ON wallet.id = transfer.wallet_id"
            " LEFT JOIN reservation ON reservation.id = transfer.reservation_id"
            f" WHERE {condition} ORDER BY transfer.id",
            **asked,
        )
    return frame_of(rows, LINE_KINDS)


def worths(database: Database, *, through: str | None = None) -> pd.DataFrame:
    """Return what the latest job in each unit was worth that has a rate, as `unit`,
    `reserved_micro` and `usd_micro`; of the jobs of all months through one, if one is named."""
    condition = "1 = 1" if through is None else "period <= :through"
    with database.read() as transaction:
        rows = transaction.rows(
            "SELECT unit, reserved_micro, usd_micro FROM reservation WHERE id IN"
            " (SELECT MAX(reservation.id) FROM reservation JOIN transfer"
            " ON transfer.reservation_id = reservation.id"
            f" WHERE kind = 'reserve' AND usd_micro > 0 AND {condition}"
            " GROUP BY reservation.unit) ORDER BY unit",
            **({} if through is None else {"through": through}),
        )
    return frame_of(rows, {"unit": "text", "reserved_micro": "money", "usd_micro": "money"})


ACCRUAL_KINDS: Final[Mapping[str, Kind]] = {
    "reservation_id": "text",
    "created_at": "instant",
    "amount_micro": "money",
    "unit": "text",
    "wallet": "text",
    "project": "text",
    "provider": "text",
    "model": "text",
    "actor": "text",
}
"""The columns of what jobs still held when a month was closed."""


def accruals(database: Database, period: str) -> pd.DataFrame:
    """Return what was carried out of a closed month, by reservation, with ACCRUAL_KINDS."""
    with database.read() as transaction:
        rows = transaction.rows(
            "SELECT reservation_id, reservation.created_at, amount_micro, accrual.unit,"
            " wallet.name AS wallet, project, provider, model, reservation.actor FROM accrual"
            " JOIN reservation ON reservation.id = accrual.reservation_id"
            " JOIN wallet ON wallet.id = reservation.wallet_id"
            " WHERE period = :period ORDER BY reservation_id",
            period=period,
        )
    return frame_of(rows, ACCRUAL_KINDS)


@dataclass(frozen=True, slots=True)
class ClosedMonth:
    """A month that is closed hard, and the seal worked out again from its transfers."""

    period: Period
    seal: str


def closed_month(database: Database, name: str) -> ClosedMonth:
    """Return a month that is closed hard; NotFoundError or PeriodError say what to do before."""
    with database.read() as transaction:
        period = periods.find(transaction, name)
        if period.state != "hard":
            raise PeriodError(
                f"period {name} is {_NOT_SEALED[period.state]}: its figures may still change",
                hint=f"kling-ledger close {name} --hard",
            )
        seal = periods.Seal(period.previous_seal)
        for line in periods.lines(transaction, name):
            seal.add(line)
    return ClosedMonth(period, seal.value)


def days_of(instants: pd.Series[Any], zone: str) -> pd.Series[Any]:
    """Return the day, in a zone, of each instant of a column."""
    local = instants.dt.tz_convert(ZoneInfo(zone)).dt.tz_localize(None)
    days: pd.Series[Any] = local.dt.normalize().astype(DTYPES["date"])
    return days


def frame_of(rows: Sequence[Mapping[str, Any]], kinds: Mapping[str, Kind]) -> pd.DataFrame:
    """Return rows as a frame with exactly these columns, typed by their kinds."""
    return _frame(rows, [Key(name, "", kind) for name, kind in kinds.items()])


def series_of(values: Iterable[Any], kind: Kind) -> pd.Series[Any]:
    """Return values as a series of a kind; integers never pass through a float."""
    if kind in {"instant", "date", "month"}:
        return _times(list(values), kind)
    read: Callable[[Any], Any] = {"text": str, "flag": bool}.get(kind, _whole)
    kept: list[Any] = [None if value is None else read(value) for value in values]
    return pd.Series(pd.array(kept, dtype=DTYPES[kind]))


def _times(values: list[Any], kind: Kind) -> pd.Series[Any]:
    """Return microseconds or days as a series; an empty one too has its dtype."""
    is_instant = kind == "instant"
    if is_instant:
        values = [None if value is None else from_us(int(value)) for value in values]
    found: pd.Series[Any] = pd.Series(pd.to_datetime(values, utc=is_instant))
    return found.astype(DTYPES[kind])


def _added_up(
    database: Database,
    transaction: Transaction,
    keys: Sequence[Key],
    figures: Mapping[str, str],
    span: Span,
) -> pd.DataFrame:
    """Add figures up by keys, in the database, and count the rows behind each as `jobs`.

    A figure is missing if it is missing in any of the rows.
    """
    add = _add_up_on_sqlite if database.engine.dialect == "sqlite" else _add_up_in_sql
    rows = add(transaction, keys, {"jobs": "1", **figures}, _within(span))
    counted = [Key(name, "", "integer") for name in ("jobs", *figures)]
    return _frame(rows, [*keys, *counted])


def _add_up_in_sql(
    transaction: Transaction, keys: Sequence[Key], figures: Mapping[str, str], condition: str
) -> list[Row]:
    sums = ", ".join(
        f"CASE WHEN COUNT({sql}) = COUNT(*) THEN SUM({sql}) END AS {name}"
        for name, sql in figures.items()
    )
    places = ", ".join(str(place) for place, _ in enumerate(keys, start=1))
    return transaction.rows(
        f"SELECT {_selected(keys)}, {sums} FROM reservation WHERE {condition} GROUP BY {places}"
    )


def _add_up_on_sqlite(
    transaction: Transaction, keys: Sequence[Key], figures: Mapping[str, str], condition: str
) -> list[Row]:
    """Add up in a small table, group by group: SQLite would sort the whole table first.

    The table is in the connection's own temporary database and goes with the transaction, which
    writes nothing else. Keys that are small numbers share a column; a key that is missing stands in
    its own as an empty blob, because a primary key has no NULL.
    """
    small = [key for key in keys if key.choices]
    large = [key for key in keys if not key.choices]
    names = ["place", *(key.name for key in large)]
    values = [_packed(small), *(f"ifnull({key.sql}, x'')" for key in large)]
    transaction.run(
        f"CREATE TEMP TABLE {_SUMS} ({', '.join([*names, *figures])},"
        f" PRIMARY KEY ({', '.join(names)})) WITHOUT ROWID"
    )
    transaction.run(
        f"INSERT INTO temp.{_SUMS} SELECT {', '.join([*values, *figures.values()])}"
        f" FROM reservation WHERE {condition} ON CONFLICT ({', '.join(names)}) DO UPDATE SET "
        + ", ".join(f"{name} = {name} + excluded.{name}" for name in figures)
    )
    unpacked = {key.name: sql for key, sql in zip(small, _unpacked(small), strict=True)}
    whole = {key.name: f"nullif({key.name}, x'')" for key in large}
    return transaction.rows(
        f"SELECT {', '.join(f'{sql} AS {name}' for name, sql in (unpacked | whole).items())},"
        f" {', '.join(figures)} FROM temp.{_SUMS}"
    )


def _packed(keys: Sequence[Key]) -> str:
    """Write several small numbers as one."""
    packed = "0"
    for key in keys:
        packed = f"({packed}) * {len(key.choices)} + ({key.sql})" if packed != "0" else key.sql
    return packed


def _unpacked(keys: Sequence[Key]) -> Iterator[str]:
    """Write how to get each small number back from the one that they are packed in."""
    below = 1
    found = []
    for key in reversed(keys):
        found.append(f"place / {below} % {len(key.choices)}")
        below *= len(key.choices)
    return reversed(found)


def _time_keys(
    transaction: Transaction, bucket: str | None, zone: str, span: Span
) -> Iterator[Key]:
    """Return the key that puts rows into stretches of time, by the instants where they begin."""
    if bucket is None:
        return
    row = transaction.row(
        f"SELECT (SELECT MIN(created_at) FROM reservation WHERE {_within(span)}) AS first,"
        f" (SELECT MAX(created_at) FROM reservation WHERE {_within(span)}) AS last"
    )
    if row is None or row["first"] is None:
        yield Key("day", "0", "date", choices=(None,))
        return
    starts = list(_starts(bucket, zone, int(row["first"]), int(row["last"])))
    days = tuple(_day(start, zone) for start in starts)
    yield Key("day", _place_of("created_at", starts), "date", choices=days)


def _starts(bucket: str, zone: str, first_us: int, last_us: int) -> Iterator[int]:
    start, end = window_at(bucket, zone, first_us)
    while start <= last_us:
        yield start
        start, end = end, window_at(bucket, zone, end)[1]


def _place_of(column: str, starts: Sequence[int]) -> str:
    """Write, as nested conditions, which of some stretches an instant lies in."""
    if len(starts) == 1:
        return "0"

    def place(low: int, high: int) -> str:
        if low == high:
            return str(low)
        middle = (low + high + 1) // 2
        before, after = place(low, middle - 1), place(middle, high)
        return f"CASE WHEN {column} < {starts[middle]} THEN {before} ELSE {after} END"

    return place(0, len(starts) - 1)


def _day(start_us: int, zone: str) -> date:
    return from_us(start_us).astimezone(ZoneInfo(zone)).date()


def _key(transaction: Transaction, name: str) -> Key:
    sql = _EXPRESSIONS.get(name, name)
    if name == "wallet":
        wallets = transaction.rows("SELECT id, name FROM wallet")
        names = {row["id"]: row["name"] for row in wallets}
        return Key(name, sql, "text", names.__getitem__)
    return Key(name, sql, KINDS[name])


def _selected(keys: Sequence[Key]) -> str:
    return ", ".join(f"{key.sql} AS {key.name}" for key in keys)


def _within(span: Span, column: str = "created_at") -> str:
    """Write a span as a condition, whose constants are our own integers."""
    conditions = ["1 = 1"]
    if span.starts_at is not None:
        conditions.append(f"{column} >= {to_us(span.starts_at)}")
    if span.ends_at is not None:
        conditions.append(f"{column} < {to_us(span.ends_at)}")
    return " AND ".join(conditions)


def _before(at: datetime | None, *, beyond: str = "1 = 0") -> str:
    return beyond if at is None else f"created_at < {to_us(at)}"


def _frame(rows: Sequence[Mapping[str, Any]], keys: Sequence[Key]) -> pd.DataFrame:
    return pd.DataFrame({key.name: series_of(_values(rows, key), key.kind) for key in keys})


def _values(rows: Sequence[Mapping[str, Any]], key: Key) -> list[Any]:
    found = [row[key.name] for row in rows]
    if key.choices:
        return [key.choices[place] for place in found]
    return [None if value is None else key.read(value) for value in found]


def _whole(value: Any) -> int:
    """Return an integer of the database; beyond 64 bits an engine gives something else."""
    whole = int(value)
    if isinstance(value, float) or whole != value or abs(whole) > _LAST:
        raise AmountError("sum", got=str(value), allowed="at most 2**63 - 1 millionths")
    return whole
