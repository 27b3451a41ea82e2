"""Parquet: rows with their own types, read with pyarrow, an optional extra of the package."""

from __future__ import annotations

from collections.abc import Iterator
from typing import IO, Any

from kling_ledger.errors import ConfigError
from kling_ledger.tabular import table
from kling_ledger.tabular.files import Kind
from kling_ledger.tabular.table import Block, Row, checked_columns


def pyarrow_or_refuse() -> Any:
    """Return pyarrow; ConfigError if it is not installed."""
    try:
        import pyarrow as pa
        import pyarrow.parquet
    except ImportError:
        raise ConfigError(
            "Parquet files need pyarrow, which is not installed",
            hint='install it with: pip install "kling-ledger[parquet]"',
        ) from None
    return pa


class ParquetTable:
    """A Parquet file."""

    kind: Kind = "parquet"
    encoding = "utf-8"
    is_json = False

    def __init__(self, file: IO[bytes], name: str) -> None:
        self.name = name
        self._arrow = pyarrow_or_refuse()
        try:
            self._parquet = self._arrow.parquet.ParquetFile(file)
        except (self._arrow.ArrowException, OSError) as error:
            raise ConfigError(f"{name}: not a Parquet file: {error}") from None
        self.columns = checked_columns(self._parquet.schema_arrow.names, name)
        self._read = 0

    def rows(self) -> Iterator[Row]:
        """Read row by row; a blank is a missing cell, like a missing key in a line of JSON."""
        entries = (cells for batch in self._batches() for cells in batch.to_pylist())
        for number, cells in enumerate(entries, 1):
            said = {name: value for name, value in cells.items() if value is not None}
            yield Row(f"row {number}", said)

    def blocks(self) -> Iterator[Block]:
        """Read many rows at a time."""
        import pandas as pd

        for batch in self._batches():
            # Arrow's own types keep whole numbers whole, even beside a blank.
            frame = batch.to_pandas(types_mapper=pd.ArrowDtype, ignore_metadata=True)
            if len(frame):
                yield Block(frame, {})

    def share(self) -> float:
        """How much of the rows has been read, from 0 to 1."""
        rows: int = self._parquet.metadata.num_rows
        return self._read / max(rows, 1)

    def read_bytes(self) -> int:
        """Roughly how many bytes have been read: the compressed size of single rows is unknown."""
        return 0

    def _batches(self) -> Iterator[Any]:
        try:
            for batch in self._parquet.iter_batches(batch_size=table.CHUNK_ROWS):
                self._read += batch.num_rows
                yield batch
        except (self._arrow.ArrowException, OSError) as error:
            raise ConfigError(f"{self.name}: the file is broken: {error}") from None
