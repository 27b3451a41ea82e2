"""View files: the views of the public contract as Parquet files, row for row, column for column.

Rows go from a database cursor into the files in batches, and all files show the same state of the
ledger.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import date
from itertools import islice
from pathlib import Path
from typing import Any, Final

from kling_ledger.errors import NotEmptyError
from kling_ledger.ledger.backup import Whole
from kling_ledger.ledger.engines.database import Database, translated
from kling_ledger.ledger.views import VIEWS, View
from kling_ledger.tabular.files import whole_folder
from kling_ledger.tabular.parquet_table import pyarrow_or_refuse

_AT_ONCE: Final = 10_000
"""How many rows are in memory at a time: one row group of the file."""


def write(
    database: Database, folder: Path, *, days: tuple[date, date] | None = None
) -> dict[str, int]:
    """Write every view into a new folder, as `NAME.parquet`; return how many rows each has.

    `days` are the first one and the one after the last, in UTC, for views that have a `day`; the
    other views show the current state.

    All or nothing: the folder appears once it is complete. Amounts are `decimal128(19, 6)`,
    instants are timestamps in UTC, days are dates. ConfigError if pyarrow is not installed,
    NotEmptyError for a folder that is not empty.
    """
    pyarrow_or_refuse()
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise NotEmptyError(folder, hint="name a new folder")
    with (
        whole_folder(folder) as made,
        translated(database.name),
        database.engine.whole() as connection,
    ):
        whole = Whole(connection)
        return {
            view.name: _write(whole, view, made / f"{view.name}.parquet", days) for view in VIEWS
        }


def _write(whole: Whole, view: View, file: Path, days: tuple[date, date] | None) -> int:
    import pyarrow as pa
    import pyarrow.parquet as pq

    types = _types()
    kinds = dict(view.kinds())
    schema = pa.schema([pa.field(name, types[kind]) for name, kind in kinds.items()])
    read = [name for name, kind in kinds.items() if kind != "amount"]
    count = 0
    with pq.ParquetWriter(file, schema) as writer:
        for rows in _chunks(whole, view, read, days if "day" in kinds else None):
            columns = dict(zip(read, zip(*rows, strict=True), strict=True))
            arrays = [_array(name, kind, columns) for name, kind in kinds.items()]
            writer.write_batch(pa.record_batch(arrays, schema=schema))
            count += len(rows)
    return count


def _chunks(
    whole: Whole, view: View, columns: Sequence[str], days: tuple[date, date] | None
) -> Iterator[list[tuple[Any, ...]]]:
    within = "" if days is None else f" WHERE day >= '{days[0]}' AND day < '{days[1]}'"
    rows = whole.rows(f"SELECT {', '.join(columns)} FROM {view.name}{within} ORDER BY {view.order}")
    while some := list(islice(rows, _AT_ONCE)):
        yield some


def _array(name: str, kind: str, columns: Mapping[str, Sequence[Any]]) -> Any:
    import pyarrow as pa

    known = _KNOWN.get(kind)
    if known is None:
        return pa.array(columns[name], type=_types()[kind])
    return known(columns, name).cast(_types()[kind])


def _amount(columns: Mapping[str, Sequence[Any]], name: str) -> Any:
    """Return decimals from whole millionths: exact, and without a Python object for each."""
    from decimal import Decimal

    import pyarrow as pa
    import pyarrow.compute as pc

    micro = pa.array(columns[f"{name}_micro"], type=pa.int64()).cast(pa.decimal128(19, 0))
    return pc.multiply(micro, pa.scalar(Decimal("0.000001"), pa.decimal128(6, 6)))


def _text(columns: Mapping[str, Sequence[Any]], name: str) -> Any:
    import pyarrow as pa

    return pa.array(columns[name], type=pa.string())


def _number(columns: Mapping[str, Sequence[Any]], name: str) -> Any:
    import pyarrow as pa

    return pa.array(columns[name], type=pa.int64())


_KNOWN: Final[Mapping[str, Callable[[Mapping[str, Sequence[Any]], str], Any]]] = {
    "amount": _amount,
    "instant": _text,
    "day": _text,
    "flag": _number,
}
"""How to read a column whose type in the file differs from that in the view."""


def _types() -> dict[str, Any]:
    import pyarrow as pa

    return {
        "text": pa.string(),
        "integer": pa.int64(),
        "flag": pa.bool_(),
        "amount": pa.decimal128(19, 6),
        "instant": pa.timestamp("us", tz="UTC"),
        "day": pa.date32(),
        "labels": pa.string(),
    }
