"""JSON: rows as objects, one a line or as a list of them in one document.

A key that is written twice is refused: a reader that took either of the two would be guessing.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import cached_property, partial
from typing import IO, TYPE_CHECKING, Any, Final

from kling_ledger.errors import ConfigError
from kling_ledger.tabular.files import Kind
from kling_ledger.tabular.table import Row, in_chunks, size_of, whole

if TYPE_CHECKING:
    import pandas as pd

_DEEPEST: Final = 64
"""How deep a row may be nested: what is written again must not exhaust the stack."""

ReadNumber = Callable[[str], object]
"""How a number with a point is read from its writing: `float`, or `str` to keep all of it."""


def parse_json(text: str, number: ReadNumber = float) -> Any:
    """Parse JSON; ValueError for what is none, for NaN, and for a key that is written twice."""
    try:
        read = json.loads(
            text,
            parse_float=number,
            object_pairs_hook=_without_repetition,
            parse_constant=_refuse_constant,
        )
    except RecursionError:
        raise ValueError("it is nested too deep") from None
    # Hardly any text has that many brackets, so hardly any has to be measured.
    if text.count("{") + text.count("[") > _DEEPEST and _depth(read) > _DEEPEST:
        raise ValueError("it is nested too deep")
    return read


def _depth(value: object) -> int:
    """Return how deep lists and objects are nested, without a call for each level."""
    depth, level = 0, [value]
    while level := [inner for outer in level for inner in _parts(outer)]:
        depth += 1
    return depth


def _parts(value: object) -> Iterable[object]:
    if isinstance(value, dict):
        return value.values()
    return value if isinstance(value, list) else ()


def _without_repetition(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise ValueError(f"the key {twice} is written twice")
    return found


def _refuse_constant(word: str) -> object:
    raise ValueError(f"{word} is no number")


class JsonLines:
    """A file with one JSON object on each line. Blank lines are no rows."""

    kind: Kind = "jsonl"

    def __init__(self, file: IO[bytes], name: str, *, number: ReadNumber = float) -> None:
        self.name = name
        self._file = file
        self._size = size_of(file)
        self._parse = partial(parse_json, number=number)

    @cached_property
    def columns(self) -> Sequence[str]:
        """Every key, found by reading the whole file once: a later line may have more of them."""
        return _keys(whole(self))

    def rows(self) -> Iterator[Row]:
        """Read line by line; a file that is no UTF-8 is refused as a whole."""
        self._file.seek(0)
        # Only a line feed ends a line: a text may hold what Python takes for other ends of lines.
        for number, line in enumerate(self._file, 1):
            if line.strip():
                yield self._row(f"line {number}", line)

    def _row(self, place: str, line: bytes) -> Row:
        try:
            cells = self._parse(line.decode("utf-8-sig"))
        except UnicodeDecodeError as error:
            raise ConfigError(f"{self.name}: {place}: {error}") from None
        except ValueError as error:
            return Row(place, {}, f"this is no JSON: {error}")
        if not isinstance(cells, dict):
            return Row(place, {}, "this is no JSON object")
        return Row(place, cells)

    def frames(self) -> Iterator[pd.DataFrame]:
        """Read many rows at a time."""
        return _frames(self.columns, whole(self))

    def share(self) -> float:
        """How far the file is read."""
        return self._file.tell() / self._size


class JsonDocument:
    """A list of JSON objects, which is read as a whole."""

    kind: Kind = "json"

    def __init__(self, entries: Sequence[dict[str, Any]], name: str) -> None:
        self.name = name
        self._entries = entries
        self._read = 0

    @cached_property
    def columns(self) -> Sequence[str]:
        """Every key of every entry."""
        return _keys(self.rows())

    def rows(self) -> Iterator[Row]:
        """Read entry by entry."""
        for number, cells in enumerate(self._entries, 1):
            self._read = number
            yield Row(f"entry {number}", cells)

    def frames(self) -> Iterator[pd.DataFrame]:
        """Read many entries at a time."""
        return _frames(self.columns, self.rows())

    def share(self) -> float:
        """How many of the entries are read."""
        return self._read / max(len(self._entries), 1)


def read_document(file: IO[bytes], name: str, *, number: ReadNumber = float) -> JsonDocument:
    """Read a list of objects. ConfigError, with the line, for anything else."""
    try:
        read = _parsed(file, name, number)
    except json.JSONDecodeError as error:
        raise ConfigError(f"{name}: line {error.lineno}: this is no JSON: {error}") from None
    except ValueError as error:
        raise ConfigError(f"{name}: this is no JSON: {error}") from None
    return _document(read, name)


def read_envelope(
    file: IO[bytes], name: str, *, number: ReadNumber = float
) -> JsonDocument | JsonLines:
    """Read one object as the envelope of the only list in it, or as the only row; else its lines.

    An envelope is, for example, {"lines": [...]} or {"provider": ..., "data": [...]}.
    """
    try:
        read = _parsed(file, name, number)
    except json.JSONDecodeError:
        return JsonLines(file, name, number=number)
    except ValueError as error:
        raise ConfigError(f"{name}: this is no JSON: {error}") from None
    lists = [value for value in read.values() if isinstance(value, list)]
    return _document(lists[0] if len(lists) == 1 else [read], name)


def _parsed(file: IO[bytes], name: str, number: ReadNumber) -> Any:
    file.seek(0)
    try:
        text = file.read().decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise ConfigError(f"{name}: {error}") from None
    return parse_json(text, number)


def _document(read: Any, name: str) -> JsonDocument:
    if not isinstance(read, list) or not all(isinstance(cells, dict) for cells in read):
        raise ConfigError(f"{name}: this is no list of JSON objects")
    return JsonDocument(read, name)


def _keys(rows: Iterator[Row]) -> Sequence[str]:
    found: dict[str, None] = {}
    for row in rows:
        found.update(dict.fromkeys(row.cells))
    return list(found)


def _frames(columns: Sequence[str], rows: Iterator[Row]) -> Iterator[pd.DataFrame]:
    from kling_ledger.tabular.frames import frame_of

    for some in in_chunks(row.cells for row in rows):
        yield frame_of(columns, some)
