"""Reading a manifest: a CSV, JSONL or Parquet file of clips, chunk by chunk.

Nothing is guessed: a CSV cell is text, a JSON number is read by its writing. What is no clip is
kept with what is wrong with it; what is no file of rows is refused as a whole.
"""

from __future__ import annotations

import csv
import io
import os
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path
from types import MappingProxyType
from typing import IO, Any, Final, NamedTuple

import pandas as pd

from kling_ledger.errors import ConfigError
from kling_ledger.tabular.texts import delimiter_of
from kling_pricing.clip import ACTIONS, CLIP_FIELDS
from kling_pricing.errors import MISSING, ClipError, PricingError, Problem
from kling_pricing.gateways import parse_body, read_request
from kling_pricing.money import read_decimal

CHUNK_ROWS: Final = 50_000
"""How many clips are held in memory at once."""

KINDS: Final = {".csv": "csv", ".jsonl": "jsonl", ".ndjson": "jsonl", ".parquet": "parquet"}
"""The kinds of file that can be read and written, by extension."""

_SECONDS: Final = ("seconds", "input_seconds")
_BODY_SAYS: Final = "nothing: the request body says it already"

Row = dict[str, Any]


class Chunk(NamedTuple):
    """Some rows in their order, those of them that are no clip, and how far into the file.

    `assumptions` are those that reading a row's own request body had to make.
    """

    frame: pd.DataFrame
    errors: Mapping[int, PricingError]
    share: float
    assumptions: Mapping[int, tuple[str, ...]] = MappingProxyType({})


class Manifest(NamedTuple):
    """The columns of a manifest, and its rows."""

    columns: Sequence[str]
    chunks: Iterator[Chunk]


@contextmanager
def opened(name: str) -> Iterator[Manifest]:
    """Open a manifest: a file, or - for CSV or JSONL on stdin. ConfigError if it is none."""
    with _opened(name) as file:
        yield _READERS[_kind_of(name, file)](file, name)


@contextmanager
def _opened(name: str) -> Iterator[IO[bytes]]:
    """Open a manifest for reading; what cannot be rewound, such as stdin, is copied to disk."""
    with _bytes_of(name) as file:
        if name != "-" and file.seekable():
            yield file
            return
        with tempfile.TemporaryFile() as copy:
            while block := file.read(1 << 20):
                copy.write(block)
            copy.seek(0)
            yield copy


def _bytes_of(name: str) -> AbstractContextManager[IO[bytes]]:
    if name == "-":
        return nullcontext(sys.stdin.buffer)
    try:
        return Path(name).open("rb")
    except OSError as error:
        raise ConfigError(f"{name}: {error.strerror}") from None


def _kind_of(name: str, file: IO[bytes]) -> str:
    suffix = Path(name).suffix.lower()
    if suffix in KINDS:
        return KINDS[suffix]
    if suffix:
        raise ConfigError(f"{name}: got {suffix}, allowed: .csv, .jsonl or .parquet")
    start = file.read(4096)
    file.seek(0)
    if start.startswith(b"PAR1"):
        return "parquet"
    return "jsonl" if start.removeprefix(b"\xef\xbb\xbf").lstrip()[:1] == b"{" else "csv"


def _size_of(file: IO[bytes]) -> int:
    here = file.tell()
    size = file.seek(0, os.SEEK_END)
    file.seek(here)
    return max(size, 1)


def _read_csv(file: IO[bytes], name: str) -> Manifest:
    size = _size_of(file)
    text = io.TextIOWrapper(file, "utf-8-sig", newline="")
    rows = _csv_rows(text, name)
    columns = [column.strip() for column in next(rows, [])]
    if not columns:
        raise ConfigError(f"{name}: the file is empty")
    for column in ("provider", "model"):
        if column not in columns:
            raise ConfigError(f"{name}: there is no column {column}, only {', '.join(columns)}")
    twice = [column for column in columns if columns.count(column) > 1]
    if twice:
        raise ConfigError(f"{name}: the column {twice[0]} is there twice")
    return Manifest(columns, _csv_chunks(rows, columns, text, share_of=lambda: file.tell() / size))


def _csv_chunks(
    rows: Iterator[list[str]],
    columns: Sequence[str],
    text: io.TextIOWrapper,
    *,
    share_of: Callable[[], float],
) -> Iterator[Chunk]:
    for some in _in_chunks(rows):
        yield Chunk(pd.DataFrame(some, columns=list(columns), dtype=object), {}, share_of())
    # Python closes the file under a text that nobody refers to any more.
    text.detach()


def _csv_rows(text: io.TextIOWrapper, name: str) -> Iterator[list[str]]:
    """Yield the cells of each row that has any, all rows of one width."""
    width = 0
    try:
        first = text.readline()
        text.seek(0)
        reader = csv.reader(text, delimiter=delimiter_of(first), strict=True)
        for row in reader:
            width = width or len(row)
            if row and len(row) != width:
                told = f"{len(row)} cells under a header of {width}"
                raise ConfigError(f"{name}: line {reader.line_num}: {told}")
            if row:
                yield row
    except (csv.Error, UnicodeDecodeError) as error:
        raise ConfigError(f"{name}: this is no CSV in UTF-8: {error}") from None


def _in_chunks(rows: Iterator[Any]) -> Iterator[list[Any]]:
    some: list[Any] = []
    for row in rows:
        some.append(row)
        if len(some) == CHUNK_ROWS:
            yield some
            some = []
    if some:
        yield some


def _read_jsonl(file: IO[bytes], name: str) -> Manifest:
    """Read twice: first to see that every line is whole and what columns there are."""
    size = _size_of(file)
    found: dict[str, None] = {}
    for row in _jsonl_rows(file, name):
        found.update(dict.fromkeys(row))
        if "request" in row:
            found.update(dict.fromkeys(CLIP_FIELDS))
    file.seek(0)
    columns = [*(field for field in ("provider", "model") if field not in found), *found]
    chunks = (
        _jsonl_chunk(rows, columns, file.tell() / size)
        for rows in _in_chunks(_jsonl_rows(file, name))
    )
    return Manifest(columns, chunks)


def _jsonl_rows(file: IO[bytes], name: str) -> Iterator[Row]:
    for number, line in enumerate(file, 1):
        if not line.strip():
            continue
        try:
            yield parse_body(line.decode("utf-8-sig"))
        except (PricingError, UnicodeDecodeError) as error:
            raise ConfigError(f"{name}: line {number}: {error}") from None


def _jsonl_chunk(rows: Sequence[Row], columns: Sequence[str], share: float) -> Chunk:
    errors: dict[int, PricingError] = {}
    assumptions: dict[int, tuple[str, ...]] = {}
    clips: list[Row] = []
    for position, row in enumerate(rows):
        try:
            clip, assumed = _clip_row(row)
        except PricingError as error:
            errors[position] = error
            clip, assumed = row, ()
        clips.append(clip)
        if assumed:
            assumptions[position] = assumed
    # Not from records: pandas would make floats of whole numbers beside a blank.
    cells = {name: pd.Series([clip.get(name) for clip in clips], dtype=object) for name in columns}
    return Chunk(pd.DataFrame(cells), errors, share, assumptions)


def _clip_row(row: Row) -> tuple[Row, tuple[str, ...]]:
    """Return a row with the fields of its clip, and what reading its body had to assume."""
    if "request" not in row:
        return {**row, **{name: _exact(row[name]) for name in _SECONDS if name in row}}, ()
    given = [name for name in CLIP_FIELDS if name in row and name not in {"provider", "action"}]
    problems = [Problem(name, row[name], _BODY_SAYS) for name in given]
    provider, action = row.get("provider"), row.get("action")
    if not isinstance(provider, str):
        problems.append(Problem("provider", row.get("provider", MISSING), "a name"))
    if not isinstance(action, str | None):
        problems.append(Problem("action", action, ", ".join(ACTIONS)))
    if problems:
        raise ClipError(problems)
    request = read_request(str(provider), row["request"], action=action)
    fields = {name: getattr(request.clip, name) for name in CLIP_FIELDS}
    return {**row, **fields}, request.assumptions


def _exact(seconds: object) -> object:
    """Read a JSON float by its writing: 5.5 is 5.5 and 5.0 is 5."""
    if not isinstance(seconds, float):
        return seconds
    return int(seconds) if seconds.is_integer() else read_decimal(seconds)


def _read_parquet(file: IO[bytes], name: str) -> Manifest:
    arrow = pyarrow_or_refuse()
    try:
        table = arrow.parquet.ParquetFile(file)
    except (arrow.ArrowException, OSError) as error:
        raise ConfigError(f"{name}: this is no Parquet file: {error}") from None
    return Manifest(table.schema_arrow.names, _parquet_chunks(table, arrow, name))


def _parquet_chunks(table: Any, arrow: Any, name: str) -> Iterator[Chunk]:
    done, rows = 0, max(table.metadata.num_rows, 1)
    try:
        for batch in table.iter_batches(batch_size=CHUNK_ROWS):
            done += batch.num_rows
            # Arrow's own types: a whole number beside a blank stays a whole number.
            frame = batch.to_pandas(types_mapper=pd.ArrowDtype, ignore_metadata=True)
            if len(frame):
                yield Chunk(frame, {}, done / rows)
    except (arrow.ArrowException, OSError) as error:
        raise ConfigError(f"{name}: the file is broken: {error}") from None


def pyarrow_or_refuse() -> Any:
    """Return pyarrow, which Parquet needs; ConfigError where it is not installed."""
    try:
        import pyarrow as pa
        import pyarrow.parquet
    except ImportError:
        raise ConfigError(
            "Parquet files need pyarrow, which is not installed",
            hint='install it with: pip install "kling-ledger[parquet]"',
        ) from None
    return pa


_READERS: Final[Mapping[str, Callable[[IO[bytes], str], Manifest]]] = {
    "csv": _read_csv,
    "jsonl": _read_jsonl,
    "parquet": _read_parquet,
}
