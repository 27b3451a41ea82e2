"""Reading a manifest to price it: chunk by chunk, with the errors of single rows.

Nothing is guessed: a CSV cell is text, a JSON number is read by its written digits. A row that is
not a clip is kept with its errors; a file that does not consist of rows is refused as a whole.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import MappingProxyType
from typing import IO, Any, Final, NamedTuple

import pandas as pd

from kling_ledger.errors import ConfigError
from kling_ledger.manifests.columns import column_of, columns_of, meant_by
from kling_ledger.manifests.rows import own_body, said_by
from kling_ledger.tabular.files import kind_by_name
from kling_ledger.tabular.frames import frame_of
from kling_ledger.tabular.reading import open_table
from kling_ledger.tabular.table import Row, Table, TableOfColumns, in_chunks
from kling_pricing.clip import CLIP_FIELDS, REQUIRED
from kling_pricing.errors import KlingError, PricingError

_SHOWN: Final = 20
"""The most columns that an error names."""


class Chunk(NamedTuple):
    """Some rows in order, those of them that are not clips, and how far into the file.

    `assumptions` are those made in reading a row's own request body.
    """

    frame: pd.DataFrame
    errors: Mapping[int, KlingError]
    share: float
    assumptions: Mapping[int, tuple[str, ...]] = MappingProxyType({})


class Manifest(NamedTuple):
    """The columns of a manifest under our names, its text encoding, and its rows."""

    columns: Sequence[str]
    encoding: str
    chunks: Iterator[Chunk]


@contextmanager
def open_manifest(name: str, content: IO[bytes] | None = None) -> Iterator[Manifest]:
    """Open a file of clips, or - for stdin; or read `content`. ConfigError for an invalid one."""
    if Path(name).suffix:
        kind_by_name(name)
    with open_table(name, content) as table:
        if isinstance(table, TableOfColumns) and "request" not in map(column_of, table.columns):
            yield _by_blocks(table)
        else:
            yield _by_rows(table)


def _by_blocks(table: TableOfColumns) -> Manifest:
    """Read many rows at once: none has a `request` instead of a clip."""
    columns = columns_of(table.columns, table.name)
    for column in REQUIRED:
        if column not in columns:
            raise _no_column(column, columns, table.name)
    return Manifest(columns, table.encoding, _blocks(table, columns))


def _blocks(table: TableOfColumns, columns: Sequence[str]) -> Iterator[Chunk]:
    for frame, problems in table.blocks():
        errors = {place: ConfigError(problem) for place, problem in problems.items()}
        yield Chunk(frame.set_axis(list(columns), axis="columns"), errors, table.share())


def _no_column(column: str, columns: Sequence[str], name: str) -> ConfigError:
    alike = [other for other in columns if meant_by(other) == column]
    hint = f"rename {alike[0]} to {column}" if alike else f"add a column {column}"
    known = ", ".join(columns[:_SHOWN]) + (", ..." if len(columns) > _SHOWN else "")
    return ConfigError(f"{name}: no column {column}; it has {known}", hint=hint)


def _by_rows(table: Table) -> Manifest:
    """Read twice: first to find out which columns exist."""
    if not table.is_json:
        columns_of(table.columns, table.name)
    found = _columns(table.rows())
    columns = [*(field for field in REQUIRED if field not in found), *found]
    chunks = in_chunks(table.rows(), table.read_bytes)
    return Manifest(columns, table.encoding, (_chunk(table, some, columns) for some in chunks))


def _columns(rows: Iterable[Row]) -> Sequence[str]:
    """Return every column that a row has, or that reading its body will add."""
    found: dict[str, None] = {}
    for row in rows:
        found.update(dict.fromkeys(map(column_of, row.cells)))
    if "request" in found:
        found.update(dict.fromkeys(CLIP_FIELDS))
    return list(found)


def _chunk(table: Table, rows: Sequence[Row], columns: Sequence[str]) -> Chunk:
    errors: dict[int, KlingError] = {}
    assumptions: dict[int, tuple[str, ...]] = {}
    clips: list[Mapping[str, Any]] = []
    for position, row in enumerate(rows):
        clip = {column_of(name): cell for name, cell in row.cells.items()}
        try:
            body, assumed = _body(row, table)
        except (PricingError, ConfigError) as error:
            errors[position] = error
        else:
            clip.update(body)
            if assumed:
                assumptions[position] = assumed
        clips.append(clip)
    return Chunk(frame_of(columns, clips), errors, table.share(), assumptions)


def _body(row: Row, table: Table) -> tuple[Mapping[str, Any], tuple[str, ...]]:
    """Return the clip that a row's `request` asks for, and what was assumed in reading it."""
    said = said_by(row, table)
    if "request" not in said:
        return {}, ()
    request = own_body(said)
    return {name: getattr(request.clip, name) for name in CLIP_FIELDS}, request.assumptions
