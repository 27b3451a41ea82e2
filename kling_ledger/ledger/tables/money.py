"""The tables of money: wallets, reservations, the journal, and the keys of callers."""

from __future__ import annotations

from typing import ClassVar, Final

from sqlalchemy import CheckConstraint, Index
from sqlalchemy import text as sql
from sqlmodel import SQLModel

from kling_ledger.ledger.states import OPEN_STATES, RESTING_STATES, State
from kling_ledger.ledger.tables.columns import BY_KEY, integer, integer_or_none, text, text_or_none
from kling_pricing.money import MAX_MICRO

_STATES: Final = ", ".join(f"'{state}'" for state in State)
_OPEN: Final = ", ".join(f"'{state}'" for state in OPEN_STATES)
_RESTING: Final = ", ".join(f"'{state}'" for state in RESTING_STATES)


def _listed_by(column: str, *, among: str) -> Index:
    """Return an index that finds the latest reservations of one kind, among those few.

    `created_at` orders them as a list does; rows outside the condition cost nothing.
    """
    name = f"reservation_by_{column}"
    return Index(name, column, "created_at", sqlite_where=sql(among), postgresql_where=sql(among))


class WalletRow(SQLModel, table=True):
    """An owner's account in one unit. `posted - reserved` is what may still be reserved.

    `shared_micro` is what its slots were given: it counts as reserved here. NULL without slots.
    `costing` is how purchases are used up: NULL is first in, first out.
    """

    __tablename__: ClassVar[str] = "wallet"
    __table_args__ = (
        CheckConstraint("reserved_micro >= 0", name="wallet_reserved_is_not_negative"),
        CheckConstraint(
            f"posted_micro BETWEEN -{MAX_MICRO} AND {MAX_MICRO}", name="wallet_posted_is_exact"
        ),
    )

    id: str = text(primary_key=True)
    name: str = text(unique=True)
    unit: str = text()
    funded_micro: int = integer()
    adjusted_micro: int = integer()
    posted_micro: int = integer()
    reserved_micro: int = integer()
    actor: str = text()
    created_at: int = integer()
    shared_micro: int | None = integer_or_none(
        CheckConstraint(
            "shared_micro IS NULL OR posted_micro >= reserved_micro", name="wallet_covers_its_slots"
        )
    )
    costing: str | None = text_or_none()


class ReservationRow(SQLModel, table=True):
    """Credits set aside for one job, what the job is, and how it ended.

    `held_micro` is what is still set aside. The columns in USD are the same amounts at the rate of
    the quote, NULL without a rate. `step` counts the reservation's events. `provider_held_micro` is
    what the provider says that it set aside itself. `quoted_micro` and `low_micro` are the highest
    and lowest cost by the price book, and `estimated_micro` is the provider's estimate before the
    job: NULL if unknown.
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
            # Two accounts, or a sandbox and the provider itself, may use the same task ids.
            sql("COALESCE(address, '')"),
            sql("COALESCE(account, '')"),
            unique=True,
            sqlite_where=sql("task_id IS NOT NULL"),
            postgresql_where=sql("task_id IS NOT NULL"),
        ),
        Index("reservation_by_time", "created_at"),
        # Few reservations are open: an index of their own keeps finding them cheap.
        Index(
            "reservation_open",
            "created_at",
            sqlite_where=sql(f"state IN ({_OPEN})"),
            postgresql_where=sql(f"state IN ({_OPEN})"),
        ),
        Index(
            "reservation_expiring",
            "expires_at",
            sqlite_where=sql("state = 'reserved' AND expires_at IS NOT NULL"),
            postgresql_where=sql("state = 'reserved' AND expires_at IS NOT NULL"),
        ),
        # An index for resting states: a running job does not touch it until it ends.
        _listed_by("state", among=f"state IN ({_RESTING})"),
        Index("reservation_by_wallet", "wallet_id", "created_at"),
        *(
            _listed_by(column, among=f"{column} IS NOT NULL")
            for column in ("project", "provider", "account", "model")
        ),
    )

    id: str = text(primary_key=True)
    wallet_id: str = text(foreign_key="wallet.id")
    state: str = text()
    step: int = integer()
    unit: str = text()
    reserved_micro: int = integer()
    held_micro: int = integer()
    committed_micro: int | None = integer_or_none()
    refunded_micro: int = integer()
    usd_micro: int | None = integer_or_none()
    usd_held_micro: int | None = integer_or_none()
    usd_spent_micro: int | None = integer_or_none()
    settled_by: str | None = text_or_none()
    project: str | None = text_or_none()
    labels: str | None = text_or_none()
    provider: str | None = text_or_none()
    model: str | None = text_or_none()
    action: str | None = text_or_none()
    seconds: str | None = text_or_none()
    billed_seconds: int | None = integer_or_none()
    resolution: str | None = text_or_none()
    sound: bool | None = None
    quote: str | None = text_or_none()
    request: str | None = text_or_none()
    payload_hash: str | None = text_or_none()
    address: str | None = text_or_none()
    task_id: str | None = text_or_none()
    videos: str | None = text_or_none()
    videos_expire_at: int | None = integer_or_none()
    problem: str | None = text_or_none()
    actor: str = text()
    expires_at: int | None = integer_or_none()
    created_at: int = integer()
    updated_at: int = integer()
    account: str | None = text_or_none()
    provider_held_micro: int | None = integer_or_none()
    quoted_micro: int | None = integer_or_none()
    low_micro: int | None = integer_or_none()
    estimated_micro: int | None = integer_or_none()


class ReservationLabelRow(SQLModel, table=True):
    """One label of one reservation, as `name=value`; a trigger writes it with the reservation."""

    __tablename__: ClassVar[str] = "reservation_label"
    __table_args__ = (BY_KEY,)

    label: str = text(primary_key=True)
    created_at: int = integer(primary_key=True)
    reservation_id: str = text(primary_key=True)


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
            sqlite_where=sql("reservation_id IS NOT NULL"),
            postgresql_where=sql("reservation_id IS NOT NULL"),
        ),
        BY_KEY,
    )

    id: str = text(primary_key=True)
    kind: str = text()
    debit_account: str = text()
    credit_account: str = text()
    amount_micro: int = integer()
    unit: str = text()
    wallet_id: str = text(foreign_key="wallet.id")
    reservation_id: str | None = text_or_none(foreign_key="reservation.id")
    period: str = text()
    corrects: str | None = text_or_none()
    actor: str = text()
    reason: str | None = text_or_none()
    created_at: int = integer()


class PurchaseLotRow(SQLModel, table=True):
    """What was paid for the credits of one funding; a funding without a row is an allowance.

    `cash_micro` is the price without tax, in millionths of `currency`; days are ISO dates.
    """

    __tablename__: ClassVar[str] = "purchase_lot"
    __table_args__ = (
        CheckConstraint("cash_micro >= 0", name="purchase_lot_costs_no_less_than_nothing"),
        CheckConstraint("tax_micro >= 0", name="purchase_lot_tax_is_no_less_than_nothing"),
        BY_KEY,
    )

    transfer_id: str = text(primary_key=True, foreign_key="transfer.id")
    seller: str = text()
    cash_micro: int = integer()
    currency: str = text()
    tax_micro: int | None = integer_or_none()
    invoice: str | None = text_or_none()
    bought_on: str = text()
    expires_on: str | None = text_or_none()
    actor: str = text()
    created_at: int = integer()
    period: str = text()


class JobEventRow(SQLModel, table=True):
    """One change of a reservation: when, from what state, to what state, who and why.

    `task_id`, `settled_by` and `usd_micro` are the reservation's after it, `period` is the month
    that it counts in: all four are NULL in what was written before they were kept.
    """

    __tablename__: ClassVar[str] = "job_event"
    __table_args__ = (BY_KEY,)

    reservation_id: str = text(primary_key=True, foreign_key="reservation.id")
    step: int = integer(primary_key=True)
    from_state: str | None = text_or_none()
    to_state: str = text()
    actor: str = text()
    reason: str | None = text_or_none()
    created_at: int = integer()
    period: str | None = text_or_none()
    task_id: str | None = text_or_none()
    settled_by: str | None = text_or_none()
    usd_micro: int | None = integer_or_none()


class IdempotencyRow(SQLModel, table=True):
    """What a caller's key stands for: the content it came with, and the result.

    `period` is the month that a payment or a raise under it counts in; a job's key has none.
    """

    __tablename__: ClassVar[str] = "idempotency"
    __table_args__ = (BY_KEY,)

    key: str = text(primary_key=True)
    content: str = text()
    result_id: str = text()
    created_at: int = integer()
    period: str | None = text_or_none()
