"""JSON: rows as objects, one per line, or as a list in one document.

A duplicate key is refused: choosing either value would be a guess.
"""

from __future__ import annotations

import codecs
import json
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import cached_property, partial
from typing import IO, Any, Final

from kling_ledger.errors import ConfigError
from kling_ledger.tabular.files import Kind
from kling_ledger.tabular.table import Row, first_repeated, size_of
from kling_pricing.errors import reason_of

_DEEPEST: Final = 64
"""How deeply a row may be nested: writing it again must not exhaust the stack."""

_TOO_DEEP: Final = "it is nested too deep"

LONGEST: Final = 1 << 23
"""The most bytes in one row: in memory it may take twenty times as many."""

_BLOCK: Final = 1 << 16
_BLANKS: Final = re.compile(r"[ \t\r\n]*")

ReadNumber = Callable[[str], object]
"""How a number with a decimal point is read from text: `float`, or `str` to keep all digits."""


def parse_json(text: str, number: ReadNumber = float) -> Any:
    """Parse JSON; ValueError for invalid JSON, for NaN, and for a duplicate key."""
    try:
        read = json.loads(
            text,
            parse_float=number,
            object_pairs_hook=_without_repetition,
            parse_constant=_refuse_constant,
        )
    except json.JSONDecodeError:
        raise
    except (ValueError, RecursionError) as error:
        raise ValueError(reason_of(error)) from None
    if _is_too_deep(read, text):
        raise ValueError(_TOO_DEEP)
    return read


def _is_too_deep(read: object, text: str) -> bool:
    # Few texts have that many brackets, so few have to be measured.
    return text.count("{") + text.count("[") > _DEEPEST and _depth(read) > _DEEPEST


def _depth(value: object) -> int:
    """Return how deeply lists and objects are nested, without recursion."""
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
        raise ValueError(f"the key {first_repeated(name for name, _ in pairs)} is repeated")
    return found


def _refuse_constant(word: str) -> object:
    raise ValueError(f"{word} is not a number")


class JsonLines:
    """A file with one JSON object per line. Blank lines are skipped."""

    kind: Kind = "jsonl"
    encoding = "utf-8"
    is_json = True

    def __init__(self, file: IO[bytes], name: str, *, number: ReadNumber = float) -> None:
        self.name = name
        self._file = file
        self._size = size_of(file)
        self._parse = partial(parse_json, number=number)

    @cached_property
    def columns(self) -> Sequence[str]:
        """Every key, found by reading the whole file once: later lines may have more keys."""
        return _keys(self.rows())

    def rows(self) -> Iterator[Row]:
        """Read line by line."""
        self._file.seek(0)
        # Only a line feed ends a line: a text may contain other characters that Python takes for
        # line ends.
        lines = iter(partial(self._file.readline, LONGEST + 1), b"")
        for number, line in enumerate(lines, 1):
            if len(line) > LONGEST:
                self._skip_line(line)
                yield Row(f"line {number}", {}, f"it is longer than {LONGEST:,} bytes")
            elif line.strip():
                yield self._row(f"line {number}", line)

    def _skip_line(self, line: bytes) -> None:
        while line and not line.endswith(b"\n"):
            line = self._file.readline(LONGEST)

    def _row(self, place: str, line: bytes) -> Row:
        try:
            cells = self._parse(line.decode("utf-8-sig"))
        except UnicodeDecodeError as error:
            return Row(place, {}, f"not UTF-8: {error.reason} at byte {error.start}")
        except ValueError as error:
            return Row(place, {}, f"not JSON: {error}")
        return _object(place, cells)

    def share(self) -> float:
        """How much of the file has been read, from 0 to 1."""
        return self.read_bytes() / self._size

    def read_bytes(self) -> int:
        """How many bytes of the file have been read."""
        return self._file.tell()


class JsonDocument:
    """A list of JSON objects of any length, read entry by entry."""

    kind: Kind = "json"
    encoding = "utf-8"
    is_json = True

    def __init__(self, file: IO[bytes], name: str) -> None:
        self.name = name
        self._file = file
        self._size = size_of(file)

    @cached_property
    def columns(self) -> Sequence[str]:
        """Every key, found by reading the whole file once."""
        return _keys(self.rows())

    def rows(self) -> Iterator[Row]:
        """Read entry by entry; ConfigError, with the line, for invalid JSON."""
        self._file.seek(0)
        for number, entry in enumerate(_Entries(self._file, self.name), 1):
            yield _object(f"entry {number}", entry)

    def share(self) -> float:
        """How much of the file has been read, from 0 to 1."""
        return self.read_bytes() / self._size

    def read_bytes(self) -> int:
        """How many bytes of the file have been read."""
        return self._file.tell()


class _Entries:
    """The entries of a JSON list in an open file of UTF-8."""

    def __init__(self, file: IO[bytes], name: str) -> None:
        self._file, self._name = file, name
        self._decode = codecs.getincrementaldecoder("utf-8-sig")().decode
        self._text, self._at, self._lines = "", 0, 1

    def __iter__(self) -> Iterator[Any]:
        self._take("[")
        mark = self._take("]") if self._next() == "]" else ","
        while mark == ",":
            yield self._entry()
            mark = self._take(",]")
        if self._next():
            raise self._refusal("there is more after the end of the list")

    def _entry(self) -> Any:
        self._next()
        while True:
            try:
                entry, end = _DECODER.raw_decode(self._text, self._at)
            except (ValueError, RecursionError) as error:
                # An incomplete entry is invalid JSON too, until the rest has been read.
                is_cut = isinstance(error, json.JSONDecodeError)
                is_long = len(self._text) - self._at > LONGEST
                if not is_cut or is_long or not self._more():
                    raise self._refusal(_reason(error)) from None
                continue
            if _is_too_deep(entry, self._text[self._at : end]):
                raise self._refusal(_TOO_DEEP)
            self._at = end
            return entry

    def _next(self) -> str:
        """Return the next non-blank character without taking it; empty at the end."""
        while True:
            self._at = _BLANKS.match(self._text, self._at).end()  # type: ignore[union-attr]
            if self._at < len(self._text) or not self._more():
                return self._text[self._at : self._at + 1]

    def _take(self, allowed: str) -> str:
        found = self._next()
        if not found or found not in allowed:
            raise self._refusal(f"expected {' or '.join(allowed)}, got {found or 'its end'}")
        self._at += 1
        return found

    def _more(self) -> bool:
        """Read more; twice as much each time, so that a long entry is not reparsed too often."""
        self._lines += self._text.count("\n", 0, self._at)
        self._text, self._at = self._text[self._at :], 0
        block = self._file.read(max(_BLOCK, len(self._text)))
        try:
            self._text += self._decode(block, final=not block)
        except UnicodeDecodeError as error:
            raise self._refusal(f"not UTF-8: {error.reason}") from None
        return bool(block)

    def _refusal(self, reason: str) -> ConfigError:
        line = self._lines + self._text.count("\n", 0, self._at)
        return ConfigError(f"{self._name}: line {line}: not JSON: {reason}")


def _reason(error: Exception) -> str:
    return error.msg if isinstance(error, json.JSONDecodeError) else reason_of(error)


def _object(place: str, cells: Any) -> Row:
    is_object = isinstance(cells, dict)
    return Row(place, cells) if is_object else Row(place, {}, "not a JSON object")


def _keys(rows: Iterator[Row]) -> Sequence[str]:
    found: dict[str, None] = {}
    for row in rows:
        found.update(dict.fromkeys(row.cells))
    return list(found)


_DECODER: Final = json.JSONDecoder(
    object_pairs_hook=_without_repetition, parse_constant=_refuse_constant
)
