"""What a priced table costs, per provider and unit, exactly."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, Final, NamedTuple, cast

import numpy as np
import pandas as pd

from kling_pricing.bulk.rows import read_column

_TOO_LARGE: Final = 2**63


class _Total(NamedTuple):
    provider: str | None
    unit: str | None
    rows: int
    priced: int
    failed: int
    amount_micro: int
    usd_micro: int | None


def totals(priced: pd.DataFrame) -> pd.DataFrame:
    """Sum the answers of quote_table() exactly, per provider and unit.

    Columns: provider, unit, rows, priced, failed, amount_micro, usd_micro. Failed rows count under
    their provider's unit, or a blank unit if none of that provider's rows was priced. The US
    dollars are blank if any priced row has none.
    """
    provider = read_column("provider", priced["provider"])
    names = [value if value is None else str(value) for value in provider.values]
    table = pd.DataFrame(
        {
            "provider": np.array(names, dtype=object)[provider.codes],
            "unit": priced["unit"].astype(object).where(priced["unit"].notna(), None).to_numpy(),
            "amount_micro": priced["amount_micro"].array,
            "usd_micro": priced["usd_micro"].array,
        }
    )
    groups = table.groupby(["provider", "unit"], dropna=False, sort=False)
    return _table_of_totals([_total(key, group) for key, group in groups])


def combine_totals(parts: Iterable[pd.DataFrame]) -> pd.DataFrame:
    """Add up the totals of several tables, as if they were one table."""
    return _table_of_totals(
        [_read_total(row) for part in parts for row in part.to_numpy().tolist()]
    )


def _read_total(row: Sequence[Any]) -> _Total:
    return _Total(*(cast("Any", None if pd.isna(value) else value) for value in row))


def _total(key: tuple[Any, ...], group: pd.DataFrame) -> _Total:
    provider, unit = (None if pd.isna(part) else str(part) for part in key)
    rows, priced = len(group), int(group["amount_micro"].count())
    in_usd = int(group["usd_micro"].count())
    return _Total(
        provider,
        unit,
        rows,
        priced,
        rows - priced,
        _exact_sum(group["amount_micro"]),
        _exact_sum(group["usd_micro"]) if in_usd == priced else None,
    )


def _exact_sum(amounts: pd.Series[Any]) -> int:
    """Sum amounts in two halves: 64 bits hold the sum of only a thousand of the largest."""
    micro = amounts.dropna().to_numpy(np.int64)
    return (int((micro >> 24).sum()) << 24) + int((micro & 0xFFFFFF).sum())


def _table_of_totals(parts: Sequence[_Total]) -> pd.DataFrame:
    unit_of = {part.provider: part.unit for part in parts if part.unit is not None}
    sums: dict[tuple[str | None, str | None], _Total] = {}
    for part in parts:
        whole = part._replace(unit=part.unit or unit_of.get(part.provider))
        key = whole.provider, whole.unit
        sums[key] = _added(sums[key], whole) if key in sums else whole
    rows = sorted(sums.values(), key=lambda total: (total.provider or "", total.unit or ""))
    names = _Total._fields
    columns = zip(*rows, strict=True) if rows else [()] * len(names)
    return pd.DataFrame(
        {name: _summed(values, name) for name, values in zip(names, columns, strict=True)}
    )


def _added(one: _Total, other: _Total) -> _Total:
    known = one.usd_micro is not None and other.usd_micro is not None
    return _Total(
        one.provider,
        one.unit,
        one.rows + other.rows,
        one.priced + other.priced,
        one.failed + other.failed,
        one.amount_micro + other.amount_micro,
        (one.usd_micro or 0) + (other.usd_micro or 0) if known else None,
    )


def _summed(values: Sequence[Any], name: str) -> Any:
    if name in {"provider", "unit"}:
        return pd.Series(list(values), dtype="str").array
    fits = all(value is None or value < _TOO_LARGE for value in values)
    return pd.Series(list(values), dtype="Int64" if fits else "object").array
