"""XLSX: a workbook's sheets as lines of text cells, read with the standard library.

A number appears as it was typed, although a workbook stores binary fractions: 0.675 is 0.675. Dates
and times are written as ISO 8601, without a time zone, because a workbook has none.
"""

from __future__ import annotations

import re
import struct
import zipfile
import zlib
from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import IO, Final
from xml.etree import ElementTree as ET

from kling_ledger.errors import ConfigError
from kling_ledger.tabular.cells import Written
from kling_ledger.tabular.grids import Line

SIGNATURE: Final = b"PK\x03\x04"
"""How every workbook begins: it is a ZIP archive."""

_LARGEST_BYTES: Final = 1 << 29
"""The most bytes that one part of a workbook may unpack to."""
_DAY_ZERO: Final = datetime(1899, 12, 30)  # noqa: DTZ001 - a workbook knows no zones
_DAY_ZERO_1904: Final = datetime(1904, 1, 1)  # noqa: DTZ001
_DATE_FORMATS: Final = frozenset({*range(14, 23), *range(27, 37), *range(45, 48), *range(50, 59)})
"""Date and time formats that every spreadsheet knows by number."""
# Texts, colours and escapes within a format: [Red], "days", \d. The rest shows what it formats.
_NO_DATE_PARTS: Final = re.compile(r"\[(?!h|m|s)[^\]]*\]|\"[^\"]*\"|\\.|_.|\*.")
_EXACT_DIGITS: Final = 15
_BROKEN: Final = (
    *(zipfile.BadZipFile, zlib.error, struct.error, ET.ParseError, EOFError, OSError),
    *(KeyError, ValueError, IndexError, StopIteration, OverflowError, RuntimeError),
)
"""What reading an archive raises if it is truncated, changed, encrypted, or not a workbook."""
_LETTERS: Final = re.compile(r"[A-Z]+")
_ALL: Final = "*"


def read_workbook(file: IO[bytes], name: str) -> Iterator[tuple[str, list[Line]]]:
    """Return each visible sheet with its name. ConfigError for anything but a workbook."""
    try:
        with zipfile.ZipFile(file) as archive:
            yield from _Workbook(archive, name).sheets()
    except _BROKEN as error:
        raise ConfigError(f"{name}: not a readable workbook: {error}") from None


class _Workbook:
    """An open workbook archive."""

    def __init__(self, archive: zipfile.ZipFile, name: str) -> None:
        self._archive, self._name = archive, name
        self._root = self._part("xl/workbook.xml")
        self._strings = [_text(one) for one in self._some("xl/sharedStrings.xml", "si")]
        self._dates = self._date_styles()
        is_1904 = any(one.get("date1904") in {"1", "true"} for one in self._root.iter(_ALL))
        self._zero = _DAY_ZERO_1904 if is_1904 else _DAY_ZERO

    def sheets(self) -> Iterator[tuple[str, list[Line]]]:
        """Read the sheets in order, without hidden ones."""
        targets = {
            one.get("Id"): one.get("Target", "")
            for one in self._part("xl/_rels/workbook.xml.rels").iter(_ALL)
        }
        for sheet in _named(self._root, "sheet"):
            target = targets[next(value for key, value in sheet.items() if key.endswith("}id"))]
            if sheet.get("state", "visible") == "visible":
                path = target.lstrip("/") if target.startswith("/") else f"xl/{target}"
                yield sheet.get("name", ""), list(self._lines(path))

    def _lines(self, path: str) -> Iterator[Line]:
        self._check(path)
        number = 0
        with self._archive.open(path) as part:
            for _, element in ET.iterparse(part):  # noqa: S314 - no document type: checked
                if _tag(element) != "row":
                    continue
                number = int(element.get("r") or number + 1)
                yield Line(f"row {number}", self._cells(element))
                element.clear()

    def _cells(self, row: ET.Element) -> list[str]:
        cells: list[str] = []
        for cell in row:
            letters = _LETTERS.match(cell.get("r", ""))
            column = _column(letters[0]) if letters else len(cells)
            cells.extend([""] * (column - len(cells)))
            cells.append(self._value(cell))
        return cells

    def _value(self, cell: ET.Element) -> str:
        kind = cell.get("t", "n")
        if kind == "inlineStr":
            return _text(cell)
        value = next((one.text or "" for one in cell if _tag(one) == "v"), "")
        if kind == "s" and value:
            return self._strings[int(value)]
        if kind == "b":
            return "true" if value == "1" else "false"
        if kind != "n" or not value:
            return value
        is_date = int(cell.get("s", "0")) in self._dates
        return _instant(value, self._zero) if is_date else _number(value)

    def _date_styles(self) -> frozenset[int]:
        """Return the styles that show a number as a date or a time."""
        if "xl/styles.xml" not in self._archive.namelist():
            return frozenset()
        root = self._part("xl/styles.xml")
        own = {
            int(one.get("numFmtId", "0"))
            for one in _named(root, "numFmt")
            if re.search("[dmyhs]", _NO_DATE_PARTS.sub("", one.get("formatCode", "")).lower())
        }
        styles = next(iter(_named(root, "cellXfs")), ())
        return frozenset(
            index
            for index, style in enumerate(styles)
            if int(style.get("numFmtId", "0")) in own | _DATE_FORMATS
        )

    def _some(self, path: str, tag: str) -> list[ET.Element]:
        """Return the elements of an optional part."""
        return _named(self._part(path), tag) if path in self._archive.namelist() else []

    def _part(self, path: str) -> ET.Element:
        self._check(path)
        return ET.fromstring(self._archive.read(path))  # noqa: S314 - checked before

    def _check(self, path: str) -> None:
        """Refuse a part that would unpack to too much: too large, or with its own entities."""
        with self._archive.open(path) as part:
            has_type = b"<!DOCTYPE" in part.read(1024)
        if has_type or self._archive.getinfo(path).file_size > _LARGEST_BYTES:
            raise ConfigError(f"{self._name}: {path} is too large for a sheet of a workbook")


def _tag(element: ET.Element) -> str:
    """Return an element's name without its namespace; two namespaces are in use."""
    return element.tag.rpartition("}")[2]


def _named(root: ET.Element, tag: str) -> list[ET.Element]:
    return [one for one in root.iter(_ALL) if _tag(one) == tag]


def _text(element: ET.Element) -> str:
    """Return a text, which may consist of runs, without its phonetic guide."""
    if _tag(element) == "t":
        return element.text or ""
    return "".join(_text(one) for one in element if _tag(one) != "rPh")


def _column(letters: str) -> int:
    """Return the index of a column: 0 for A, 26 for AA."""
    number = 0
    for letter in letters:
        number = number * 26 + ord(letter) - ord("A") + 1
    return number - 1


def _number(value: str) -> Written:
    """Write a stored number as it was typed, to the digits that a workbook keeps."""
    stored = float(value)
    if stored.is_integer() and abs(stored) < 10**_EXACT_DIGITS:
        return Written(int(stored))
    return Written(f"{stored:.{_EXACT_DIGITS}g}".replace("e+", "E+"))


def _instant(value: str, zero: datetime) -> str:
    """Write a date, a time without a date, or an instant to the millisecond."""
    at = zero + timedelta(milliseconds=round(float(value) * 86_400_000))
    if 0 < float(value) < 1:
        return f"{at:%H:%M:%S}"
    if float(value).is_integer():
        return f"{at:%Y-%m-%d}"
    return at.isoformat(" ", "milliseconds" if at.microsecond else "seconds")
