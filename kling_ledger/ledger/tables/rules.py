"""The tables of rules: budgets and what they count, months and how they were closed."""

from __future__ import annotations

from typing import ClassVar

from sqlalchemy import CheckConstraint, Index
from sqlalchemy import text as sql
from sqlmodel import Field, SQLModel

from kling_ledger.ledger.tables.columns import BY_KEY, integer, integer_or_none, text, text_or_none


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
            sqlite_where=sql("removed_at IS NULL"),
            postgresql_where=sql("removed_at IS NULL"),
        ),
    )

    id: str = text(primary_key=True)
    name: str = text()
    unit: str = text()
    limit_micro: int = integer()
    ceiling_micro: int | None = integer_or_none()
    mode: str = text()
    thresholds: str = text()
    wallet_id: str | None = text_or_none(foreign_key="wallet.id")
    project: str | None = text_or_none()
    provider: str | None = text_or_none()
    model: str | None = text_or_none()
    label: str | None = text_or_none()
    repeats: str = text()
    timezone: str = text()
    created_at: int = integer()
    removed_at: int | None = integer_or_none()


class BudgetEventRow(SQLModel, table=True):
    """One change of a budget: its new settings, who and why; `period` is its month."""

    __tablename__: ClassVar[str] = "budget_event"
    __table_args__ = (BY_KEY,)

    budget_id: str = text(primary_key=True, foreign_key="budget.id")
    step: int = integer(primary_key=True)
    change: str = text()
    actor: str = text()
    reason: str | None = text_or_none()
    created_at: int = integer()
    period: str | None = text_or_none()


class BudgetRaiseRow(SQLModel, table=True):
    """A temporary raise of a budget's limit: by how much, until when, and why."""

    __tablename__: ClassVar[str] = "budget_raise"
    __table_args__ = (
        CheckConstraint("amount_micro > 0", name="budget_raise_is_of_something"),
        BY_KEY,
    )

    id: str = text(primary_key=True)
    budget_id: str = text(foreign_key="budget.id")
    amount_micro: int = integer()
    until_at: int = integer()
    actor: str = text()
    reason: str = text()
    created_at: int = integer()


class BudgetWindowRow(SQLModel, table=True):
    """What one window of a budget has admitted: still held, and spent.

    `shared_to_micro` is how far its slots may bring its use: what they were given counts as held
    here. NULL without slots.
    """

    __tablename__: ClassVar[str] = "budget_window"
    __table_args__ = (
        CheckConstraint("held_micro >= 0", name="budget_window_held_is_not_negative"),
        BY_KEY,
    )

    budget_id: str = text(primary_key=True, foreign_key="budget.id")
    starts_at: int = integer(primary_key=True)
    ends_at: int = integer()
    held_micro: int = integer()
    spent_micro: int = integer()
    shared_to_micro: int | None = integer_or_none(
        CheckConstraint(
            "shared_to_micro IS NULL OR held_micro + spent_micro <= shared_to_micro",
            name="budget_window_covers_its_slots",
        )
    )


class SlotRow(SQLModel, table=True):
    """A share of a wallet, or of a budget's window: what it may admit, and what it has moved.

    `starts_at` is 0 for a wallet. `among` is the current number of its owner's slots. It is valid
    only at the `version` of the rules under which it was given, and from `since_at` on.
    """

    __tablename__: ClassVar[str] = "slot"
    __table_args__ = (
        CheckConstraint("share_micro BETWEEN 0 AND most_micro", name="slot_is_within_its_bounds"),
        CheckConstraint(
            "share_micro + held_micro + spent_micro = given_micro",
            name="slot_moves_what_it_was_given",
        ),
        BY_KEY,
    )

    owner_id: str = text(primary_key=True)
    starts_at: int = integer(primary_key=True)
    number: int = integer(primary_key=True)
    among: int = integer()
    given_micro: int = integer()
    share_micro: int = integer()
    most_micro: int = integer()
    held_micro: int = integer()
    spent_micro: int = integer()
    version: int = integer()
    since_at: int = integer()


class PeriodRow(SQLModel, table=True):
    """A month that was closed: softly, or hard under a seal.

    `format` says what the seal covers, NULL for transfers alone; `version` counts the changes in
    the month since it was first closed. `prepared_by` closed it softly, at `prepared_at`; `actor`
    made the latest change.
    """

    __tablename__: ClassVar[str] = "period"
    __table_args__ = (
        CheckConstraint("state IN ('open', 'soft', 'hard')", name="period_state_is_known"),
        CheckConstraint(
            "(state = 'hard') = (seal IS NOT NULL)", name="period_is_sealed_when_closed_hard"
        ),
        BY_KEY,
    )

    name: str = text(primary_key=True)
    state: str = text()
    transfers: int | None = integer_or_none()
    previous_seal: str | None = text_or_none()
    seal: str | None = text_or_none()
    actor: str = text()
    reason: str | None = text_or_none()
    closed_at: int = integer()
    format: int | None = integer_or_none()
    version: int | None = integer_or_none()
    prepared_by: str | None = text_or_none()
    prepared_at: int | None = integer_or_none()


class AccrualRow(SQLModel, table=True):
    """What a reservation still held when a period ended: carried into the next one."""

    __tablename__: ClassVar[str] = "accrual"
    __table_args__ = (BY_KEY,)

    period: str = text(primary_key=True)
    reservation_id: str = text(primary_key=True, foreign_key="reservation.id")
    amount_micro: int = integer()
    unit: str = text()


class SealedTransferRow(SQLModel, table=True):
    """The digest of one transfer under a seal: it names the row if the seal breaks."""

    __tablename__: ClassVar[str] = "sealed_transfer"
    __table_args__ = (BY_KEY,)

    transfer_id: str = text(primary_key=True)
    period: str = text()
    digest: str = text()


class SealedPartRow(SQLModel, table=True):
    """Some hundred rows under a seal: the key and a short digest of each, to name what changed.

    They prove nothing: the seal itself does. `section` is a part of what a seal covers.
    """

    __tablename__: ClassVar[str] = "sealed_part"
    __table_args__ = (BY_KEY,)

    period: str = text(primary_key=True)
    section: str = text(primary_key=True)
    number: int = integer(primary_key=True)
    digests: str = text()


class RulesRow(SQLModel, table=True):
    """The one row that counts the changes of budgets and periods.

    A process that has read them rereads them when the count changes.
    """

    __tablename__: ClassVar[str] = "rules"

    id: int = Field(primary_key=True)
    version: int = integer()
