"""The tables of evidence: what providers' own records say about tasks and accounts."""

from __future__ import annotations

from typing import ClassVar

from sqlmodel import SQLModel

from kling_ledger.ledger.tables.columns import BY_KEY, integer, integer_or_none, text, text_or_none


class ProviderRecordRow(SQLModel, table=True):
    """What a provider's own record says about one task, as it was last compared with ours.

    `verdict` says how the two agreed then; an amount is NULL if the provider names none. An empty
    `account` dates from before accounts were known.
    """

    __tablename__: ClassVar[str] = "provider_record"
    __table_args__ = (BY_KEY,)

    provider: str = text(primary_key=True)
    account: str = text(primary_key=True)
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
    """What an account at a provider held when it was asked: two show what was spent between."""

    __tablename__: ClassVar[str] = "provider_balance"
    __table_args__ = (BY_KEY,)

    provider: str = text(primary_key=True)
    address: str = text(primary_key=True)
    account: str = text(primary_key=True)
    checked_at: int = integer(primary_key=True)
    available_micro: int = integer()
    unit: str = text()
    actor: str = text()


class AccountKeyRow(SQLModel, table=True):
    """One API key of an account: its keyed fingerprint, never the key."""

    __tablename__: ClassVar[str] = "account_key"
    __table_args__ = (BY_KEY,)

    provider: str = text(primary_key=True)
    fingerprint: str = text(primary_key=True)
    account: str = text()
    actor: str = text()
    created_at: int = integer()


class SettingRow(SQLModel, table=True):
    """What the ledger stores about itself: `account_secret` keys the fingerprints of API keys."""

    __tablename__: ClassVar[str] = "setting"
    __table_args__ = (BY_KEY,)

    name: str = text(primary_key=True)
    value: str = text()


class BillEntryRow(SQLModel, table=True):
    """One row of a bill that was applied. `amount_micro` is signed: a refund is negative.

    `digest` is the hash of the row as written: exported again, it is the same entry. `plan_id` is
    the correction plan that used it; when that plan is undone, the row is deleted.
    """

    __tablename__: ClassVar[str] = "bill_entry"
    __table_args__ = (BY_KEY,)

    provider: str = text(primary_key=True)
    account: str = text(primary_key=True)
    digest: str = text(primary_key=True)
    task_id: str | None = text_or_none()
    kind: str = text()
    amount_micro: int | None = integer_or_none()
    unit: str = text()
    state: str | None = text_or_none()
    entry_at: int | None = integer_or_none()
    place: str = text()
    raw: str = text()
    source: str = text()
    plan_id: str | None = text_or_none()
    actor: str = text()
    imported_at: int = integer()


class BillProfileRow(SQLModel, table=True):
    """What a person said about the form of a bill, saved under a name for the next month."""

    __tablename__: ClassVar[str] = "bill_profile"
    __table_args__ = (BY_KEY,)

    name: str = text(primary_key=True)
    answers: str = text()
    actor: str = text()
    saved_at: int = integer()


class CorrectionPlanRow(SQLModel, table=True):
    """Corrections that were applied together, and the state of each reservation before them."""

    __tablename__: ClassVar[str] = "correction_plan"
    __table_args__ = (BY_KEY,)

    id: str = text(primary_key=True)
    provider: str = text()
    account: str = text()
    source: str = text()
    changes: str = text()
    actor: str = text()
    applied_at: int = integer()
    undone_at: int | None = integer_or_none()
    undone_by: str | None = text_or_none()
