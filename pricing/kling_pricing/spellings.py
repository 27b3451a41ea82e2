"""Spellings: reads a table's cell as a field of a clip, however a person or a spreadsheet wrote it.

Only unambiguous spellings are read. Everything else is left as it is, for a Clip to refuse.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from decimal import Decimal
from typing import Final

_FLAGS: Final = ("sound", "multi_shot", "voice", "video_input", "elements")
_SECONDS: Final = ("seconds", "input_seconds")
_OWN_WORDS: Final = ("provider", "action", "resolution", "frames", "orientation")
"""Fields whose every value is one of our own lower-case words. A model's name is its provider's."""

_TRUE: Final = ("true", "yes", "on", "1", "wahr", "ja", "vrai", "oui", "是", "真")
_FALSE: Final = ("false", "no", "off", "0", "falsch", "nein", "faux", "non", "否", "假")
_WORDS: Final = {**dict.fromkeys(_TRUE, True), **dict.fromkeys(_FALSE, False)}
"""Spreadsheets write TRUE and FALSE in the language of their users."""

# A comma before three digits may group thousands; before one or two it is a decimal comma.
_NUMBER: Final = re.compile(
    r"[+-]?(?:[0-9]{1,15}(?:\.[0-9]{0,15})?|\.[0-9]{1,15}|[0-9]{1,15},[0-9]{1,2})"
)
_BLANKS: Final = " \t\r\n\v\f\u00a0\u2007\u202f\u3000\u200b\ufeff"


def trimmed(text: str) -> str:
    """Return text without the surrounding blanks that spreadsheets and web pages add."""
    return text.strip(_BLANKS)


def read_cell(field: str, value: object) -> object:
    """Read a cell as the Clip field that its column is named after; a blank is None.

    A flag may be TRUE, 1, yes, on, WAHR, ja, vrai, 是 and their opposites; our own words and
    providers may be in capitals; seconds are decimals, and a float is read by its written digits.
    """
    said = (trimmed(value) or None) if isinstance(value, str) else value
    reader = _READERS.get(field)
    return said if said is None or reader is None else reader(said)


def _own_word(said: object) -> object:
    return said.lower() if isinstance(said, str) else said


def _flag(said: object) -> object:
    if isinstance(said, str):
        return _WORDS.get(said.lower(), said)
    # If a column also has blanks, spreadsheets and pandas turn TRUE into 1.0.
    return bool(said) if isinstance(said, (int, float)) and said in {0, 1} else said


def _seconds(said: object) -> object:
    if isinstance(said, (bool, int)):
        return said
    written = str(said)
    if not isinstance(said, (str, float, Decimal)) or not _NUMBER.fullmatch(written):
        return said
    number = Decimal(written.replace(",", "."))
    return int(number) if number == int(number) else number


_READERS: Final[Mapping[str, Callable[[object], object]]] = {
    **dict.fromkeys(_OWN_WORDS, _own_word),
    **dict.fromkeys(_FLAGS, _flag),
    **dict.fromkeys(_SECONDS, _seconds),
}
