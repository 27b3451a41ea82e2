"""The tables of evidence: what providers' own records said of tasks and accounts."""

from __future__ import annotations

from typing import ClassVar

from sqlmodel import SQLModel

from kling_ledger.ledger.tables.columns import BY_KEY, integer, integer_or_none, text, text_or_none


class ProviderRecordRow(SQLModel, table=True):
    """What a provider's own record says of one task, as it was last compared with ours.

    `verdict` says how the two agreed then; an amount is NULL where the provider names none.
    """

    __tablename__: ClassVar[str] = "provider_record"
    __table_args__ = (BY_KEY,)

    provider: str = text(primary_key=True)
    task_id: str = text(primary_key=True)
    reservation_id: str | None = text_or_none(foreign_key="reservation.id")
    verdict: str = text()
    state: str | None = text_or_none()
    billed_micro: int | None = integer_or_none()
    unit: str | None = text_or_none()
    source: str = text()
    actor: str = text()
    checked_at: int = integer()


class ProviderBalanceRow(SQLModel, table=True):
    """What an account at a provider held when it was asked: two of them say what went between."""

    __tablename__: ClassVar[str] = "provider_balance"
    __table_args__ = (BY_KEY,)

    provider: str = text(primary_key=True)
    address: str = text(primary_key=True)
    checked_at: int = integer(primary_key=True)
    available_micro: int = integer()
    unit: str = text()
    actor: str = text()
