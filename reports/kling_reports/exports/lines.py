"""Line: one transfer of the journal as every export reads it, with its job's unchanging facts."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import pandas as pd

from kling_reports.doors.journal import LINE_KINDS


@dataclass(frozen=True, slots=True)
class Line:
    """One transfer; see journal.LINE_KINDS. What is unknown, or would need a job, is None."""

    id: str
    created_at: datetime
    period: str
    corrects: str | None
    kind: str
    amount_micro: int
    unit: str
    wallet: str
    reservation_id: str | None
    project: str | None
    provider: str | None
    model: str | None
    debit_account: str
    credit_account: str
    actor: str
    reason: str | None
    wallet_id: str
    labels: str | None
    action: str | None
    resolution: str | None
    sound: bool | None
    billed_seconds: int | None
    quoted_micro: int | None
    reserved_micro: int | None
    usd_micro: int | None
    reserved_at: datetime | None

    @property
    def provider_name(self) -> str:
        """The provider that was paid or that paid back, as the journal's account names it."""
        for account in (self.credit_account, self.debit_account):
            if account.startswith("provider/"):
                return account.removeprefix("provider/")
        return self.provider or "unnamed"


def lines(journal: pd.DataFrame) -> Iterator[Line]:
    """Return the transfers of a frame from journal.lines, or of part of it, in order."""
    names = [name for name in LINE_KINDS if name in journal]
    unknown: dict[str, Any] = dict.fromkeys(LINE_KINDS)
    columns = (journal[name].astype(object) for name in names)
    for values in zip(*columns, strict=True):
        yield Line(**{**unknown, **dict(zip(names, map(_plain, values), strict=True))})


def _plain(value: Any) -> Any:
    return None if pd.isna(value) else value
