"""Encodings: decodes the bytes of a file that another program wrote."""

from __future__ import annotations

import codecs
import re
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import partial
from typing import IO, Final, NamedTuple

from kling_ledger.errors import ConfigError

_MARKS: Final = (
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
# UTF-32's mark begins with UTF-16's, so it comes first.
CHINESE: Final = "gb18030"
"""GB18030 contains every character of GBK and GB2312, as the same bytes."""


WESTERN: Final = "cp1252"
"""What spreadsheets in western Europe and America write unless told to use UTF-8."""

_BLOCK: Final = 1 << 20
# Both bytes of a common Chinese character, or of Chinese punctuation, are outside ASCII.
_PAIRS: Final = re.compile(rb"([\xa1-\xa3\xb0-\xd7][\xa1-\xfe])|[\x80-\xff]{1,2}")


class Text(NamedTuple):
    """A file's text; if `encoding` is None, it is unknown, and only the ASCII part is certain."""

    text: str
    encoding: str | None


def text_of(
    data: bytes, name: str, *, said: str | None = None, is_chinese: Callable[[str], bool]
) -> Text:
    """Decode a file: by its byte order mark, as `said`, as UTF-8, or as GB18030.

    `is_chinese` decides whether text decoded as GB18030 makes sense. ConfigError for a given
    encoding that is unknown or not the file's.
    """
    encoding = next((found for mark, found in _MARKS if data.startswith(mark)), None)
    encoding = encoding or _without_mark(data) or said
    if encoding is not None:
        return Text(_decoded(data, encoding, name), encoding)
    if (text := _tried(data, "utf-8")) is not None:
        return Text(text, "utf-8")
    if (text := _tried(data, CHINESE)) is not None and is_chinese(text):
        return Text(text, CHINESE)
    # Latin-1 decodes any byte, and its ASCII part is the same in nearly all encodings.
    return Text(data.decode("latin-1"), None)


def _without_mark(data: bytes) -> str | None:
    """Recognise UTF-16 without a mark: it has zero bytes, and reads as ASCII in one byte order."""
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
        raise ConfigError(f"{name}: unknown encoding {encoding}") from None
    if text is None:
        raise ConfigError(f"{name}: not text in {encoding}")
    return text.removeprefix("\ufeff")


def _tried(data: bytes, encoding: str) -> str | None:
    try:
        return data.decode(encoding)
    except UnicodeError:
        return None


@contextmanager
def in_utf8(file: IO[bytes], name: str, encoding: str) -> Iterator[IO[bytes]]:
    """Yield an open file as UTF-8: itself, or a converted copy."""
    if encoding == "utf-8":
        yield file
        return
    decoder = codecs.getincrementaldecoder(encoding)()
    file.seek(0)
    with tempfile.TemporaryFile() as copy:
        try:
            while block := file.read(_BLOCK):
                copy.write(decoder.decode(block).encode("utf-8"))
            copy.write(decoder.decode(b"", final=True).encode("utf-8"))
        except UnicodeError:
            raise ConfigError(f"{name}: not text in {encoding}", hint="save it as UTF-8") from None
        copy.seek(0)
        yield copy


def encoding_of(file: IO[bytes], *, guesses: bool) -> str:
    """Return the encoding of an open text file: UTF-8 unless something suggests another.

    A byte order mark decides, or the zero bytes of UTF-16. With `guesses`, other bytes that are not
    UTF-8 are Chinese if nearly all of them are common characters in GB18030, otherwise western.
    """
    file.seek(0)
    start = file.read(_BLOCK)
    found = next((encoding for mark, encoding in _MARKS if start.startswith(mark)), None)
    if found is None and b"\0" in start:
        found = _without_mark(start[: len(start) // 4 * 4])
    if found is None and guesses and not _is_utf8(file):
        found = _of_a_country(file)
    file.seek(0)
    return "utf-8" if found in {None, "utf-8-sig"} else str(found)


def encoding_note(encoding: str) -> str | None:
    """Return a note if the encoding was only guessed, None if the file itself gives it."""
    if encoding not in {CHINESE, WESTERN}:
        return None
    return f"not UTF-8: it was read as {encoding}; save it as UTF-8 if letters are wrong"


def _is_utf8(file: IO[bytes]) -> bool:
    decoder = codecs.getincrementaldecoder("utf-8")()
    file.seek(0)
    with suppress(UnicodeDecodeError):
        while block := file.read(_BLOCK):
            if not block.isascii() or decoder.getstate()[0]:
                decoder.decode(block)
        decoder.decode(b"", final=True)
        return True
    return False


def _of_a_country(file: IO[bytes]) -> str:
    """Guess from the first block of a file with bytes outside ASCII."""
    file.seek(0)
    blocks = iter(partial(file.read, _BLOCK), b"")
    pairs = _PAIRS.findall(next(block for block in blocks if not block.isascii()))
    return CHINESE if 10 * sum(map(bool, pairs)) >= 9 * len(pairs) else WESTERN
