"""Reading a manifest to price it: chunk by chunk, with what is wrong with single rows beside.

Nothing is guessed: a CSV cell is text, a JSON number is read by its writing. What is no clip is
kept with what is wrong with it; what is no file of rows is refused as a whole.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final, NamedTuple

import pandas as pd

from kling_ledger.errors import ConfigError
from kling_ledger.manifests.rows import exact, own_body, said_by
from kling_ledger.tabular.files import kind_by_name
from kling_ledger.tabular.frames import frame_of
from kling_ledger.tabular.reading import open_table
from kling_ledger.tabular.table import Row, Table, in_chunks, whole
from kling_pricing.clip import CLIP_FIELDS
from kling_pricing.errors import PricingError

_REQUIRED: Final = ("provider", "model")
_SECONDS: Final = ("seconds", "input_seconds")


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
def open_manifest(name: str) -> Iterator[Manifest]:
    """Open a file of clips, or - for stdin. ConfigError if it is none."""
    if Path(name).suffix:
        kind_by_name(name)
    with open_table(name) as table:
        yield _by_rows(table) if _may_have_bodies(table) else _by_frames(table)


def _may_have_bodies(table: Table) -> bool:
    """Whether rows may have a `request` in place of a clip.

    Lines of JSON may. Other tables do where no column can name a model: beside one, `request` is
    a column like any other, such as the one that an earlier answer has kept.
    """
    if table.kind in {"json", "jsonl"}:
        return True
    return "request" in table.columns and "model" not in table.columns


def _by_frames(table: Table) -> Manifest:
    for column in _REQUIRED:
        if column not in table.columns:
            known = ", ".join(table.columns)
            raise ConfigError(f"{table.name}: there is no column {column}, only {known}")
    return Manifest(table.columns, (Chunk(frame, {}, table.share()) for frame in table.frames()))


def _by_rows(table: Table) -> Manifest:
    """Read twice: first to see that every row is whole and what columns there are."""
    found = _columns(whole(table))
    columns = [*(field for field in _REQUIRED if field not in found), *found]
    return Manifest(
        columns,
        (_chunk(table, some, columns) for some in in_chunks(whole(table))),
    )


def _columns(rows: Iterable[Row]) -> Sequence[str]:
    """Return every column that a row has, or that reading its body will give it."""
    found: dict[str, None] = {}
    for row in rows:
        found.update(dict.fromkeys(row.cells))
        if "request" in row.cells:
            found.update(dict.fromkeys(CLIP_FIELDS))
    return list(found)


def _chunk(table: Table, rows: Sequence[Row], columns: Sequence[str]) -> Chunk:
    errors: dict[int, PricingError] = {}
    assumptions: dict[int, tuple[str, ...]] = {}
    clips: list[Mapping[str, Any]] = []
    for position, row in enumerate(rows):
        try:
            clip, assumed = _clip(said_by(row, table))
        except PricingError as error:
            errors[position] = error
            clip, assumed = row.cells, ()
        clips.append(clip)
        if assumed:
            assumptions[position] = assumed
    return Chunk(frame_of(columns, clips), errors, table.share(), assumptions)


def _clip(said: Mapping[str, Any]) -> tuple[Mapping[str, Any], tuple[str, ...]]:
    """Return a row with the fields of its clip, and what reading its body had to assume."""
    if "request" not in said:
        return {**said, **{name: exact(said[name]) for name in _SECONDS if name in said}}, ()
    request = own_body(said)
    fields = {name: getattr(request.clip, name) for name in CLIP_FIELDS}
    return {**said, **fields}, request.assumptions
