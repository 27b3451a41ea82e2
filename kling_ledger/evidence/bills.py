"""Bills: a provider's bill as a file, CSV or JSON, read as charges.

Every bill names its columns differently: those it has are found by common names, or told with a
mapping. What cannot be read is refused, with its line, never skipped.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from kling_ledger.errors import ConfigError
from kling_ledger.evidence.bill_cells import (
    GIVEN_BACK,
    check_unit,
    read_amount,
    read_instant,
    read_state,
)
from kling_ledger.evidence.bill_columns import find_columns
from kling_ledger.evidence.charges import Charge
from kling_ledger.tabular.reading import open_table
from kling_ledger.tabular.table import Row, whole
from kling_pricing.money import Money


def read_statement(
    path: Path, *, unit: str, mapping: Mapping[str, str] | None = None
) -> list[Charge]:
    """Read a provider's bill, whose amounts are in `unit`.

    `mapping` names the file's columns by ours, for example {"task_id": "Job", "amount": "Credits"}.
    A negative amount gives back what another line of the task charged; a line whose state says
    `refunded` charged nothing in the end. A day without a time is no instant to find a job by.
    Raises ConfigError, with the line, for what cannot be read.
    """
    # Amounts keep every digit that is written, and what a download is called says nothing.
    with open_table(path, number=str, envelope=True, trusts_name=False) as table:
        rows = list(whole(table))
        names = table.columns
    columns = find_columns(names, mapping or {}, str(path)) if names else {}
    return [_charge(row, columns, unit, f"{path}: {row.place}") for row in rows]


def _charge(row: Row, columns: Mapping[str, str], unit: str, where: str) -> Charge:
    def told(ours: str) -> str:
        value = row.cells.get(columns.get(ours, ""))
        return "" if value is None else str(value).strip()

    task_id, word = told("task_id"), told("state").lower()
    if not task_id:
        raise ConfigError(f"{where}: it names no task")
    check_unit(told("unit"), unit, where)
    amount = read_amount(told("amount"), unit, where)
    state = read_state(word, where)
    if amount is None and state is None:
        raise ConfigError(f"{where}: it names neither an amount nor a state")
    if word == GIVEN_BACK:
        amount = Money.zero(unit)
    created_at = read_instant(told("created_at"), where)
    return Charge(task_id, amount, state, created_at, told("model") or None)
