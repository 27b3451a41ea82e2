"""The answers of quote() for a whole table of clips at once."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, Final, NamedTuple

import pandas as pd

from kling_pricing.bulk.rows import check_columns, clips_of, distinct, read_column
from kling_pricing.clip import CLIP_FIELDS, REQUIRED, Clip
from kling_pricing.errors import MISSING, AmountError, ClipError, NoPriceError
from kling_pricing.library import Library
from kling_pricing.money import Money, plain
from kling_pricing.quote import quote

_DTYPES: Final[Mapping[str, str]] = {
    "unit": "category",
    "amount_micro": "Int64",
    "low_micro": "Int64",
    "expected_micro": "Int64",
    "usd_micro": "Int64",
    "billed_seconds": "Float64",
    "rate": "category",
    "evidence": "category",
    "rate_id": "category",
    "notes": "category",
    "error": "category",
    "error_code": "category",
}
ANSWER_COLUMNS: Final = tuple(_DTYPES)
"""The columns that quote_table() adds, in their order."""

NOTES_BETWEEN: Final = "; "
"""The text between two notes of one row."""


_MOST_KNOWN: Final = 20_000


class _Answer(NamedTuple):
    unit: str | None = None
    amount_micro: int | None = None
    low_micro: int | None = None
    expected_micro: int | None = None
    usd_micro: int | None = None
    billed_seconds: float | None = None
    rate: str | None = None
    evidence: str | None = None
    rate_id: str | None = None
    notes: str | None = None
    error: str | None = None
    error_code: str | None = None


Known = dict[str, _Answer]
"""Answers by the repr of their clips: 1, 1.0 and True are different clips."""


def quote_table(
    frame: pd.DataFrame,
    *,
    at: datetime,
    library: Library | None = None,
    known: Known | None = None,
) -> pd.DataFrame:
    """Price a table of clips at an instant, exactly as quote() prices each of them.

    Columns are named like the fields of a Clip; `provider` and `model` are required. A blank or
    missing value means not given; all others are read by `spellings.read_cell`. Other columns are
    kept as they are, except those named like an answer column, which are replaced.

    Returns the same rows in the same order under the same index, with `unit`, `amount_micro` and
    `usd_micro` (millionths; the most, if only the run decides), `low_micro` (the least),
    `expected_micro` (blank if it cannot be told before the run), `billed_seconds`, `rate` (the unit
    price with every fee, as text), `evidence`, `rate_id` and `notes` (the quote's warnings, then
    its assumptions). A row that cannot be priced is kept, with these columns blank and the reason
    in `error` and `error_code`.

    To price a table in parts, pass the same `known` (at first an empty dict), instant and library
    with each part: `known` remembers the answers. Raises ClipError for a table without a required
    column, or with the same one twice.
    """
    check_columns(frame)
    columns = [read_column(name, frame[name]) for name in CLIP_FIELDS if name in frame.columns]
    which, examples = distinct(columns, rows=len(frame))
    known = {} if known is None else known
    clips = clips_of(columns, examples)
    answers = _table_of([_known_answer(clip, at, library, known) for clip in clips])
    spread = answers.take(which).set_axis(frame.index)
    kept = frame.drop(columns=[name for name in ANSWER_COLUMNS if name in frame.columns])
    return pd.concat([kept, spread], axis=1)


def _known_answer(
    said: dict[str, Any], at: datetime, library: Library | None, known: Known
) -> _Answer:
    written = repr(said)
    if written not in known:
        if len(known) == _MOST_KNOWN:
            known.clear()
        known[written] = _answer(said, at, library)
    return known[written]


def _answer(said: dict[str, Any], at: datetime, library: Library | None) -> _Answer:
    try:
        return _priced(Clip(**dict.fromkeys(REQUIRED, MISSING) | said), at, library)
    except (AmountError, ClipError, NoPriceError) as error:
        return _Answer(error=error.message, error_code=error.code)


def _priced(clip: Clip, at: datetime, library: Library | None) -> _Answer:
    quoted = quote(clip, at=at, book=library.book(clip.provider) if library else None)
    seconds = quoted.billed.high
    return _Answer(
        unit=quoted.unit,
        amount_micro=_micro(quoted.amount),
        low_micro=_micro(quoted.low),
        expected_micro=_micro(quoted.expected),
        usd_micro=_micro(quoted.usd),
        billed_seconds=None if seconds is None else float(seconds),
        rate=plain(quoted.unit_price),
        evidence=quoted.evidence,
        rate_id=quoted.rate.id,
        notes=NOTES_BETWEEN.join((*quoted.warnings, *quoted.assumptions)) or None,
    )


def _micro(money: Money | None) -> int | None:
    return None if money is None else money.micro


def _table_of(answers: Sequence[_Answer]) -> pd.DataFrame:
    columns = zip(*answers, strict=True) if answers else [()] * len(ANSWER_COLUMNS)
    named = zip(_DTYPES.items(), columns, strict=True)
    return pd.DataFrame({name: _typed(values, dtype) for (name, dtype), values in named})


def _typed(values: Sequence[object], dtype: str) -> Any:
    if dtype != "category":
        return pd.Series(list(values), dtype=dtype).array
    words = sorted({value for value in values if isinstance(value, str)})
    return pd.Categorical(list(values), categories=pd.Index(words, dtype="str"))
