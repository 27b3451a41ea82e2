"""Pricing a manifest: an answer for every row, and the totals."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

import numpy as np
import pandas as pd

from kling_ledger.manifests.columns import meant_by
from kling_ledger.manifests.reading import Chunk
from kling_ledger.manifests.rows import first_action
from kling_ledger.manifests.units import IN_UNITS
from kling_pricing.bulk import (
    ANSWER_COLUMNS,
    NOTES_BETWEEN,
    Known,
    combine_totals,
    quote_table,
    totals,
)
from kling_pricing.bulk.rows import clips_of, distinct, read_column
from kling_pricing.errors import MOST_TOLD, KlingError
from kling_pricing.library import Library
from kling_pricing.own_rates import set_by
from kling_pricing.spellings import read_cell


class Tally:
    """The result of the chunks so far.

    `sums` are the totals per provider and unit, None before the first chunk; `codes` counts the
    unpriced rows by error code, and `first` has the first such row with its number.
    """

    def __init__(self) -> None:
        self.sums: pd.DataFrame | None = None
        self.codes: Counter[str] = Counter()
        self.first: list[tuple[int, str]] = []

    def add(self, priced: pd.DataFrame) -> None:
        """Add the rows of one more chunk."""
        if len(self.first) < MOST_TOLD:
            errors = priced["error"].dropna().head(MOST_TOLD - len(self.first))
            places = np.flatnonzero(priced["error"].notna())
            self.first += [
                (self.rows + 1 + int(place), str(error))
                for place, error in zip(places, errors, strict=False)
            ]
        sums = totals(priced)
        self.sums = sums if self.sums is None else combine_totals([self.sums, sums])
        self.codes.update(priced["error_code"].dropna().astype(str).tolist())

    @property
    def rows(self) -> int:
        """The number of rows."""
        return 0 if self.sums is None else int(self.sums["rows"].sum())


def replaced_columns(columns: Sequence[str]) -> list[str]:
    """Return the columns that the answers replace."""
    return [name for name in columns if name in ANSWER_COLUMNS or name in IN_UNITS.values()]


def misspelt_columns(columns: Sequence[str]) -> dict[str, str]:
    """Return the columns that are not a field of a clip but resemble one, with that field."""
    answers = replaced_columns(columns)
    meant = {column: meant_by(column) for column in columns if column not in answers}
    return {column: field for column, field in meant.items() if field is not None}


def price_chunk(
    chunk: Chunk, at: datetime, library: Library, known: Known | None = None
) -> pd.DataFrame:
    """Return the rows of a chunk with the columns of `quote_table()`, priced like single clips.

    `known` is one dict for all chunks of a manifest; it keeps the answers.
    """
    kept = [name for name in chunk.frame.columns if name not in IN_UNITS.values()]
    priced = quote_table(
        _with_actions(chunk.frame[kept], library), at=at, library=library, known=known
    )
    _refuse(priced, chunk.errors)
    _note(priced, chunk.assumptions)
    _note(priced, _set_by_the_user(priced, library))
    return priced


def _refuse(priced: pd.DataFrame, errors: Mapping[int, KlingError]) -> None:
    """In a row refused before pricing, keep only the reason."""
    if not errors:
        return
    for name in ANSWER_COLUMNS:
        priced[name] = priced[name].mask(priced.index.isin(list(errors)))
    _write(priced, "error", {row: error.message for row, error in errors.items()})
    _write(priced, "error_code", {row: error.code for row, error in errors.items()})


def _note(priced: pd.DataFrame, more: Mapping[int, Sequence[str]]) -> None:
    """Add notes to the priced rows, each note once."""
    if not more:
        return
    is_priced, said = priced["amount_micro"].notna().tolist(), priced["notes"].tolist()
    joined = {}
    for row, notes in more.items():
        if is_priced[row]:
            known = said[row] if isinstance(said[row], str) else ""
            new = [note for note in notes if note not in known]
            joined[row] = NOTES_BETWEEN.join([known, *new] if known else new)
    _write(priced, "notes", {row: notes for row, notes in joined.items() if notes})


def _write(priced: pd.DataFrame, column: str, words: Mapping[int, str]) -> None:
    if words:
        said = enumerate(priced[column].tolist())
        priced[column] = pd.Categorical([words.get(row, word) for row, word in said])


def _set_by_the_user(priced: pd.DataFrame, library: Library) -> dict[int, tuple[str, ...]]:
    """Note, for each row, if its whole rate is the user's own, as `quote` does for one clip."""
    if not library.user_books:
        return {}
    providers = [str(read_cell("provider", one)) for one in priced["provider"].tolist()]
    told = {
        (provider, offer.rate.id): set_by(offer.rate, library)
        for provider in library.user_books.keys() & set(providers)
        for dated in library.book(provider).offers.values()
        for offer in dated
    }
    keys = enumerate(zip(providers, priced["rate_id"].tolist(), strict=True))
    return {row: told[key] for row, key in keys if told.get(key)}


def _with_actions(frame: pd.DataFrame, library: Library) -> pd.DataFrame:
    """Fill in the model's first action if none is given, as `quote` does for one clip."""
    names = [name for name in ("provider", "model", "action") if name in frame.columns]
    columns = [read_column(name, frame[name]) for name in names]
    which, examples = distinct(columns, rows=len(frame))
    actions = [
        said["action"] if "action" in said else first_action(**_model(said), library=library)
        for said in clips_of(columns, examples)
    ]
    spread = pd.Series([*actions, None], dtype=object).iloc[which].set_axis(frame.index)
    is_text = all(isinstance(action, str | None) for action in actions)
    return frame.assign(action=spread.astype("category") if is_text else spread)


def _model(said: Mapping[str, Any]) -> dict[str, Any]:
    return {name: said.get(name) for name in ("provider", "model")}
