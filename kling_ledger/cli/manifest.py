"""`kling-ledger quote --manifest`: price a file of clips, and say what it comes to."""

from __future__ import annotations

import difflib
import sys
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, redirect_stdout
from datetime import datetime
from typing import Any, Final

import click
import pandas as pd

from kling_ledger.cli.books import set_by
from kling_ledger.cli.manifest_writing import IN_UNITS, in_units, rows_of, sink_for
from kling_ledger.cli.output import print_table, say
from kling_ledger.errors import ConfigError
from kling_ledger.manifests.reading import Chunk, opened
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

EXIT_PRICED: Final = 0
EXIT_BAD_INPUT: Final = 2
EXIT_NO_PRICE: Final = 7


def quote_manifest(
    name: str, *, at: datetime, form: str, out: str | None = None, library: Library | None = None
) -> int:
    """Price every clip of a manifest; return the exit code that the outcome has.

    `name` is a CSV, JSONL or Parquet file, or - for CSV or JSONL on stdin. The rows are written to
    `out`, in the format that its extension says, or printed; totals and troubles go to stderr.
    Columns that are no part of a clip are kept, except those that are named like an answer: fresh
    answers replace them, and stderr names them.
    Raises ConfigError for a file that cannot be read or written.
    """
    library = library or Library()
    tally = _Tally()
    with opened(name) as manifest, _progress(name, out) as advance:
        _warn_about(manifest.columns)
        with sink_for(out, form, name) as write:
            for chunk in manifest.chunks:
                priced = _priced(chunk, at, library)
                write(priced)
                tally.add(priced)
                advance(chunk.share)
            if tally.sums is None:
                raise ConfigError(f"{name}: there are no clips in it")
    tally.tell()
    return tally.exit_code


class _Tally:
    """What the chunks came to so far."""

    def __init__(self) -> None:
        self.sums: pd.DataFrame | None = None
        self.codes: Counter[str] = Counter()

    def add(self, priced: pd.DataFrame) -> None:
        """Add the rows of one more chunk."""
        sums = totals(priced)
        self.sums = sums if self.sums is None else combine_totals([self.sums, sums])
        self.codes.update(priced["error_code"].dropna().astype(str).tolist())

    @property
    def exit_code(self) -> int:
        """The exit code: bad input comes before a missing price."""
        if not self.codes:
            return EXIT_PRICED
        return EXIT_NO_PRICE if set(self.codes) == {NoPriceError.code} else EXIT_BAD_INPUT

    def tell(self) -> None:
        """Say on stderr what the rows come to, and how many have no price."""
        if self.sums is None:
            return
        rows = rows_of(in_units(self.sums))
        with redirect_stdout(sys.stderr):
            print_table(rows, list(rows[0]), title="totals")
        if self.codes:
            because = ", ".join(f"{code} {count}" for code, count in sorted(self.codes.items()))
            failed = f"{self.codes.total()} of {int(self.sums['rows'].sum())} rows"
            say(f"{failed} have no price ({because}): their error column says why")


def _warn_about(columns: Sequence[str]) -> None:
    replaced = [name for name in columns if name in ANSWER_COLUMNS or name in IN_UNITS.values()]
    if replaced:
        say(f"warning: columns replaced by fresh answers: {', '.join(replaced)}")
    for column in columns:
        if column in CLIP_FIELDS or column in replaced:
            continue
        meant = difflib.get_close_matches(column.lower(), CLIP_FIELDS, n=1, cutoff=0.81)
        if meant:
            say(f"warning: the column {column} is not used for the price; meant {meant[0]}?")


def _priced(chunk: Chunk, at: datetime, library: Library) -> pd.DataFrame:
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
    return (isinstance(value, str) and not value.strip()) or (
        pd.api.types.is_scalar(value) and bool(pd.isna(value))
    )


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


@contextmanager
def _progress(name: str, out: str | None) -> Iterator[Callable[[float], None]]:
    """Show how far it is, if a person looks and the rows do not go to the same terminal."""
    if not sys.stderr.isatty() or (out is None and sys.stdout.isatty()):
        yield lambda _share: None
        return
    from rich.console import Console
    from rich.progress import Progress

    with Progress(console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task(f"pricing {click.format_filename(name, shorten=True)}", total=1.0)
        yield lambda share: bar.update(task, completed=share)
