"""Pricing a manifest: every row its answer, and what all of them come to."""

from __future__ import annotations

import difflib
from collections import Counter
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

import pandas as pd

from kling_ledger.manifests.reading import Chunk
from kling_ledger.manifests.units import IN_UNITS
from kling_pricing.bulk import (
    ANSWER_COLUMNS,
    NOTES_BETWEEN,
    combine_totals,
    quote_table,
    totals,
)
from kling_pricing.clip import CLIP_FIELDS
from kling_pricing.errors import NoPriceError, PricingError
from kling_pricing.library import Library
from kling_pricing.own_rates import set_by


class Tally:
    """What the chunks came to so far.

    `sums` are the totals per provider and unit, None before the first chunk; `codes` counts the
    rows without a price by the code of their error.
    """

    def __init__(self) -> None:
        self.sums: pd.DataFrame | None = None
        self.codes: Counter[str] = Counter()

    def add(self, priced: pd.DataFrame) -> None:
        """Add the rows of one more chunk."""
        sums = totals(priced)
        self.sums = sums if self.sums is None else combine_totals([self.sums, sums])
        self.codes.update(priced["error_code"].dropna().astype(str).tolist())

    @property
    def rows(self) -> int:
        """How many rows there were."""
        return 0 if self.sums is None else int(self.sums["rows"].sum())


def replaced_columns(columns: Sequence[str]) -> list[str]:
    """Return the columns that fresh answers replace."""
    return [name for name in columns if name in ANSWER_COLUMNS or name in IN_UNITS.values()]


def misspelt_columns(columns: Sequence[str]) -> dict[str, str]:
    """Return the columns that are no field of a clip but look like one, with that field."""
    meant = {}
    for column in columns:
        if column in CLIP_FIELDS or column in replaced_columns([column]):
            continue
        alike = difflib.get_close_matches(column.lower(), CLIP_FIELDS, n=1, cutoff=0.81)
        if alike:
            meant[column] = alike[0]
    return meant


def price_chunk(chunk: Chunk, at: datetime, library: Library) -> pd.DataFrame:
    """Return the rows of a chunk with the columns of `quote_table()`, as one clip is priced."""
    kept = [name for name in chunk.frame.columns if name not in IN_UNITS.values()]
    priced = quote_table(_with_actions(chunk.frame[kept], library), at=at, library=library)
    _refuse(priced, chunk.errors)
    _note(priced, chunk.assumptions)
    _note(priced, _set_by_the_user(priced, library))
    return priced


def _refuse(priced: pd.DataFrame, errors: Mapping[int, PricingError]) -> None:
    """Leave nothing beside a row that was refused before it was priced but why."""
    if not errors:
        return
    for name in ANSWER_COLUMNS:
        priced[name] = priced[name].mask(priced.index.isin(list(errors)))
    _write(priced, "error", {row: error.message for row, error in errors.items()})
    _write(priced, "error_code", {row: error.code for row, error in errors.items()})


def _note(priced: pd.DataFrame, more: Mapping[int, Sequence[str]]) -> None:
    """Add notes to the rows that have a price, each note once."""
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
    """Say of each row, as `quote` does of one clip, that its whole rate is the user's own."""
    if not library.user_books:
        return {}
    providers = [str(provider).strip() for provider in priced["provider"].tolist()]
    told = {
        (provider, offer.rate.id): set_by(offer.rate, library)
        for provider in library.user_books.keys() & set(providers)
        for dated in library.book(provider).offers.values()
        for offer in dated
    }
    keys = enumerate(zip(providers, priced["rate_id"].tolist(), strict=True))
    return {row: told[key] for row, key in keys if told.get(key)}


def _with_actions(frame: pd.DataFrame, library: Library) -> pd.DataFrame:
    """Say the model's own first action where nobody said one, as `quote` does for one clip."""
    said = frame["action"].tolist() if "action" in frame.columns else [None] * len(frame)
    known: dict[tuple[str, str], str | None] = {}
    actions = [
        _first_action(known, provider, model, library) if _is_blank(action) else action
        for provider, model, action in zip(frame["provider"], frame["model"], said, strict=True)
    ]
    return frame.assign(action=pd.Series(actions, dtype=object, index=frame.index))


def _is_blank(value: Any) -> bool:
    if value is None or isinstance(value, str):
        return not (value and value.strip())
    return pd.api.types.is_scalar(value) and bool(pd.isna(value))


def _first_action(
    known: dict[tuple[str, str], str | None], provider: object, model: object, library: Library
) -> str | None:
    if not (isinstance(provider, str) and isinstance(model, str)):
        return None
    key = provider.strip(), model.strip()
    if key not in known:
        known[key] = _looked_up(*key, library)
    return known[key]


def _looked_up(provider: str, model: str, library: Library) -> str | None:
    try:
        actions = library.book(provider).actions_of(model)
    except NoPriceError:
        return None
    return actions[0] if actions else None
