"""CSV: rows of text cells under a header, parted by commas, semicolons or tabs."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import islice
from typing import IO, TYPE_CHECKING, Any

from kling_ledger.errors import ConfigError
from kling_ledger.tabular import table
from kling_ledger.tabular.files import Kind
from kling_ledger.tabular.table import Row, checked_columns, size_of, whole

if TYPE_CHECKING:
    import pandas as pd


def delimiter_of(header: str) -> str:
    """Return what parts the cells of a CSV file: a comma, a semicolon or a tab."""
    return max(",;\t", key=header.count)


class CsvTable:
    """A file of CSV in UTF-8, with a byte order mark or without. Lines without a cell are no rows.

    The names of columns are stripped of blanks around them; cells are kept as they are written.
    """

    kind: Kind = "csv"

    def __init__(self, file: IO[bytes], name: str) -> None:
        self.name = name
        self._file = file
        self._size = size_of(file)
        with self._reader() as reader:
            header = next(filter(None, reader))
        self.columns = checked_columns([cell.strip() for cell in header], name)

    def rows(self) -> Iterator[Row]:
        """Read row by row; a quote that is never closed, or no UTF-8, ends the file."""
        width = len(self.columns)
        with self._reader() as reader:
            for cells in islice(filter(None, reader), 1, None):
                place = f"line {reader.line_num}"
                if len(cells) == width:
                    yield Row(place, dict(zip(self.columns, cells, strict=True)))
                else:
                    yield Row(place, {}, f"{len(cells)} cells under a header of {width}")

    def frames(self) -> Iterator[pd.DataFrame]:
        """Read many rows at a time, all of one width."""
        import pandas as pd

        width = len(self.columns)
        with self._reader() as reader:
            rows = islice(filter(None, reader), 1, None)
            while some := list(islice(rows, table.CHUNK_ROWS)):
                if set(map(len, some)) != {width}:
                    self._refuse_first_misfit()
                yield pd.DataFrame(some, columns=list(self.columns), dtype=object)

    def share(self) -> float:
        """How far the file is read."""
        return self._file.tell() / self._size

    def _refuse_first_misfit(self) -> None:
        """Read again from the start, row by row: in a chunk nobody knows the lines any more."""
        for _ in whole(self):
            pass

    @contextmanager
    def _reader(self) -> Iterator[Any]:
        self._file.seek(0)
        text = io.TextIOWrapper(self._file, "utf-8-sig", newline="")
        try:
            delimiter = delimiter_of(text.readline())
            text.seek(0)
            yield csv.reader(text, delimiter=delimiter, strict=True)
        except (csv.Error, UnicodeDecodeError) as error:
            raise ConfigError(f"{self.name}: this is no CSV in UTF-8: {error}") from None
        finally:
            # Python closes the file under a text that nobody refers to any more. A reader that is
            # given up half way may end after its file.
            if not self._file.closed:
                text.detach()
