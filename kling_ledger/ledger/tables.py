"""The tables of the ledger, with the laws that the database itself enforces.

Amounts are integers of millionths of the wallet's unit; instants are integers of microseconds
since 1970 in UTC. Both are exact on every engine and in every reader.
"""

from __future__ import annotations

from enum import StrEnum
from typing import ClassVar, Final

from sqlalchemy import BigInteger, CheckConstraint, Index
from sqlmodel import Field, SQLModel

from kling_pricing.money import MAX_MICRO

SCHEMA_VERSION: Final = 1


class State(StrEnum):
    """Where a reservation stands in its life."""

    RESERVED = "reserved"
    """Credits are set aside; nothing was sent."""
    SUBMITTING = "submitting"
    """The request is about to be sent, or was sent and no reply is recorded."""
    SUBMITTED = "submitted"
    """The provider took the job and named its task."""
    IN_DOUBT = "in_doubt"
    """Nobody knows yet whether the provider took or charged the job; the credits stay reserved."""
    COMMITTED = "committed"
    """The job was charged; what it did not cost went back."""
    ROLLED_BACK = "rolled_back"
    """All credits went back."""
    EXPIRED = "expired"
    """The clock ended a reservation of which nothing was ever sent; all credits went back."""


OPEN_STATES: Final = (State.RESERVED, State.SUBMITTING, State.SUBMITTED, State.IN_DOUBT)
"""The states in which credits are set aside."""

_STATES: Final = ", ".join(f"'{state}'" for state in State)
_OPEN: Final = ", ".join(f"'{state}'" for state in OPEN_STATES)


class WalletRow(SQLModel, table=True):
    """An owner's account in one unit. `posted - reserved` is what may still be reserved."""

    __tablename__: ClassVar[str] = "wallet"
    __table_args__ = (
        CheckConstraint("reserved_micro >= 0", name="wallet_reserved_is_not_negative"),
        CheckConstraint(
            f"posted_micro BETWEEN -{MAX_MICRO} AND {MAX_MICRO}", name="wallet_posted_is_exact"
        ),
    )

    id: str = Field(primary_key=True)
    name: str = Field(unique=True)
    unit: str
    funded_micro: int = Field(sa_type=BigInteger)
    posted_micro: int = Field(sa_type=BigInteger)
    reserved_micro: int = Field(sa_type=BigInteger)
    created_at: int = Field(sa_type=BigInteger)


class ReservationRow(SQLModel, table=True):
    """Credits set aside for one job, what the job is, and how it ended."""

    __tablename__: ClassVar[str] = "reservation"
    __table_args__ = (
        CheckConstraint(f"state IN ({_STATES})", name="reservation_state_is_known"),
        CheckConstraint("reserved_micro > 0", name="reservation_is_of_something"),
        CheckConstraint("committed_micro >= 0", name="reservation_commits_no_less_than_nothing"),
        CheckConstraint(
            "(state = 'committed') = (committed_micro IS NOT NULL)",
            name="reservation_has_an_amount_once_committed",
        ),
        Index("reservation_by_task", "provider", "task_id", unique=True),
        Index("reservation_by_time", "created_at"),
    )

    id: str = Field(primary_key=True)
    wallet_id: str = Field(foreign_key="wallet.id")
    state: str
    unit: str
    reserved_micro: int = Field(sa_type=BigInteger)
    committed_micro: int | None = Field(default=None, sa_type=BigInteger)
    settled_by: str | None = None
    project: str | None = None
    provider: str | None = None
    model: str | None = None
    action: str | None = None
    seconds: str | None = None
    billed_seconds: int | None = None
    resolution: str | None = None
    sound: bool | None = None
    usd_micro: int | None = Field(default=None, sa_type=BigInteger)
    quote: str | None = None
    request: str | None = None
    payload_hash: str | None = None
    address: str | None = None
    task_id: str | None = None
    videos: str | None = None
    problem: str | None = None
    created_at: int = Field(sa_type=BigInteger)
    updated_at: int = Field(sa_type=BigInteger)


class TransferRow(SQLModel, table=True):
    """One immutable movement of one amount from a debit account to a credit account."""

    __tablename__: ClassVar[str] = "transfer"
    __table_args__ = (
        CheckConstraint(f"amount_micro BETWEEN 1 AND {MAX_MICRO}", name="transfer_moves_something"),
        CheckConstraint("debit_account <> credit_account", name="transfer_has_two_sides"),
    )

    id: str = Field(primary_key=True)
    kind: str
    debit_account: str
    credit_account: str
    amount_micro: int = Field(sa_type=BigInteger)
    unit: str
    wallet_id: str = Field(foreign_key="wallet.id", index=True)
    reservation_id: str | None = Field(default=None, foreign_key="reservation.id", index=True)
    actor: str
    reason: str | None = None
    created_at: int = Field(sa_type=BigInteger)


class JobEventRow(SQLModel, table=True):
    """One change of a reservation's state: when, from what, to what, who and why."""

    __tablename__: ClassVar[str] = "job_event"

    reservation_id: str = Field(foreign_key="reservation.id", primary_key=True)
    step: int = Field(primary_key=True)
    from_state: str | None = None
    to_state: str
    actor: str
    reason: str | None = None
    created_at: int = Field(sa_type=BigInteger)


class IdempotencyRow(SQLModel, table=True):
    """A caller's own key, what was asked under it, and what came of it."""

    __tablename__: ClassVar[str] = "idempotency"

    key: str = Field(primary_key=True)
    content: str
    result_id: str
    created_at: int = Field(sa_type=BigInteger)


class SchemaRow(SQLModel, table=True):
    """The one row that says which version of these tables the database has."""

    __tablename__: ClassVar[str] = "ledger_schema"

    version: int = Field(primary_key=True)


OPEN_INDEX: Final = (
    f"CREATE INDEX reservation_open ON reservation (created_at) WHERE state IN ({_OPEN})"
)
"""Open reservations are few among many: an index of their own keeps finding them cheap."""

APPEND_ONLY: Final = tuple(
    f"CREATE TRIGGER {table}_is_never_{verb.lower()}d BEFORE {verb} ON {table} "
    f"BEGIN SELECT RAISE(ABORT, '{table} is append-only: post a correction instead'); END"
    for table in ("transfer", "job_event")
    for verb in ("UPDATE", "DELETE")
)
"""History is refused its changes by the database itself, whoever asks."""
