"""quote_table(): the answers of quote() for a whole table of clips at once.

Nothing is priced here. The distinct clips of a table are found, each is priced once by quote(),
and the answers are spread over the rows: the two cannot differ. This is the only module of the
package that imports pandas, and nothing else in the package imports it.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime
from decimal import Decimal
from typing import Any, Final, NamedTuple, cast

import numpy as np
import numpy.typing as npt
import pandas as pd

from kling_pricing.clip import CLIP_FIELDS, Clip
from kling_pricing.errors import (
    MISSING,
    AmountError,
    ClipError,
    NoPriceError,
    Problem,
)
from kling_pricing.library import Library
from kling_pricing.money import Money, plain
from kling_pricing.quote import quote

Codes = npt.NDArray[Any]
"""A whole number per row: where its value stands in a list of values."""

_REQUIRED: Final = ("provider", "model")
_SECONDS: Final = frozenset({"seconds", "input_seconds"})
_FLAGS: Final = frozenset({"sound", "multi_shot", "voice", "video_input", "elements"})
_WORDS: Final = {"true": True, "on": True, "yes": True, "false": False, "off": False, "no": False}
_NUMBER: Final = re.compile(r"[+-]?(?:[0-9]{1,15}(?:\.[0-9]{0,15})?|\.[0-9]{1,15})")
_ALIKE: Final = frozenset({"string", "boolean", "integer", "empty"})
_NARROW: Final = 4096
_LARGEST_CODE: Final = 2**62
_TOO_LARGE: Final = 2**63

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
"""What stands between two notes of one row."""


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


class _Total(NamedTuple):
    provider: str | None
    unit: str | None
    rows: int
    priced: int
    failed: int
    amount_micro: int
    usd_micro: int | None


class _Column(NamedTuple):
    name: str
    codes: Codes
    values: Sequence[object]


def quote_table(
    frame: pd.DataFrame, *, at: datetime, library: Library | None = None
) -> pd.DataFrame:
    """Price a table of clips at an instant, exactly as quote() prices each of them.

    Columns are named like the fields of a Clip; `provider` and `model` must be there. A blank or
    missing value means that nobody said. Seconds are whole numbers, or decimals as text or
    Decimal; flags are booleans or true/false, on/off, yes/no. Other columns are kept as they are,
    except those that are named like an answer: fresh answers replace them.

    Returns the same rows in the same order under the same index, with `unit`, `amount_micro` and
    `usd_micro` (millionths; at most, where the run decides), `low_micro` (at least),
    `expected_micro` (blank where nobody can tell before the run), `billed_seconds`, `rate` (the
    unit price, as text), `evidence`, `rate_id` and `notes` (the quote's warnings, then its
    assumptions). A row that cannot be priced is kept: there these are blank, and `error` and
    `error_code` say why.
    Raises ClipError for a table without a required column, or with the same one twice.
    """
    _check_columns(frame)
    columns = [_column(name, frame[name]) for name in CLIP_FIELDS if name in frame.columns]
    which, examples = _distinct(columns, rows=len(frame))
    answers = _table_of([_answer(clip, at, library) for clip in _clips(columns, examples)])
    spread = answers.take(which).set_axis(frame.index)
    kept = frame.drop(columns=[name for name in ANSWER_COLUMNS if name in frame.columns])
    return pd.concat([kept, spread], axis=1)


def totals(priced: pd.DataFrame) -> pd.DataFrame:
    """Sum what quote_table() answered, per provider and unit, exactly.

    Columns: provider, unit, rows, priced, failed, amount_micro, usd_micro. Rows that failed count
    under their provider's unit, or a blank one if nothing of that provider was priced. The
    US dollars are blank where one of the priced rows has none.
    """
    provider = _column("provider", priced["provider"])
    names = [value if value is None else str(value) for value in provider.values]
    table = pd.DataFrame(
        {
            "provider": np.array(names, dtype=object)[provider.codes],
            "unit": priced["unit"].astype(object).where(priced["unit"].notna(), None).to_numpy(),
            "amount_micro": priced["amount_micro"].array,
            "usd_micro": priced["usd_micro"].array,
        }
    )
    groups = table.groupby(["provider", "unit"], dropna=False, sort=False)
    return _table_of_totals([_total(key, group) for key, group in groups])


def combine_totals(parts: Iterable[pd.DataFrame]) -> pd.DataFrame:
    """Sum the totals of several tables, as if they had been one."""
    return _table_of_totals(
        [_read_total(row) for part in parts for row in part.to_numpy().tolist()]
    )


def _read_total(row: Sequence[Any]) -> _Total:
    return _Total(*(cast("Any", None if pd.isna(value) else value) for value in row))


def _total(key: tuple[Any, ...], group: pd.DataFrame) -> _Total:
    provider, unit = (None if pd.isna(part) else str(part) for part in key)
    rows, priced = len(group), int(group["amount_micro"].count())
    in_usd = int(group["usd_micro"].count())
    return _Total(
        provider,
        unit,
        rows,
        priced,
        rows - priced,
        _exact_sum(group["amount_micro"]),
        _exact_sum(group["usd_micro"]) if in_usd == priced else None,
    )


def _exact_sum(amounts: pd.Series[Any]) -> int:
    """Sum amounts in two halves: 64 bits hold no more than a thousand of the largest."""
    micro = amounts.dropna().to_numpy(np.int64)
    return (int((micro >> 24).sum()) << 24) + int((micro & 0xFFFFFF).sum())


def _table_of_totals(parts: Sequence[_Total]) -> pd.DataFrame:
    unit_of = {part.provider: part.unit for part in parts if part.unit is not None}
    sums: dict[tuple[str | None, str | None], _Total] = {}
    for part in parts:
        whole = part._replace(unit=part.unit or unit_of.get(part.provider))
        key = whole.provider, whole.unit
        sums[key] = _added(sums[key], whole) if key in sums else whole
    rows = sorted(sums.values(), key=lambda total: (total.provider or "", total.unit or ""))
    names = _Total._fields
    columns = zip(*rows, strict=True) if rows else [()] * len(names)
    return pd.DataFrame(
        {name: _summed(values, name) for name, values in zip(names, columns, strict=True)}
    )


def _added(one: _Total, other: _Total) -> _Total:
    known = one.usd_micro is not None and other.usd_micro is not None
    return _Total(
        one.provider,
        one.unit,
        one.rows + other.rows,
        one.priced + other.priced,
        one.failed + other.failed,
        one.amount_micro + other.amount_micro,
        (one.usd_micro or 0) + (other.usd_micro or 0) if known else None,
    )


def _summed(values: Sequence[Any], name: str) -> Any:
    if name in {"provider", "unit"}:
        return _array(values, "str")
    fits = all(value is None or value < _TOO_LARGE for value in values)
    return _array(values, "Int64" if fits else "object")


def _check_columns(frame: pd.DataFrame) -> None:
    names = list(frame.columns)
    problems = [
        Problem(name, MISSING, "a column of the table") for name in _REQUIRED if name not in names
    ]
    problems += [
        Problem(name, "the same column twice", "each column once")
        for name in CLIP_FIELDS
        if names.count(name) > 1
    ]
    if problems:
        raise ClipError(problems)


def _column(name: str, column: pd.Series[Any]) -> _Column:
    codes, found = _codes(column)
    read = _READERS.get(name, _text)
    return _Column(name, codes, [read(_native(value)) for value in found])


def _native(value: object) -> object:
    return value.item() if isinstance(value, np.generic) else value


def _codes(column: pd.Series[Any]) -> tuple[Codes, Sequence[object]]:
    """Return a column as numbers and what they stand for; None stands for a missing value."""
    if isinstance(column.dtype, pd.CategoricalDtype):
        return column.cat.codes.to_numpy() + 1, [None, *column.cat.categories.tolist()]
    values = column.to_numpy() if isinstance(column.dtype, np.dtype) else None
    if values is not None and values.dtype.kind == "b":
        return values.view(np.uint8), [False, True]
    if values is not None and values.dtype.kind in "iu" and len(values):
        low, high = int(values.min()), int(values.max())
        if high - low < _NARROW:
            wide = values if values.dtype.itemsize == 8 else values.astype(np.int64)
            return (wide - wide.min()).astype(np.int64, copy=False), range(low, high + 1)
    if values is not None and values.dtype.kind == "O" and not _is_alike(column):
        return _mixed_codes(column)
    codes, found = pd.factorize(column)
    return codes + 1, [None, *found.tolist()]


def _is_alike(column: pd.Series[Any]) -> bool:
    return pd.api.types.infer_dtype(column, skipna=True) in _ALIKE


def _mixed_codes(column: pd.Series[Any]) -> tuple[Codes, Sequence[object]]:
    """Number values of many types by type and writing: 1, 1.0 and True are three of them."""
    numbers: dict[tuple[type, str], int] = {}
    found: list[object] = [None]
    codes = np.zeros(len(column), np.int64)
    for position, value in enumerate(column):
        if pd.api.types.is_scalar(value) and pd.isna(value):
            continue
        key = type(value), repr(value)
        if key not in numbers:
            numbers[key] = len(found)
            found.append(value)
        codes[position] = numbers[key]
    return codes, found


def _distinct(columns: Sequence[_Column], *, rows: int) -> tuple[Codes, Codes]:
    """Number the distinct rows; return each row's number, and one row as example of each."""
    combined, size = np.zeros(rows, np.int64), 1
    for column in columns:
        if size * len(column.values) > _LARGEST_CODE:
            combined, examples = _renumbered(combined, size)
            size = len(examples)
        combined *= len(column.values)
        combined += column.codes
        size *= len(column.values)
    return _renumbered(combined, size)


def _renumbered(codes: Codes, size: int) -> tuple[Codes, Codes]:
    """Replace codes below `size` by numbers without holes."""
    rows = np.arange(len(codes))
    if size > max(4 * len(codes), _NARROW):
        numbers, found = pd.factorize(codes)
        examples = np.empty(len(found), np.int64)
        examples[numbers] = rows
        return numbers, examples
    example_of = np.full(size, -1, np.int64)
    example_of[codes] = rows
    used = np.flatnonzero(example_of >= 0)
    number_of = np.zeros(size, np.int64)
    number_of[used] = np.arange(len(used))
    return number_of[codes], example_of[used]


def _clips(columns: Sequence[_Column], examples: Codes) -> list[dict[str, Any]]:
    """Return the fields of each distinct clip as far as somebody said them."""
    said = [[column.values[code] for code in column.codes[examples].tolist()] for column in columns]
    names = [column.name for column in columns]
    return [
        {name: value for name, value in zip(names, row, strict=True) if value is not None}
        for row in zip(*said, strict=True)
    ]


def _answer(said: dict[str, Any], at: datetime, library: Library | None) -> _Answer:
    try:
        return _priced(Clip(**dict.fromkeys(_REQUIRED, MISSING) | said), at, library)
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
        rate=plain(quoted.price),
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
        return _array(values, dtype)
    words = sorted({value for value in values if isinstance(value, str)})
    return pd.Categorical(list(values), categories=pd.Index(words, dtype="str"))


def _array(values: Sequence[object], dtype: str) -> Any:
    return pd.Series(list(values), dtype=dtype).array


def _text(value: object) -> object:
    """Read text; blank is None. What is no text is left for Clip to refuse."""
    return (value.strip() or None) if isinstance(value, str) else value


def _flag(value: object) -> object:
    said = _text(value)
    return _WORDS.get(said.lower(), said) if isinstance(said, str) else said


def _seconds(value: object) -> object:
    """Read a length: text as it is written, a float only where it is a whole number."""
    said = _text(value)
    if isinstance(said, float) and said.is_integer():
        return int(said)
    if not isinstance(said, str) or not _NUMBER.fullmatch(said):
        return said
    number = Decimal(said)
    return int(number) if number == int(number) else number


_READERS: Final[Mapping[str, Callable[[object], object]]] = {
    **dict.fromkeys(_FLAGS, _flag),
    **dict.fromkeys(_SECONDS, _seconds),
}
