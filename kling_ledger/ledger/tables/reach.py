"""The tables of reach: who may spend through the gateway, and what a person has to approve."""

from __future__ import annotations

from typing import ClassVar

from sqlalchemy import CheckConstraint, Index
from sqlalchemy import text as sql
from sqlmodel import SQLModel

from kling_ledger.ledger.tables.columns import BY_KEY, integer, integer_or_none, text, text_or_none


class TokenRow(SQLModel, table=True):
    """A token: who spends from which wallet, within which limits. `digest` is its SHA-256.

    `labels` are written as reservations have them; `models` are names between spaces, NULL for all.
    Amounts are in the wallet's unit. Above `approve_above_micro` a person is asked.
    """

    __tablename__: ClassVar[str] = "token"
    __table_args__ = (
        Index(
            "token_by_name",
            "name",
            unique=True,
            sqlite_where=sql("revoked_at IS NULL"),
            postgresql_where=sql("revoked_at IS NULL"),
        ),
        BY_KEY,
    )

    id: str = text(primary_key=True)
    name: str = text()
    digest: str = text(unique=True)
    wallet_id: str = text(foreign_key="wallet.id")
    project: str | None = text_or_none()
    labels: str | None = text_or_none()
    models: str | None = text_or_none()
    ceiling_micro: int | None = integer_or_none()
    run_limit_micro: int | None = integer_or_none()
    approve_above_micro: int | None = integer_or_none()
    actor: str = text()
    created_at: int = integer()
    expires_at: int | None = integer_or_none()
    revoked_at: int | None = integer_or_none()
    revoked_by: str | None = text_or_none()


class ApprovalRow(SQLModel, table=True):
    """What a person was asked: to approve one job, known by its payload, up to `ceiling_micro`.

    `verdict` is NULL until somebody decides. Once granted, it is good for one reservation: the one
    made under its key. `said` is the job in words, without its prompt.
    """

    __tablename__: ClassVar[str] = "approval"
    __table_args__ = (
        CheckConstraint("verdict IN ('granted', 'denied')", name="approval_verdict_is_known"),
        CheckConstraint(
            "(verdict IS NULL) = (decided_by IS NULL) AND (verdict IS NULL) = (decided_at IS NULL)",
            name="approval_is_decided_by_somebody",
        ),
        BY_KEY,
    )

    id: str = text(primary_key=True)
    wallet_id: str = text(foreign_key="wallet.id")
    payload_hash: str = text()
    provider: str = text()
    model: str | None = text_or_none()
    action: str | None = text_or_none()
    project: str | None = text_or_none()
    said: str = text()
    asked_micro: int = integer()
    ceiling_micro: int = integer()
    asked_by: str = text()
    asked_at: int = integer()
    expires_at: int = integer()
    verdict: str | None = text_or_none()
    decided_by: str | None = text_or_none()
    decided_at: int | None = integer_or_none()
    reason: str | None = text_or_none()


class CallbackRelayRow(SQLModel, table=True):
    """The client's own callback address, for a job whose provider calls the gateway instead."""

    __tablename__: ClassVar[str] = "callback_relay"
    __table_args__ = (BY_KEY,)

    reservation_id: str = text(primary_key=True, foreign_key="reservation.id")
    url: str = text()
    created_at: int = integer()
