"""Planning a manifest: its rows as wanted clips, with their takes."""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import IO, Any, Final

import numpy as np

from kling_ledger.errors import ConfigError
from kling_ledger.manifests.pricing import misspelt_columns
from kling_ledger.manifests.reading import Chunk, open_manifest
from kling_ledger.tabular.frames import columns_of
from kling_pricing.bulk.rows import clips_of, read_column
from kling_pricing.clip import CLIP_FIELDS
from kling_pricing.errors import PricingError
from kling_pricing.plans import Wanted, read_failure_rate, read_takes
from kling_pricing.plans.takes import FAILURE_RATE, TAKES

ID: Final = "id"
"""The column that names a row, unless another one is given."""


@dataclass(frozen=True, slots=True)
class Usual:
    """The values for every row that does not set its own."""

    takes: Fraction
    failure_rate: Fraction


@dataclass(frozen=True, slots=True)
class Storyboard:
    """The clips of a manifest in order.

    `has_ids` says that it has the id column. `misspelt` maps unknown columns to the known ones that
    they resemble.
    """

    name: str
    rows: tuple[Wanted, ...]
    has_ids: bool
    misspelt: Mapping[str, str]


def read_storyboard(
    name: str,
    usual: Usual,
    *,
    id_column: str = ID,
    content: IO[bytes] | None = None,
    may_be_empty: bool = False,
) -> Storyboard:
    """Read a CSV, JSON, JSONL or Parquet file of clips, or - for one on stdin; or `content`.

    `takes` and `failure_rate` may be columns. A row's errors are kept with the row. ConfigError for
    a file that is not a manifest, and for one without clips unless it `may_be_empty`.
    """
    rows: list[Wanted] = []
    with open_manifest(name, content) as manifest:
        columns = list(manifest.columns)
        for chunk in manifest.chunks:
            rows.extend(_wanted(chunk, usual, id_column, first=len(rows) + 1))
    if not (rows or may_be_empty):
        raise ConfigError(f"{name}: no clips in it")
    return Storyboard(name, tuple(rows), id_column in columns, _misspelt(columns))


def _misspelt(columns: Sequence[str]) -> dict[str, str]:
    found = misspelt_columns(columns)
    for column in columns:
        alike = difflib.get_close_matches(column.lower(), (TAKES, FAILURE_RATE), n=1, cutoff=0.8)
        if alike and column != alike[0]:
            found[column] = alike[0]
    return found


def _wanted(chunk: Chunk, usual: Usual, id_column: str, *, first: int) -> Iterator[Wanted]:
    frame = chunk.frame
    columns = [read_column(name, frame[name]) for name in CLIP_FIELDS if name in frame.columns]
    clips = clips_of(columns, np.arange(len(frame)))
    further = [name for name in (id_column, TAKES, FAILURE_RATE) if name in frame.columns]
    beside = columns_of(frame[further])
    for row, fields in enumerate(clips):
        said = {name: cells[row] for name, cells in beside.items()}
        try:
            takes, failure_rate = _counted(said, usual)
            error = chunk.errors.get(row)
        except PricingError as problem:
            takes, failure_rate, error = usual.takes, usual.failure_rate, problem
        yield Wanted(
            first + row,
            fields,
            id=_id(said.get(id_column)),
            takes=takes,
            failure_rate=failure_rate,
            error=error,
            assumptions=chunk.assumptions.get(row, ()),
        )


def _counted(said: Mapping[str, Any], usual: Usual) -> tuple[Fraction, Fraction]:
    takes, rate = said.get(TAKES), said.get(FAILURE_RATE)
    return (
        usual.takes if _is_blank(takes) else read_takes(takes),
        usual.failure_rate if _is_blank(rate) else read_failure_rate(rate),
    )


def _id(cell: object) -> str | None:
    return None if _is_blank(cell) else str(cell).strip()


def _is_blank(cell: object) -> bool:
    return cell is None or (isinstance(cell, str) and not cell.strip())
