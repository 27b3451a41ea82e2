"""`kling-ledger quote --manifest`: price a file of clips, and say what it comes to."""

from __future__ import annotations

import difflib
import sys
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, redirect_stdout
from datetime import datetime
from typing import Any, Final

import click
import pandas as pd

from kling_ledger.cli.manifest_reading import Chunk, opened
from kling_ledger.cli.manifest_writing import IN_UNITS, in_units, rows_of, sink_for
from kling_ledger.cli.output import print_table, say
from kling_ledger.errors import ConfigError
from kling_pricing.bulk import ANSWER_COLUMNS, combine_totals, quote_table, totals
from kling_pricing.clip import CLIP_FIELDS
from kling_pricing.errors import NoPriceError
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
        say(f"warning: replaced by the answer's own columns: {', '.join(replaced)}")
    for column in columns:
        if column in CLIP_FIELDS or column in replaced:
            continue
        meant = difflib.get_close_matches(column.lower(), CLIP_FIELDS, n=1, cutoff=0.81)
        if meant:
            say(f"warning: the column {column} is not used for the price; meant {meant[0]}?")


def _priced(chunk: Chunk, at: datetime, library: Library) -> pd.DataFrame:
    kept = [name for name in chunk.frame.columns if name not in IN_UNITS.values()]
    priced = quote_table(_with_actions(chunk.frame[kept], library), at=at, library=library)
    if chunk.errors:
        told = {at: (error.message, error.code) for at, error in chunk.errors.items()}
        for part, column in enumerate(("error", "error_code")):
            said = enumerate(priced[column].tolist())
            words = [told[row][part] if row in told else word for row, word in said]
            priced[column] = pd.Categorical(words)
    return priced


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
