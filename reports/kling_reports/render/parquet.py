"""A report's main table as Parquet: exact decimals, real dates, and how the question was asked."""

from __future__ import annotations

import json
from typing import Any

from kling_ledger.errors import ConfigError
from kling_reports.render.json import columns, heading
from kling_reports.report import Column, Report


def render(report: Report) -> bytes:
    """Return the main table as a Parquet file; ConfigError where pyarrow is not installed.

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
    table = report.main
    fields = [pa.field(column.key, _type(column, report.timezone)) for column in table.columns]
    told = json.dumps({**heading(report), "columns": columns(table)}, ensure_ascii=False)
    schema = pa.schema(fields, metadata={"kling_ledger": told})
    rows = list(table.rows(report.timezone))
    arrays = [
        pa.array([row[place] for row in rows], type=field.type)
        for place, field in enumerate(fields)
    ]
    written_to = pa.BufferOutputStream()
    pq.write_table(pa.Table.from_arrays(arrays, schema=schema), written_to)
    return bytes(written_to.getvalue().to_pybytes())


def _type(column: Column, zone: str) -> Any:
    import pyarrow as pa

    if column.kind in {"money", "percent"}:
        return pa.decimal128(19, 6)
    if column.kind == "instant":
        return pa.timestamp("us", tz=zone)
    plain = {"text": pa.string(), "flag": pa.bool_(), "date": pa.date32(), "month": pa.date32()}
    return plain.get(column.kind, pa.int64())
