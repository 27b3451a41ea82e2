"""Schema: the tables as statements need them: their columns by name, and the kind of each.

`tables/` has the same tables with the laws that the database enforces. It needs SQLModel, which
takes longer to load than a reservation takes to make; this needs nothing. A test compares the two.
"""

from __future__ import annotations

from collections.abc import Mapping
from operator import itemgetter
from typing import Any, Final, Literal

SCHEMA_VERSION: Final = "0010"
"""The migration that leads to these tables."""

VERSION_TABLE: Final = "kling_ledger_version"
"""The table that says which migration the database has reached."""

FIRST_VERSION: Final = "0001"
FIRST_TABLE: Final = "ledger_schema"
"""What a database of the first schema has in place of VERSION_TABLE."""

EXPECTATION_FAILED: Final = "KL001"
"""The SQLSTATE of a statement that changed another number of rows than expected."""

Kind = Literal["text", "bigint", "boolean"]
"""The type of a column, by its PostgreSQL name."""

TEXT: Final = "text"
INTEGER: Final = "bigint"
BOOLEAN: Final = "boolean"


class Table:
    """A table: its name, and the kinds of its columns, in order.

    `selected` is all columns as a SELECT names them.
    """

    __slots__ = ("_pick", "columns", "kinds", "name", "selected")

    def __init__(self, name: str, /, **kinds: Kind) -> None:
        self.name = name
        self.kinds: Mapping[str, Kind] = kinds
        self.columns = tuple(kinds)
        # By name, never by a star: a prepared statement stays valid when a column is added.
        self.selected = ", ".join(f"{name}.{column}" for column in kinds)
        self._pick = itemgetter(*kinds)

    def in_order(self, row: Mapping[str, Any]) -> tuple[Any, ...]:
        """Return the values of a row in the order of the columns.

        Raises KeyError for a missing column, ValueError for an unknown one.
        """
        values: tuple[Any, ...] = self._pick(row)
        if len(row) != len(values):
            raise ValueError(f"{self.name} has no {', '.join(sorted(row.keys() - self.kinds))}")
        return values


WALLET: Final = Table(
    "wallet",
    id=TEXT,
    name=TEXT,
    unit=TEXT,
    funded_micro=INTEGER,
    adjusted_micro=INTEGER,
    posted_micro=INTEGER,
    reserved_micro=INTEGER,
    actor=TEXT,
    created_at=INTEGER,
    shared_micro=INTEGER,
    costing=TEXT,
)
RESERVATION: Final = Table(
    "reservation",
    id=TEXT,
    wallet_id=TEXT,
    state=TEXT,
    step=INTEGER,
    unit=TEXT,
    reserved_micro=INTEGER,
    held_micro=INTEGER,
    committed_micro=INTEGER,
    refunded_micro=INTEGER,
    usd_micro=INTEGER,
    usd_held_micro=INTEGER,
    usd_spent_micro=INTEGER,
    settled_by=TEXT,
    project=TEXT,
    labels=TEXT,
    provider=TEXT,
    model=TEXT,
    action=TEXT,
    seconds=TEXT,
    billed_seconds=INTEGER,
    resolution=TEXT,
    sound=BOOLEAN,
    quote=TEXT,
    request=TEXT,
    payload_hash=TEXT,
    address=TEXT,
    task_id=TEXT,
    videos=TEXT,
    videos_expire_at=INTEGER,
    problem=TEXT,
    actor=TEXT,
    expires_at=INTEGER,
    created_at=INTEGER,
    updated_at=INTEGER,
    account=TEXT,
    provider_held_micro=INTEGER,
    quoted_micro=INTEGER,
    low_micro=INTEGER,
    estimated_micro=INTEGER,
)
RESERVATION_LABEL: Final = Table(
    "reservation_label",
    label=TEXT,
    created_at=INTEGER,
    reservation_id=TEXT,
)
TRANSFER: Final = Table(
    "transfer",
    id=TEXT,
    kind=TEXT,
    debit_account=TEXT,
    credit_account=TEXT,
    amount_micro=INTEGER,
    unit=TEXT,
    wallet_id=TEXT,
    reservation_id=TEXT,
    period=TEXT,
    corrects=TEXT,
    actor=TEXT,
    reason=TEXT,
    created_at=INTEGER,
)
PURCHASE_LOT: Final = Table(
    "purchase_lot",
    transfer_id=TEXT,
    seller=TEXT,
    cash_micro=INTEGER,
    currency=TEXT,
    tax_micro=INTEGER,
    invoice=TEXT,
    bought_on=TEXT,
    expires_on=TEXT,
    actor=TEXT,
    created_at=INTEGER,
    period=TEXT,
)
JOB_EVENT: Final = Table(
    "job_event",
    reservation_id=TEXT,
    step=INTEGER,
    from_state=TEXT,
    to_state=TEXT,
    actor=TEXT,
    reason=TEXT,
    created_at=INTEGER,
    period=TEXT,
    task_id=TEXT,
    settled_by=TEXT,
    usd_micro=INTEGER,
)
IDEMPOTENCY: Final = Table(
    "idempotency",
    key=TEXT,
    content=TEXT,
    result_id=TEXT,
    created_at=INTEGER,
    period=TEXT,
)
BUDGET: Final = Table(
    "budget",
    id=TEXT,
    name=TEXT,
    unit=TEXT,
    limit_micro=INTEGER,
    ceiling_micro=INTEGER,
    mode=TEXT,
    thresholds=TEXT,
    wallet_id=TEXT,
    project=TEXT,
    provider=TEXT,
    model=TEXT,
    label=TEXT,
    repeats=TEXT,
    timezone=TEXT,
    created_at=INTEGER,
    removed_at=INTEGER,
)
BUDGET_EVENT: Final = Table(
    "budget_event",
    budget_id=TEXT,
    step=INTEGER,
    change=TEXT,
    actor=TEXT,
    reason=TEXT,
    created_at=INTEGER,
    period=TEXT,
)
BUDGET_RAISE: Final = Table(
    "budget_raise",
    id=TEXT,
    budget_id=TEXT,
    amount_micro=INTEGER,
    until_at=INTEGER,
    actor=TEXT,
    reason=TEXT,
    created_at=INTEGER,
)
BUDGET_WINDOW: Final = Table(
    "budget_window",
    budget_id=TEXT,
    starts_at=INTEGER,
    ends_at=INTEGER,
    held_micro=INTEGER,
    spent_micro=INTEGER,
    shared_to_micro=INTEGER,
)
SLOT: Final = Table(
    "slot",
    owner_id=TEXT,
    starts_at=INTEGER,
    number=INTEGER,
    among=INTEGER,
    given_micro=INTEGER,
    share_micro=INTEGER,
    most_micro=INTEGER,
    held_micro=INTEGER,
    spent_micro=INTEGER,
    version=INTEGER,
    since_at=INTEGER,
)
PERIOD: Final = Table(
    "period",
    name=TEXT,
    state=TEXT,
    transfers=INTEGER,
    previous_seal=TEXT,
    seal=TEXT,
    actor=TEXT,
    reason=TEXT,
    closed_at=INTEGER,
    format=INTEGER,
    version=INTEGER,
    prepared_by=TEXT,
    prepared_at=INTEGER,
)
ACCRUAL: Final = Table(
    "accrual",
    period=TEXT,
    reservation_id=TEXT,
    amount_micro=INTEGER,
    unit=TEXT,
)
SEALED_TRANSFER: Final = Table(
    "sealed_transfer",
    transfer_id=TEXT,
    period=TEXT,
    digest=TEXT,
)
SEALED_PART: Final = Table(
    "sealed_part",
    period=TEXT,
    section=TEXT,
    number=INTEGER,
    digests=TEXT,
)
PROVIDER_RECORD: Final = Table(
    "provider_record",
    provider=TEXT,
    account=TEXT,
    task_id=TEXT,
    reservation_id=TEXT,
    verdict=TEXT,
    state=TEXT,
    billed_micro=INTEGER,
    unit=TEXT,
    source=TEXT,
    actor=TEXT,
    checked_at=INTEGER,
)
PROVIDER_BALANCE: Final = Table(
    "provider_balance",
    provider=TEXT,
    address=TEXT,
    account=TEXT,
    checked_at=INTEGER,
    available_micro=INTEGER,
    unit=TEXT,
    actor=TEXT,
)
ACCOUNT_KEY: Final = Table(
    "account_key",
    provider=TEXT,
    fingerprint=TEXT,
    account=TEXT,
    actor=TEXT,
    created_at=INTEGER,
)
SETTING: Final = Table(
    "setting",
    name=TEXT,
    value=TEXT,
)
BILL_ENTRY: Final = Table(
    "bill_entry",
    provider=TEXT,
    account=TEXT,
    digest=TEXT,
    task_id=TEXT,
    kind=TEXT,
    amount_micro=INTEGER,
    unit=TEXT,
    state=TEXT,
    entry_at=INTEGER,
    place=TEXT,
    raw=TEXT,
    source=TEXT,
    plan_id=TEXT,
    actor=TEXT,
    imported_at=INTEGER,
)
BILL_PROFILE: Final = Table(
    "bill_profile",
    name=TEXT,
    answers=TEXT,
    actor=TEXT,
    saved_at=INTEGER,
)
CORRECTION_PLAN: Final = Table(
    "correction_plan",
    id=TEXT,
    provider=TEXT,
    account=TEXT,
    source=TEXT,
    changes=TEXT,
    actor=TEXT,
    applied_at=INTEGER,
    undone_at=INTEGER,
    undone_by=TEXT,
)
TOKEN: Final = Table(
    "token",
    id=TEXT,
    name=TEXT,
    digest=TEXT,
    wallet_id=TEXT,
    project=TEXT,
    labels=TEXT,
    models=TEXT,
    ceiling_micro=INTEGER,
    run_limit_micro=INTEGER,
    approve_above_micro=INTEGER,
    actor=TEXT,
    created_at=INTEGER,
    expires_at=INTEGER,
    revoked_at=INTEGER,
    revoked_by=TEXT,
)
APPROVAL: Final = Table(
    "approval",
    id=TEXT,
    wallet_id=TEXT,
    payload_hash=TEXT,
    provider=TEXT,
    model=TEXT,
    action=TEXT,
    project=TEXT,
    said=TEXT,
    asked_micro=INTEGER,
    ceiling_micro=INTEGER,
    asked_by=TEXT,
    asked_at=INTEGER,
    expires_at=INTEGER,
    verdict=TEXT,
    decided_by=TEXT,
    decided_at=INTEGER,
    reason=TEXT,
)
CALLBACK_RELAY: Final = Table(
    "callback_relay",
    reservation_id=TEXT,
    url=TEXT,
    created_at=INTEGER,
)
