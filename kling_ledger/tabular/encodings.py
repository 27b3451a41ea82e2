"""Encodings: how the bytes of a file that another program wrote become text."""

from __future__ import annotations

import codecs
from collections.abc import Callable
from typing import Final, NamedTuple

from kling_ledger.errors import ConfigError

_MARKS: Final = (
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
# The mark of UTF-32 begins with that of UTF-16, and so goes before it.
CHINESE: Final = "gb18030"
"""GB18030 has every character of GBK and GB2312, and writes them in the same bytes."""


class Text(NamedTuple):
    """A file's text; `encoding` is None where nobody knows it: only its ASCII is certain then."""

    text: str
    encoding: str | None


def text_of(
    data: bytes, name: str, *, said: str | None = None, is_chinese: Callable[[str], bool]
) -> Text:
    """Decode a file: as it is said, by its byte order mark, as UTF-8, or as GB18030.

    `is_chinese` tells whether text that decodes as GB18030 makes sense in it. ConfigError for an
    encoding that was said and is not the file's, or that nobody knows.
    """
    encoding = next((found for mark, found in _MARKS if data.startswith(mark)), None)
    encoding = encoding or _without_mark(data) or said
    if encoding is not None:
        return Text(_decoded(data, encoding, name), encoding)
    if (text := _tried(data, "utf-8")) is not None:
        return Text(text, "utf-8")
    if (text := _tried(data, CHINESE)) is not None and is_chinese(text):
        return Text(text, CHINESE)
    # Every byte is some character in it, and those of ASCII are what they are in nearly all others.
    return Text(data.decode("latin-1"), None)


def _without_mark(data: bytes) -> str | None:
    """Recognise UTF-16 that has no mark: it has zeros, and reads as ASCII in one order of bytes."""
    if b"\0" not in data:
        return None
    texts = {encoding: _tried(data, encoding) or "" for encoding in ("utf-16-le", "utf-16-be")}
    ascii_in = {name: sum(map(str.isascii, text[:4096])) for name, text in texts.items()}
    best = max(texts, key=ascii_in.__getitem__)
    return best if ascii_in[best] and "\0" not in texts[best] else None


def _decoded(data: bytes, encoding: str, name: str) -> str:
    try:
        text = _tried(data, encoding)
    except LookupError:
        raise ConfigError(f"{name}: nobody knows an encoding {encoding}") from None
    if text is None:
        raise ConfigError(f"{name}: this is no text in {encoding}")
    return text.removeprefix("\ufeff")


def _tried(data: bytes, encoding: str) -> str | None:
    try:
        return data.decode(encoding)
    except UnicodeError:
        return None
