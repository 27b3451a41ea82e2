"""The tables of the ledger, with the laws that the database itself enforces.

Amounts are integers of millionths of their unit; instants are integers of microseconds since 1970
in UTC. Both are exact on every engine and in every reader. Text is ordered by its bytes, so that
two engines sort ids and names alike.
"""

from __future__ import annotations

from typing import Any, ClassVar, Final

from sqlalchemy import BigInteger, CheckConstraint, Dialect, Index, TypeDecorator, text
from sqlalchemy import Text as SqlText
from sqlalchemy.types import TypeEngine
from sqlmodel import Field, SQLModel

from kling_ledger.ledger.schema import EXPECTATION_FAILED
from kling_ledger.ledger.states import OPEN_STATES, State
from kling_pricing.money import MAX_MICRO

_STATES: Final = ", ".join(f"'{state}'" for state in State)
_OPEN: Final = ", ".join(f"'{state}'" for state in OPEN_STATES)


class Text(TypeDecorator[str]):
    """Text that both engines order by its bytes."""

    impl = SqlText
    cache_ok = True

    def load_dialect_impl(self, dialect: Dialect) -> TypeEngine[Any]:
        """Return the engine's own text type."""
        is_postgres = dialect.name == "postgresql"
        return dialect.type_descriptor(SqlText(collation="C") if is_postgres else SqlText())


def _text(
    *, primary_key: bool = False, unique: bool = False, foreign_key: str | None = None
) -> Any:
    given: dict[str, Any] = {"foreign_key": foreign_key} if foreign_key else {}
    return Field(sa_type=Text, primary_key=primary_key, unique=unique, **given)


def _text_or_none(*, foreign_key: str | None = None) -> Any:
    given: dict[str, Any] = {"foreign_key": foreign_key} if foreign_key else {}
    return Field(default=None, sa_type=Text, nullable=True, **given)


def _integer(*, primary_key: bool = False) -> Any:
    return Field(sa_type=BigInteger, primary_key=primary_key)


def _integer_or_none() -> Any:
    return Field(default=None, sa_type=BigInteger, nullable=True)


# A key that is text would be kept twice by SQLite, in the table and in an index beside it.
_BY_KEY: Final = {"sqlite_with_rowid": False}


class WalletRow(SQLModel, table=True):
    """An owner's account in one unit. `posted - reserved` is what may still be reserved."""

    __tablename__: ClassVar[str] = "wallet"
    __table_args__ = (
        CheckConstraint("reserved_micro >= 0", name="wallet_reserved_is_not_negative"),
        CheckConstraint(
            f"posted_micro BETWEEN -{MAX_MICRO} AND {MAX_MICRO}", name="wallet_posted_is_exact"
        ),
    )

    id: str = _text(primary_key=True)
    name: str = _text(unique=True)
    unit: str = _text()
    funded_micro: int = _integer()
    adjusted_micro: int = _integer()
    posted_micro: int = _integer()
    reserved_micro: int = _integer()
    actor: str = _text()
    created_at: int = _integer()


class ReservationRow(SQLModel, table=True):
    """Credits set aside for one job, what the job is, and how it ended.

    `held_micro` is what is still set aside; the columns in USD are the same amounts at the rate of
    the quote, NULL where nobody knows one. `step` counts the events of the reservation.
    """

    __tablename__: ClassVar[str] = "reservation"
    __table_args__ = (
        CheckConstraint(f"state IN ({_STATES})", name="reservation_state_is_known"),
        CheckConstraint("reserved_micro > 0", name="reservation_is_of_something"),
        CheckConstraint(
            "held_micro BETWEEN 0 AND reserved_micro", name="reservation_holds_what_it_set_aside"
        ),
        CheckConstraint(
            f"held_micro = 0 OR state IN ({_OPEN})", name="reservation_holds_nothing_once_ended"
        ),
        CheckConstraint(
            "refunded_micro BETWEEN 0 AND COALESCE(committed_micro, 0)",
            name="reservation_refunds_what_was_committed",
        ),
        CheckConstraint(
            "state <> 'committed' OR committed_micro IS NOT NULL",
            name="reservation_has_an_amount_once_committed",
        ),
        Index(
            "reservation_by_task",
            "provider",
            "task_id",
            unique=True,
            sqlite_where=text("task_id IS NOT NULL"),
            postgresql_where=text("task_id IS NOT NULL"),
        ),
        Index("reservation_by_time", "created_at"),
        # Open reservations are few among many: an index of their own keeps finding them cheap.
        Index(
            "reservation_open",
            "created_at",
            sqlite_where=text(f"state IN ({_OPEN})"),
            postgresql_where=text(f"state IN ({_OPEN})"),
        ),
        Index(
            "reservation_expiring",
            "expires_at",
            sqlite_where=text("state = 'reserved' AND expires_at IS NOT NULL"),
            postgresql_where=text("state = 'reserved' AND expires_at IS NOT NULL"),
        ),
    )

    id: str = _text(primary_key=True)
    wallet_id: str = _text(foreign_key="wallet.id")
    state: str = _text()
    step: int = _integer()
    unit: str = _text()
    reserved_micro: int = _integer()
    held_micro: int = _integer()
    committed_micro: int | None = _integer_or_none()
    refunded_micro: int = _integer()
    usd_micro: int | None = _integer_or_none()
    usd_held_micro: int | None = _integer_or_none()
    usd_spent_micro: int | None = _integer_or_none()
    settled_by: str | None = _text_or_none()
    project: str | None = _text_or_none()
    labels: str | None = _text_or_none()
    provider: str | None = _text_or_none()
    model: str | None = _text_or_none()
    action: str | None = _text_or_none()
    seconds: str | None = _text_or_none()
    billed_seconds: int | None = _integer_or_none()
    resolution: str | None = _text_or_none()
    sound: bool | None = None
    quote: str | None = _text_or_none()
    request: str | None = _text_or_none()
    payload_hash: str | None = _text_or_none()
    address: str | None = _text_or_none()
    task_id: str | None = _text_or_none()
    videos: str | None = _text_or_none()
    videos_expire_at: int | None = _integer_or_none()
    problem: str | None = _text_or_none()
    actor: str = _text()
    expires_at: int | None = _integer_or_none()
    created_at: int = _integer()
    updated_at: int = _integer()


class TransferRow(SQLModel, table=True):
    """One immutable movement of one amount from a debit account to a credit account.

    `period` is the month that it counts in; `corrects` is the closed month that it corrects.
    """

    __tablename__: ClassVar[str] = "transfer"
    __table_args__ = (
        CheckConstraint(f"amount_micro BETWEEN 1 AND {MAX_MICRO}", name="transfer_moves_something"),
        CheckConstraint("debit_account <> credit_account", name="transfer_has_two_sides"),
        Index(
            "transfer_by_reservation",
            "reservation_id",
            sqlite_where=text("reservation_id IS NOT NULL"),
            postgresql_where=text("reservation_id IS NOT NULL"),
        ),
        _BY_KEY,
    )

    id: str = _text(primary_key=True)
    kind: str = _text()
    debit_account: str = _text()
    credit_account: str = _text()
    amount_micro: int = _integer()
    unit: str = _text()
    wallet_id: str = _text(foreign_key="wallet.id")
    reservation_id: str | None = _text_or_none(foreign_key="reservation.id")
    period: str = _text()
    corrects: str | None = _text_or_none()
    actor: str = _text()
    reason: str | None = _text_or_none()
    created_at: int = _integer()


class JobEventRow(SQLModel, table=True):
    """One change of a reservation: when, from what state, to what state, who and why."""

    __tablename__: ClassVar[str] = "job_event"
    __table_args__ = (_BY_KEY,)

    reservation_id: str = _text(primary_key=True, foreign_key="reservation.id")
    step: int = _integer(primary_key=True)
    from_state: str | None = _text_or_none()
    to_state: str = _text()
    actor: str = _text()
    reason: str | None = _text_or_none()
    created_at: int = _integer()


class IdempotencyRow(SQLModel, table=True):
    """What a caller's key stands for: the content it came with, and what came of it."""

    __tablename__: ClassVar[str] = "idempotency"
    __table_args__ = (_BY_KEY,)

    key: str = _text(primary_key=True)
    content: str = _text()
    result_id: str = _text()
    created_at: int = _integer()


class BudgetRow(SQLModel, table=True):
    """A limit over a scope, in a window that repeats. Its scope and window never change."""

    __tablename__: ClassVar[str] = "budget"
    __table_args__ = (
        CheckConstraint("limit_micro >= 0", name="budget_limit_is_not_negative"),
        CheckConstraint("mode IN ('hard', 'warn')", name="budget_mode_is_known"),
        Index(
            "budget_by_name",
            "name",
            unique=True,
            sqlite_where=text("removed_at IS NULL"),
            postgresql_where=text("removed_at IS NULL"),
        ),
    )

    id: str = _text(primary_key=True)
    name: str = _text()
    unit: str = _text()
    limit_micro: int = _integer()
    ceiling_micro: int | None = _integer_or_none()
    mode: str = _text()
    thresholds: str = _text()
    wallet_id: str | None = _text_or_none(foreign_key="wallet.id")
    project: str | None = _text_or_none()
    provider: str | None = _text_or_none()
    model: str | None = _text_or_none()
    label: str | None = _text_or_none()
    repeats: str = _text()
    timezone: str = _text()
    created_at: int = _integer()
    removed_at: int | None = _integer_or_none()


class BudgetEventRow(SQLModel, table=True):
    """One change of a budget: what it said from then on, who and why."""

    __tablename__: ClassVar[str] = "budget_event"
    __table_args__ = (_BY_KEY,)

    budget_id: str = _text(primary_key=True, foreign_key="budget.id")
    step: int = _integer(primary_key=True)
    change: str = _text()
    actor: str = _text()
    reason: str | None = _text_or_none()
    created_at: int = _integer()


class BudgetRaiseRow(SQLModel, table=True):
    """A temporary raise of a budget's limit: by how much, until when, and why."""

    __tablename__: ClassVar[str] = "budget_raise"
    __table_args__ = (
        CheckConstraint("amount_micro > 0", name="budget_raise_is_of_something"),
        _BY_KEY,
    )

    id: str = _text(primary_key=True)
    budget_id: str = _text(foreign_key="budget.id")
    amount_micro: int = _integer()
    until_at: int = _integer()
    actor: str = _text()
    reason: str = _text()
    created_at: int = _integer()


class BudgetWindowRow(SQLModel, table=True):
    """What one window of a budget has admitted: still held, and spent. Each is a row of its own."""

    __tablename__: ClassVar[str] = "budget_window"
    __table_args__ = (
        CheckConstraint("held_micro >= 0", name="budget_window_held_is_not_negative"),
        _BY_KEY,
    )

    budget_id: str = _text(primary_key=True, foreign_key="budget.id")
    starts_at: int = _integer(primary_key=True)
    ends_at: int = _integer()
    held_micro: int = _integer()
    spent_micro: int = _integer()


class PeriodRow(SQLModel, table=True):
    """A month that was closed: softly, or hard with the seal over its transfers."""

    __tablename__: ClassVar[str] = "period"
    __table_args__ = (
        CheckConstraint("state IN ('open', 'soft', 'hard')", name="period_state_is_known"),
        CheckConstraint(
            "(state = 'hard') = (seal IS NOT NULL)", name="period_is_sealed_when_closed_hard"
        ),
        _BY_KEY,
    )

    name: str = _text(primary_key=True)
    state: str = _text()
    transfers: int | None = _integer_or_none()
    previous_seal: str | None = _text_or_none()
    seal: str | None = _text_or_none()
    actor: str = _text()
    reason: str | None = _text_or_none()
    closed_at: int = _integer()


class AccrualRow(SQLModel, table=True):
    """What a reservation still held when a period ended: carried into the next one."""

    __tablename__: ClassVar[str] = "accrual"
    __table_args__ = (_BY_KEY,)

    period: str = _text(primary_key=True)
    reservation_id: str = _text(primary_key=True, foreign_key="reservation.id")
    amount_micro: int = _integer()
    unit: str = _text()


class SealedTransferRow(SQLModel, table=True):
    """The digest of one transfer under a seal: it names the row if the seal breaks."""

    __tablename__: ClassVar[str] = "sealed_transfer"
    __table_args__ = (_BY_KEY,)

    transfer_id: str = _text(primary_key=True)
    period: str = _text()
    digest: str = _text()


class ProviderRecordRow(SQLModel, table=True):
    """What a provider's own record says of one task, as it was last compared with ours.

    `verdict` says how the two agreed then; an amount is NULL where the provider names none.
    """

    __tablename__: ClassVar[str] = "provider_record"
    __table_args__ = (_BY_KEY,)

    provider: str = _text(primary_key=True)
    task_id: str = _text(primary_key=True)
    reservation_id: str | None = _text_or_none(foreign_key="reservation.id")
    verdict: str = _text()
    state: str | None = _text_or_none()
    billed_micro: int | None = _integer_or_none()
    unit: str | None = _text_or_none()
    source: str = _text()
    actor: str = _text()
    checked_at: int = _integer()


class ProviderBalanceRow(SQLModel, table=True):
    """What an account at a provider held when it was asked: two of them say what went between."""

    __tablename__: ClassVar[str] = "provider_balance"
    __table_args__ = (_BY_KEY,)

    provider: str = _text(primary_key=True)
    address: str = _text(primary_key=True)
    checked_at: int = _integer(primary_key=True)
    available_micro: int = _integer()
    unit: str = _text()
    actor: str = _text()


class RulesRow(SQLModel, table=True):
    """The one row that counts the changes of budgets and periods: who has read them knows when
    to read them again."""

    __tablename__: ClassVar[str] = "rules"

    id: int = Field(primary_key=True)
    version: int = _integer()


_APPEND_ONLY: Final = (
    "transfer",
    "job_event",
    "budget_event",
    "budget_raise",
    "sealed_transfer",
    "provider_balance",
)
_KEPT: Final = ("wallet", "reservation", "idempotency", "budget", "budget_window")

_FORBIDDEN: Final = (
    *((table, verb, "") for table in _APPEND_ONLY for verb in ("UPDATE", "DELETE")),
    *((table, "DELETE", "") for table in _KEPT),
    *(("period", verb, "WHEN (OLD.state = 'hard')") for verb in ("UPDATE", "DELETE")),
)
"""What the database itself refuses, whoever asks: (table, verb, condition)."""


def guards(dialect: str) -> tuple[str, ...]:
    """Return the statements that make the database refuse changes of what is history.

    On PostgreSQL also the function by which a statement refuses its own transaction.
    """
    if dialect == "sqlite":
        return tuple(
            f"CREATE TRIGGER {table}_never_{verb.lower()} BEFORE {verb} ON {table} {condition} "
            f"BEGIN SELECT RAISE(ABORT, '{_refusal(table, verb)}'); END"
            for table, verb, condition in _FORBIDDEN
        )
    return (
        _REFUSE_FUNCTION,
        *(
            f"CREATE TRIGGER {table}_never_{verb.lower()} BEFORE {verb} ON {table} FOR EACH ROW "
            f"{condition} EXECUTE FUNCTION kling_ledger_refuse('{_refusal(table, verb)}')"
            for table, verb, condition in _FORBIDDEN
        ),
        *(
            f"CREATE TRIGGER {table}_never_truncate BEFORE TRUNCATE ON {table} FOR EACH STATEMENT "
            f"EXECUTE FUNCTION kling_ledger_refuse('{_refusal(table, 'TRUNCATE')}')"
            for table in (*_APPEND_ONLY, *_KEPT, "period")
        ),
        _EXPECT_FUNCTION,
    )


def _refusal(table: str, verb: str) -> str:
    if table in _KEPT:
        return f"a {table} is never deleted"
    if table == "period":
        return "a period that is closed hard stays as it is"
    return f"{table} is append-only: no {verb}, post a correction instead"


_REFUSE_FUNCTION: Final = """
CREATE FUNCTION kling_ledger_refuse() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN RAISE EXCEPTION USING MESSAGE = TG_ARGV[0], ERRCODE = 'restrict_violation'; END $$
"""
_EXPECT_FUNCTION: Final = f"""
CREATE FUNCTION kling_ledger_expect(changed bigint, expected bigint) RETURNS boolean
LANGUAGE plpgsql AS $$
BEGIN
    IF changed <> expected THEN
        RAISE EXCEPTION USING ERRCODE = '{EXPECTATION_FAILED}',
            MESSAGE = 'changed ' || changed || ' rows, expected ' || expected;
    END IF;
    RETURN true;
END $$
"""
