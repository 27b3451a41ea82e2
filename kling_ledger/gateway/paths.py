"""Paths: which ones are forwarded, so that no spelling of an address bypasses its door."""

from __future__ import annotations

import re
from typing import Final
from urllib.parse import unquote

from kling_pricing.errors import KlingError

LONGEST_PATH: Final = 2048

_PLAIN: Final = re.compile(r"(/[A-Za-z0-9._~!$&'()*+,;=:@%-]+)+/?")
_ESCAPE: Final = re.compile(r"%([0-9A-Fa-f]{2})?")
_PARAMETERS: Final = re.compile(r";[^/]*")
_NEVER_ESCAPED: Final = re.compile(r"[A-Za-z0-9._~/\\%\x00-\x1f\x7f;]")


class PathError(KlingError):
    """A path that two servers may read differently: it is not forwarded."""

    code = "path"

    def __init__(self, problem: str) -> None:
        super().__init__(
            f"the path cannot be forwarded: {problem}", hint="write it as the provider documents it"
        )


def checked_path(raw: bytes) -> str:
    """Return the path to forward, in plain ASCII, from its first slash on.

    Raises PathError for `..`, empty parts and needless escapes: the meaning of such a path depends
    on the server.
    """
    path = raw.decode("latin-1")
    if len(path) > LONGEST_PATH:
        raise PathError(f"it is longer than {LONGEST_PATH} characters")
    if not _PLAIN.fullmatch(path):
        raise PathError("it contains an empty part, or a character that must be escaped")
    for escape in _ESCAPE.finditer(path):
        if escape[1] is None or _NEVER_ESCAPED.match(unquote(escape[0], "latin-1")):
            raise PathError(f"it contains {escape[0]}")
    if any(part in {".", ".."} for part in path.split("/")):
        raise PathError("it contains a part made only of dots")
    return path


def alike(path: str) -> str:
    """Return a path as a lenient server may read it.

    That is in lower case, without parameters, a format's extension, or a trailing slash.
    """
    return _PARAMETERS.sub("", path.lower()).rstrip("/").removesuffix(".json").rstrip("/")
