"""What commands read: files and standard input, as text or not at all."""

from __future__ import annotations

from typing import BinaryIO

from kling_pricing.errors import Problem, RequestError


def read_text(file: BinaryIO) -> str:
    """Return a file's text; RequestError if it is not UTF-8. A byte order mark is no part of it."""
    try:
        return file.read().decode("utf-8-sig")
    except UnicodeDecodeError as error:
        found = f"byte 0x{error.object[error.start]:02x} at {error.start}"
        raise RequestError([Problem("$", found, "text in UTF-8")]) from None
