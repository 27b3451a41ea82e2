"""A report's main table as Parquet: exact decimals, real dates, and the question."""

from __future__ import annotations

import io
import json
from collections.abc import Iterator
from typing import IO, Any, Final

import pandas as pd

from kling_ledger.errors import ConfigError
from kling_reports.render.json import columns, heading
from kling_reports.report import Column, Report, Table, cells

_GROUP: Final = 100_000
"""The rows of a row group: enough to compress well, few enough for memory."""


def render(report: Report) -> bytes:
    """Return the main table as a Parquet file; ConfigError if pyarrow is not installed."""
    written_to = io.BytesIO()
    write(report, written_to)
    return written_to.getvalue()


def write(report: Report, to: IO[bytes]) -> None:
    """Write the main table as a Parquet file; only one row group is in memory at a time.

    Amounts and shares are `decimal128(19, 6)`, which holds every 64-bit integer of millionths. The
    metadata `kling_ledger` is the JSON of everything but the rows.
    """
    try:
        import pyarrow as pa
        import pyarrow.parquet as pq
    except ImportError:
        raise ConfigError(
            "Parquet needs pyarrow", hint="pip install 'kling-ledger[parquet]', or use --format csv"
        ) from None
    table, zone = report.main, report.timezone
    fields = [pa.field(column.key, _type(column, zone)) for column in table.columns]
    told = json.dumps({**heading(report), "columns": columns(table)}, ensure_ascii=False)
    schema = pa.schema(fields, metadata={"kling_ledger": told})
    with pq.ParquetWriter(to, schema) as file:
        for frames in _groups(table):
            file.write_table(
                pa.Table.from_batches([_batch(table, one, zone, schema) for one in frames], schema)
            )


def _groups(table: Table) -> Iterator[list[pd.DataFrame]]:
    """Join batches into row groups."""
    group: list[pd.DataFrame] = []
    for frame in filter(len, table.batches()):
        group.append(frame)
        if sum(map(len, group)) >= _GROUP:
            yield group
            group = []
    if group:
        yield group


def _batch(table: Table, frame: pd.DataFrame, zone: str, schema: Any) -> Any:
    import pyarrow as pa

    arrays = [
        pa.array(cells(frame[column.name], column.kind, zone), type=field.type)
        for column, field in zip(table.columns, schema, strict=True)
    ]
    return pa.RecordBatch.from_arrays(arrays, schema=schema)


def _type(column: Column, zone: str) -> Any:
    import pyarrow as pa

    if column.kind in {"money", "percent"}:
        return pa.decimal128(19, 6)
    if column.kind == "instant":
        return pa.timestamp("us", tz=zone)
    plain = {"text": pa.string(), "flag": pa.bool_(), "date": pa.date32(), "month": pa.date32()}
    return plain.get(column.kind, pa.int64())
